//! NumPy's .npy: any order, either byte order.

use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::elements::{Array, Kind, elements};
use super::read_bytes;
use crate::failure::{Failure, Outcome};

pub(super) fn read(path: &Path) -> Outcome<Array> {
    let bytes = read_bytes(path)?;
    let fail = |message: String| Failure::file(path, message);
    let mut data = bytes.as_slice();
    let header = NpyHeader::from_reader(&mut data).map_err(|error| fail(format!("no .npy header: {error}")))?;
    let descr = header.dtype().descr();
    let DType::Plain(ty) = header.dtype() else { return Err(fail(format!("expected plain numbers, got {descr}"))) };
    let kind = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Bool, 1) => Kind::Bool,
        (TypeChar::Int, 1) => Kind::I8,
        (TypeChar::Int, 2) => Kind::I16,
        (TypeChar::Int, 4) => Kind::I32,
        (TypeChar::Int, 8) => Kind::I64,
        (TypeChar::Uint, 1) => Kind::U8,
        (TypeChar::Uint, 2) => Kind::U16,
        (TypeChar::Uint, 4) => Kind::U32,
        (TypeChar::Uint, 8) => Kind::U64,
        (TypeChar::Float, 2) => Kind::F16,
        (TypeChar::Float, 4) => Kind::F32,
        (TypeChar::Float, 8) => Kind::F64,
        _ => return Err(fail(format!("expected bool, integer or float elements, got {descr}"))),
    };
    let shape: Option<Vec<usize>> = header.shape().iter().map(|&n| usize::try_from(n).ok()).collect();
    let too_large = || fail(format!("the header's shape {:?} is too large", header.shape()));
    let shape = shape.ok_or_else(too_large)?;
    let expected = elements(&shape).and_then(|n| n.checked_mul(kind.bytes())).ok_or_else(too_large)?;
    if data.len() != expected {
        let got = data.len();
        return Err(fail(format!(
            "the header promises {expected} bytes (shape {shape:?}, {descr}), the file holds {got}"
        )));
    }
    let decoded = kind.decode(data, ty.endianness() == Endianness::Big);
    let in_rows = header.order() == Order::C || shape.len() < 2;
    Ok(Array { data: if in_rows { decoded } else { decoded.transposed(&shape) }, shape })
}
