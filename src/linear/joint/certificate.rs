//! The certificate of weights and multipliers, computed anew in f64 from them and the features.

use rayon::prelude::*;

use super::{JointProblem, NEVER};
use crate::data::memory::filled;
use crate::error::Result;
use crate::linear::certificate::{Certificate, Rounding};
use crate::linear::space::total;

impl JointProblem<'_> {
    /// The certificate of weights and multipliers, which must lie within their bounds, and the decision values
    /// (rows x classes).
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(super) fn certify(&self, w: &[f64], multipliers: &[f64]) -> Result<(Certificate, Vec<f64>)> {
        let mut decisions = filled(0.0, self.rows() * self.classes)?;
        let (stored, offsets) = self.in_stored_units(w);
        let vectors: Vec<&[f64]> = stored.iter().map(Vec::as_slice).collect();
        let classes = w.chunks_exact(self.space.width());
        let roundings: Vec<Rounding> = classes.map(|w| Rounding::new(&self.space, w)).collect();
        let zeros = vec![0.0; self.space.matrix.columns];
        self.space.matrix.products_by_row(&vectors, &mut decisions, &|_, values| {
            values.iter_mut().zip(&offsets).for_each(|(value, offset)| *value += offset);
        });
        let size = self.chunk() * self.classes;
        let part = |(index, (decisions, multipliers)): (usize, (&[f64], &[f64]))| {
            let (mut sums, mut violations) = ([0.0; 2], vec![0.0; self.classes]);
            let first = index * self.chunk();
            let norms =
                self.space.matrix.norms(first..first + decisions.len() / self.classes, [&zeros, self.space.scale]);
            let rows = decisions.chunks_exact(self.classes).zip(multipliers.chunks_exact(self.classes));
            for ((row, (values, multipliers)), norm) in (first..).zip(rows).zip(norms) {
                let (own, cost) = (self.own[row] as usize, self.cost(row));
                violations.iter_mut().zip(values).for_each(|(u, value)| *u = 1.0 + value - values[own]);
                violations[own] = NEVER;
                sums[0] += self.value(cost, &violations);
                sums[1] += self.gap(cost, &violations, multipliers);
                let error = roundings.iter().map(|rounding| rounding.of(norm)).fold(0.0, f64::max);
                sums[1] += self.rounding(cost, &violations, multipliers, 2.0 * error);
            }
            sums
        };
        let parts: Vec<[f64; 2]> =
            decisions.par_chunks(size).zip(multipliers.par_chunks(size)).enumerate().map(part).collect();
        let [losses, mut gap] = total(parts);
        let mut image = vec![0.0; w.len()];
        self.add(&self.changes_of(multipliers), &mut image);
        let left = self.left_of(&image);
        gap += w.iter().zip(&image).enumerate().map(|(k, (w, v))| self.ridge(k) * 0.5 * (w - v) * (w - v)).sum::<f64>();
        let primal = self.penalty(w) + losses;
        if self.space.is_free() {
            gap -= left.iter().enumerate().map(|(class, r)| r * w[self.last(class)]).sum::<f64>();
            gap += self.bound_of(&left, primal, self.largest_norm());
        }
        Ok((Certificate::new(primal, gap), decisions))
    }

    /// The place of a class's intercept.
    pub(super) fn last(&self, class: usize) -> usize {
        (class + 1) * self.space.width() - 1
    }

    /// 1 for a weight that is penalised, 0 for a free intercept.
    pub(super) fn ridge(&self, index: usize) -> f64 {
        let is_last = (index + 1).is_multiple_of(self.space.width());
        if self.space.is_free() && is_last { 0.0 } else { 1.0 }
    }

    /// What the multipliers leave of each free intercept's condition, which is that this is 0.
    pub(super) fn left_of(&self, image: &[f64]) -> Vec<f64> {
        let classes = if self.space.is_free() { self.classes } else { 0 };
        (0..classes).map(|class| image[self.last(class)]).collect()
    }

    /// How much higher the optimum's bound may lie where that is not 0. The sum over the classes of what is left times an
    /// optimal intercept is at most half the sum of its sizes times the distance of the outermost intercepts. Of two
    /// neighbours in their order, an optimum has none further apart than 1 + max |(w_j - w_k) x|: beyond that, moving all
    /// the upper ones down would lower the losses of the rows of the lower ones, and raise none.
    pub(super) fn bound_of(&self, left: &[f64], primal: f64, norm: f64) -> f64 {
        let apart = (self.classes - 1) as f64 * (1.0 + norm * (4.0 * primal).sqrt());
        0.5 * left.iter().map(|r| r.abs()).sum::<f64>() * apart
    }

    /// The largest norm of a row.
    pub(super) fn largest_norm(&self) -> f64 {
        let squares = self.space.matrix.all_norms([self.space.shift, self.space.scale]);
        squares.into_iter().fold(0.0, f64::max).sqrt()
    }
}
