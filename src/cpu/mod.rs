//! The native backend: one driver a pattern, threaded, with inner loops in vectors or such that the compiler vectorises them.
//!
//! Samples are cut into jobs whose size depends on the batch alone, not on the number of threads, and the jobs' sums are merged in order:
//! the same input gives the same bits on every run. Every f32 loss is added in f64.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use half::prelude::*;
use pulp::Simd;

use crate::error::{Error, Result};
use crate::evaluation::{FloatsMut, Output, Totals};
use crate::loss::Label;
use crate::real::Real;
use crate::tensor::{Batch, BatchShape, Floats, Targets};

use lanes::{DoubleLanes, Lanes, Vector};

mod dispatch;
mod distance;
pub(crate) mod elementwise;
mod lanes;
mod outputs;
pub(crate) mod pairs;
mod prefetch;
pub(crate) mod rows;
pub(crate) mod target_rows;
mod vector_samples;
pub(crate) mod vectors;
pub(crate) mod weights;

/// Samples a job, of a batch of so many with `scores_each`: large enough to hide the scheduling, small enough to balance. Large batches have larger
/// jobs, since each begins to read at a new place: of 32 Mi samples of the binary hinge, jobs of 16 Ki take a tenth longer than
/// of 128 Ki, and larger ones as long. There are at least 256 of them, for machines of many threads.
#[inline]
fn job_samples(samples: usize, scores_each: usize) -> usize {
    let scores: usize = 1 << (samples * scores_each / 256).max(1).ilog2().clamp(14, 17);
    (scores / scores_each).max(1)
}

/// Independent partial sums of a vectorised reduction.
const LANES: usize = 16;

