//! safetensors: one tensor of a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::elements::{Kind, StoredAt};
use crate::failure::{Failure, Outcome};
use crate::words::{listed, suggestion};

/// The most bytes of a header, as in the format's own library.
const MOST_HEADER: u64 = 100 << 20;

pub(super) fn open(path: &Path, name: &str) -> Outcome<(File, StoredAt)> {
    let io = |error: std::io::Error| Failure::file(path, error);
    let fail = |message: String| Failure::file(path, message);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    // A file holds the header's length, the header and then the tensors.
    let mut bytes = Vec::new();
    (&file).take(8).read_to_end(&mut bytes).map_err(io)?;
    let header = bytes.first_chunk().map_or(0, |&length| u64::from_le_bytes(length));
    if bytes.len() < 8 || header > MOST_HEADER {
        return Err(fail("no safetensors header".into()));
    }
    (&mut file).take(header).read_to_end(&mut bytes).map_err(io)?;
    let metadata: Metadata =
        serde_json::from_slice(&bytes[8..]).map_err(|error| fail(format!("no safetensors header: {error}")))?;
    let (start, promised) = (8 + header, metadata.data_len() as u64);
    let got = size.saturating_sub(start);
    if got != promised {
        return Err(fail(format!("the header promises {promised} bytes of tensors, the file holds {got}")));
    }
    let tensor = metadata.info(name).ok_or_else(|| {
        let mut names = metadata.offset_keys();
        names.sort();
        let near = suggestion(name, &names);
        fail(format!("no tensor {name:?}; it holds {}{near}", listed(&names)))
    })?;
    let kind = match tensor.dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::I8 => Kind::I8,
        Dtype::U8 => Kind::U8,
        Dtype::I16 => Kind::I16,
        Dtype::U16 => Kind::U16,
        Dtype::I32 => Kind::I32,
        Dtype::U32 => Kind::U32,
        Dtype::I64 => Kind::I64,
        Dtype::U64 => Kind::U64,
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::BF16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        other => {
            return Err(Failure::file(path, format!("tensor {name:?}: expected bool, integer or float, got {other}")));
        }
    };
    let start = start + tensor.data_offsets.0 as u64;
    Ok((file, StoredAt { kind, big_endian: false, shape: tensor.shape.clone(), start }))
}
