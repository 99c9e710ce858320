//! The certificate: how far a model can be from the optimum, computed in f64 from data, weights and multipliers alone.

use rayon::prelude::*;

use super::problem::Problem;
use super::space::Space;
use crate::data::memory::filled;
use crate::error::Result;

/// What is known about a binary problem's solution. The true optimum lies between `dual` and `primal`.
///
/// All are computed anew from the features, the weights and the multipliers in one pass in f64; nothing that the solver kept
/// enters them. The gap includes what rounding can hide of it in the decision values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// The objective at the weights: 1/2 ||w||^2 + the sum of the rows' losses.
    pub primal: f64,
    /// A lower bound of the objective at any weights.
    pub dual: f64,
    /// primal - dual, as a sum of terms that are never negative.
    pub gap: f64,
    /// gap / primal, which the solver brought below its target.
    pub relative_gap: f64,
}

impl Certificate {
    pub(super) fn new(primal: f64, gap: f64) -> Self {
        // What overflowed says nothing: no bound.
        let finite = |x: f64| if x.is_finite() { x } else { f64::MAX };
        let primal = finite(primal);
        // No objective is below 0.
        let gap = finite(gap).min(primal);
        Self { primal, dual: primal - gap, gap, relative_gap: if gap > 0.0 { gap / primal } else { 0.0 } }
    }
}

/// How far the decision value of a row can be from that of exact arithmetic: sums of n terms in f64 are off by less than n
/// epsilon times the sum of their sizes, which is at most ||w|| ||x scale||, with w in the units that are solved for.
pub(super) struct Rounding {
    /// Times the norm of the row, whose elements are scaled but not shifted.
    per_norm: f64,
    constant: f64,
}

impl Rounding {
    pub(super) fn new(space: &Space<'_>, w: &[f64]) -> Self {
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let unit = f64::EPSILON * (space.matrix.most_terms() + 8) as f64;
        let (last, w) = w.split_last().map_or((0.0, w), |(last, w)| (*last, w));
        let shift: Vec<f64> = space.shift.iter().zip(space.scale).map(|(shift, scale)| shift * scale).collect();
        let constant = (last * space.constant()).abs() + 1.0;
        Self { per_norm: unit * norm(w), constant: unit * (norm(w) * norm(&shift) + constant) }
    }

    /// The bound for a row of this norm.
    pub(super) fn of(&self, squared_norm: f64) -> f64 {
        self.per_norm * squared_norm.sqrt() + self.constant
    }
}

/// Numbers that the sums of all blocks of rows may have together: 64 MB.
const MOST_SUMS: usize = 1 << 23;

/// A problem with its weights and multipliers, which must lie within their bounds.
pub(super) type Candidate<'a, 'p> = (&'a Problem<'p>, &'a [f64], &'a [f64]);

/// The certificates of candidates for problems that share their features, and the decision values of all rows.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(super) fn certify_all(candidates: &[Candidate<'_, '_>]) -> Result<Vec<(Certificate, Vec<f64>)>> {
    let Some((problem, ..)) = candidates.first() else { return Ok(Vec::new()) };
    let matrix = &problem.space.matrix;
    let of_one =
        if matrix.sparse().is_some() { matrix.columns } else { matrix.columns * matrix.rows.div_ceil(matrix.block()) };
    let together = MOST_SUMS / of_one.max(1);
    let mut all = Vec::new();
    for candidates in candidates.chunks(together.max(1)) {
        all.extend(certify_together(candidates)?);
    }
    Ok(all)
}

/// The certificate of one candidate.
#[cfg(test)]
pub(super) fn certify(problem: &Problem<'_>, w: &[f64], a: &[f64]) -> Certificate {
    certify_all(&[(problem, w, a)]).unwrap()[0].0
}

/// What a block of rows adds to a certificate.
#[derive(Default)]
struct Part {
    losses: f64,
    gap: f64,
    /// The rows whose multipliers are not 0, with multiplier times y, of sparse features, whose sum needs long vectors.
    list: Vec<(u32, f64)>,
    /// The sum of multiplier times y x, of stored features.
    sums: Vec<f64>,
    total: f64,
    /// The largest squared norm of a row.
    norm: f64,
}

fn certify_together(candidates: &[Candidate<'_, '_>]) -> Result<Vec<(Certificate, Vec<f64>)>> {
    let (sums, decisions) = sums_together(candidates)?;
    let certificates = candidates.iter().zip(sums).map(|((problem, w, _), sum)| sum.certificate(problem, w));
    Ok(certificates.zip(decisions).collect())
}

/// What some rows add to a certificate, where the other rows are elsewhere: those of all are added element by element. Not for a
/// free intercept.
pub(super) fn sums_of_certificate(problem: &Problem<'_>, w: &[f64], multipliers: &[f64]) -> Result<Vec<f64>> {
    let (sums, _) = sums_together(&[(problem, w, multipliers)])?;
    let numbers = sums.into_iter().flat_map(|sum| [vec![sum.losses, sum.gap, sum.total], sum.sums].concat());
    Ok(numbers.collect())
}

