//! NumPy's .npz archives: one array of a ZIP file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::elements::StoredAt;
use super::source::Bytes;
use super::{npy, read_all_of};
use crate::failure::{Failure, Outcome};
use crate::words::{listed, suggestion};

/// The text in an array of one string; `None` where there is no such array.
pub(super) fn text(path: &Path, name: &str) -> Outcome<Option<String>> {
    const MOST: u64 = 1 << 12;
    let fail = |error: zip::result::ZipError| Failure::file(path, error);
    let io = |error: std::io::Error| Failure::file(path, error);
    let file = File::open(path).map_err(io)?;
    let mut archive = ZipArchive::new(&file).map_err(fail)?;
    let Some(place) = archive.index_for_name(&format!("{name}.npy")) else { return Ok(None) };
    let mut bytes = Vec::new();
    archive.by_index(place).map_err(fail)?.take(MOST).read_to_end(&mut bytes).map_err(io)?;
    // Behind the header's line come the characters, of one byte or of four.
    let header = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let characters = bytes[header..].iter().filter(|byte| byte.is_ascii_graphic());
    Ok(Some(characters.map(|&byte| char::from(byte)).collect()))
}

/// Opens an array. One that is stored as it is, as `numpy.savez` does, is read from the file part by part; a compressed
/// one goes to memory. The flag is true for row-major order.
pub(super) fn open(path: &Path, name: &str) -> Outcome<(Bytes, StoredAt, bool)> {
    let io = |error: std::io::Error| Failure::file(path, error);
    let fail = |error: zip::result::ZipError| Failure::file(path, error);
    let mut file = File::open(path).map_err(io)?;
    let file_size = file.metadata().map_err(io)?.len();
    let mut archive = ZipArchive::new(&file).map_err(fail)?;
    let full = format!("{name}.npy");
    let place = archive.index_for_name(&full).or_else(|| archive.index_for_name(name)).ok_or_else(|| {
        let mut names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
        names.iter_mut().for_each(|name| *name = name.strip_suffix(".npy").unwrap_or(name).to_owned().into());
        names.sort_unstable();
        let near = suggestion(name, &names);
        Failure::file(path, format!("no array {name:?}; it holds {}{near}", listed(&names)))
    })?;
    let mut member = archive.by_index(place).map_err(fail)?;
    if member.compression() == CompressionMethod::Stored && !member.encrypted() {
        let start = member.data_start().ok_or_else(|| Failure::file(path, "an array without a place in the file"))?;
        let size = member.size();
        // Reading to the end checks the checksum.
        std::io::copy(&mut member, &mut std::io::sink()).map_err(io)?;
        drop(member);
        if start.checked_add(size).is_none_or(|end| end > file_size) {
            return Err(Failure::file(path, format!("array {name:?} does not lie within the file")));
        }
        let mut beginning = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        (&file).take(npy::MOST_BYTES.min(size)).read_to_end(&mut beginning).map_err(io)?;
        let (mut stored, in_rows) = npy::place(path, &beginning, size)?;
        stored.start += start;
        return Ok((Bytes::File(Arc::new(file)), stored, in_rows));
    }
    let all = read_all_of(&mut member, path)?;
    let beginning = &all[..all.len().min(npy::MOST_BYTES as usize)];
    let (stored, in_rows) = npy::place(path, beginning, all.len() as u64)?;
    Ok((Bytes::Memory(Arc::new(all)), stored, in_rows))
}
