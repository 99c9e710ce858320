//! The native backend: one driver a pattern, threaded, with inner loops in vectors or such that the compiler vectorises them.
//!
//! Every f32 loss is added in f64.

use std::ops::Range;

use half::prelude::*;
use pulp::Simd;

use crate::batch::Batch;
use crate::error::Error;
use crate::evaluation::{FloatsMut, Output};
use crate::loss::Label;
use crate::real::Real;
use crate::tensor::{Floats, Targets};

use lanes::{DoubleLanes, Lanes, Vector};

mod dispatch;
mod distance;
pub(crate) mod elementwise;
mod jobs;
mod lanes;
mod outputs;
pub(crate) mod pairs;
mod prefetch;
pub(crate) mod rows;
pub(crate) mod target_rows;
mod vector_samples;
pub(crate) mod vectors;
pub(crate) mod weights;

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
