//! Sample and class weights: checked, summed, and read in the precision of the computation.

use std::ops::Range;

use crate::batch::{Batch, BatchShape};
use crate::cpu::jobs::{job_samples, run_jobs};
use crate::cpu::{sum, wrong_device};
use crate::error::{Error, Input, Result};
use crate::evaluation::Totals;
use crate::real::Real;
use crate::tensor::Floats;

/// What a weight may be, in words.
pub(crate) const EXPECTED: &str = "a weight of at least 0, finite in f32";

/// Checks that every weight is finite and not negative, also after rounding to f32.
pub(crate) fn check<T: Real>(weights: &[T], input: Input) -> Result<()> {
    match weights.iter().position(|w| !is_weight(*w)) {
        None => Ok(()),
        Some(index) => Err(bad(input, index, weights[index])),
    }
}

fn is_weight<T: Real>(w: T) -> bool {
    w >= T::ZERO && (w.to_f64() as f32) < f32::INFINITY
}

fn bad<T: Real>(input: Input, index: usize, weight: T) -> Error {
    // f32 digits for an f32 weight: 0.1 and not 0.10000000149011612.
    let value = if size_of::<T>() == size_of::<f32>() {
        (weight.to_f64() as f32).to_string()
    } else {
        weight.to_f64().to_string()
    };
    Error::Value { input, index: index as u64, value, expected: EXPECTED.into() }
}

/// Copies `weights` to `scratch` in the precision of the computation, and checks them.
#[inline(always)]
fn decode<W: Real, T: Real>(weights: &[W], scratch: &mut [T]) -> Result<()> {
    let mut all_good = true;
    for (to, &from) in scratch.iter_mut().zip(weights) {
        *to = T::from_f64(from.to_f64());
        all_good &= is_weight(from);
    }
    if all_good { Ok(()) } else { check(weights, Input::SampleWeights) }
}

/// Reads and checks a range of a batch's sample weights; `scratch`, as long, stays as it is where there are none.
#[inline(always)]
pub(super) fn read<T: Real>(batch: &Batch<'_>, range: Range<usize>, scratch: &mut [T]) -> Result<()> {
    match batch.sample_weights {
        None => Ok(()),
        Some(Floats::F32(w)) => decode(&w[range], scratch),
        Some(Floats::F64(w)) => decode(&w[range], scratch),
        // Half precision was widened by crate::scores.
        Some(_) => Err(wrong_device(batch)),
    }
}

/// The count and the sum of all weights: what a weighted mean's gradient must know beforehand.
pub(super) fn total<W: Real>(weights: &[W]) -> Result<Totals> {
    let shape = BatchShape::elementwise(weights.len());
    run_jobs::<W>(shape, job_samples(weights.len(), 1), None, None, |job| {
        let weights = &weights[job.start..job.start + job.samples];
        check(weights, Input::SampleWeights)?;
        Ok(Totals { count: weights.len() as u64, weight_sum: sum(weights), ..Totals::default() })
    })
}
