//! Tiles of sixteen rows: the largest few violations, ties that share, margins per pair of classes, values per class.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::driver::{Driver, DriverJob};
use super::tile::{Lanes, Margins, Matrix, ROWS, Tile, TileSummary, Uniform, rank};
use crate::cpu::HostReal;
use crate::cpu::dispatch::Loops;
use crate::data::evaluation::Totals;
use crate::data::labels::IGNORED;
use crate::error::Result;
use crate::loss::{Combination, Rows, Ties};

pub(super) struct Tiles<'a, 'j, M, T> {
    pub(super) job: DriverJob<'a, 'j, T>,
    pub(super) method: M,
}

impl<M: Rows, T: HostReal> Loops for Tiles<'_, '_, M, T> {
    type Output = Result<Totals>;
    const WIDE: bool = false;

    #[inline(always)]
    fn on_vectors<S: Simd>(self, simd: S) -> Result<Totals> {
        // Rows of f64 rarely go by tiles. Tiles of eight rows are half the code.
        match T::COMMON {
            true => simd.vectorize(TilesJob::<M, T, ROWS> { job: self.job, method: self.method }),
            false => simd.vectorize(TilesJob::<M, T, 8> { job: self.job, method: self.method }),
        }
    }

    /// Row by row: the baseline's vectors are short, and tiles of sixteen rows would be much code for them.
    fn on_baseline<S: Simd>(self, simd: S) -> Result<Totals> {
        simd.vectorize(TilesJob::<M, T, 1> { job: self.job, method: self.method })
    }
}

struct TilesJob<'a, 'j, M, T, const R: usize> {
    job: DriverJob<'a, 'j, T>,
    method: M,
}

impl<M: Rows, T: HostReal, const R: usize> WithSimd for TilesJob<'_, '_, M, T, R> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Result<Totals> {
        let Self { mut job, method } = self;
        let driver = job.driver;
        let (columns, scores) = (driver.inputs.shape.columns, driver.inputs.scores);
        let mut sums = TileSums::new(if driver.inputs.request.per_class { columns } else { 0 });
        let mut widened = Vec::new();
        job.each_chunk(
            #[inline(always)]
            |job, chunk, scratch| {
                for first in chunk.clone().step_by(R) {
                    let rows = first..(first + R).min(chunk.end);
                    let labels = rows.start - chunk.start..rows.end - chunk.start;
                    let span = (job.job.start + rows.start) * columns..(job.job.start + rows.end) * columns;
                    let scores = scores.read(span, &mut widened);
                    job.tile::<M, R>(
                        method,
                        rows,
                        scores,
                        &scratch.classes[labels.clone()],
                        &scratch.weights[labels],
                        &mut sums,
                    );
                }
            },
        )?;
        Ok(sums.into_totals())
    }
}

/// The sums of a job, in [`ROWS`] accumulators whatever the size of a tile. No addition waits for the one before, and
/// the bits are the same with every instruction set.
struct TileSums {
    losses: [f64; ROWS],
    weights: [f64; ROWS],
    count: u64,
    active: u64,
    correct: u64,
    per_class: Vec<f64>,
}

