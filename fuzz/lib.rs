//! What all fuzz targets do: they give bytes a name and read them as the program does.

use std::cell::RefCell;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

thread_local! {
    /// A file that is written and read again and again. A process fuzzes one format.
    static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) };
}

/// Reads an array out of these bytes: in a file whose name ends in `extension`, under the name behind it. An array that is
/// read has as many elements as its shape says.
///
/// # Errors
/// Where the file cannot be written.
pub fn read(extension: &str, bytes: &[u8], within: &str) -> std::io::Result<()> {
    with_file(extension, bytes, |path| {
        let argument = PathBuf::from(format!("{}{within}", path.display()));
        if let Ok((shape, elements)) = maxmargin_cli::read_array(&argument) {
            assert_eq!(shape.iter().product::<usize>(), elements, "shape {shape:?}");
        }
    })
}

/// Reads sparse rows out of these bytes. Rows that are read are rows.
///
/// # Errors
/// Where the file cannot be written.
pub fn read_sparse_rows(extension: &str, bytes: &[u8]) -> std::io::Result<()> {
    with_file(extension, bytes, |path| {
        if let Err(message) = maxmargin_cli::read_sparse_rows(path) {
            assert!(!message.contains(maxmargin_cli::UNCHECKED), "{message}");
        }
    })
}

fn with_file(extension: &str, bytes: &[u8], read: impl FnOnce(&Path)) -> std::io::Result<()> {
    FILE.with_borrow_mut(|kept| {
        let file = match kept {
            Some(file) => file,
            None => kept.insert(tempfile::Builder::new().prefix("fuzz").suffix(extension).tempfile()?),
        };
        file.rewind()?;
        file.write_all(bytes)?;
        file.as_file().set_len(bytes.len() as u64)?;
        read(file.path());
        Ok(())
    })
}
