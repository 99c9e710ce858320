//! The native backend: one threaded driver per pattern, with inner loops in vectors or vectorised by the compiler.
//!
//! Code that decodes, checks and merges is compiled once per precision. Code that runs for every score is compiled per
//! formula, per penalty in its inner loop, and per instruction set if that is faster. Every f32 loss is added in f64.

use std::ops::Range;

use half::prelude::*;
use pulp::Simd;

use crate::data::batch::{Batch, mixed_types};
use crate::data::evaluation::{Buffers, Evaluation, FloatsMut, Output, Precision, Request};
use crate::data::labels::Label;
use crate::data::memory::check_room;
use crate::data::real::Real;
use crate::data::tensor::{Floats, Targets};
use crate::error::{Input, Result};
use crate::loss::Spec;

use lanes::{DoubleLanes, Lanes, Vector};

mod course;
pub(crate) mod dispatch;
mod distance;
mod elementwise;
#[cfg(any(feature = "nn", feature = "linear"))]
pub(crate) mod gemm;
mod lanes;
#[cfg(feature = "linear")]
pub(crate) mod linear;
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

/// Rows of this many columns and more: whether there is memory for what drivers keep per column is checked before.
const WIDE: usize = 1 << 20;

/// Bytes per column: an order of items (16), targets, slopes and counts.
const WIDE_BYTES: usize = 64;

fn evaluate_in<T: HostReal>(
    scores: Stored<'_, T>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let shape = spec.check_batch(batch, request)?;
    if shape.columns >= WIDE {
        check_room(shape.columns.saturating_mul(WIDE_BYTES))?;
    }
    let inputs = Inputs { scores, shape, batch, request };
    match spec {
        Spec::Elementwise(spec) => elementwise::evaluate(spec, &inputs, buffers),
        Spec::Rows(spec) => rows::evaluate(spec, &inputs, buffers),
        Spec::TargetRows(spec) => target_rows::evaluate(spec, &inputs, buffers),
        Spec::Vectors(spec) => vectors::evaluate(spec, &inputs, buffers),
    }
}

/// A checked batch in the precision of the computation, and the request.
struct Inputs<'a, T> {
    scores: Stored<'a, T>,
    shape: crate::data::shape::BatchShape,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

/// A precision in which the host computes and returns outputs.
pub(crate) trait HostReal: Real + Label + Into<f64> {
    const PRECISION: Precision;
    /// Whether the linear and the squared penalty have separate loops, and 512-bit vectors are used too.
    const COMMON: bool;
    /// Rows of class scores with at least this many columns are visited one by one: see [`rows`].
    const LONG_ROW: usize;
    /// The largest number of columns whose indices are all exact in this precision.
    const EXACT_COLUMNS: usize;
    type Lanes<S: Simd>: Vector<S, Element = Self>;
    fn output(values: Vec<Self>) -> Output;
    /// The host slice, if its elements have this type.
    fn own(floats: Floats<'_>) -> Option<&[Self]>;
    fn own_mut(floats: FloatsMut<'_>) -> Option<&mut [Self]>;
    fn own_targets(targets: Targets<'_>) -> Option<&[Self]>;
    /// Widens half precision. Both slices have the same length.
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
// f64 is exact for every class index.
host_real!(f64, F64, DoubleLanes, as_f64, convert_to_f64_slice, false, rows::LONG_IN_F64, usize::MAX);

/// Scores as they are stored: in the precision of the computation, or in half precision when computing in f32.
#[derive(Clone, Copy)]
enum Stored<'a, T> {
    Own(&'a [T]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl<'a, T: HostReal> Stored<'a, T> {
    /// Reads a range of scores. Half precision is widened into `scratch`.
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

    /// The second or third scores of a sample, which must have the type of the first.
    fn other(self, first: Floats<'a>, other: Option<Floats<'a>>, input: Input) -> Result<Option<Self>> {
        let Some(other) = other else { return Ok(None) };
        let stored = match (self, other) {
            (Stored::F16(_), Floats::F16(x)) => Some(Stored::F16(x)),
            (Stored::BF16(_), Floats::BF16(x)) => Some(Stored::BF16(x)),
            (Stored::Own(_), other) => T::own(other).map(Stored::Own),
            _ => None,
        };
        stored.map(Some).ok_or_else(|| mixed_types(input, first, other))
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
