//! A free intercept, which is set exactly after each step.

use rayon::prelude::*;

use super::Solver;
use crate::linear::space::{CHUNK, sums};

impl Solver<'_> {
    /// Moves a free intercept to where the signed multipliers add up to 0, without reading features.
    pub(super) fn center(&mut self) {
        let rows = self.problem.rows();
        let at = |shift: f64| {
            let [sum, slope] = sums(rows, |row| {
                let sign = self.problem.sign(row);
                let a = self.unclipped(row, self.z[row] - sign * shift);
                let (cost, cap) = (self.problem.cost(row), self.problem.loss.cap(self.problem.cost(row)));
                [sign * a.clamp(0.0, cap), if a > 0.0 && a < cap { self.kappa * cost } else { 0.0 }]
            });
            (sum, slope)
        };
        let scale: f64 = sums(rows, |row| [self.problem.cost(row)])[0];
        // The sum falls as the intercept grows: its root lies between two signs.
        let (mut low, mut high, mut shift) = (f64::NEG_INFINITY, f64::INFINITY, 0.0f64);
        let mut width = 1.0f64;
        for _ in 0..100 {
            let (sum, slope) = at(shift);
            if sum.abs() <= 1e-15 * scale {
                break;
            }
            if sum > 0.0 {
                low = shift
            } else {
                high = shift
            }
            let newton = shift + sum / slope;
            shift = if newton > low && newton < high {
                newton
            } else if low.is_finite() && high.is_finite() {
                0.5 * (low + high)
            } else {
                width *= 2.0;
                if sum > 0.0 { low + width } else { high - width }
            };
            if low.is_finite() && high.is_finite() && high - low <= 1e-15 * (1.0 + low.abs().max(high.abs())) {
                break;
            }
        }
        shift += self.middle(shift);
        let signs = self.problem.signs;
        self.z.par_iter_mut().zip(signs).for_each(|(z, &sign)| *z -= f64::from(sign) * shift);
        if let Some(last) = self.w.last_mut() {
            *last += shift;
        }
    }

    /// Where the signed multipliers add up to 0 on a whole interval, since all of them are at their bounds: the way from
    /// `shift` to its middle. At an end of it, the next step would be blocked by the row that the end belongs to.
    fn middle(&self, shift: f64) -> f64 {
        let part = |index: usize| {
            let (mut inside, mut left, mut right) = (0u32, f64::INFINITY, f64::INFINITY);
            for row in index * CHUNK..((index + 1) * CHUNK).min(self.problem.rows()) {
                let (sign, cost) = (self.problem.sign(row), self.problem.cost(row));
                let (cap, steepness) = (self.problem.loss.cap(cost), self.kappa * cost);
                if cost == 0.0 {
                    continue;
                }
                let a = self.unclipped(row, self.z[row] - sign * shift);
                let little = 1e-9 * cost;
                // How far the intercept may move until the multiplier leaves its bound.
                let (of_lower, of_upper) = (-a / steepness, (a - cap) / steepness);
                if a > little && a < cap - little {
                    inside += 1;
                } else if (a <= little) == (sign < 0.0) {
                    right = right.min(if a <= little { of_lower } else { of_upper }.max(0.0));
                } else {
                    left = left.min(if a <= little { of_lower } else { of_upper }.max(0.0));
                }
            }
            (inside, left, right)
        };
        let parts: Vec<(u32, f64, f64)> = (0..self.problem.rows().div_ceil(CHUNK)).into_par_iter().map(part).collect();
        let inside: u32 = parts.iter().map(|part| part.0).sum();
        let left = parts.iter().map(|part| part.1).fold(f64::INFINITY, f64::min);
        let right = parts.iter().map(|part| part.2).fold(f64::INFINITY, f64::min);
        if inside == 0 && left.is_finite() && right.is_finite() { 0.5 * (right - left) } else { 0.0 }
    }
}
