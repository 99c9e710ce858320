//! safetensors: one tensor of a file.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::elements::{Array, Kind};
use super::read_bytes;
use crate::failure::{Failure, Outcome};

pub(super) fn read(path: &Path, name: &str) -> Outcome<Array> {
    let bytes = read_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Failure::file(path, error))?;
    let tensor = file
        .tensor(name)
        .map_err(|_| Failure::file(path, format!("no tensor {name:?}; it holds {}", file.names().join(", "))))?;
    let kind = match tensor.dtype() {
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
    Ok(Array { shape: tensor.shape().to_vec(), data: kind.decode(tensor.data(), false) })
}
