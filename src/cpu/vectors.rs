//! The driver of the vectors pattern: two or three vectors per sample. The loss depends on their distances.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::course::Course;
use super::dispatch::{vectorize, vectorize_wide};
use super::distance::{Measure, Measured};
use super::{HostReal, Inputs, Stored};
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::{Job, job_samples};
use crate::data::shape::BatchShape;
use crate::data::tensor::with_targets;
use crate::data::weights::{self, sum};
use crate::error::{Input, Result};
use crate::loss::penalty::LinearPenalty;
use crate::loss::{
    Combined, CosineFormula, Penalty, PenaltyShape, Rule, TripletFormula, Vectors, VectorsFormula, VectorsSpec,
};

/// The two vectors of each distance: first and second, first and third, second and third.
const ENDS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

pub(super) fn evaluate<T: HostReal>(
    spec: &VectorsSpec,
    inputs: &Inputs<'_, T>,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let (batch, BatchShape { samples, columns, .. }) = (inputs.batch, inputs.shape);
    let second = inputs.scores.other(batch.scores, batch.second_scores, Input::SecondScores)?;
    let third = inputs.scores.other(batch.scores, batch.third_scores, Input::Negatives)?;
    let driver = Driver {
        spec,
        rule: Rule::new(spec.terms.margin, spec.terms.kink, spec.terms.penalty),
        vectors: [Some(inputs.scores), second, third],
        inputs,
    };
    let job_samples = job_samples(samples, spec.inputs * columns);
    let course = Course { job_samples, vectors: spec.inputs, has_correct: false };
    course.run(inputs, buffers, &|| weights::totals(batch, samples), &|job, divisor| {
        let job = DriverJob { driver: &driver, job, divisor };
        if T::COMMON { vectorize_wide(job) } else { vectorize(job) }
    })
}

struct Driver<'a, T> {
    spec: &'a VectorsSpec,
    rule: Rule<T, Penalty>,
    vectors: [Option<Stored<'a, T>>; 3],
    inputs: &'a Inputs<'a, T>,
}

impl<T: HostReal> Driver<'_, T> {
    /// The loss of a sample, given its distances.
    #[inline(always)]
    fn combine(&self, distances: [T; 3], target: T) -> Combined<T> {
        match self.spec.terms.penalty {
            Penalty::Linear => self.combine_by(&self.rule.with_shape(LinearPenalty), distances, target),
            _ => self.combine_rarely(distances, target),
        }
    }

    /// As [`Driver::combine`], with any penalty.
    #[inline(never)]
    fn combine_rarely(&self, distances: [T; 3], target: T) -> Combined<T> {
        self.combine_by(&self.rule, distances, target)
    }

    /// The only part that depends on the formula.
    #[inline(always)]
    fn combine_by(&self, rule: &Rule<T, impl PenaltyShape>, distances: [T; 3], target: T) -> Combined<T> {
        let has_third = self.spec.has_third_distance;
        match self.spec.formula {
            VectorsFormula::Triplet => TripletFormula::combine(rule, distances, has_third, target),
            VectorsFormula::Cosine => CosineFormula::combine(rule, distances, has_third, target),
        }
    }

    /// Weights and targets of samples. Not inlined, so that the loops over every type of label are compiled once.
    #[inline(never)]
    fn decode(&self, range: Range<usize>) -> Result<[Vec<T>; 2]> {
        let batch = self.inputs.batch;
        let mut sample_weights = vec![T::ONE; range.len()];
        weights::read(batch, range.clone(), &mut sample_weights)?;
        let mut signs = vec![T::ZERO; range.len()];
        if let Some(rule) = self.spec.target_rule {
            with_targets!(batch.targets.part(range), x => rule.decode(x, &mut signs)?,
                _tensor => return Err(batch.not_on_host()));
        }
        Ok([sample_weights, signs])
    }
}

/// A job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, T> {
    driver: &'a Driver<'a, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<T: HostReal> WithSimd for DriverJob<'_, '_, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Result<Totals> {
        let driver = self.driver;
        let dimensions = driver.inputs.shape.columns;
        let range = self.job.start..self.job.start + self.job.samples;
        let [sample_weights, signs] = driver.decode(range.clone())?;
        let measure = Measure { simd, distance: driver.spec.distance };
        let has_third = driver.spec.has_third_distance;
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
            let wanted = |pair: usize| pair == 0 || (pair == 1 && driver.spec.inputs == 3) || (pair == 2 && has_third);
            let mut measured = [Measured::default(); 3];
            for (pair, measured) in measured.iter_mut().enumerate().filter(|&(pair, _)| wanted(pair)) {
                *measured = measure.of(ENDS[pair].map(|end| vectors[end]));
            }
            let distances = measured.each_ref().map(|m| T::from_f64(m.distance));
            let combined = driver.combine(distances, sign);
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
            // An infinite distance that contributes to the slope has no direction.
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
