//! The certificate: how far a model can be from the optimum, computed in f64 from data, weights and multipliers alone.

use rayon::prelude::*;

use super::problem::Problem;

/// What is known about a binary problem's solution. The true optimum lies between `dual` and `primal`.
///
/// All three are computed anew from the features, the weights and the multipliers in one pass in f64; nothing that the
/// solver kept enters them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// The objective at the weights: 1/2 ||w||^2 + the sum of the rows' losses.
    pub primal: f64,
    /// A lower bound of the objective at any weights.
    pub dual: f64,
    /// primal - dual, as a sum of terms that are never negative.
    pub gap: f64,
    /// gap / primal, which the solver brought below its target. Where the optimum is nearly 0, the gap is divided by 1e-12
    /// of the objective at weights of 0 instead: rounding allows no more.
    pub relative_gap: f64,
}

impl Certificate {
    pub(super) fn new(primal: f64, gap: f64, floor: f64) -> Self {
        // What overflowed says nothing: no bound.
        let finite = |x: f64| if x.is_finite() { x } else { f64::MAX };
        let (primal, gap) = (finite(primal), finite(gap));
        Self { primal, dual: primal - gap, gap, relative_gap: finite(gap / primal.max(floor)) }
    }
}

/// The certificate of weights `w` and multipliers `a`, which must lie within their bounds.
pub(super) fn certify(problem: &Problem<'_>, w: &[f64], a: &[f64]) -> Certificate {
    let (stored, offset) = problem.in_stored_units(w);
    let columns = problem.matrix.columns;
    struct Part {
        losses: f64,
        gap: f64,
        /// The sum of multiplier times y x, of stored features.
        sums: Vec<f64>,
        total: f64,
        /// The largest squared norm of a row.
        norm: f64,
    }
    let parts = problem.matrix.map_products(&stored, |rows, products| {
        let mut part = Part { losses: 0.0, gap: 0.0, sums: vec![0.0; columns], total: 0.0, norm: 0.0 };
        let mut list = Vec::new();
        for (row, product) in rows.clone().zip(products) {
            let (sign, cost) = (problem.sign(row), problem.costs[row]);
            let z = 1.0 - sign * (product + offset);
            part.losses += problem.loss.value(cost, z);
            part.gap += problem.loss.gap(cost, z, a[row]);
            if a[row] != 0.0 {
                list.push((row as u32, a[row] * sign));
                part.total += a[row] * sign;
            }
        }
        problem.matrix.add_listed(&list, &mut part.sums);
        if problem.is_free() {
            part.norm = problem.matrix.largest_norm(rows, [problem.shift, problem.scale]);
        }
        part
    });
    let (mut losses, mut gap, mut total, mut norm) = (0.0, 0.0, 0.0, 0.0f64);
    let mut sums = vec![0.0; columns];
    for part in parts {
        losses += part.losses;
        gap += part.gap;
        total += part.total;
        norm = norm.max(part.norm);
        sums.iter_mut().zip(&part.sums).for_each(|(sum, x)| *sum += x);
    }
    let mut image = vec![0.0; w.len()];
    problem.add_stored(&sums, total, &mut image);
    if problem.is_free() {
        // The intercept has no penalty; what its multipliers leave is bounded below.
        image[columns] = w[columns];
    }
    gap += 0.5 * w.iter().zip(&image).map(|(w, v)| (w - v) * (w - v)).sum::<f64>();
    let primal = problem.penalty(w) + losses;
    if problem.is_free() {
        // With r = sum of a y, the optimum is at least the dual value less |b| |r|, and an optimal b is at most
        // 1 + max ||x|| ||w||, where 1/2 ||w||^2 is at most the primal value. The term b r of the gap is exact.
        gap += -w[columns] * total + total.abs() * (1.0 + norm.sqrt() * (2.0 * primal).sqrt());
    }
    Certificate::new(primal, gap, problem.floor())
}

/// Rows of a part in which multipliers are clamped.
const CHUNK: usize = 1 << 14;

/// Moves multipliers into their bounds, which rounding may have left.
pub(super) fn clamp(problem: &Problem<'_>, a: &mut [f64]) {
    a.par_chunks_mut(CHUNK).zip(problem.costs.par_chunks(CHUNK)).for_each(|(a, costs)| {
        a.iter_mut().zip(costs).for_each(|(a, &cost)| *a = a.clamp(0.0, problem.loss.cap(cost)));
    });
}
