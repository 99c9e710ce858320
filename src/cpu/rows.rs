//! The driver of the rows pattern: one row of class scores and one class index a sample.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::dispatch::{dispatch, vectorize_wide};
use crate::cpu::outputs::Destinations;
use crate::cpu::tile::{Lanes, Margins, Matrix, ROWS, Summary, Tile, Uniform, rank};
use crate::cpu::vector_rows::VectorRows;
use crate::cpu::{HostReal, Job, SCRATCH, Stored, run_jobs, weights, with_stored, wrong_device};
use crate::error::Result;
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::labels::{IGNORED, decode_class_indices};
use crate::loss::penalty::with_penalty;
use crate::loss::{Combination, Loss, MulticlassHinge, PenaltyShape, RowsLoss, Rule, Ties};
use crate::real::Real;
use crate::tensor::{Batch, BatchShape, with_targets};

/// Scores a job: large enough to hide the scheduling, small enough to balance.
const JOB_SCORES: usize = 16 * SCRATCH;

/// Jobs at most where each keeps per-class sums, so that those stay small beside the scores.
const PER_CLASS_JOBS: usize = 256;

/// Columns from which on a row fills vectors by itself. Measured: twice as fast as by tiles at 16 columns, three times at
/// 64; at 10 slower, but for a maximum without its gradient.
const LONG: usize = 16;

/// A precision with its loop over the rows of a job.
trait RowsReal: HostReal {
    fn run<M: RowsLoss, P: PenaltyShape>(job: DriverJob<'_, '_, M, P, Self>) -> Result<Totals>;
}

impl RowsReal for f32 {
    fn run<M: RowsLoss, P: PenaltyShape>(job: DriverJob<'_, '_, M, P, Self>) -> Result<Totals> {
        let driver = job.driver;
        let is_plain = driver.shape.columns >= LONG && driver.margin_matrix.is_none() && !driver.request.per_class;
        match (M::COMBINATION, driver.loss.ties) {
            (Combination::Sum, _) | (Combination::Max, Ties::First) if is_plain => vectorize_wide(VectorJob(job)),
            _ => dispatch(job),
        }
    }
}

impl RowsReal for f64 {
    fn run<M: RowsLoss, P: PenaltyShape>(job: DriverJob<'_, '_, M, P, Self>) -> Result<Totals> {
        dispatch(job)
    }
}

/// Evaluates a multiclass hinge over host data.
pub(crate) fn evaluate<M: RowsLoss>(
    loss: &MulticlassHinge<M>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let batch_shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (scores, precision) => with_penalty!(loss.terms.penalty, shape => {
        Driver::new(loss, shape, scores, batch_shape, batch, request).evaluate(precision, buffers)
    }))
}

