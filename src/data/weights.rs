//! Sample and class weights: checked, summed, and read in the precision of the computation.

use std::ops::Range;

use super::batch::Batch;
use super::evaluation::Totals;
use super::jobs::{job_samples, run_jobs};
use super::labels::{IGNORED, decode_class_indices};
use super::real::Real;
use super::shape::BatchShape;
use super::tensor::{Floats, with_targets};
use crate::error::{Error, Input, Result, number};

pub(crate) const EXPECTED: &str = "a weight of at least 0, finite in f32";

/// Checks that every weight is non-negative and finite, also in f32.
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
    // An f32 weight is printed with f32 digits: 0.1, not 0.10000000149011612.
    let value =
        if size_of::<T>() == size_of::<f32>() { number(weight.to_f64() as f32) } else { number(weight.to_f64()) };
    Error::Value { input, index: index as u64, value, expected: EXPECTED.into() }
}

/// Copies `weights` to `scratch` in the precision of the computation and checks them.
#[inline(always)]
fn decode<W: Real, T: Real>(weights: &[W], scratch: &mut [T]) -> Result<()> {
    let mut all_good = true;
    for (to, &from) in scratch.iter_mut().zip(weights) {
        *to = T::from_f64(from.to_f64());
        all_good &= is_weight(from);
    }
    if all_good { Ok(()) } else { check(weights, Input::SampleWeights) }
}

/// Reads and checks a range of a batch's sample weights into `scratch`, of the same length. Without weights it stays as
/// it is.
#[inline(always)]
pub(crate) fn read<T: Real>(batch: &Batch<'_>, range: Range<usize>, scratch: &mut [T]) -> Result<()> {
    match batch.sample_weights {
        None => Ok(()),
        Some(Floats::F32(w)) => decode(&w[range], scratch),
        Some(Floats::F64(w)) => decode(&w[range], scratch),
        // Half precision was widened earlier.
        Some(_) => Err(batch.not_on_host()),
    }
}

/// The count and the sum of all weights, which the gradient of a weighted mean needs first.
fn total<W: Real>(weights: &[W]) -> Result<Totals> {
    let shape = BatchShape::elementwise(weights.len());
    run_jobs::<W>(shape, job_samples(weights.len(), 1), None, None, &|job| {
        let weights = &weights[job.start..job.start + job.samples];
        check(weights, Input::SampleWeights)?;
        Ok(Totals { count: weights.len() as u64, weight_sum: sum(weights), ..Totals::default() })
    })
}

pub(crate) fn totals(batch: &Batch<'_>, samples: usize) -> Result<Totals> {
    match batch.sample_weights {
        None => Ok(Totals { count: samples as u64, weight_sum: samples as f64, ..Totals::default() }),
        Some(Floats::F32(w)) => total(w),
        Some(Floats::F64(w)) => total(w),
        Some(other) => other.widened().map_or_else(|| Err(batch.not_on_host()), |w| total(&w)),
    }
}

const CHUNK: usize = 1024;

/// Count and weight sum of the rows whose class index is not ignored. Checks labels and weights.
pub(crate) fn kept_totals(batch: &Batch<'_>, columns: usize, ignore_index: Option<i64>) -> Result<Totals> {
    let widened = batch.sample_weights.and_then(Floats::widened);
    let batch = &Batch { sample_weights: widened.as_deref().map(Floats::F32).or(batch.sample_weights), ..*batch };
    let shape = BatchShape::elementwise(batch.targets.len());
    run_jobs::<f64>(shape, CHUNK, None, None, &|job| {
        let (mut classes, mut weights) = ([IGNORED; CHUNK], [1.0; CHUNK]);
        let rows = job.start..job.start + job.samples;
        let classes = &mut classes[..job.samples];
        with_targets!(batch.targets.part(rows.clone()),
            x => decode_class_indices(x, columns, ignore_index, classes)?,
            _tensor => return Err(batch.not_on_host()));
        read(batch, rows, &mut weights[..job.samples])?;
        let mut totals = Totals::default();
        for (_, weight) in classes.iter().zip(&weights).filter(|&(&class, _)| class != IGNORED) {
            totals.count += 1;
            totals.weight_sum += weight;
        }
        Ok(totals)
    })
}

const LANES: usize = 16;

/// Sum over fixed lanes in f64: up to f64 rounding, the sum of f32 weights does not depend on how a batch is split.
#[inline(always)]
pub(crate) fn sum<T: Real>(values: &[T]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane += x.to_f64();
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x.to_f64();
    }
    // A tree has a shorter dependency chain than a serial loop, which matters in small batches.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}
