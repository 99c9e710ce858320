//! Arrays in files: .npy; .npz and .safetensors as FILE:NAME; .csv, .tsv, .parquet and .arrow as FILE:COLUMN,COLUMN. Sparse
//! rows: svmlight text, and .npz without a name.

mod argument;
mod columns;
mod csv;
mod elements;
mod npy;
mod npz;
mod output;
mod safetensors;
mod shape;
mod source;
pub(crate) mod sparse;
#[cfg(feature = "arrow")]
mod table;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

pub(crate) use argument::file_of;
pub(crate) use csv::TextOptions;
pub(crate) use elements::{Array, Data};
pub(crate) use output::{PendingOutput, pending, publish_all, publish_each, refuse_same_file, remove_unfinished};
pub(crate) use shape::Shape;
pub(crate) use source::Source;

use crate::failure::{Failure, Outcome};
use crate::progress;

pub(crate) fn read(argument: &Path, options: TextOptions) -> Outcome<Array> {
    Source::open(argument, options)?.read_all()
}

/// Whether an output is to be text.
pub(crate) fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// The columns of features of this shape: the product of all axes but the first.
pub(crate) fn feature_columns(path: &Path, shape: &[usize]) -> Outcome<usize> {
    let mut rest = shape.iter().skip(1);
    let columns = rest.try_fold(1usize, |product, &axis| product.checked_mul(axis)).filter(|&columns| columns > 0);
    columns.ok_or_else(|| Failure::file(path, format!("features: expected shape (N, D), got {}", Shape(shape))))
}

/// The whole file. A long one shows a bar on a terminal.
pub(crate) fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    let fail = |error: std::io::Error| Failure::file(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let bar = progress::bytes(size, &format!("reading {}", path.display()));
    let bytes = read_all_of(&mut bar.wrap_read(&mut file), path)?;
    bar.finish_and_clear();
    Ok(bytes)
}

/// All bytes of a reader, however many: those that do not fit in memory are an error.
fn read_all_of(reader: &mut dyn Read, path: &Path) -> Outcome<Vec<u8>> {
    const PART: usize = 1 << 20;
    let (mut bytes, mut filled) = (Vec::new(), 0);
    loop {
        if filled == bytes.len() {
            let no_memory = |_| Failure::file(path, format!("more than {filled} bytes do not fit in memory"));
            bytes.try_reserve(PART).map_err(no_memory)?;
            // All that was reserved; growth is geometric.
            bytes.resize(bytes.capacity(), 0);
        }
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::file(path, error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
