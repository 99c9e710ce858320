//! The driver of the vectors pattern: two or three vectors a sample, of which the loss sees the distances.

use pulp::{Simd, WithSimd};

use crate::batch::{Batch, BatchShape};
use crate::cpu::dispatch::vectorize_wide;
use crate::cpu::distance::{Measure, Measured};
use crate::cpu::elementwise::{other_scores, weight_totals};
use crate::cpu::jobs::{Job, job_samples, run_jobs};
use crate::cpu::outputs::Destinations;
use crate::cpu::{HostReal, Stored, sum, weights, with_stored, wrong_device};
use crate::error::{Input, Result};
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::penalty::with_penalty;
use crate::loss::{PenaltyShape, Rule, VectorsLoss};
use crate::tensor::with_targets;

/// The vectors of each distance: first and second, first and third, second and third.
const ENDS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

/// Evaluates a loss over host data.
pub(crate) fn evaluate<L: VectorsLoss>(
    loss: &L,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (first, precision) => with_penalty!(loss.terms().penalty, penalty => {
        let second = other_scores(first, batch.second_scores, Input::SecondScores)?;
        let third = other_scores(first, batch.third_scores, Input::ThirdScores)?;
        let vectors = [Some(first), second, third];
        let rule = Rule::new(loss.terms().margin, loss.terms().kink, penalty);
        Driver { loss, rule, vectors, shape, batch, request }.evaluate(precision, buffers)
    }))
}

struct Driver<'a, L, P, T> {
    loss: &'a L,
    rule: Rule<T, P>,
    vectors: [Option<Stored<'a, T>>; 3],
    shape: BatchShape,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<L: VectorsLoss, P: PenaltyShape, T: HostReal> Driver<'_, L, P, T> {
    fn evaluate(&self, precision: Precision, buffers: Buffers<'_>) -> Result<Evaluation> {
        let BatchShape { samples, columns, .. } = self.shape;
        let divisor = self.request.divisor_of_gradient(samples, || weight_totals(self.batch, samples))?;
        let mut outputs = Destinations::new(self.shape, L::INPUTS, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let job_samples = job_samples(samples, L::INPUTS * columns);
        let totals = run_jobs(self.shape, job_samples, losses, gradient, |job| {
            vectorize_wide(DriverJob { driver: self, job, divisor })
        })?;
        totals.finish(self.request, samples, false, outputs.finish(precision))
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, L, P, T> {
    driver: &'a Driver<'a, L, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<L: VectorsLoss, P: PenaltyShape, T: HostReal> WithSimd for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Result<Totals> {
        let driver = self.driver;
        let dimensions = driver.shape.columns;
        let range = self.job.start..self.job.start + self.job.samples;
        let mut sample_weights = vec![T::ONE; range.len()];
        weights::read(driver.batch, range.clone(), &mut sample_weights)?;
        let mut signs = vec![T::ZERO; range.len()];
        if let Some(rule) = L::TARGETS {
            let targets = driver.batch.targets.part(range.clone());
            with_targets!(targets, x => rule.decode(x, &mut signs)?,
                _tensor => return Err(wrong_device(driver.batch)));
        }
        let measure = Measure { simd, distance: driver.loss.distance() };
        let has_third = driver.loss.has_third_distance();
        let mut widened = [const { Vec::new() }; 3];
        let mut slopes = [const { Vec::new() }; 3];
        let mut totals = Totals { count: range.len() as u64, weight_sum: sum(&sample_weights), ..Totals::default() };
        for (offset, (&weight, &sign)) in sample_weights.iter().zip(&signs).enumerate() {
            let span = (range.start + offset) * dimensions..(range.start + offset + 1) * dimensions;
            let mut vectors: [&[T]; 3] = [&[]; 3];
            for ((vector, stored), widened) in vectors.iter_mut().zip(driver.vectors).zip(&mut widened) {
                if let Some(stored) = stored {
                    *vector = stored.read(span.clone(), widened);
                }
            }
            let wanted = |pair: usize| pair == 0 || (pair == 1 && L::INPUTS == 3) || (pair == 2 && has_third);
            let mut measured = [Measured::default(); 3];
            for (pair, measured) in measured.iter_mut().enumerate().filter(|&(pair, _)| wanted(pair)) {
                *measured = measure.of(ENDS[pair].map(|end| vectors[end]));
            }
            let distances = measured.each_ref().map(|m| T::from_f64(m.distance));
            let combined = L::combine(&driver.rule, distances, has_third, sign);
            // The distance to a vector that holds a NaN is NaN.
            let is_nan = distances.iter().any(|d| d.is_nan()) && vectors.iter().any(|x| x.iter().any(|x| x.is_nan()));
            let value = if is_nan { T::NAN } else { combined.value };
            let loss = value * weight;
            totals.sum += loss.to_f64();
            totals.active += u64::from(combined.active && !value.is_nan());
            if let Some(losses) = self.job.losses.as_deref_mut() {
                losses[offset] = loss;
            }
            let Some(first_gradient) = self.job.gradient.as_deref_mut() else { continue };
            // An infinite distance that has a part in the slope leaves no direction.
            let no_direction =
                measured.iter().zip(combined.slopes).any(|(m, slope)| m.distance.is_infinite() && slope != T::ZERO);
            let undefined = value.is_nan() || no_direction;
            slopes.iter_mut().for_each(|slopes| {
                slopes.clear();
                slopes.resize(dimensions, 0.0);
            });
            for (pair, measured) in measured.iter().enumerate().filter(|&(pair, _)| wanted(pair) && !undefined) {
                let slope = combined.slopes[pair].to_f64();
                if slope != 0.0 {
                    let [from, to] = ENDS[pair];
                    // `from` comes before `to`.
                    let (before, after) = slopes.split_at_mut(to);
                    let slopes = [&mut before[from][..], &mut after[0][..]];
                    measure.add_slopes(measured, [vectors[from], vectors[to]], slope, slopes);
                }
            }
            let coefficient = weight / self.divisor;
            let [second_gradient, third_gradient] = &mut self.job.other_gradients;
            let blocks = [Some(first_gradient), second_gradient.as_deref_mut(), third_gradient.as_deref_mut()];
            for (block, slopes) in blocks.into_iter().zip(&slopes) {
                let Some(block) = block else { continue };
                for (g, &slope) in block[offset * dimensions..][..dimensions].iter_mut().zip(slopes) {
                    *g = if undefined { T::NAN } else { T::from_f64(slope) * coefficient };
                }
            }
        }
        Ok(totals)
    }
}
