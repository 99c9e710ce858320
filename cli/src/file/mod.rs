//! Arrays in files: .npy, .safetensors as FILE:TENSOR, .csv, .parquet and .arrow as FILE:COLUMN,COLUMN.

mod csv;
mod elements;
mod npy;
mod output;
mod safetensors;
mod shape;
mod source;
#[cfg(feature = "arrow")]
mod table;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use elements::{Array, Data};
pub(crate) use output::{PendingOutput, refuse_same_file, remove_unfinished};
pub(crate) use shape::Shape;
pub(crate) use source::Source;

use crate::failure::{Failure, Outcome};

/// Smaller files are read before a bar could be seen.
const BAR_FROM_BYTES: u64 = 64 << 20;

pub(crate) fn read(argument: &Path) -> Outcome<Array> {
    Source::open(argument)?.read_all()
}

/// A bar for this many bytes, if there is a terminal and the bytes are many.
pub(crate) fn bar(bytes: u64, message: &str) -> ProgressBar {
    let bar = if bytes >= BAR_FROM_BYTES { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

/// The whole file. A long one shows a bar on a terminal.
pub(crate) fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    let fail = |error: std::io::Error| Failure::file(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let bar = bar(size, &path.display().to_string());
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size as usize)
        .map_err(|_| Failure::file(path, format!("{size} bytes do not fit in memory")))?;
    bar.wrap_read(&mut file).read_to_end(&mut bytes).map_err(fail)?;
    bar.finish_and_clear();
    Ok(bytes)
}
