//! Dual coordinate descent: the start for sparse rows, and for dense ones where there are few per column.
//!
//! One multiplier after the other is set to its best value, and the weights follow. Where rows hardly depend on each other,
//! a few dozen passes come close to the optimum; where they do, the gap stops falling, and Newton's method takes over. Rows
//! whose multipliers stay at a bound are left out for a while. See Hsieh et al., "A dual coordinate descent method for
//! large-scale linear SVM" (2008).

use pulp::{Simd, WithSimd};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::lockstep::has_few_rows;
use super::problem::Problem;
use super::solved::{Dense, Entries, SolvedRows, scaled_entries};
use super::space::{CHUNK, total};
use crate::cpu::dispatch::vectorize;
use crate::cpu::linear::CopiedEntries;
use crate::data::memory::filled;
use crate::error::Result;

/// Passes between two looks at the gap.
const LOOK: f64 = 8.0;

/// The most passes.
const MOST_PASSES: f64 = 300.0;

/// The descent ends where a pass lowers the logarithm of the gap by less, over so many passes at least.
const SLOW: f64 = 0.01;
const SLOW_PASSES: f64 = 30.0;

/// As above, where there are many rows per column: Newton's method is faster then.
const SLOW_OF_MANY: f64 = 0.05;
const SLOW_PASSES_OF_MANY: f64 = 8.0;

/// How far violations may lie from those of an optimum at first, before all rows are visited again.
const FIRST_TOLERANCE: f64 = 0.3;

/// The second derivative of a row's conjugate.
fn curvature(problem: &Problem<'_>, row: usize) -> f64 {
    problem.loss.slope().map_or(0.0, |slope| 1.0 / (slope * problem.cost(row)))
}

/// One pass: the multipliers of the rows that are active, one after the other.
struct Pass<'a, R> {
    problem: &'a Problem<'a>,
    rows: R,
    active: &'a mut Vec<u32>,
    /// The second derivative of the dual along each multiplier.
    steepness: &'a [f64],
    a: &'a mut [f64],
    w: &'a mut [f64],
    /// Rows at a bound whose slopes lie outside are no longer active.
    kept: [f64; 2],
    /// The lowest and the highest slope of the dual that a multiplier could follow.
    slopes: &'a mut [f64; 2],
}

impl<R: SolvedRows> WithSimd for Pass<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { problem, rows, active, steepness, a, w, kept, slopes } = self;
        *slopes = [f64::INFINITY, f64::NEG_INFINITY];
        active.retain(|&row| {
            let row = row as usize;
            let (sign, cap) = (problem.sign(row), problem.loss.cap(problem.cost(row)));
            let slope = 1.0 - sign * rows.dot(row, w) - curvature(problem, row) * a[row];
            if a[row] <= 0.0 && slope < kept[0] || a[row] >= cap && slope > kept[1] {
                return false;
            }
            let followed = if a[row] <= 0.0 {
                slope.max(0.0)
            } else if a[row] >= cap {
                slope.min(0.0)
            } else {
                slope
            };
            *slopes = [slopes[0].min(followed), slopes[1].max(followed)];
            // A row of zeros gains from every multiplier: the cap is finite, or the curvature positive.
            let step = if steepness[row] > 0.0 { slope / steepness[row] } else { cap };
            let new = (a[row] + step).clamp(0.0, cap);
            if new != a[row] {
                rows.add(row, sign * (new - a[row]), w);
                a[row] = new;
            }
            true
        });
    }
}

/// Adds up the losses of rows, and what each adds to the gap.
struct Look<'a, R> {
    problem: &'a Problem<'a>,
    rows: R,
    range: std::ops::Range<usize>,
    a: &'a [f64],
    w: &'a [f64],
    sums: &'a mut [f64; 2],
}

impl<R: SolvedRows> WithSimd for Look<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { problem, rows, range, a, w, sums } = self;
        for row in range {
            let (cost, z) = (problem.cost(row), 1.0 - problem.sign(row) * rows.dot(row, w));
            sums[0] += problem.loss.value(cost, z);
            sums[1] += problem.loss.gap(cost, z, a[row]);
        }
    }
}

