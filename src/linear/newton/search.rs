//! The length of a step.

use rayon::prelude::*;

use super::Solver;
use crate::linear::space::{CHUNK, sums, total};

/// The slope along a direction at which its search ends, as a share of the slope at its beginning.
pub(in crate::linear) const FLAT: f64 = 0.05;

/// The search looks once at all rows, for those whose multiplier leaves or reaches a bound within this step. Beyond it, every
/// look is at all rows.
const REACH: f64 = 2.0;

/// Rows whose multiplier crosses a bound from which on they are counted on several threads.
const PARALLEL_FROM: usize = 1 << 14;

/// A row whose multiplier crosses a bound along the direction: it is clip(at + step * slope, 0, cap).
pub(super) struct Crossing {
    at: f64,
    slope: f64,
    cap: f64,
    dz: f64,
}

impl Solver<'_> {
    /// The step along the direction at which the objective is nearly lowest, by Newton's method on its slope, which grows
    /// with the step.
    pub(super) fn search(&self) -> f64 {
        let (w, direction) = (&self.w, &self.direction);
        let penalised = if self.problem.space.is_free() { direction.len() - 1 } else { direction.len() };
        let along: f64 = w[..penalised].iter().zip(direction).map(|(w, d)| w * d).sum();
        let square: f64 = direction[..penalised].iter().map(|d| d * d).sum();
        // Rows at one bound, or inside both, from step 0 to REACH have a slope that is a straight line of the step.
        let chunk = |index: usize| {
            let (mut line, mut crossings) = ([0.0; 2], Vec::new());
            for row in index * CHUNK..((index + 1) * CHUNK).min(self.problem.rows()) {
                let (cost, dz) = (self.problem.cost(row), self.dz[row]);
                let (at, slope, cap) =
                    (self.unclipped(row, self.z[row]), self.kappa * cost * dz, self.problem.loss.cap(cost));
                let end = at + REACH * slope;
                if at.max(end) <= 0.0 {
                } else if at.min(end) >= cap {
                    line[0] += cap * dz;
                } else if at.min(end) >= 0.0 && at.max(end) <= cap {
                    line[0] += at * dz;
                    line[1] += slope * dz;
                } else {
                    crossings.push(Crossing { at, slope, cap, dz });
                }
            }
            (line, crossings)
        };
        let parts: Vec<([f64; 2], Vec<Crossing>)> =
            (0..self.problem.rows().div_ceil(CHUNK)).into_par_iter().map(chunk).collect();
        let line = total(parts.iter().map(|part| part.0));
        let count: usize = parts.iter().map(|part| part.1.len()).sum();
        let within = |step: f64| {
            let sums = |(_, crossings): &([f64; 2], Vec<Crossing>)| {
                let mut sums = [0.0; 2];
                for crossing in crossings {
                    let a = crossing.at + step * crossing.slope;
                    sums[0] += a.clamp(0.0, crossing.cap) * crossing.dz;
                    sums[1] += if a > 0.0 && a < crossing.cap { crossing.slope * crossing.dz } else { 0.0 };
                }
                sums
            };
            let parts: Vec<[f64; 2]> = if count < PARALLEL_FROM {
                parts.iter().map(sums).collect()
            } else {
                parts.par_iter().map(sums).collect()
            };
            let [slope, curvature] = total(parts);
            [slope + line[0] + step * line[1], curvature + line[1]]
        };
        let beyond = |step: f64| {
            sums(self.problem.rows(), |row| {
                let (cost, dz) = (self.problem.cost(row), self.dz[row]);
                let (a, cap) = (self.unclipped(row, self.z[row] + step * dz), self.problem.loss.cap(cost));
                [a.clamp(0.0, cap) * dz, if a > 0.0 && a < cap { self.kappa * cost * dz * dz } else { 0.0 }]
            })
        };
        search(self.steepness, |step| {
            let [slope, curvature] = if step <= REACH { within(step) } else { beyond(step) };
            [slope + along + step * square, curvature + square]
        })
    }
}

/// The step at which a slope, which grows with it, is nearly 0. `of` gives the slope and its derivative, `steepness` is the
/// slope at step 0, which is negative.
pub(in crate::linear) fn search(steepness: f64, of: impl Fn(f64) -> [f64; 2]) -> f64 {
    let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..60 {
        let [slope, curvature] = of(step);
        if slope.abs() <= FLAT * steepness.abs() {
            break;
        }
        if slope > 0.0 {
            high = step
        } else {
            low = step
        }
        let newton = step - slope / curvature;
        step = match (newton > low && newton < high, high.is_finite()) {
            (true, _) => newton,
            (false, true) => 0.5 * (low + high),
            (false, false) => 2.0 * step,
        };
    }
    step
}

/// A direction and its slope, which is negative. Where rounding made it another, it is the steepest descent.
pub(in crate::linear) fn descending(direction: Vec<f64>, gradient: &[f64]) -> (Vec<f64>, f64) {
    let slope: f64 = direction.iter().zip(gradient).map(|(d, g)| d * g).sum();
    if slope < 0.0 {
        return (direction, slope);
    }
    (gradient.iter().map(|g| -g).collect(), -gradient.iter().map(|g| g * g).sum::<f64>())
}
