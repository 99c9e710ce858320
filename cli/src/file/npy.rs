//! NumPy's .npy arrays: either element order, either byte order.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::elements::{Kind, StoredAt};
use super::shape::Shape;
use crate::failure::{Failure, Outcome};

/// Bytes of the longest accepted header; NumPy's own limit.
const LONGEST_HEADER: u64 = 10_000;

/// The most opening brackets in a header; plain numbers need two. Each can make the parser take three times as long.
const MOST_BRACKETS: usize = 12;

/// Refuses a header on which the parser would take forever or overflow its stack. The parser reports all other errors.
fn check_header(mut file: &File) -> std::io::Result<()> {
    let refuse = |what: String| Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    let mut bytes = Vec::new();
    file.take(LONGEST_HEADER + 12).read_to_end(&mut bytes)?;
    file.rewind()?;
    // The magic bytes, the version, and the header's length: two bytes in version 1, four in later versions.
    let (length, header) = match bytes.strip_prefix(b"\x93NUMPY") {
        Some([1, _, a, b, header @ ..]) => (u64::from(u16::from_le_bytes([*a, *b])), header),
        Some([_, _, a, b, c, d, header @ ..]) => (u64::from(u32::from_le_bytes([*a, *b, *c, *d])), header),
        _ => return Ok(()),
    };
    if length > LONGEST_HEADER {
        return refuse(format!("{length} bytes long, where at most {LONGEST_HEADER} are read"));
    }
    let brackets = header.iter().take(length as usize).filter(|byte| b"([{".contains(byte)).count();
    if brackets > MOST_BRACKETS {
        return refuse(format!("{brackets} brackets, where at most {MOST_BRACKETS} are read"));
    }
    Ok(())
}

/// Opens an array. The flag is true for row-major order.
pub(super) fn open(path: &Path) -> Outcome<(File, StoredAt, bool)> {
    let fail = |message: String| Failure::file(path, message);
    let io = |error: std::io::Error| Failure::file(path, error);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let header = check_header(&file).and_then(|()| NpyHeader::from_reader(&mut file));
    let header = header.map_err(|error| fail(format!("no .npy header: {error}")))?;
    let start = file.stream_position().map_err(io)?;
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
    let too_large = || fail(format!("the header's shape {} is too large", Shape(header.shape())));
    let shape = shape.ok_or_else(too_large)?;
    let in_rows = header.order() == Order::C || shape.len() < 2;
    let place = StoredAt { kind, big_endian: ty.endianness() == Endianness::Big, shape, start };
    let expected = place.bytes().ok_or_else(too_large)?;
    let got = size.saturating_sub(start);
    if got != expected as u64 {
        let shape = Shape(&place.shape);
        return Err(fail(format!(
            "the header promises {expected} bytes (shape {shape}, {descr}), the file holds {got}"
        )));
    }
    Ok((file, place, in_rows))
}
