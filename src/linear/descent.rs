//! Dual coordinate descent: the start for problems with few rows per column.
//!
//! One multiplier after the other is set to its best value, and the weights follow. Where there are few rows per column,
//! rows hardly depend on each other, and a few dozen passes come close to the optimum; where they do, the gap stops falling,
//! and Newton's method takes over. See Hsieh et al., "A dual coordinate descent method for large-scale linear SVM" (2008).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::problem::Problem;
use crate::cpu::dispatch::dispatch;
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

/// Multipliers near the optimum, and the passes that they took. A free intercept counts as a weight here, so the signed
/// multipliers need not add up to 0.
pub(super) fn descend(
    problem: &Problem<'_>,
    gap: f64,
    on_look: &mut dyn FnMut(f64, f64) -> bool,
) -> Result<(Vec<f64>, f64)> {
    let (rows, width) = (problem.rows(), problem.width());
    let mut x = filled(0f32, rows.saturating_mul(width))?;
    let list: Vec<(u32, f64)> = (0..rows as u32).map(|row| (row, 1.0)).collect();
    problem.matrix.gather(&list, [problem.shift, problem.scale], problem.constant(), &mut x);
    let row = |index: usize| &x[index * width..(index + 1) * width];
    let norm = |index: usize| row(index).iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let curvature = |index: usize| problem.loss.slope().map_or(0.0, |slope| 1.0 / (slope * problem.costs[index]));
    let steepness: Vec<f64> = (0..rows).map(|index| norm(index) + curvature(index)).collect();
    let (mut a, mut w) = (filled(0.0, rows)?, vec![0.0; width]);
    let mut order: Vec<usize> = (0..rows).filter(|&index| problem.costs[index] > 0.0).collect();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut before, mut passes) = (f64::INFINITY, 0);
    let floor = problem.floor();
    // The lowest primal and the highest dual value.
    let mut best = (f64::INFINITY, f64::NEG_INFINITY);
    while passes < MOST_PASSES {
        for _ in 0..LOOK {
            order.shuffle(&mut random);
            dispatch(|| {
                for &index in &order {
                    let (sign, cap) = (problem.sign(index), problem.loss.cap(problem.costs[index]));
                    let z = 1.0 - sign * dot(row(index), &w);
                    // A row of zeros gains from every multiplier: the cap is finite, or the curvature positive.
                    let step =
                        if steepness[index] > 0.0 { (z - curvature(index) * a[index]) / steepness[index] } else { cap };
                    let new = (a[index] + step).clamp(0.0, cap);
                    if new != a[index] {
                        add_one(row(index), sign * (new - a[index]), &mut w);
                        a[index] = new;
                    }
                }
            });
        }
        passes += LOOK + 1;
        // w is the image of the multipliers, so the gap is that of the rows.
        let (mut losses, mut of_rows) = (0.0, 0.0);
        dispatch(|| {
            for (index, &a) in a.iter().enumerate() {
                let (cost, z) = (problem.costs[index], 1.0 - problem.sign(index) * dot(row(index), &w));
                losses += problem.loss.value(cost, z);
                of_rows += problem.loss.gap(cost, z, a);
            }
        });
        let primal = losses + 0.5 * w.iter().map(|w| w * w).sum::<f64>();
        best = (best.0.min(primal), best.1.max(primal - of_rows));
        let now = (best.0 - best.1).max(0.0) / best.0.max(floor);
        let goes_on = on_look(passes as f64, now);
        if !goes_on || now <= 0.3 * gap || passes > LEAST_PASSES && now > SLOW * before {
            break;
        }
        before = now;
    }
    Ok((a, passes as f64))
}
