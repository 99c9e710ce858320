//! The driver of the elementwise pattern: one score, or a pair of scores, and one target a sample.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::batch::{Batch, BatchShape, mixed_types};
use crate::cpu::dispatch::vectorize_wide;
use crate::cpu::jobs::{Job, job_samples, run_jobs};
use crate::cpu::outputs::Destinations;
use crate::cpu::vector_samples::{APART, Samples};
use crate::cpu::{HostReal, Stored, sum, weights, with_stored, wrong_device};
use crate::error::{Input, Result};
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::penalty::with_penalty;
use crate::loss::{ElementwiseLoss, LabelEncoding, PenaltyShape, Rule, TargetRule};
use crate::tensor::{Floats, with_targets};

/// Samples whose labels, weights or half precision are decoded before they are walked over: into the second-level cache, since
/// shorter runs are read from one place.
const CHUNK: usize = 8 << 10;
const _: () = assert!(CHUNK * size_of::<f32>() >= 2 * APART);

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
#[inline(always)]
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
    stored.map(Some).ok_or_else(|| mixed_types(input, other))
}

/// Count and weight sum of a batch of so many samples, its weights validated.
pub(crate) fn weight_totals(batch: &Batch<'_>, samples: usize) -> Result<Totals> {
    match batch.sample_weights {
        None => Ok(Totals { count: samples as u64, weight_sum: samples as f64, ..Totals::default() }),
        Some(Floats::F32(w)) => weights::total(w),
        Some(Floats::F64(w)) => weights::total(w),
        Some(other) => other.widened().map_or_else(|| Err(wrong_device(batch)), |w| weights::total(&w)),
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
        let mut outputs = Destinations::new(batch_shape, 1, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let totals = run_jobs(batch_shape, job_samples(samples, 1), losses, gradient, |job| {
            vectorize_wide(DriverJob { driver: self, job, divisor })
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

impl<L: ElementwiseLoss, P: PenaltyShape, T: HostReal> WithSimd for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut scratch = Scratch::default();
        let chunk = if self.needs_scratch() { CHUNK } else { self.job.samples.max(1) };
        for start in (0..self.job.samples).step_by(chunk) {
            let range = start..(start + chunk).min(self.job.samples);
            self.chunk(simd, range, &mut scratch, &mut totals).map_err(|error| error.shifted(start as u64))?;
        }
        Ok(totals)
    }
}

/// What a chunk of the general kind needs. Allocated where it is used.
struct Scratch<T> {
    /// The signs of a small batch.
    few: [T; FEW],
    signs: Vec<T>,
    differences: Vec<T>,
    weights: Vec<T>,
    /// Widened scores.
    scores: Vec<T>,
    second: Vec<T>,
}

impl<T: HostReal> Default for Scratch<T> {
    #[inline(always)]
    fn default() -> Self {
        let [signs, differences, weights, scores, second] = [(); 5].map(|()| Vec::new());
        Self { few: [T::ZERO; FEW], signs, differences, weights, scores, second }
    }
}

impl<'d, L: ElementwiseLoss, P: PenaltyShape, T: HostReal> DriverJob<'d, '_, L, P, T> {
    /// Targets that need no decoding: they are read, and checked, where they are.
    fn own_targets(&self) -> Option<&'d [T]> {
        let needs_decoding = self.driver.loss.target_rule() == TargetRule::Labels(LabelEncoding::ZeroOne);
        T::own_targets(self.driver.batch.targets).filter(|_| !needs_decoding)
    }

    /// Whether anything must be decoded before it is walked over.
    fn needs_scratch(&self) -> bool {
        let is_own = matches!(self.driver.scores, Stored::Own(_)) && self.own_targets().is_some();
        !is_own || L::PAIRS || self.driver.batch.sample_weights.is_some()
    }

    /// Adds a range of the job's samples.
    #[inline(always)]
    fn chunk<S: Simd>(
        &mut self,
        simd: S,
        of_job: Range<usize>,
        scratch: &mut Scratch<T>,
        totals: &mut Totals,
    ) -> Result<()> {
        let range = self.job.start + of_job.start..self.job.start + of_job.end;
        let mut scores = self.driver.scores.read(range.clone(), &mut scratch.scores);
        if let (true, Some(second)) = (L::PAIRS, self.driver.second) {
            let second = second.read(range.clone(), &mut scratch.second);
            scratch.differences.clear();
            scratch.differences.extend(scores.iter().zip(second).map(|(&x1, &x2)| x1 - x2));
            scores = &scratch.differences;
        }
        let batch = self.driver.batch;
        let target_rule = self.driver.loss.target_rule();
        let own = self.own_targets().map(|x| &x[range.clone()]);
        let targets = match own {
            Some(own) => own,
            None => {
                let signs = if scores.len() <= FEW {
                    &mut scratch.few[..scores.len()]
                } else {
                    scratch.signs.resize(scores.len(), T::ZERO);
                    &mut scratch.signs[..]
                };
                with_targets!(batch.targets.part(range.clone()), x => target_rule.decode(x, signs)?,
                    _tensor => return Err(wrong_device(batch)));
                signs
            }
        };
        let weights = match batch.sample_weights {
            None => None,
            Some(_) => {
                scratch.weights.resize(scores.len(), T::ZERO);
                if let Err(error) = weights::read(batch, range, &mut scratch.weights) {
                    // Bad targets come first, of whatever type.
                    own.map_or(Ok(()), |own| target_rule.find_bad(own))?;
                    return Err(error);
                }
                Some(&scratch.weights[..])
            }
        };
        let losses = self.job.losses.as_deref_mut().map(|x| &mut x[of_job.clone()]);
        let gradient = self.job.gradient.as_deref_mut().map(|x| &mut x[of_job]);
        let terms = self.driver.loss.terms();
        let samples = Samples::<L, P, T> {
            loss: self.driver.loss,
            rule: Rule::new(terms.margin, terms.kink, self.driver.shape),
            scores,
            targets,
            weights,
            losses,
            gradient,
            divisor: self.divisor,
        };
        let sums = samples.sums(simd);
        if let (Some(own), true) = (own, sums.has_bad_target) {
            target_rule.find_bad(own)?;
        }
        totals.sum += sums.loss;
        totals.active += sums.active;
        totals.correct += sums.correct;
        totals.count += scores.len() as u64;
        totals.weight_sum += weights.map_or(scores.len() as f64, sum);
        Ok(())
    }
}
