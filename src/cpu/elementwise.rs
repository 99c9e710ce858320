//! The driver of the elementwise pattern: one score, or a pair of scores, and one target a sample.

use crate::cpu::{HostReal, Job, SCRATCH, Stored, run_jobs, sum, weights, with_stored, wrong_device};
use crate::error::{Error, Input, Result};
use crate::evaluation::{Evaluation, Outputs, Precision, Request, Totals};
use crate::loss::penalty::with_penalty;
use crate::loss::{ElementwiseLoss, PenaltyShape, Rule};
use crate::real::Real;
use crate::tensor::{Batch, BatchShape, Floats, with_targets};

/// Samples a job: large enough to hide the scheduling, small enough to balance.
const JOB: usize = 16 * SCRATCH;

/// Evaluates an elementwise loss over host data.
pub(crate) fn evaluate<L: ElementwiseLoss>(loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
    let batch_shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (scores, precision) => with_penalty!(loss.terms().penalty, shape => {
        let second = other_scores(scores, batch.second_scores, Input::SecondScores)?;
        Driver { loss, shape, scores, second, batch, request }.evaluate(batch_shape, precision)
    }))
}

/// Further scores of a sample, which have the first ones' type.
pub(super) fn other_scores<'a, T: HostReal>(
    first: Stored<'a, T>,
    other: Option<Floats<'a>>,
    input: Input,
) -> Result<Option<Stored<'a, T>>> {
    let Some(other) = other else { return Ok(None) };
    let stored = match (first, other) {
        (Stored::F16(_), Floats::F16(x)) => Some(Stored::F16(x)),
        (Stored::BF16(_), Floats::BF16(x)) => Some(Stored::BF16(x)),
        (Stored::Own(_), other) => T::own(other).map(Stored::Own),
        _ => None,
    };
    let mismatch = Error::ElementType { input, expected: "the type of the first scores", got: other.type_name() };
    stored.map(Some).ok_or(mismatch)
}

/// Count and weight sum of a batch of so many samples, its weights validated.
pub(crate) fn weight_totals(batch: &Batch<'_>, samples: usize) -> Result<Totals> {
    match batch.sample_weights {
        None => Ok(Totals { count: samples as u64, weight_sum: samples as f64, ..Totals::default() }),
        Some(Floats::F32(w)) => weights::total(w, JOB),
        Some(Floats::F64(w)) => weights::total(w, JOB),
        // Half precision was widened by crate::scores.
        Some(_) => Err(wrong_device(batch)),
    }
}

