//! The driver of the target rows pattern: one row of scores and one row of targets a sample.

use crate::cpu::dispatch::dispatch;
use crate::cpu::outputs::Destinations;
use crate::cpu::{HostReal, Job, Stored, run_jobs, sum, weights, with_stored, wrong_device};
use crate::error::Result;
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::labels::TargetRowDecoder;
use crate::loss::penalty::with_penalty;
use crate::loss::{PenaltyShape, RowScratch, Rule, TargetRowsLoss};
use crate::tensor::{Batch, BatchShape, with_targets};

use super::elementwise::weight_totals;

/// Scores a job: large enough to hide the scheduling, small enough to balance.
const JOB_SCORES: usize = 16 << 10;

/// Evaluates a loss over host data.
pub(crate) fn evaluate<L: TargetRowsLoss>(
    loss: &L,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (scores, precision) => with_penalty!(loss.terms().penalty, penalty => {
        Driver::new(loss, penalty, scores, shape, batch, request).evaluate(precision, buffers)
    }))
}

struct Driver<'a, L, P, T> {
    loss: &'a L,
    rule: Rule<T, P>,
    scores: Stored<'a, T>,
    shape: BatchShape,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<'a, L: TargetRowsLoss, P: PenaltyShape, T: HostReal> Driver<'a, L, P, T> {
    fn new(
        loss: &'a L,
        penalty: P,
        scores: Stored<'a, T>,
        shape: BatchShape,
        batch: &'a Batch<'a>,
        request: &'a Request,
    ) -> Self {
        let rule = Rule::new(loss.terms().margin, loss.terms().kink, penalty);
        Self { loss, rule, scores, shape, batch, request }
    }

    fn evaluate(&self, precision: Precision, buffers: Buffers<'_>) -> Result<Evaluation> {
        let BatchShape { samples: rows, columns, .. } = self.shape;
        let divisor = self.request.divisor_of_gradient(rows, || weight_totals(self.batch, rows))?;
        let mut outputs = Destinations::new(self.shape, 1, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let job_rows = (JOB_SCORES / columns).max(1);
        let totals = run_jobs(self.shape, job_rows, losses, gradient, |job| {
            dispatch(DriverJob { driver: self, job, divisor: T::from_f64(divisor) })
        })?;
        totals.finish(self.request, rows, L::HAS_CORRECT, outputs.finish(precision))
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, L, P, T> {
    driver: &'a Driver<'a, L, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<L: TargetRowsLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(mut self) -> Result<Totals> {
        let driver = self.driver;
        let BatchShape { columns, target_width, .. } = driver.shape;
        let range = self.job.start..self.job.start + self.job.samples;
        let mut sample_weights = vec![T::ONE; range.len()];
        weights::read(driver.batch, range.clone(), &mut sample_weights)?;
        let class_divisor = T::from_f64(driver.loss.divisor(columns));
        let decoder = TargetRowDecoder::new(driver.loss.target_rule(), &driver.shape);
        let mut targets = vec![0i32; columns];
        let mut widened = Vec::new();
        let (mut slopes, mut members) = (vec![0f64; columns], vec![false; columns]);
        let mut totals = Totals { count: range.len() as u64, weight_sum: sum(&sample_weights), ..Totals::default() };
        for (offset, &weight) in sample_weights.iter().enumerate() {
            let row = range.start + offset;
            let labels = driver.batch.targets.part(row * target_width..(row + 1) * target_width);
            with_targets!(labels, x => decoder.decode_row(x, &mut targets)
                    .map_err(|error| error.shifted((offset * target_width) as u64))?,
                _tensor => return Err(wrong_device(driver.batch)));
            let scores = driver.scores.read(row * columns..(row + 1) * columns, &mut widened);
            let wanted = self.job.gradient.is_some().then(|| {
                slopes.fill(0.0);
                &mut slopes[..]
            });
            let scratch = RowScratch { slopes: wanted, members: &mut members };
            let point = L::row(&driver.rule, driver.loss.ties(), scores, &targets, scratch);
            let is_nan = scores.iter().zip(&targets).any(|(s, &t)| s.is_nan() && !L::is_padding(t));
            let value = if is_nan { T::NAN } else { T::from_f64(point.value) };
            let loss = value / class_divisor * weight;
            totals.sum += loss.to_f64();
            totals.active += u64::from(point.active && !value.is_nan());
            totals.correct += u64::from(point.correct && !is_nan);
            if let Some(losses) = self.job.losses.as_deref_mut() {
                losses[offset] = loss;
            }
            let Some(gradient) = self.job.gradient.as_deref_mut() else { continue };
            let gradient = &mut gradient[offset * columns..][..columns];
            if value.is_nan() {
                gradient.fill(T::NAN);
                continue;
            }
            let coefficient = weight / self.divisor / class_divisor;
            for (g, &slope) in gradient.iter_mut().zip(&slopes) {
                *g = T::from_f64(slope) * coefficient;
            }
        }
        Ok(totals)
    }
}
