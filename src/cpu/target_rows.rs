//! The driver of the target rows pattern: one row of scores and one row of targets a sample.

use pulp::{Simd, WithSimd};

use crate::batch::{Batch, BatchShape};
use crate::cpu::dispatch::vectorize;
use crate::cpu::jobs::{Job, job_samples, run_jobs};
use crate::cpu::outputs::Destinations;
use crate::cpu::pairs::VectorPairs;
use crate::cpu::{HostReal, Stored, sum, weights, with_stored, wrong_device};
use crate::error::Result;
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::labels::TargetRowDecoder;
use crate::loss::penalty::with_penalty;
use crate::loss::{PairSums, PenaltyShape, RowScratch, Rule, TargetRowsLoss};
use crate::tensor::with_targets;

use super::elementwise::weight_totals;

/// Scores a block, whose targets are decoded in one go and stay in the nearest cache.
const BLOCK_SCORES: usize = 2 << 10;

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
        let job_rows = job_samples(rows, columns);
        let totals = run_jobs(self.shape, job_rows, losses, gradient, |job| {
            vectorize(DriverJob { driver: self, job, divisor })
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

impl<L: TargetRowsLoss, P: PenaltyShape, T: HostReal> WithSimd for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Result<Totals> {
        let driver = self.driver;
        let columns = driver.shape.columns;
        let range = self.job.start..self.job.start + self.job.samples;
        let mut sample_weights = vec![T::ONE; range.len()];
        weights::read(driver.batch, range.clone(), &mut sample_weights)?;
        let mut totals = Totals { count: range.len() as u64, weight_sum: sum(&sample_weights), ..Totals::default() };
        let block_rows = (BLOCK_SCORES / columns).clamp(1, range.len().max(1));
        let mut scratch = Scratch {
            targets: vec![0; block_rows * columns],
            widened: Vec::new(),
            slopes: vec![0.0; columns],
            ranks: vec![T::ZERO; columns],
            times: vec![0; columns],
        };
        let pairs = VectorPairs::new(simd, &driver.rule);
        for (number, weights) in sample_weights.chunks(block_rows).enumerate() {
            self.block(number * block_rows, weights, &pairs, &mut scratch, &mut totals)?;
        }
        Ok(totals)
    }
}

/// What a job keeps from block to block.
struct Scratch<T> {
    /// Targets of a block's rows.
    targets: Vec<i32>,
    /// Its scores, where they have to be widened.
    widened: Vec<T>,
    /// Of one row.
    slopes: Vec<f64>,
    ranks: Vec<T>,
    times: Vec<u32>,
}

impl<L: TargetRowsLoss, P: PenaltyShape, T: HostReal> DriverJob<'_, '_, L, P, T> {
    /// The job's rows from `start` on, a weight for each.
    #[inline(always)]
    fn block(
        &mut self,
        start: usize,
        weights: &[T],
        pairs: &impl PairSums<T>,
        scratch: &mut Scratch<T>,
        totals: &mut Totals,
    ) -> Result<()> {
        let driver = self.driver;
        let BatchShape { columns, target_width, .. } = driver.shape;
        let rows = self.job.start + start..self.job.start + start + weights.len();
        let targets = &mut scratch.targets[..weights.len() * columns];
        let labels = driver.batch.targets.part(rows.start * target_width..rows.end * target_width);
        let decoder = TargetRowDecoder::new(driver.loss.target_rule(), &driver.shape);
        with_targets!(labels, x => decoder.decode_rows(x, targets)
                .map_err(|error| error.shifted((start * target_width) as u64))?,
            _tensor => return Err(wrong_device(driver.batch)));
        let scores = driver.scores.read(rows.start * columns..rows.end * columns, &mut scratch.widened);
        let any_nan = scores.iter().fold(false, |any, score| any | score.is_nan());
        let class_divisor = T::from_f64(driver.loss.divisor(columns));
        let samples = scores.chunks_exact(columns).zip(targets.chunks_exact(columns)).zip(weights);
        for (offset, ((scores, targets), &weight)) in (start..).zip(samples) {
            let wanted = self.job.gradient.is_some().then(|| {
                scratch.slopes.fill(0.0);
                &mut scratch.slopes[..]
            });
            let of_row = RowScratch { slopes: wanted, ranks: &mut scratch.ranks, times: &mut scratch.times, pairs };
            let point = L::row(&driver.rule, driver.loss.ties(), scores, targets, of_row);
            let is_nan = any_nan && scores.iter().zip(targets).any(|(s, &t)| s.is_nan() && !L::is_padding(t));
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
            for (g, &slope) in gradient.iter_mut().zip(&scratch.slopes) {
                *g = T::from_f64(slope) * coefficient;
            }
        }
        Ok(())
    }
}