impl TileSums {
    fn new(classes: usize) -> Self {
        let lanes = [0.0; ROWS];
        Self { losses: lanes, weights: lanes, count: 0, active: 0, correct: 0, per_class: vec![0.0; classes] }
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

impl<T: HostReal> DriverJob<'_, '_, T> {
    /// Evaluates at most a tile of the job's rows, with their class indices and sample weights.
    #[inline(always)]
    fn tile<M: Rows, const R: usize>(
        &mut self,
        method: M,
        rows: Range<usize>,
        scores: &[T],
        classes: &[i32],
        sample_weights: &[T],
        sums: &mut TileSums,
    ) {
        match &self.driver.margin_matrix {
            None => {
                let margins = Uniform(self.driver.rule.margin);
                self.tile_with::<M, _, R>(method, margins, rows, scores, classes, sample_weights, sums);
            }
            Some(margins) => {
                let margins = Matrix { margins, classes: self.driver.inputs.shape.columns };
                self.tile_with::<M, _, R>(method, margins, rows, scores, classes, sample_weights, sums);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a tile, taken apart")]
    fn tile_with<M: Rows, G: Margins<T>, const R: usize>(
        &mut self,
        method: M,
        margins: G,
        rows: Range<usize>,
        scores: &[T],
        classes: &[i32],
        sample_weights: &[T],
        sums: &mut TileSums,
    ) {
        let driver = self.driver;
        let columns = driver.inputs.shape.columns;
        // Tiles begin at multiples of their number of rows, so that none goes beyond the last lane.
        let lane = rows.start % ROWS;
        let mut tile: Tile<'_, T, R> =
            Tile { scores, columns, classes: [0; R], true_scores: [T::ZERO; R], top: driver.spec.top() };
        let (mut kept, mut weights) = ([false; R], [T::ZERO; R]);
        for (row, (&class, &weight)) in classes.iter().zip(sample_weights).enumerate() {
            // IGNORED is no column's index.
            tile.classes[row] = class as u32;
            if class != IGNORED {
                kept[row] = true;
                tile.true_scores[row] = scores[row * columns + class as usize];
                weights[row] = driver.class_weights.as_ref().map_or(weight, |w| weight * w[class as usize]);
                sums.weights[lane + row] += weight.to_f64();
            }
        }
        let rule = &driver.rule;
        let summary = if self.job.gradient.is_some() && M::COMBINATION != Combination::Top {
            tile.summarise::<M, _, G, true>(method, rule, margins, |_, _| {})
        } else if M::COMBINATION != Combination::Sum || sums.per_class.is_empty() {
            tile.summarise::<M, _, G, false>(method, rule, margins, |_, _| {})
        } else {
            // A class's value depends on its own column alone, so a NaN stays in its class.
            let add = |column: usize, values: &Lanes<T, R>| {
                let weighted = |row: usize| if kept[row] { (values[row] * weights[row]).to_f64() } else { 0.0 };
                sums.per_class[column] += (0..R).map(weighted).sum::<f64>();
            };
            tile.summarise::<M, _, G, false>(method, rule, margins, add)
        };
        let class_divisor = driver.class_divisor;
        let mut losses = [T::ZERO; R];
        for row in 0..R {
            let loss = summary.loss[row] / class_divisor * weights[row];
            losses[row] = if kept[row] { loss } else { T::ZERO };
            sums.losses[lane + row] += losses[row].to_f64();
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
            tile.write_top_gradient::<M, G>(method, &summary, margins, driver.spec.ties, &coefficients, gradient);
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
            driver.write_gradient(method, gradient, scores, margins, &tile, &summary, row, coefficients[row]);
        }
    }
}

impl<T: HostReal> Driver<'_, T> {
    /// The gradient of a row whose loss is not NaN.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one row of a tile, taken apart")]
    fn write_gradient<M: Rows, G: Margins<T>, const R: usize>(
        &self,
        method: M,
        gradient: &mut [T],
        scores: &[T],
        margins: G,
        tile: &Tile<'_, T, R>,
        summary: &TileSummary<T, R>,
        row: usize,
        coefficient: T,
    ) {
        let (class, true_score) = (tile.classes[row] as usize, tile.true_scores[row]);
        let margin = |column: usize| margins.at(tile.classes[row], column);
        let rival_slope = summary.rival_slope[row];
        match (M::COMBINATION, self.spec.ties) {
            (Combination::Max, Ties::First) => {
                gradient.fill(T::ZERO);
                gradient[summary.best_index[row] as usize] = rival_slope * coefficient;
            }
            (Combination::Max, Ties::Split) => {
                let is_best = |i: usize| {
                    (i != class) & (rank::<T, M, G>(method, margin(i), scores[i], true_score) == summary.best[row])
                };
                let ties = (0..scores.len()).filter(|&i| is_best(i)).count();
                let share = rival_slope / T::from_f64(ties as f64) * coefficient;
                for (i, g) in gradient.iter_mut().enumerate() {
                    *g = if is_best(i) { share } else { T::ZERO };
                }
            }
            // Tile::write_top_gradient has written it for all rows at once.
            (Combination::Top, _) => return,
            (Combination::Sum, _) => {
                let slope = |column: usize, score: T| {
                    self.rule.penalise(method.violation(margin(column), score, true_score, false)).1 * coefficient
                };
                for (column, (g, &score)) in gradient.iter_mut().zip(scores).enumerate() {
                    *g = slope(column, score);
                }
            }
        }
        // The true class's slope: from its own column, and from the rivals' violations that depend on its score.
        let mut slope = T::ZERO;
        if method.has_true_column() {
            slope += -self.rule.penalise(method.violation(self.rule.margin, true_score, true_score, true)).1;
        }
        if method.compares() {
            slope += -rival_slope;
        }
        gradient[class] = slope * coefficient;
    }
}