struct Driver<'a, M, P, T> {
    loss: &'a MulticlassHinge<M>,
    rule: Rule<T, P>,
    scores: Stored<'a, T>,
    shape: BatchShape,
    class_weights: Option<Vec<T>>,
    margin_matrix: Option<Vec<T>>,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<'a, M: RowsLoss, P: PenaltyShape, T: RowsReal> Driver<'a, M, P, T> {
    fn new(
        loss: &'a MulticlassHinge<M>,
        shape: P,
        scores: Stored<'a, T>,
        batch_shape: BatchShape,
        batch: &'a Batch<'a>,
        request: &'a Request,
    ) -> Self {
        let rounded = |x: &Option<Vec<f64>>| x.as_ref().map(|x| x.iter().map(|&x| T::from_f64(x)).collect());
        let (class_weights, margin_matrix) = (rounded(&loss.class_weights), rounded(&loss.margin_matrix));
        let rule = Rule::new(loss.column_margin(batch_shape.columns), loss.terms.kink, shape);
        Self { loss, rule, scores, shape: batch_shape, class_weights, margin_matrix, batch, request }
    }

    fn evaluate(&self, precision: Precision, buffers: Buffers<'_>) -> Result<Evaluation> {
        let BatchShape { samples: rows, columns, .. } = self.shape;
        let job_rows = (JOB_SCORES / columns).clamp(1, SCRATCH);
        let job_rows = if self.request.per_class { job_rows.max(rows.div_ceil(PER_CLASS_JOBS)) } else { job_rows };
        // A mean needs a pass over labels and weights.
        let totals = || weight_totals(self.batch, columns, self.loss.ignore_index);
        let divisor = T::from_f64(self.request.divisor_of_gradient(rows, totals)?);
        let mut outputs = Destinations::new(self.shape, 1, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let mut totals =
            run_jobs(self.shape, job_rows, losses, gradient, |job| T::run(DriverJob { driver: self, job, divisor }))?;
        if self.request.per_class && totals.per_class.is_empty() {
            totals.per_class = vec![0.0; columns];
        }
        totals.finish(self.request, rows, true, outputs.finish(precision))
    }
}

/// Reads the class indices and weights of the rows `start..end`; weights are 1 where none were given.
fn decode<T: Real>(
    batch: &Batch<'_>,
    columns: usize,
    ignore_index: Option<i64>,
    (start, end): (usize, usize),
    scratch: &mut Scratch<T>,
) -> Result<()> {
    let classes = &mut scratch.classes[..end - start];
    let targets = batch.targets.part(start..end);
    with_targets!(targets, x => decode_class_indices(x, columns, ignore_index, classes)?,
        _tensor => return Err(wrong_device(batch)));
    weights::read(batch, start..end, &mut scratch.weights[..end - start])
}

/// Count and weight sum of the rows that are not ignored, labels and weights validated.
pub(crate) fn weight_totals(batch: &Batch<'_>, columns: usize, ignore_index: Option<i64>) -> Result<Totals> {
    let shape = BatchShape { samples: batch.targets.len(), columns, target_width: 1 };
    run_jobs::<f64>(shape, SCRATCH, None, None, |job| {
        let mut scratch = Scratch::<f64>::new();
        decode(batch, columns, ignore_index, (job.start, job.start + job.samples), &mut scratch)?;
        let kept = |&(class, _): &(&i32, &f64)| *class != IGNORED;
        let mut totals = Totals::default();
        for (_, weight) in scratch.classes[..job.samples].iter().zip(&scratch.weights).filter(kept) {
            totals.count += 1;
            totals.weight_sum += weight;
        }
        Ok(totals)
    })
}

/// Class indices and weights of one chunk of rows.
struct Scratch<T> {
    classes: [i32; SCRATCH],
    weights: [T; SCRATCH],
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        Self { classes: [0; SCRATCH], weights: [T::ONE; SCRATCH] }
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, M, P, T> {
    driver: &'a Driver<'a, M, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for DriverJob<'_, '_, M, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(mut self) -> Result<Totals> {
        let (driver, samples) = (self.driver, self.job.samples);
        let mut sums = Sums::new(if driver.request.per_class { driver.shape.columns } else { 0 });
        let mut scratch = Scratch::new();
        let mut widened = Vec::new();
        for start in (0..samples).step_by(SCRATCH) {
            let end = (start + SCRATCH).min(samples);
            let span = (self.job.start + start, self.job.start + end);
            decode(driver.batch, driver.shape.columns, driver.loss.ignore_index, span, &mut scratch)
                .map_err(|error| error.shifted(start as u64))?;
            for first in (start..end).step_by(ROWS) {
                let rows = first..(first + ROWS).min(end);
                let labels = rows.start - start..rows.end - start;
                let span = (self.job.start + rows.start) * driver.shape.columns
                    ..(self.job.start + rows.end) * driver.shape.columns;
                let scores = driver.scores.read(span, &mut widened);
                self.tile(rows, scores, &scratch.classes[labels.clone()], &scratch.weights[labels], &mut sums);
            }
        }
        Ok(sums.into_totals())
    }
}

/// A job whose rows go by themselves, a vector of columns at a time.
struct VectorJob<'a, 'j, M, P>(DriverJob<'a, 'j, M, P, f32>);

/// What a row comes to before weights.
pub(super) struct Found {
    /// The loss; NaN where any score is.
    pub(super) loss: f32,
    /// Any violation.
    pub(super) active: bool,
    /// The true class wins the argmax, and no score is NaN.
    pub(super) correct: bool,
}

impl<M: RowsLoss, P: PenaltyShape> WithSimd for VectorJob<'_, '_, M, P> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<Totals> {
        let DriverJob { driver, mut job, divisor } = self.0;
        let columns = driver.shape.columns;
        let rows = VectorRows::new(simd, driver.rule);
        let class_divisor = driver.loss.class_divisor(columns) as f32;
        let mut totals = Totals::default();
        let mut scratch = Scratch::<f32>::new();
        let mut widened = Vec::new();
        for start in (0..job.samples).step_by(SCRATCH) {
            let end = (start + SCRATCH).min(job.samples);
            let span = (job.start + start, job.start + end);
            decode(driver.batch, columns, driver.loss.ignore_index, span, &mut scratch)
                .map_err(|error| error.shifted(start as u64))?;
            for (row, (&class, &weight)) in (start..end).zip(scratch.classes.iter().zip(&scratch.weights)) {
                let mut gradient = job.gradient.as_deref_mut().map(|g| &mut g[row * columns..][..columns]);
                let mut loss = 0.0;
                // IGNORED is no column's index.
                if class == IGNORED {
                    gradient.into_iter().for_each(|g| g.fill(0.0));
                } else {
                    let first = (job.start + row) * columns;
                    let scores = driver.scores.read(first..first + columns, &mut widened);
                    let class = class as usize;
                    let factor = driver.class_weights.as_ref().map_or(weight, |w| weight * w[class]);
                    let coefficient = factor / divisor / class_divisor;
                    let found = rows.row::<M>(scores, class, coefficient, gradient.take());
                    loss = found.loss / class_divisor * factor;
                    totals.count += 1;
                    totals.weight_sum += f64::from(weight);
                    totals.active += u64::from(found.active);
                    totals.correct += u64::from(found.correct);
                    totals.sum += f64::from(loss);
                }
                if let Some(losses) = job.losses.as_deref_mut() {
                    losses[row] = loss;
                }
            }
        }
        Ok(totals)
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
