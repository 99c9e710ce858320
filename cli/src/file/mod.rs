//! Arrays in files: .npy, .safetensors as FILE:TENSOR, .csv as FILE:COLUMN,COLUMN.

mod csv;
mod elements;
mod npy;
mod output;
mod safetensors;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use elements::{Array, Data};
pub(crate) use output::{PendingOutput, refuse_same_file};

use crate::failure::{Failure, Outcome};

/// Files below this size are read before a bar could be seen.
const BAR_FROM_BYTES: u64 = 64 << 20;

/// Reads the array that an argument names.
pub(crate) fn read(argument: &Path) -> Outcome<Array> {
    let text = argument.to_string_lossy();
    let split = |extension: &str| {
        let at = text.rfind(&format!("{extension}:"))? + extension.len();
        Some((PathBuf::from(&text[..at]), text[at + 1..].to_owned()))
    };
    if let Some((path, tensor)) = split(".safetensors") {
        return safetensors::read(&path, &tensor);
    }
    if let Some((path, columns)) = split(".csv") {
        return csv::read(&path, &columns);
    }
    match argument.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy::read(argument),
        Some("safetensors") => Err(Failure::usage(format!("{text}: name the tensor, as {text}:TENSOR"))),
        Some("csv") => Err(Failure::usage(format!("{text}: name the columns, as {text}:COLUMN[,COLUMN]"))),
        _ => Err(Failure::usage(format!("{text}: expected .npy, .safetensors:TENSOR or .csv:COLUMN[,COLUMN]"))),
    }
}

/// The whole file, with a bar on a terminal where it is long.
pub(crate) fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    let fail = |error: std::io::Error| Failure::file(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let bar = if size >= BAR_FROM_BYTES { ProgressBar::new(size) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(path.display().to_string());
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size as usize)
        .map_err(|_| Failure::file(path, format!("{size} bytes do not fit in memory")))?;
    bar.wrap_read(&mut file).read_to_end(&mut bytes).map_err(fail)?;
    bar.finish_and_clear();
    Ok(bytes)
}
