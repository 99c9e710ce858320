//! Dual coordinate descent: the start for problems with few rows per column.
//!
//! One multiplier after the other is set to its best value, and the weights follow. Where there are few rows per column,
//! rows hardly depend on each other, and a few dozen passes come close to the optimum; where they do, the gap stops falling,
//! and Newton's method takes over. See Hsieh et al., "A dual coordinate descent method for large-scale linear SVM" (2008).

use pulp::{Simd, WithSimd};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::problem::Problem;
use crate::cpu::dispatch::vectorize;
use crate::cpu::linear::{add_one, dot};
use crate::data::memory::filled;
use crate::error::Result;

/// Passes between two looks at the gap.
const LOOK: usize = 5;

/// The most passes.
const MOST_PASSES: usize = 300;

/// Passes in which it may be slow: the primal value of the first weights says little.
const LEAST_PASSES: usize = 30;

/// The descent ends where a look finds more than this share of the gap before.
const SLOW: f64 = 0.9;

/// The second derivative of a row's conjugate.
fn curvature(problem: &Problem<'_>, row: usize) -> f64 {
    problem.loss.slope().map_or(0.0, |slope| 1.0 / (slope * problem.cost(row)))
}

/// One pass: the listed rows' multipliers, one after the other.
struct Pass<'a> {
    problem: &'a Problem<'a>,
    /// Rows as they are solved for.
    x: &'a [f32],
    order: &'a [usize],
    /// The second derivative of the dual along each multiplier.
    steepness: &'a [f64],
    a: &'a mut [f64],
    w: &'a mut [f64],
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { problem, x, order, steepness, a, w } = self;
        let width = w.len();
        for &index in order {
            let row = &x[index * width..(index + 1) * width];
            let (sign, cap) = (problem.sign(index), problem.loss.cap(problem.cost(index)));
            let z = 1.0 - sign * dot(row, w);
            // A row of zeros gains from every multiplier: the cap is finite, or the curvature positive.
            let step = match steepness[index] {
                steepness if steepness > 0.0 => (z - curvature(problem, index) * a[index]) / steepness,
                _ => cap,
            };
            let new = (a[index] + step).clamp(0.0, cap);
            if new != a[index] {
                add_one(row, sign * (new - a[index]), w);
                a[index] = new;
            }
        }
    }
}

/// Adds up the losses of all rows, and what each adds to the gap.
struct Look<'a> {
    problem: &'a Problem<'a>,
    x: &'a [f32],
    a: &'a [f64],
    w: &'a [f64],
    losses: &'a mut f64,
    gap: &'a mut f64,
}

impl WithSimd for Look<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { problem, x, a, w, losses, gap } = self;
        for (index, (row, &a)) in x.chunks_exact(w.len()).zip(a).enumerate() {
            let (cost, z) = (problem.cost(index), 1.0 - problem.sign(index) * dot(row, w));
            *losses += problem.loss.value(cost, z);
            *gap += problem.loss.gap(cost, z, a);
        }
    }
}

/// Multipliers near the optimum, from those given or from 0, and the passes that they took. A free intercept counts as a weight here, so the signed
/// multipliers need not add up to 0.
pub(super) fn descend(
    problem: &Problem<'_>,
    start: Option<Vec<f64>>,
    gap: f64,
    on_look: &mut dyn FnMut(f64, f64) -> bool,
) -> Result<(Vec<f64>, f64)> {
    let (rows, width, space) = (problem.rows(), problem.space.width(), &problem.space);
    let mut x = filled(0f32, rows.saturating_mul(width))?;
    let list: Vec<(u32, f64)> = (0..rows as u32).map(|row| (row, 1.0)).collect();
    space.matrix.gather(&list, [space.shift, space.scale], space.constant(), &mut x);
    let norm =
        |index: usize| x[index * width..(index + 1) * width].iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let steepness: Vec<f64> = (0..rows).map(|index| norm(index) + curvature(problem, index)).collect();
    let (mut a, mut w) = match start {
        None => (filled(0.0, rows)?, vec![0.0; width]),
        Some(a) => {
            let w = problem.image_of(&a);
            (a, w)
        }
    };
    let mut order: Vec<usize> = (0..rows).filter(|&index| problem.cost(index) > 0.0).collect();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut before, mut passes) = (f64::INFINITY, 0);
    // The lowest primal and the highest dual value.
    let mut best = (f64::INFINITY, f64::NEG_INFINITY);
    while passes < MOST_PASSES {
        for _ in 0..LOOK {
            order.shuffle(&mut random);
            let (order, x, steepness) = (&order, &x, &steepness);
            vectorize(Pass { problem, x, order, steepness, a: &mut a, w: &mut w });
        }
        passes += LOOK + 1;
        // w is the image of the multipliers, so the gap is that of the rows.
        let [mut losses, mut of_rows] = [0.0; 2];
        vectorize(Look { problem, x: &x, a: &a, w: &w, losses: &mut losses, gap: &mut of_rows });
        let primal = losses + 0.5 * w.iter().map(|w| w * w).sum::<f64>();
        best = (best.0.min(primal), best.1.max(primal - of_rows));
        let now = (best.0 - best.1).max(0.0) / best.0.max(f64::MIN_POSITIVE);
        let goes_on = on_look(passes as f64, now);
        if !goes_on || now <= 0.3 * gap || passes > LEAST_PASSES && now > SLOW * before {
            break;
        }
        before = now;
    }
    Ok((a, passes as f64))
}