/// The certificate of what [`sums_of_certificate`] of all rows adds up to; `problem` has the units of the rows.
pub(super) fn certificate_of_sums(problem: &Problem<'_>, w: &[f64], sums: &[f64]) -> Option<Certificate> {
    let (&[losses, gap, total], sums) = sums.split_first_chunk()?;
    let sum = Part { losses, gap, total, sums: sums.get(..w.len().checked_sub(1)?)?.to_vec(), ..Part::default() };
    Some(sum.certificate(problem, w))
}

/// What all rows add to the certificates of candidates, and their decision values.
fn sums_together(candidates: &[Candidate<'_, '_>]) -> Result<(Vec<Part>, Vec<Vec<f64>>)> {
    let matrix = &candidates[0].0.space.matrix;
    let (stored, offsets): (Vec<Vec<f64>>, Vec<f64>) =
        candidates.iter().map(|(problem, w, _)| problem.space.in_stored_units(w)).unzip();
    let vectors: Vec<&[f64]> = stored.iter().map(Vec::as_slice).collect();
    let mut decisions = Vec::new();
    for _ in candidates {
        decisions.push(filled(0.0, matrix.rows)?);
    }
    let mut outputs: Vec<&mut [f64]> = decisions.iter_mut().map(Vec::as_mut_slice).collect();
    let zeros = vec![0.0; matrix.columns];
    let roundings: Vec<Rounding> = candidates.iter().map(|(problem, w, _)| Rounding::new(&problem.space, w)).collect();
    let parts = matrix.map_products(&vectors, &mut outputs, &|vector, rows, products| {
        let (problem, _, a) = candidates[vector];
        let mut part = Part::default();
        let (mut list, norms) = (Vec::new(), matrix.norms(rows.clone(), [&zeros, problem.space.scale]));
        for ((row, product), norm) in rows.clone().zip(products).zip(norms) {
            let (sign, cost) = (problem.sign(row), problem.cost(row));
            *product += offsets[vector];
            let z = 1.0 - sign * *product;
            part.losses += problem.loss.value(cost, z);
            part.gap += problem.loss.gap(cost, z, a[row]);
            part.gap += problem.loss.rounding(cost, z, a[row], roundings[vector].of(norm));
            if a[row] != 0.0 {
                list.push((row as u32, a[row] * sign));
                part.total += a[row] * sign;
            }
        }
        if matrix.sparse().is_some() {
            part.list = list;
        } else {
            part.sums = vec![0.0; matrix.columns];
            matrix.add_listed(&list, &mut part.sums);
        }
        if problem.space.is_free() {
            let norms = matrix.norms(rows, [problem.space.shift, problem.space.scale]);
            part.norm = norms.into_iter().fold(0.0, f64::max);
        }
        part
    });
    let sum_of = |vector: usize| {
        let mut sum = Part { sums: vec![0.0; matrix.columns], ..Part::default() };
        for part in parts.iter().map(|parts| &parts[vector]) {
            sum.losses += part.losses;
            sum.gap += part.gap;
            sum.total += part.total;
            sum.norm = sum.norm.max(part.norm);
            sum.sums.iter_mut().zip(&part.sums).for_each(|(sum, x)| *sum += x);
            sum.list.extend(&part.list);
        }
        if !sum.list.is_empty() {
            matrix.add_rows(&sum.list, &mut sum.sums);
        }
        sum
    };
    Ok(((0..candidates.len()).map(sum_of).collect(), decisions))
}

impl Part {
    /// The certificate of weights, where this is what all rows add.
    fn certificate(&self, problem: &Problem<'_>, w: &[f64]) -> Certificate {
        let (space, last) = (&problem.space, w.len() - 1);
        let mut image = vec![0.0; w.len()];
        space.add_stored(&self.sums, self.total, &mut image);
        if space.is_free() {
            // The intercept has no penalty; what its multipliers leave is bounded below.
            image[last] = w[last];
        }
        let mut gap = self.gap + 0.5 * w.iter().zip(&image).map(|(w, v)| (w - v) * (w - v)).sum::<f64>();
        let primal = space.penalty(w) + self.losses;
        if space.is_free() {
            // With r = sum of a y, the optimum is at least the dual value less |b| |r|, and an optimal b is at most
            // 1 + max ||x|| ||w||, where 1/2 ||w||^2 is at most the primal value. The term b r of the gap is exact.
            let bound = 1.0 + self.norm.sqrt() * (2.0 * primal).sqrt();
            gap += -w[last] * self.total + self.total.abs() * bound;
        }
        Certificate::new(primal, gap)
    }
}

/// Rows of a part in which multipliers are clamped.
const CHUNK: usize = 1 << 14;

/// Moves multipliers into their bounds, which rounding may have left.
pub(super) fn clamp(problem: &Problem<'_>, a: &mut [f64]) {
    a.par_chunks_mut(CHUNK).zip(problem.weights.par_chunks(CHUNK)).for_each(|(a, weights)| {
        a.iter_mut().zip(weights).for_each(|(a, weight)| *a = a.clamp(0.0, problem.loss.cap(problem.c * weight)));
    });
}
