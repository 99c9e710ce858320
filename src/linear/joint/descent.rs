//! Dual coordinate descent: all multipliers of one row after the other are set to their best values, and the weights
//! follow. See Keerthi et al., "A sequential dual method for large scale multi-class linear SVMs" (2008).
//!
//! Between two passes over all rows, those whose multipliers changed are visited several times: near the optimum they are
//! few.

use pulp::{Simd, WithSimd};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::row::threshold;
use super::{JointProblem, NEVER};
use crate::cpu::dispatch::vectorize;
use crate::cpu::linear::{add_one, dot, dots};
use crate::data::memory::filled;
use crate::error::Result;
use crate::linear::hessian::MOST_GRAM;
use crate::linear::space::total;

/// Visits of the rows that changed, between two passes over all rows, at most.
const VISITS: usize = 10;

/// The most passes over all rows.
const MOST_PASSES: usize = 300;

/// Passes in which it may be slow: the primal value of the first weights says little.
const LEAST_PASSES: usize = 5;

/// The logarithm of what a Newton step lowers the gap by, about. The descent ends where it lowers it less at the same cost.
const GAIN_OF_STEP: f64 = 0.25;

/// What a Newton step costs, in passes over all rows: products and maps, and the factorization where there is one.
fn cost_of_step(problem: &JointProblem<'_>) -> f64 {
    let width = problem.width() as f64;
    2.0 + if problem.width() <= MOST_GRAM { width * width / (6.0 * problem.rows() as f64) } else { 0.0 }
}

/// Multipliers near the optimum, from those given. `on_look` is told the passes and the gap, and ends it by false.
pub(super) fn descend(
    problem: &JointProblem<'_>,
    multipliers: &mut [f64],
    gap: f64,
    on_look: &mut dyn FnMut(f64, f64) -> bool,
) -> Result<()> {
    let (rows, space) = (problem.rows(), &problem.space);
    let mut w = vec![0.0; problem.width()];
    problem.add(&problem.changes_of(multipliers), &mut w);
    let mut z = filled(0.0, rows * problem.classes)?;
    let mut order: Vec<u32> = (0..rows as u32).filter(|&row| problem.cost(row as usize) > 0.0).collect();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut x, mut scratch) = (vec![0.0; space.width()], Vec::new());
    let mut numbers = [vec![0.0; problem.classes], vec![0.0; problem.classes]];
    let (mut before, mut passes, mut passes_before) = (f64::INFINITY, 0.0, 0.0);
    let least_gain = GAIN_OF_STEP / cost_of_step(problem);
    let mut best = (f64::INFINITY, f64::NEG_INFINITY);
    for pass in 0..MOST_PASSES {
        order.shuffle(&mut random);
        let mut visited = order.clone();
        for _ in 0..=VISITS {
            passes += visited.len() as f64 / rows as f64;
            visited.retain(|&row| {
                space.matrix.write_row(row as usize, [space.shift, space.scale], &mut scratch, &mut x);
                x[space.matrix.columns] = space.constant();
                let multipliers = &mut multipliers[row as usize * problem.classes..][..problem.classes];
                let mut changed = false;
                let row = row as usize;
                vectorize(Visit {
                    problem,
                    row,
                    x: &x,
                    multipliers,
                    numbers: &mut numbers,
                    w: &mut w,
                    changed: &mut changed,
                });
                changed
            });
            // A pass over few rows is worth its order only once.
            if visited.len() * 100 < rows.min(10_000) {
                break;
            }
        }
        passes += 1.0;
        problem.violations(&w, false, &mut z);
        let losses = |(index, z): (usize, &[f64])| {
            let rows = (index * problem.chunk()..).zip(z.chunks_exact(problem.classes));
            [rows.map(|(row, z)| problem.value(problem.cost(row), z)).sum::<f64>()]
        };
        let parts: Vec<[f64; 1]> = z.par_chunks(problem.chunk() * problem.classes).enumerate().map(losses).collect();
        let ([losses], half) = (total(parts), 0.5 * w.iter().map(|w| w * w).sum::<f64>());
        best = (best.0.min(losses + half), best.1.max(multipliers.iter().sum::<f64>() - half));
        let now = (best.0 - best.1).max(0.0) / best.0.max(f64::MIN_POSITIVE);
        let is_slow = (before / now).ln() < least_gain * (passes - passes_before);
        if !on_look(passes, now) || now <= 0.3 * gap || pass > LEAST_PASSES && is_slow {
            break;
        }
        (before, passes_before) = (now, passes);
    }
    Ok(())
}

