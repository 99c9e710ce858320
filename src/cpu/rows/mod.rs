//! The driver of the rows pattern: one row of class scores and one class index a sample.

use std::ops::Range;

use crate::batch::{Batch, BatchShape};
use crate::cpu::dispatch::{dispatch, vectorize, vectorize_wide};
use crate::cpu::jobs::{Job, job_samples, run_jobs};
use crate::cpu::outputs::Destinations;
use crate::cpu::{HostReal, Stored, weights, with_stored, wrong_device};
use crate::error::Result;
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::labels::{IGNORED, decode_class_indices};
use crate::loss::penalty::with_penalty;
use crate::loss::{Combination, Loss, MulticlassHinge, PenaltyShape, RowsLoss, Rule, Ties};
use crate::real::Real;
use crate::tensor::{Floats, with_targets};

use by_tile::TilesJob;
use groups::GroupsJob;

mod by_column;
mod by_row;
mod by_tile;
mod groups;
mod largest;
mod tile;
mod transpose;

/// Rows whose labels and weights are decoded at once, and stay in the first-level cache.
const SCRATCH: usize = 1024;

/// Jobs at most where each keeps per-class sums, so that those stay small beside the scores.
const PER_CLASS_JOBS: usize = 256;

/// A precision that rows are computed in.
trait RowsReal: HostReal {
    /// Columns from which on a row goes by itself, and not column by column with others. Measured on AVX2 (Zen 3), 16 Mi scores
    /// on two threads, Crammer-Singer and Weston-Watkins forward and the latter with gradient, times relative to column by
    /// column: f32 at 16 columns 0.91, 1.22 and 0.99, at 24 columns 0.78, 1.05 and 0.84, at 32 columns 0.76, 0.92 and 0.78, at
    /// 64 columns 0.34, 0.37 and 0.46; f64 at 10 columns 1.10, 1.29 and 0.94, at 16 columns 0.78, 1.01 and 0.84, at 64 columns
    /// 0.37, 0.37 and 0.45.
    const LONG: usize;
    /// Columns up to which every index is exact in this precision.
    const EXACT: usize;
}

impl RowsReal for f32 {
    const LONG: usize = 24;
    const EXACT: usize = 1 << 24;
}

impl RowsReal for f64 {
    const LONG: usize = 16;
    // All that class indices reach.
    const EXACT: usize = usize::MAX;
}

/// Runs a job in the way that suits it.
fn run<M: RowsLoss, P: PenaltyShape, T: RowsReal>(job: DriverJob<'_, '_, M, P, T>) -> Result<Totals> {
    let driver = job.driver;
    let columns = driver.shape.columns;
    // One margin for all classes, and no values a class.
    let is_plain = driver.margin_matrix.is_none() && !driver.request.per_class && columns <= T::EXACT;
    match (M::COMBINATION, driver.loss.ties) {
        (Combination::Sum, _) | (Combination::Max, Ties::First) if is_plain => match columns >= T::LONG {
            true => vectorize_wide(GroupsJob::<_, _, _, true>(job)),
            false => vectorize(GroupsJob::<_, _, _, false>(job)),
        },
        _ => dispatch(TilesJob(job)),
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
        let job_rows = job_samples(rows, columns);
        let job_rows = if self.request.per_class { job_rows.max(rows.div_ceil(PER_CLASS_JOBS)) } else { job_rows };
        // A mean needs a pass over labels and weights.
        let totals = || weight_totals(self.batch, columns, self.loss.ignore_index);
        let divisor = self.request.divisor_of_gradient(rows, totals)?;
        let mut outputs = Destinations::new(self.shape, 1, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let mut totals =
            run_jobs(self.shape, job_rows, losses, gradient, |job| run(DriverJob { driver: self, job, divisor }))?;
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
    let widened = batch.sample_weights.and_then(Floats::widened);
    let batch = &Batch { sample_weights: widened.as_deref().map(Floats::F32).or(batch.sample_weights), ..*batch };
    let shape = BatchShape::elementwise(batch.targets.len());
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

/// Class indices and weights of one chunk of rows; [`IGNORED`] after the last.
struct Scratch<T> {
    classes: [i32; SCRATCH],
    weights: [T; SCRATCH],
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        Self { classes: [IGNORED; SCRATCH], weights: [T::ONE; SCRATCH] }
    }
}

/// One job.
struct DriverJob<'a, 'j, M, P, T> {
    driver: &'a Driver<'a, M, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> DriverJob<'_, '_, M, P, T> {
    /// Calls `visit` with each chunk of the job's rows, counted from the job's first, and what is decoded of them.
    #[inline(always)]
    fn each_chunk(&mut self, mut visit: impl FnMut(&mut Self, Range<usize>, &Scratch<T>)) -> Result<()> {
        let driver = self.driver;
        let mut scratch = Scratch::new();
        for start in (0..self.job.samples).step_by(SCRATCH) {
            let rows = start..(start + SCRATCH).min(self.job.samples);
            let span = (self.job.start + rows.start, self.job.start + rows.end);
            decode(driver.batch, driver.shape.columns, driver.loss.ignore_index, span, &mut scratch)
                .map_err(|error| error.shifted(start as u64))?;
            scratch.classes[rows.len()..].fill(IGNORED);
            visit(self, rows, &scratch);
        }
        Ok(())
    }
}
