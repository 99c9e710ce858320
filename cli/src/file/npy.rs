//! NumPy's .npy arrays: either element order, either byte order.

use std::io::Cursor;
use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::elements::{Kind, StoredAt};
use super::shape::Shape;
use crate::failure::{Failure, Outcome};

/// Bytes of the longest accepted header; NumPy's own limit.
const LONGEST_HEADER: u64 = 10_000;

/// The most opening brackets in a header; plain numbers need two. Each can make the parser take three times as long.
const MOST_BRACKETS: usize = 12;

/// Bytes at the beginning of a file that hold any accepted header: 12 come before the header's text.
pub(super) const MOST_BYTES: u64 = LONGEST_HEADER + 12;

/// The header without what Python 2 wrote besides, as in `(4L, 3L)` and `u'<f4'`, and only if the parser would neither
/// take forever on it nor overflow its stack. The parser reports all other errors.
fn prepared(beginning: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = beginning.to_vec();
    // The magic bytes, the version, and the header's length: two bytes in version 1, four in later versions.
    let (start, length) = match beginning.strip_prefix(b"\x93NUMPY") {
        Some([1, _, a, b, ..]) => (10, u64::from(u16::from_le_bytes([*a, *b]))),
        Some([_, _, a, b, c, d, ..]) => (12, u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        _ => return Ok(bytes),
    };
    if length > LONGEST_HEADER {
        return Err(format!("{length} bytes long, where at most {LONGEST_HEADER} are read"));
    }
    let end = (start + length as usize).min(bytes.len());
    let header = &mut bytes[start..end];
    let brackets = header.iter().filter(|byte| b"([{".contains(byte)).count();
    if brackets > MOST_BRACKETS {
        return Err(format!("{brackets} brackets, where at most {MOST_BRACKETS} are read"));
    }
    for at in 1..header.len() {
        let ends_number = header[at - 1].is_ascii_digit() && matches!(header.get(at + 1), Some(b',' | b')' | b' '));
        let begins_text = b"{,:( ".contains(&header[at - 1]) && header.get(at + 1) == Some(&b'\'');
        if header[at] == b'L' && ends_number || header[at] == b'u' && begins_text {
            header[at] = b' ';
        }
    }
    Ok(bytes)
}

/// Where the elements are in an array of `size` bytes that begins with these bytes, at least [`MOST_BYTES`] of them if
/// there are so many. The flag is true for row-major order.
pub(super) fn place(path: &Path, beginning: &[u8], size: u64) -> Outcome<(StoredAt, bool)> {
    let fail = |message: String| Failure::file(path, message);
    let mut bytes = Cursor::new(prepared(beginning).map_err(|what| fail(format!("no .npy header: {what}")))?);
    let header = NpyHeader::from_reader(&mut bytes).map_err(|error| fail(format!("no .npy header: {error}")))?;
    let start = bytes.position();
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
    Ok((place, in_rows))
}
