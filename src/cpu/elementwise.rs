//! The driver of the elementwise pattern: one score, or a pair of scores, and one target a sample.

use std::ops::Range;

use crate::cpu::dispatch::dispatch_wide;
use crate::cpu::outputs::Destinations;
use crate::cpu::{HostReal, Job, Stored, run_jobs, sum, weights, with_stored, wrong_device};
use crate::error::{Error, Input, Result};
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::penalty::with_penalty;
use crate::loss::{ElementwiseLoss, LabelEncoding, PenaltyShape, Rule, TargetRule};
use crate::tensor::{Batch, BatchShape, Floats, Targets, with_targets};

/// Samples a job: large enough to hide the scheduling, small enough to balance.
const JOB: usize = 16 << 10;

/// Samples a pass through the first-level cache: few, so that the streams of scores and labels advance together, which is
/// what hardware prefetches.
const CHUNK: usize = 512;

/// Samples of a small batch.
const FEW: usize = 32;

/// Evaluates an elementwise loss over host data.
pub(crate) fn evaluate<L: ElementwiseLoss>(
    loss: &L,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let batch_shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (scores, precision) => with_penalty!(loss.terms().penalty, shape => {
        let second = other_scores(scores, batch.second_scores, Input::SecondScores)?;
        Driver { loss, shape, scores, second, batch, request }.evaluate(batch_shape, precision, buffers)
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
    fn evaluate(&self, batch_shape: BatchShape, precision: Precision, buffers: Buffers<'_>) -> Result<Evaluation> {
        let samples = batch_shape.samples;
        // Only a weighted mean needs a pass over the weights.
        let divisor = self.request.divisor_of_gradient(samples, || weight_totals(self.batch, samples))?;
        let divisor = T::from_f64(divisor);
        let mut outputs = Destinations::new(batch_shape, 1, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let totals = run_jobs(batch_shape, JOB, losses, gradient, |job| {
            dispatch_wide(DriverJob { driver: self, job, divisor })
        })?;
        totals.finish(self.request, samples, L::HAS_CORRECT, outputs.finish(precision))
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
        let mut scratch = Scratch::default();
        // A small batch neither allocates nor clears the room of a large one.
        let (mut few, mut many) = ([T::ZERO; FEW], Vec::new());
        let values = if self.job.samples <= FEW {
            &mut few[..]
        } else {
            many.resize(CHUNK, T::ZERO);
            &mut many[..]
        };
        for start in (0..self.job.samples).step_by(CHUNK) {
            let end = (start + CHUNK).min(self.job.samples);
            let values = &mut values[..end - start];
            self.chunk(&rule, start, values, &mut scratch, &mut totals).map_err(|error| error.shifted(start as u64))?;
        }
        Ok(totals)
    }
}

/// What a chunk of the general kind needs, kept in the first-level cache. Allocated where it is used.
#[derive(Default)]
struct Scratch<T> {
    signs: Vec<T>,
    differences: Vec<T>,
    weights: Vec<T>,
    /// Widened scores.
    scores: Vec<T>,
    second: Vec<T>,
}

impl<L: ElementwiseLoss, P: PenaltyShape, T: HostReal> DriverJob<'_, '_, L, P, T> {
    #[inline(always)]
    fn chunk(
        &mut self,
        rule: &Rule<T, P>,
        start: usize,
        values: &mut [T],
        scratch: &mut Scratch<T>,
        totals: &mut Totals,
    ) -> Result<()> {
        let end = start + values.len();
        let range = self.job.start + start..self.job.start + end;
        let mut scores = self.driver.scores.read(range.clone(), &mut scratch.scores);
        if let (true, Some(second)) = (L::PAIRS, self.driver.second) {
            let second = second.read(range.clone(), &mut scratch.second);
            scratch.differences.clear();
            scratch.differences.extend(scores.iter().zip(second).map(|(&x1, &x2)| x1 - x2));
            scores = &scratch.differences;
        }
        let batch = self.driver.batch;
        let target_rule = self.driver.loss.target_rule();
        let own = T::own_targets(batch.targets).map(|x| &x[range.clone()]);
        let signs = target_rule.signs();
        // The two usual kinds of labels are read where they are, each in a loop of its own.
        let (active, correct) = match (own, batch.targets) {
            (Some(labels), _) if target_rule == TargetRule::Labels(LabelEncoding::PlusMinusOne) => {
                let sign = |label: T| (label, (label != T::ONE) & (label != -T::ONE));
                match self.walk(rule, start..end, scores, labels, sign, values) {
                    Some(counts) => counts,
                    None => return target_rule.find_bad(labels),
                }
            }
            (_, Targets::I8(x)) => {
                let labels = &x[range.clone()];
                match self.walk(rule, start..end, scores, labels, |label| signs.sign(label), values) {
                    Some(counts) => counts,
                    None => return target_rule.find_bad(labels),
                }
            }
            (_, targets) => {
                scratch.signs.resize(scores.len(), T::ZERO);
                let signs = &mut scratch.signs[..];
                with_targets!(targets.part(range.clone()), x => target_rule.decode(x, signs)?, _tensor => return Err(wrong_device(batch)));
                self.walk(rule, start..end, scores, signs, |sign| (sign, false), values).unwrap_or_default()
            }
        };
        if batch.sample_weights.is_some() {
            scratch.weights.resize(scores.len(), T::ZERO);
            weights::read(batch, range, &mut scratch.weights)?;
            let weights = &scratch.weights[..];
            if let Some(gradient) = self.job.gradient.as_deref_mut() {
                for (slope, &weight) in gradient[start..end].iter_mut().zip(weights) {
                    *slope = *slope * (weight / self.divisor);
                }
            }
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

    /// Losses and, where it is wanted, the gradient of a chunk, before sample weights; how many samples are active and how
    /// many correct. `sign_of` gives a label's sign and whether it is bad; nothing comes back where one is.
    #[inline(always)]
    fn walk<X: Copy>(
        &mut self,
        rule: &Rule<T, P>,
        range: Range<usize>,
        scores: &[T],
        labels: &[X],
        sign_of: impl Fn(X) -> (T, bool),
        values: &mut [T],
    ) -> Option<(u32, u32)> {
        let (mut active, mut correct, mut bad_seen) = (0u32, 0u32, false);
        let mut point = |score: T, label: X| {
            let (sign, is_bad) = sign_of(label);
            let point = L::value_and_slope(rule, score, sign);
            active += u32::from(point.active);
            correct += u32::from(point.correct);
            bad_seen |= is_bad;
            point
        };
        match self.job.gradient.as_deref_mut() {
            None => {
                for ((value, &score), &label) in values.iter_mut().zip(scores).zip(labels) {
                    *value = point(score, label).value;
                }
            }
            Some(gradient) => {
                // Weights are applied afterwards.
                let is_weighted = self.driver.batch.sample_weights.is_some();
                let coefficient = if is_weighted { T::ONE } else { T::ONE / self.divisor };
                let samples = values.iter_mut().zip(&mut gradient[range]).zip(scores).zip(labels);
                for (((value, slope), &score), &label) in samples {
                    let point = point(score, label);
                    *value = point.value;
                    *slope = point.slope * coefficient;
                }
            }
        }
        (!bad_seen).then_some((active, correct))
    }
}