/// Multipliers near the optimum, from those given or from 0. A free intercept counts as a weight here, so the signed
/// multipliers need not add up to 0. `on_look` is told the passes and the gap, and ends it by false.
pub(super) fn descend(
    problem: &Problem<'_>,
    start: Option<Vec<f64>>,
    gap: f64,
    on_look: &mut dyn FnMut(f64, f64) -> bool,
) -> Result<Vec<f64>> {
    let (width, space) = (problem.space.width(), &problem.space);
    let mut steepness = space.matrix.all_norms([space.shift, space.scale]);
    let square = space.constant() * space.constant();
    steepness.iter_mut().enumerate().for_each(|(row, sum)| *sum += square + curvature(problem, row));
    if let Some(sparse) = space.matrix.sparse() {
        let scaled = scaled_entries(&sparse, space)?;
        let rows = scaled.as_ref().map_or(sparse, CopiedEntries::sparse);
        let rows = Entries { rows, constant: space.constant() };
        return descend_on(problem, rows, &steepness, start, gap, on_look);
    }
    let mut x = filled(0f32, problem.rows().saturating_mul(width))?;
    let list: Vec<(u32, f64)> = (0..problem.rows() as u32).map(|row| (row, 1.0)).collect();
    space.matrix.gather(&list, [space.shift, space.scale], space.constant(), &mut x);
    descend_on(problem, Dense(&x), &steepness, start, gap, on_look)
}

fn descend_on<R: SolvedRows>(
    problem: &Problem<'_>,
    rows: R,
    steepness: &[f64],
    start: Option<Vec<f64>>,
    gap: f64,
    on_look: &mut dyn FnMut(f64, f64) -> bool,
) -> Result<Vec<f64>> {
    let count = problem.rows();
    let (mut a, mut w) = match start {
        None => (filled(0.0, count)?, vec![0.0; problem.space.width()]),
        Some(a) => {
            let w = problem.image_of(&a);
            (a, w)
        }
    };
    let all: Vec<u32> = (0..count as u32).filter(|&row| problem.cost(row as usize) > 0.0).collect();
    let mut active = all.clone();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut passes, mut looked) = (0.0, 0.0);
    // The passes and gaps of the last looks.
    let mut looks: Vec<(f64, f64)> = Vec::new();
    let (slow, window) = match has_few_rows(&problem.space) {
        true => (SLOW, SLOW_PASSES),
        false => (SLOW_OF_MANY, SLOW_PASSES_OF_MANY),
    };
    let (mut kept, mut tolerance) = ([f64::NEG_INFINITY, f64::INFINITY], FIRST_TOLERANCE);
    // The lowest primal and the highest dual value.
    let mut best = (f64::INFINITY, f64::NEG_INFINITY);
    loop {
        active.shuffle(&mut random);
        let visited = active.len();
        passes += visited as f64 / count as f64;
        let mut slopes = [0.0; 2];
        let (active_rows, slopes_found) = (&mut active, &mut slopes);
        vectorize(Pass {
            problem,
            rows,
            active: active_rows,
            steepness,
            a: &mut a,
            w: &mut w,
            kept,
            slopes: slopes_found,
        });
        let [lowest, highest] = slopes;
        kept = [
            if lowest < 0.0 { lowest } else { f64::NEG_INFINITY },
            if highest > 0.0 { highest } else { f64::INFINITY },
        ];
        let is_near = highest - lowest <= tolerance || active.is_empty();
        let was_all = visited == all.len();
        if is_near && !was_all {
            active.clone_from(&all);
            kept = [f64::NEG_INFINITY, f64::INFINITY];
        }
        if passes - looked < LOOK && !(is_near && was_all) && passes < MOST_PASSES {
            continue;
        }
        // w is the image of the multipliers, so the gap is that of the rows.
        let part = |index: usize| {
            let mut sums = [0.0; 2];
            let range = index * CHUNK..((index + 1) * CHUNK).min(count);
            vectorize(Look { problem, rows, range, a: &a, w: &w, sums: &mut sums });
            sums
        };
        let parts: Vec<[f64; 2]> = (0..count.div_ceil(CHUNK)).into_par_iter().map(part).collect();
        let [losses, of_rows] = total(parts);
        passes += 1.0;
        let primal = losses + 0.5 * w.iter().map(|w| w * w).sum::<f64>();
        best = (best.0.min(primal), best.1.max(primal - of_rows));
        let now = (best.0 - best.1).max(0.0) / best.0.max(f64::MIN_POSITIVE);
        let goes_on = on_look(passes, now);
        let before = looks.iter().rev().find(|(at, _)| passes - at >= window);
        let is_slow = before.is_some_and(|&(at, before)| (before / now).ln() < slow * (passes - at));
        if !goes_on || now <= 0.3 * gap || passes >= MOST_PASSES || is_slow {
            return Ok(a);
        }
        if is_near {
            tolerance *= 0.1;
        }
        looked = passes;
        looks.push((passes, now));
    }
}
