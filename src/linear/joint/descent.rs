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
use crate::cpu::linear::{CopiedEntries, add_one, dot, dots};
use crate::data::memory::filled;
use crate::error::Result;
use crate::linear::hessian::MOST_GRAM;
use crate::linear::solved::{Entries, scaled_entries};
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
    let sparse = space.matrix.sparse();
    let scaled = sparse.map(|rows| scaled_entries(&rows, space)).transpose()?.flatten();
    let sparse = sparse
        .map(|rows| Entries { rows: scaled.as_ref().map_or(rows, CopiedEntries::sparse), constant: space.constant() });
    if sparse.is_some() {
        w = transposed(&w, space.width());
    }
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
                let row = row as usize;
                let multipliers = &mut multipliers[row * problem.classes..][..problem.classes];
                let (numbers, w, mut changed) = (&mut numbers, &mut w[..], false);
                if let Some(entries) = sparse {
                    let x = Spread { row, entries };
                    vectorize(Visit { problem, row, x, multipliers, numbers, w, changed: &mut changed });
                } else {
                    space.matrix.write_row((row, 1.0), [space.shift, space.scale], &mut scratch, &mut x);
                    x[space.matrix.columns] = space.constant();
                    let x = Whole(&x);
                    vectorize(Visit { problem, row, x, multipliers, numbers, w, changed: &mut changed });
                }
                changed
            });
            // A pass over few rows is worth its order only once.
            if visited.len() * 100 < rows.min(10_000) {
                break;
            }
        }
        passes += 1.0;
        match sparse {
            Some(_) => problem.violations(&transposed(&w, problem.classes), false, &mut z),
            None => problem.violations(&w, false, &mut z),
        }
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

/// The numbers of a matrix in its other order, where rows of it have this length.
fn transposed(numbers: &[f64], length: usize) -> Vec<f64> {
    (0..length).flat_map(|column| numbers[column..].iter().step_by(length).copied()).collect()
}

/// A row as it is solved for, and weights of all classes in the order that suits it.
trait VisitedRow: Copy {
    /// Writes the decision values of all classes.
    fn products<S: Simd>(self, simd: S, w: &[f64], to: &mut [f64]);

    fn squared_norm(self) -> f64;

    /// Adds the row, times a factor, to the weights of a class.
    fn add(self, class: usize, classes: usize, factor: f64, w: &mut [f64]);
}

/// A dense row. The weights of one class come after those of another.
#[derive(Clone, Copy)]
struct Whole<'a>(&'a [f64]);

impl VisitedRow for Whole<'_> {
    #[inline(always)]
    fn products<S: Simd>(self, simd: S, w: &[f64], to: &mut [f64]) {
        dots(simd, self.0, w, to);
    }

    #[inline(always)]
    fn squared_norm(self) -> f64 {
        dot(self.0, self.0)
    }

    #[inline(always)]
    fn add(self, class: usize, _: usize, factor: f64, w: &mut [f64]) {
        add_one(self.0, factor, &mut w[class * self.0.len()..][..self.0.len()]);
    }
}

/// A sparse row. The weights of a column for all classes lie together.
#[derive(Clone, Copy)]
struct Spread<'a> {
    row: usize,
    entries: Entries<'a>,
}

impl VisitedRow for Spread<'_> {
    #[inline(always)]
    fn products<S: Simd>(self, _: S, w: &[f64], to: &mut [f64]) {
        let (classes, constant) = (to.len(), self.entries.constant);
        let last = &w[w.len() - classes..];
        to.iter_mut().zip(last).for_each(|(to, w)| *to = constant * w);
        self.entries.rows.each(self.row, |column, x| {
            let w = &w[column * classes..][..classes];
            to.iter_mut().zip(w).for_each(|(to, w)| *to += x * w);
        });
    }

    #[inline(always)]
    fn squared_norm(self) -> f64 {
        let mut sum = self.entries.constant * self.entries.constant;
        self.entries.rows.each(self.row, |_, x| sum += x * x);
        sum
    }

    #[inline(always)]
    fn add(self, class: usize, classes: usize, factor: f64, w: &mut [f64]) {
        self.entries.rows.each(self.row, |column, x| w[column * classes + class] += factor * x);
        let last = w.len() - classes;
        w[last + class] += factor * self.entries.constant;
    }
}

/// Sets the multipliers of one row.
struct Visit<'a, X> {
    problem: &'a JointProblem<'a>,
    row: usize,
    x: X,
    multipliers: &'a mut [f64],
    /// Memory for two numbers per class.
    numbers: &'a mut [Vec<f64>; 2],
    w: &'a mut [f64],
    changed: &'a mut bool,
}

impl<X: VisitedRow> WithSimd for Visit<'_, X> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, row, x, multipliers, numbers: [violations, new], w, changed } = self;
        let (own, cost, classes) = (problem.own[row] as usize, problem.cost(row), problem.classes);
        x.products(simd, w, violations);
        let of_own = violations[own];
        violations.iter_mut().for_each(|u| *u += 1.0 - of_own);
        violations[own] = NEVER;
        best(problem, cost, x.squared_norm(), violations, multipliers, new, own);
        let mut sum = 0.0;
        for (class, (old, new)) in multipliers.iter_mut().zip(&*new).enumerate() {
            let by = new - *old;
            if by != 0.0 {
                x.add(class, classes, -by, w);
                sum += by;
                *old = *new;
                *changed = true;
            }
        }
        if sum != 0.0 {
            x.add(own, classes, sum, w);
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