/// Sets the multipliers of one row.
struct Visit<'a> {
    problem: &'a JointProblem<'a>,
    row: usize,
    /// The row as it is solved for.
    x: &'a [f64],
    multipliers: &'a mut [f64],
    /// Memory for two numbers per class.
    numbers: &'a mut [Vec<f64>; 2],
    /// The weights of all classes, one class after the other.
    w: &'a mut [f64],
    changed: &'a mut bool,
}

impl WithSimd for Visit<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, row, x, multipliers, numbers: [violations, new], w, changed } = self;
        let (own, cost, width) = (problem.own[row] as usize, problem.cost(row), x.len());
        dots(simd, x, w, violations);
        let of_own = violations[own];
        violations.iter_mut().for_each(|u| *u += 1.0 - of_own);
        violations[own] = NEVER;
        best(problem, cost, dot(x, x), violations, multipliers, new, own);
        let mut sum = 0.0;
        for (class, (old, new)) in multipliers.iter_mut().zip(&*new).enumerate() {
            let by = new - *old;
            if by != 0.0 {
                add_one(x, -by, &mut w[class * width..][..width]);
                sum += by;
                *old = *new;
                *changed = true;
            }
        }
        if sum != 0.0 {
            add_one(x, sum, &mut w[own * width..][..width]);
        }
    }
}

/// Writes the multipliers of a row with the squared norm `norm` that are best while all others stay.
#[inline(always)]
fn best(
    problem: &JointProblem<'_>,
    cost: f64,
    norm: f64,
    violations: &[f64],
    old: &[f64],
    new: &mut [f64],
    own: usize,
) {
    if norm <= 0.0 {
        // A row of zeros gains from every multiplier, and all its violations are 1.
        let share = if problem.bounds_sum { cost / (problem.classes - 1) as f64 } else { cost };
        new.fill(share);
        new[own] = 0.0;
        return;
    }
    if problem.bounds_sum {
        // With the own class's multiplier as what is left of the cost, the best ones are the nearest of the sum `cost` to
        // old + u / ||x||^2.
        let (mut sum, mut count) = (0.0, 0u32);
        for ((new, old), u) in new.iter_mut().zip(old).zip(violations) {
            *new = old + u / norm;
        }
        new[own] = cost - old.iter().sum::<f64>();
        let shift = new.iter().copied().fold(f64::NEG_INFINITY, f64::max) - cost;
        for new in new.iter_mut() {
            *new -= shift;
            sum += new.max(0.0);
            count += u32::from(*new > 0.0);
        }
        let threshold = threshold(new, sum, count, cost);
        new.iter_mut().for_each(|m| *m = (*m - threshold).max(0.0));
        new[own] = 0.0;
        return;
    }
    // A multiplier is clip(old + u / ||x||^2 - t), where t is the sum of what all of them grow by: one root.
    let clipped = |old: f64, u: f64, t: f64| (old + u / norm - t).clamp(0.0, cost);
    let (mut low, mut high, mut t) = (f64::NEG_INFINITY, f64::INFINITY, 0.0);
    for _ in 0..60 {
        let (mut grown, mut inside) = (0.0, 0.0);
        for (&old, &u) in old.iter().zip(violations) {
            let m = clipped(old, u, t);
            grown += m - old;
            inside += f64::from(u8::from(m > 0.0 && m < cost));
        }
        let off = t - grown;
        if off.abs() <= 1e-14 * cost {
            break;
        }
        if off > 0.0 {
            high = t
        } else {
            low = t
        }
        let newton = t - off / (1.0 + inside);
        t = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
    }
    new.iter_mut().zip(old.iter().zip(violations)).for_each(|(new, (&old, &u))| *new = clipped(old, u, t));
    new[own] = 0.0;
}
