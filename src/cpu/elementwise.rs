//! The driver of the elementwise pattern: one score, or a pair of scores, and one target per sample.

use std::ops::Range;

use super::course::Course;
use super::dispatch::dispatch;
use super::vector_samples::{APART, Samples};
use super::{HostReal, Inputs, Stored};
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::{Job, job_samples};
use crate::data::labels::{LabelEncoding, TargetRule};
use crate::data::tensor::with_targets;
use crate::data::weights::{self, sum};
use crate::error::{Input, Result};
use crate::loss::ElementwiseSpec;

/// Samples decoded at a time, into the second-level cache. A shorter run is read from one place only ([`APART`]).
const CHUNK: usize = 8 << 10;
const _: () = assert!(CHUNK * size_of::<f32>() >= 2 * APART);

/// Up to this many samples, the signs need no allocation.
const FEW: usize = 32;

pub(super) fn evaluate<T: HostReal>(
    spec: &ElementwiseSpec,
    inputs: &Inputs<'_, T>,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let (batch, samples) = (inputs.batch, inputs.shape.samples);
    let second = inputs.scores.other(batch.scores, batch.second_scores, Input::SecondScores)?;
    let course = Course { job_samples: job_samples(samples, 1), vectors: 1, has_correct: spec.has_correct };
    // Only a weighted mean needs a pass over the weights.
    course.run(inputs, buffers, &|| weights::totals(batch, samples), &|job, divisor| {
        DriverJob { spec, inputs, second, job, divisor }.run()
    })
}

struct DriverJob<'a, 'j, T> {
    spec: &'a ElementwiseSpec,
    inputs: &'a Inputs<'a, T>,
    second: Option<Stored<'a, T>>,
    job: Job<'j, T>,
    divisor: T,
}

/// Buffers for chunks that must be decoded. Allocated only when used.
struct Scratch<T> {
    /// The signs of a small batch.
    few: [T; FEW],
    signs: Vec<T>,
    differences: Vec<T>,
    weights: Vec<T>,
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

impl<'a, T: HostReal> DriverJob<'a, '_, T> {
    fn run(mut self) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut scratch = Scratch::default();
        let chunk = if self.needs_scratch() { CHUNK } else { self.job.samples.max(1) };
        for start in (0..self.job.samples).step_by(chunk) {
            let range = start..(start + chunk).min(self.job.samples);
            self.chunk(range, &mut scratch, &mut totals).map_err(|error| error.shifted(start as u64))?;
        }
        Ok(totals)
    }

    /// The targets, if they need no decoding. They are then read and checked in place.
    fn own_targets(&self) -> Option<&'a [T]> {
        let needs_decoding = self.spec.target_rule == TargetRule::Labels(LabelEncoding::ZeroOne);
        T::own_targets(self.inputs.batch.targets).filter(|_| !needs_decoding)
    }

    fn needs_scratch(&self) -> bool {
        let is_own = matches!(self.inputs.scores, Stored::Own(_)) && self.own_targets().is_some();
        !is_own || self.spec.pairs || self.inputs.batch.sample_weights.is_some()
    }

    #[inline(always)]
    fn chunk(&mut self, of_job: Range<usize>, scratch: &mut Scratch<T>, totals: &mut Totals) -> Result<()> {
        let batch = self.inputs.batch;
        let range = self.job.start + of_job.start..self.job.start + of_job.end;
        let mut scores = self.inputs.scores.read(range.clone(), &mut scratch.scores);
        if let (true, Some(second)) = (self.spec.pairs, self.second) {
            let second = second.read(range.clone(), &mut scratch.second);
            scratch.differences.resize(scores.len(), T::ZERO);
            let differences = &mut scratch.differences[..];
            dispatch(
                #[inline(always)]
                || subtract(differences, scores, second),
            );
            scores = &scratch.differences;
        }
        let target_rule = self.spec.target_rule;
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
                dispatch(
                    #[inline(always)]
                    || {
                        with_targets!(batch.targets.part(range.clone()), x => target_rule.decode(x, signs),
                            _tensor => Err(batch.not_on_host()))
                    },
                )?;
                signs
            }
        };
        let weights = match batch.sample_weights {
            None => None,
            Some(_) => {
                scratch.weights.resize(scores.len(), T::ZERO);
                let read = dispatch(
                    #[inline(always)]
                    || weights::read(batch, range.clone(), &mut scratch.weights),
                );
                if let Err(error) = read {
                    // Bad targets are reported first, whatever their type.
                    own.map_or(Ok(()), |own| target_rule.find_bad(own))?;
                    return Err(error);
                }
                Some(&scratch.weights[..])
            }
        };
        let samples = Samples {
            formula: self.spec.formula,
            terms: self.spec.terms,
            scores,
            targets,
            weights,
            losses: self.job.losses.as_deref_mut().map(|x| &mut x[of_job.clone()]),
            gradient: self.job.gradient.as_deref_mut().map(|x| &mut x[of_job]),
            divisor: self.divisor,
        };
        let sums = samples.sums();
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

/// Writes the differences of two slices of equal length. A function, so that the compiler knows that none overlap.
#[inline(always)]
fn subtract<T: HostReal>(differences: &mut [T], first: &[T], second: &[T]) {
    for (to, (&x1, &x2)) in differences.iter_mut().zip(first.iter().zip(second)) {
        *to = x1 - x2;
    }
}
