//! Rows by tiles of sixteen ([`super::tile`]): the largest few violations, ties that share, margins a pair of classes, and
//! values a class.

use std::ops::Range;

use super::tile::{Lanes, Margins, Matrix, ROWS, Summary, Tile, Uniform, rank};
use super::{Driver, DriverJob};
use crate::cpu::HostReal;
use crate::error::Result;
use crate::evaluation::Totals;
use crate::loss::labels::IGNORED;
use crate::loss::{Combination, PenaltyShape, RowsLoss, Ties};

/// A job whose rows go by tiles.
pub(super) struct TilesJob<'a, 'j, M, P, T>(pub(super) DriverJob<'a, 'j, M, P, T>);

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for TilesJob<'_, '_, M, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(self) -> Result<Totals> {
        let mut job = self.0;
        let driver = job.driver;
        let columns = driver.shape.columns;
        let mut sums = Sums::new(if driver.request.per_class { columns } else { 0 });
        let mut widened = Vec::new();
        job.each_chunk(
            #[inline(always)]
            |job, chunk, scratch| {
                for first in chunk.clone().step_by(ROWS) {
                    let rows = first..(first + ROWS).min(chunk.end);
                    let labels = rows.start - chunk.start..rows.end - chunk.start;
                    let span = (job.job.start + rows.start) * columns..(job.job.start + rows.end) * columns;
                    let scores = driver.scores.read(span, &mut widened);
                    job.tile(rows, scores, &scratch.classes[labels.clone()], &scratch.weights[labels], &mut sums);
                }
            },
        )?;
        Ok(sums.into_totals())
    }
}

/// The sums of a job, kept apart for each lane so that no addition waits for the one before.
struct Sums {
    losses: Lanes<f64>,
    weights: Lanes<f64>,
    count: u64,
    active: u64,
    correct: u64,
    per_class: Vec<f64>,
}

impl Sums {
    fn new(classes: usize) -> Self {
        Self {
            losses: [0.0; ROWS],
            weights: [0.0; ROWS],
            count: 0,
            active: 0,
            correct: 0,
            per_class: vec![0.0; classes],
        }
    }