/// A precision that host outputs exist in.
pub(crate) trait HostReal: Real + Label + Into<f64> {
    /// Vectors of this type.
    type Lanes<S: Simd>: Vector<S, Element = Self>;
    /// Wraps a vector of this type.
    fn output(values: Vec<Self>) -> Output;
    /// Host elements of this type, where they are.
    fn own(floats: Floats<'_>) -> Option<&[Self]>;
    /// The caller's memory of this type.
    fn own_mut(floats: FloatsMut<'_>) -> Option<&mut [Self]>;
    /// Host targets of this type, where they are.
    fn own_targets(targets: Targets<'_>) -> Option<&[Self]>;
    /// Widens half precision; the slices are as long.
    fn widen(from: &(impl HalfFloatSliceExt + ?Sized), to: &mut [Self]);
}

impl HostReal for f32 {
    type Lanes<S: Simd> = Lanes<S>;
    fn output(values: Vec<Self>) -> Output {
        Output::F32(values)
    }
    fn own(floats: Floats<'_>) -> Option<&[Self]> {
        floats.as_f32()
    }
    fn own_mut(floats: FloatsMut<'_>) -> Option<&mut [Self]> {
        if let FloatsMut::F32(x) = floats { Some(x) } else { None }
    }
    fn own_targets(targets: Targets<'_>) -> Option<&[Self]> {
        if let Targets::F32(x) = targets { Some(x) } else { None }
    }
    fn widen(from: &(impl HalfFloatSliceExt + ?Sized), to: &mut [Self]) {
        from.convert_to_f32_slice(to);
    }
}

impl HostReal for f64 {
    type Lanes<S: Simd> = DoubleLanes<S>;
    fn output(values: Vec<Self>) -> Output {
        Output::F64(values)
    }
    fn own(floats: Floats<'_>) -> Option<&[Self]> {
        floats.as_f64()
    }
    fn own_mut(floats: FloatsMut<'_>) -> Option<&mut [Self]> {
        if let FloatsMut::F64(x) = floats { Some(x) } else { None }
    }
    fn own_targets(targets: Targets<'_>) -> Option<&[Self]> {
        if let Targets::F64(x) = targets { Some(x) } else { None }
    }
    fn widen(from: &(impl HalfFloatSliceExt + ?Sized), to: &mut [Self]) {
        from.convert_to_f64_slice(to);
    }
}

/// Scores as they are stored: in the precision of the computation, or half of f32's.
#[derive(Clone, Copy)]
enum Stored<'a, T> {
    Own(&'a [T]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl<'a, T: HostReal> Stored<'a, T> {
    /// A range of scores, widened into `scratch` where they have to be.
    #[inline(always)]
    fn read<'s>(self, range: Range<usize>, scratch: &'s mut Vec<T>) -> &'s [T]
    where
        'a: 's,
    {
        match self {
            Stored::Own(x) => &x[range],
            Stored::F16(x) => {
                scratch.resize(range.len(), T::ZERO);
                T::widen(&x[range], scratch);
                scratch
            }
            Stored::BF16(x) => {
                scratch.resize(range.len(), T::ZERO);
                T::widen(&x[range], scratch);
                scratch
            }
        }
    }
}

/// Calls `$body` with `$stored` bound to the scores of a batch and `$precision` to the one it is computed in; a GPU's are
/// an error.
macro_rules! with_stored {
    ($batch:expr, ($stored:ident, $precision:ident) => $body:expr) => {
        match $batch.scores {
            $crate::tensor::Floats::F32(x) => {
                let ($stored, $precision) = ($crate::cpu::Stored::<f32>::Own(x), $crate::evaluation::Precision::F32);
                $body
            }
            $crate::tensor::Floats::F16(x) => {
                let ($stored, $precision) = ($crate::cpu::Stored::<f32>::F16(x), $crate::evaluation::Precision::F32);
                $body
            }
            $crate::tensor::Floats::BF16(x) => {
                let ($stored, $precision) = ($crate::cpu::Stored::<f32>::BF16(x), $crate::evaluation::Precision::F32);
                $body
            }
            $crate::tensor::Floats::F64(x) => {
                let ($stored, $precision) = ($crate::cpu::Stored::<f64>::Own(x), $crate::evaluation::Precision::F64);
                $body
            }
            $crate::tensor::Floats::Device(_) => Err($crate::cpu::wrong_device($batch)),
        }
    };
}
use with_stored;

/// A run of samples and its part of the outputs.
struct Job<'a, T> {
    start: usize,
    samples: usize,
    losses: Option<&'a mut [T]>,
    gradient: Option<&'a mut [T]>,
    /// Where a sample is several vectors, those of the second and the third.
    other_gradients: [Option<&'a mut [T]>; 2],
}

/// Cuts the samples of a batch into jobs of `job_samples`, runs them on all threads and merges their totals in order.
///
/// The error of the lowest job wins; indices in it are made global by the jobs' starts.
#[inline]
fn run_jobs<T: Real>(
    shape: BatchShape,
    job_samples: usize,
    losses: Option<&mut [T]>,
    gradient: Option<&mut [T]>,
    run: impl Fn(Job<'_, T>) -> Result<Totals> + Sync,
) -> Result<Totals> {
    let samples = shape.samples;
    // One block a vector of the samples, most losses have one.
    let block = (samples * shape.columns).max(1);
    let mut rest = gradient;
    let gradients = [(); 3].map(|()| {
        let (first, others) = rest.take()?.split_at_mut_checked(block)?;
        rest = Some(others);
        Some(first)
    });
    let run = |job: Job<'_, T>| {
        let start = job.start;
        run(job).map_err(|error| shape.whole_index(error, start))
    };
    if samples <= job_samples {
        // Small inputs: no thread pool in the way.
        let [gradient, second, third] = gradients;
        return run(Job { start: 0, samples, losses, gradient, other_gradients: [second, third] });
    }
    let mut losses = losses.map(|x| x.chunks_mut(job_samples));
    let mut gradients = gradients.map(|x| x.map(|x| x.chunks_mut(job_samples * shape.columns)));
    let jobs = (0..samples.div_ceil(job_samples)).map(|index| {
        let [gradient, second, third] = gradients.each_mut().map(|x| x.as_mut().and_then(Iterator::next));
        Job {
            start: index * job_samples,
            samples: job_samples.min(samples - index * job_samples),
            losses: losses.as_mut().and_then(Iterator::next),
            gradient,
            other_gradients: [second, third],
        }
    });
    let parts = on_all_threads(jobs.collect(), run);
    let mut totals = Totals::default();
    for part in parts {
        totals.merge(&part?);
    }
    Ok(totals)
}

/// Runs jobs on the caller's thread and the pool's; results in the jobs' order.
///
/// The caller works too, so that small batches need not wait for another thread to wake up. A thread takes a run of
/// neighbouring jobs, long at first and shorter towards the end: their memory is then read in one stream, and no two threads
/// meet in a fresh page.
fn on_all_threads<J: Send, R: Send>(jobs: Vec<J>, run: impl Fn(J) -> R + Sync) -> Vec<R> {
    let threads = rayon::current_num_threads().min(jobs.len()).max(1);
    let places: Vec<_> = jobs.into_iter().map(|job| Mutex::new((Some(job), None))).collect();
    let next = AtomicUsize::new(0);
    let end_of_run = |start: usize| start + (places.len().saturating_sub(start) / (2 * threads)).max(1);
    let work = || {
        loop {
            let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |start| Some(end_of_run(start)));
            let start = taken.unwrap_or_else(|start| start);
            let Some(taken) = places.get(start..end_of_run(start)) else { return };
            for place in taken {
                // Nobody else has this place, so the lock is free and not poisoned.
                let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                place.1 = place.0.take().map(&run);
            }
        }
    };
    rayon::in_place_scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| work()));
        work();
    });
    let result = |place: Mutex<(Option<J>, Option<R>)>| place.into_inner().unwrap_or_else(PoisonError::into_inner).1;
    places.into_iter().filter_map(result).collect()
}

/// Sum over fixed lanes, all in f64: a sum of f32 losses is then the same, to f64's rounding, however a batch is split.
#[inline(always)]
fn sum<T: Real>(values: &[T]) -> f64 {
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
    // A tree waits less than a chain, which shows in small batches.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// The error for a device tensor that reached the CPU backend.
fn wrong_device(batch: &Batch<'_>) -> Error {
    match batch.device_tensor() {
        Some((input, tensor)) => {
            Error::WrongDevice { input, expected: tensor.gpu().name().into(), got: "the native CPU backend".into() }
        }
        None => Error::Option { option: "device", expected: "host data".into(), got: "device data".into() },
    }
}