struct Driver<'a, L, P, T> {
    loss: &'a L,
    shape: P,
    scores: Stored<'a, T>,
    second: Option<Stored<'a, T>>,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<L: ElementwiseLoss, P: PenaltyShape, T: HostReal> Driver<'_, L, P, T> {
    fn evaluate(&self, batch_shape: BatchShape, precision: Precision) -> Result<Evaluation> {
        let samples = batch_shape.samples;
        let divisor = self.gradient_divisor(samples)?;
        let mut losses = self.request.losses.then(|| vec![T::ZERO; samples]);
        let mut gradient = self.request.gradient.then(|| vec![T::ZERO; samples]);
        let arch = pulp::Arch::new();
        let totals = run_jobs(batch_shape, JOB, losses.as_deref_mut(), gradient.as_deref_mut(), |job| {
            arch.dispatch(DriverJob { driver: self, job, divisor })
        })?;
        let (losses, gradient) = (losses.map(T::output), gradient.map(T::output));
        let outputs = Outputs { losses, gradient, precision, upload_time: Default::default() };
        totals.finish(self.request, samples, L::HAS_CORRECT, outputs)
    }

    /// What the gradient of the reduced value is divided by; only a weighted mean needs a pass over the weights.
    fn gradient_divisor(&self, samples: usize) -> Result<T> {
        if !self.request.divides_gradient() {
            return Ok(T::ONE);
        }
        let totals = weight_totals(self.batch, samples)?;
        totals.divisor(self.request.reduction, samples).map(T::from_f64)
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, L, P, T> {
    driver: &'a Driver<'a, L, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<L: ElementwiseLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(mut self) -> Result<Totals> {
        let terms = self.driver.loss.terms();
        let rule = Rule::new(terms.margin, terms.kink, self.driver.shape);
        let mut totals = Totals::default();
        let mut scratch = Scratch::new();
        for start in (0..self.job.samples).step_by(SCRATCH) {
            let end = (start + SCRATCH).min(self.job.samples);
            self.chunk(&rule, start, end, &mut scratch, &mut totals).map_err(|error| error.shifted(start as u64))?;
        }
        Ok(totals)
    }
}

/// The arrays of one chunk, kept in the first-level cache.
struct Scratch<T> {
    signs: [T; SCRATCH],
    differences: [T; SCRATCH],
    weights: [T; SCRATCH],
    values: [T; SCRATCH],
    /// Widened scores.
    scores: Vec<T>,
    second: Vec<T>,
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        let zeros = [T::ZERO; SCRATCH];
        Self { signs: zeros, differences: zeros, weights: zeros, values: zeros, scores: vec![], second: vec![] }
    }
}

impl<L: ElementwiseLoss, P: PenaltyShape, T: HostReal> DriverJob<'_, '_, L, P, T> {
    #[inline(always)]
    fn chunk(
        &mut self,
        rule: &Rule<T, P>,
        start: usize,
        end: usize,
        scratch: &mut Scratch<T>,
        totals: &mut Totals,
    ) -> Result<()> {
        let (first, last) = (self.job.start + start, self.job.start + end);
        let mut scores = self.driver.scores.read(first..last, &mut scratch.scores);
        if let (true, Some(second)) = (L::PAIRS, self.driver.second) {
            let differences = &mut scratch.differences[..scores.len()];
            let second = second.read(first..last, &mut scratch.second);
            for ((difference, &x1), &x2) in differences.iter_mut().zip(scores).zip(second) {
                *difference = x1 - x2;
            }
            scores = differences;
        }
        let batch = self.driver.batch;
        let signs = &mut scratch.signs[..scores.len()];
        let target_rule = self.driver.loss.target_rule();
        with_targets!(batch.targets, x => target_rule.decode(&x[first..last], signs)?,
            _tensor => return Err(wrong_device(batch)));
        let weights = &mut scratch.weights[..scores.len()];
        weights::read(batch, first..last, weights)?;
        let weights = batch.sample_weights.map(|_| &*weights);

        let values = &mut scratch.values[..scores.len()];
        let (mut active, mut correct) = (0u32, 0u32);
        match self.job.gradient.as_deref_mut() {
            None => {
                for ((value, &score), &sign) in values.iter_mut().zip(scores).zip(&*signs) {
                    let point = L::value_and_slope(rule, score, sign);
                    *value = point.value;
                    active += u32::from(point.active);
                    correct += u32::from(point.correct);
                }
            }
            Some(gradient) => {
                let gradient = &mut gradient[start..end];
                for (((value, slope), &score), &sign) in values.iter_mut().zip(&mut *gradient).zip(scores).zip(&*signs)
                {
                    let point = L::value_and_slope(rule, score, sign);
                    *value = point.value;
                    *slope = point.slope;
                    active += u32::from(point.active);
                    correct += u32::from(point.correct);
                }
                match weights {
                    None => {
                        let coefficient = T::ONE / self.divisor;
                        gradient.iter_mut().for_each(|slope| *slope = *slope * coefficient);
                    }
                    Some(weights) => {
                        for (slope, &weight) in gradient.iter_mut().zip(weights) {
                            *slope = *slope * (weight / self.divisor);
                        }
                    }
                }
            }
        }
        if let Some(weights) = weights {
            values.iter_mut().zip(weights).for_each(|(value, &weight)| *value = *value * weight);
            totals.weight_sum += sum(weights);
        } else {
            totals.weight_sum += scores.len() as f64;
        }
        totals.sum += sum(values);
        totals.count += scores.len() as u64;
        totals.active += u64::from(active);
        totals.correct += u64::from(correct);
        if let Some(losses) = self.job.losses.as_deref_mut() {
            losses[start..end].copy_from_slice(values);
        }
        Ok(())
    }
}