    fn into_totals(self) -> Totals {
        Totals {
            sum: self.losses.iter().sum(),
            weight_sum: self.weights.iter().sum(),
            count: self.count,
            active: self.active,
            correct: self.correct,
            per_class: self.per_class,
        }
    }
}

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> DriverJob<'_, '_, M, P, T> {
    /// Rows of the job, at most a tile of them, with their class indices and sample weights.
    #[inline(always)]
    fn tile(&mut self, rows: Range<usize>, scores: &[T], classes: &[i32], sample_weights: &[T], sums: &mut Sums) {
        match &self.driver.margin_matrix {
            None => {
                let margins = Uniform(self.driver.rule.margin);
                self.tile_with(margins, rows, scores, classes, sample_weights, sums);
            }
            Some(margins) => {
                let margins = Matrix { margins, classes: self.driver.shape.columns };
                self.tile_with(margins, rows, scores, classes, sample_weights, sums);
            }
        }
    }

    #[inline(always)]
    fn tile_with<G: Margins<T>>(
        &mut self,
        margins: G,
        rows: Range<usize>,
        scores: &[T],
        classes: &[i32],
        sample_weights: &[T],
        sums: &mut Sums,
    ) {
        let driver = self.driver;
        let columns = driver.shape.columns;
        let mut tile =
            Tile { scores, columns, classes: [0; ROWS], true_scores: [T::ZERO; ROWS], top: driver.loss.method.top() };
        let (mut kept, mut weights) = ([false; ROWS], [T::ZERO; ROWS]);
        for (row, (&class, &weight)) in classes.iter().zip(sample_weights).enumerate() {
            // IGNORED is no column's index.
            tile.classes[row] = class as u32;
            if class != IGNORED {
                kept[row] = true;
                tile.true_scores[row] = scores[row * columns + class as usize];
                weights[row] = driver.class_weights.as_ref().map_or(weight, |w| weight * w[class as usize]);
                sums.weights[row] += weight.to_f64();
            }
        }
        let rule = &driver.rule;
        let summary = if self.job.gradient.is_some() {
            tile.summarise::<M, P, G, true>(rule, margins, |_, _| {})
        } else if sums.per_class.is_empty() {
            tile.summarise::<M, P, G, false>(rule, margins, |_, _| {})
        } else {
            // A class's value depends on its own column alone, so a NaN stays in its class.
            let add = |column: usize, values: &Lanes<T>| {
                let weighted = |row: usize| if kept[row] { (values[row] * weights[row]).to_f64() } else { 0.0 };
                sums.per_class[column] += (0..ROWS).map(weighted).sum::<f64>();
            };
            tile.summarise::<M, P, G, false>(rule, margins, add)
        };
        let class_divisor = T::from_f64(driver.loss.class_divisor(columns));
        let mut losses = [T::ZERO; ROWS];
        for row in 0..ROWS {
            let loss = summary.loss[row] / class_divisor * weights[row];
            losses[row] = if kept[row] { loss } else { T::ZERO };
            sums.losses[row] += losses[row].to_f64();
        }
        for (row, &kept) in kept.iter().enumerate() {
            sums.count += u64::from(kept);
            sums.active += u64::from(kept & (summary.active[row] != 0));
            sums.correct += u64::from(kept & (summary.correct[row] != 0));
        }
        if let Some(out) = self.job.losses.as_deref_mut() {
            out[rows.clone()].copy_from_slice(&losses[..rows.len()]);
        }
        let Some(gradient) = self.job.gradient.as_deref_mut() else { return };
        let gradient = &mut gradient[rows.start * columns..rows.end * columns];
        let coefficients = weights.map(|weight| weight / self.divisor / class_divisor);
        if M::COMBINATION == Combination::Top {
            tile.write_top_gradient::<M, G>(&summary, margins, driver.loss.ties, &coefficients, gradient);
        }
        for (row, gradient) in gradient.chunks_exact_mut(columns).enumerate() {
            if !kept[row] {
                gradient.fill(T::ZERO);
                continue;
            }
            if summary.loss[row].is_nan() {
                gradient.fill(T::NAN);
                continue;
            }
            if M::COMBINATION == Combination::Top {
                continue;
            }
            let scores = &scores[row * columns..][..columns];
            driver.write_gradient(gradient, scores, margins, &tile, &summary, row, coefficients[row]);
        }
    }
}

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> Driver<'_, M, P, T> {
    /// The gradient of a row whose loss is not NaN.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one row of a tile, taken apart")]
    fn write_gradient<G: Margins<T>>(
        &self,
        gradient: &mut [T],
        scores: &[T],
        margins: G,
        tile: &Tile<'_, T>,
        summary: &Summary<T>,
        row: usize,
        coefficient: T,
    ) {
        let (class, true_score) = (tile.classes[row] as usize, tile.true_scores[row]);
        let margin = |column: usize| margins.at(tile.classes[row], column);
        let rival_slope = summary.rival_slope[row];
        match (M::COMBINATION, self.loss.ties) {
            (Combination::Max, Ties::First) => {
                gradient.fill(T::ZERO);
                gradient[summary.best_index[row] as usize] = rival_slope * coefficient;
            }
            (Combination::Max, Ties::Split) => {
                let is_best =
                    |i: usize| (i != class) & (rank::<T, M, G>(margin(i), scores[i], true_score) == summary.best[row]);
                let ties = (0..scores.len()).filter(|&i| is_best(i)).count();
                let share = rival_slope / T::from_f64(ties as f64) * coefficient;
                for (i, g) in gradient.iter_mut().enumerate() {
                    *g = if is_best(i) { share } else { T::ZERO };
                }
            }
            // Written before, for all rows at once: Tile::write_top_gradient.
            (Combination::Top, _) => return,
            (Combination::Sum, _) => {
                let slope = |column: usize, score: T| {
                    self.rule.penalise(M::violation(margin(column), score, true_score, false)).1 * coefficient
                };
                for (column, (g, &score)) in gradient.iter_mut().zip(scores).enumerate() {
                    *g = slope(column, score);
                }
            }
        }
        // The true class: its own column where it has one, and what the rivals' violations owe to its score.
        let mut slope = T::ZERO;
        if M::TRUE_COLUMN {
            slope += -self.rule.penalise(M::violation(self.rule.margin, true_score, true_score, true)).1;
        }
        if M::RIVAL_SLOPE_ON_TRUE != 0.0 {
            slope += T::from_f64(M::RIVAL_SLOPE_ON_TRUE) * rival_slope;
        }
        gradient[class] = slope * coefficient;
    }
}
