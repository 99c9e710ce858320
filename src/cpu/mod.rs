//! The native backend: one driver a pattern, threaded, with inner loops in vectors or such that the compiler vectorises them.
//!
//! What is decoded, checked and merged is compiled once for each precision. What runs for every score is compiled for each
//! formula, for the penalties that it meets in its inner loop, and for each instruction set where that gains.
//! Every f32 loss is added in f64.

use std::ops::Range;

use half::prelude::*;
use pulp::Simd;

use crate::data::batch::{Batch, mixed_types};
use crate::data::evaluation::{Buffers, Evaluation, FloatsMut, Output, Precision, Request};
use crate::data::labels::Label;
use crate::data::real::Real;
use crate::data::tensor::{Floats, Targets};
use crate::error::{Input, Result};
use crate::loss::Spec;

use lanes::{DoubleLanes, Lanes, Vector};

mod course;
mod dispatch;
mod distance;
mod elementwise;
mod lanes;
#[cfg(feature = "nn")]
pub(crate) mod network;
mod outputs;
mod pairs;
mod prefetch;
mod rows;
mod target_rows;
mod vector_samples;
mod vectors;

/// Evaluates a loss over host data.
///
/// # Errors
/// As [`crate::Device::evaluate_into`].
// Never inlined: a caller in another crate would compile the drivers again.
#[inline(never)]
pub(crate) fn evaluate(
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    match batch.scores {
        Floats::F32(x) => evaluate_in(Stored::<f32>::Own(x), spec, batch, request, buffers),
        Floats::F16(x) => evaluate_in(Stored::<f32>::F16(x), spec, batch, request, buffers),
        Floats::BF16(x) => evaluate_in(Stored::<f32>::BF16(x), spec, batch, request, buffers),
        Floats::F64(x) => evaluate_in(Stored::<f64>::Own(x), spec, batch, request, buffers),
        Floats::Device(_) => spec.check_batch(batch, request).and(Err(batch.not_on_host())),
    }
}

/// Hands over to the driver of the loss's pattern.
fn evaluate_in<T: HostReal>(
    scores: Stored<'_, T>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let shape = spec.check_batch(batch, request)?;
    let inputs = Inputs { scores, shape, batch, request };
    match spec {
        Spec::Elementwise(spec) => elementwise::evaluate(spec, &inputs, buffers),
        Spec::Rows(spec) => rows::evaluate(spec, &inputs, buffers),
        Spec::TargetRows(spec) => target_rows::evaluate(spec, &inputs, buffers),
        Spec::Vectors(spec) => vectors::evaluate(spec, &inputs, buffers),
    }
}

/// A checked batch in the precision of the computation, and what is asked of it.
struct Inputs<'a, T> {
    scores: Stored<'a, T>,
    shape: crate::data::shape::BatchShape,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

/// A precision that host outputs exist in.
pub(crate) trait HostReal: Real + Label + Into<f64> {
    /// Its name.
    const PRECISION: Precision;
    /// Whether it is so common that the linear and the squared penalty have loops of their own, and 512-bit vectors too.
    const COMMON: bool;
    /// Columns from which on a row of class scores goes by itself: see [`rows`].
    const LONG_ROW: usize;
    /// Columns up to which every index is exact in this precision.
    const EXACT_COLUMNS: usize;
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

macro_rules! host_real {
    ($t:ty, $variant:ident, $lanes:ident, $own:ident, $widen:ident, $common:literal, $long:expr, $exact:expr) => {
        impl HostReal for $t {
            const PRECISION: Precision = Precision::$variant;
            const COMMON: bool = $common;
            const LONG_ROW: usize = $long;
            const EXACT_COLUMNS: usize = $exact;
            type Lanes<S: Simd> = $lanes<S>;
            fn output(values: Vec<Self>) -> Output {
                Output::$variant(values)
            }
            fn own(floats: Floats<'_>) -> Option<&[Self]> {
                floats.$own()
            }
            fn own_mut(floats: FloatsMut<'_>) -> Option<&mut [Self]> {
                if let FloatsMut::$variant(x) = floats { Some(x) } else { None }
            }
            fn own_targets(targets: Targets<'_>) -> Option<&[Self]> {
                if let Targets::$variant(x) = targets { Some(x) } else { None }
            }
            fn widen(from: &(impl HalfFloatSliceExt + ?Sized), to: &mut [Self]) {
                from.$widen(to);
            }
        }
    };
}
host_real!(f32, F32, Lanes, as_f32, convert_to_f32_slice, true, rows::LONG_IN_F32, 1 << 24);
// All columns that class indices reach.
host_real!(f64, F64, DoubleLanes, as_f64, convert_to_f64_slice, false, rows::LONG_IN_F64, usize::MAX);

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
            Stored::F16(x) => widen(&x[range], scratch),
            Stored::BF16(x) => widen(&x[range], scratch),
        }
    }

    /// Further scores of a sample, which have the first ones' type.
    fn other(self, other: Option<Floats<'a>>, input: Input) -> Result<Option<Self>> {
        let Some(other) = other else { return Ok(None) };
        let stored = match (self, other) {
            (Stored::F16(_), Floats::F16(x)) => Some(Stored::F16(x)),
            (Stored::BF16(_), Floats::BF16(x)) => Some(Stored::BF16(x)),
            (Stored::Own(_), other) => T::own(other).map(Stored::Own),
            _ => None,
        };
        stored.map(Some).ok_or_else(|| mixed_types(input, other))
    }
}

#[inline(never)]
fn widen<'s, H, T: HostReal>(from: &[H], scratch: &'s mut Vec<T>) -> &'s [T]
where
    [H]: HalfFloatSliceExt,
{
    scratch.resize(from.len(), T::ZERO);
    T::widen(from, scratch);
    scratch
}
