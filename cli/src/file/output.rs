//! Output files: written under a temporary name beside their place, then renamed. Nothing half-written stays behind.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::NoUninit;
use npyz::{AutoSerialize, Serialize, WriterBuilder};
use tempfile::NamedTempFile;

use super::source::file_of;
use crate::failure::{Failure, Outcome};

/// Refuses an output that names the same file as an input or another output, however they spell it: it would overwrite it.
pub(crate) fn refuse_same_file(inputs: &[(&str, Option<&Path>)], outputs: &[(&str, Option<&Path>)]) -> Outcome<()> {
    let place = |path: &Path| Some((folder_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    let mut seen = Vec::new();
    for &(option, path) in inputs {
        let Some(file) = path.map(file_of) else { continue };
        // The name that is given, and the file that it leads to.
        let places = [place(&file), file.canonicalize().ok().as_deref().and_then(place)];
        seen.extend(places.into_iter().flatten().map(|place| (option, place)));
    }
    for &(option, path) in outputs {
        let Some(place) = path.and_then(place) else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == place) {
            return Err(Failure::usage(format!("{other} and {option} name the same file")));
        }
        seen.push((option, place));
    }
    Ok(())
}

/// The temporary files that have no name of their own yet.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is half-written, for a program that ends at once: nobody makes or publishes a file any more.
pub(crate) fn remove_unfinished() {
    let mut paths = unfinished();
    for path in paths.drain(..) {
        // What is gone already needs no removing.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(paths);
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An output that does not exist yet under its own name. Dropped before [`PendingOutput::publish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct PendingOutput {
    file: NamedTempFile,
    path: PathBuf,
    /// Bytes of the header of an array.
    start: u64,
}

impl PendingOutput {
    /// Makes the temporary file, so that an unwritable place shows before any work is done.
    pub(crate) fn new(path: &Path) -> Outcome<Self> {
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(Failure::file(path, "is a folder")),
            // Renamed over, a device would be one no more.
            Ok(there) if !there.is_file() => return Err(Failure::file(path, "is no regular file")),
            _ => {}
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".maxmargin-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any new file: the umask takes its part.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        // Held while the file is made, so that none is missed.
        let mut unfinished = unfinished();
        let file = builder.tempfile_in(folder_of(path)).map_err(|error| Failure::file(path, error))?;
        unfinished.push(file.path().into());
        Ok(Self { file, path: path.into(), start: 0 })
    }

    /// Writes bytes as they are, over what was written before.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        let write = || {
            let mut file = self.file.as_file();
            file.rewind()?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        };
        write().map_err(|error| Failure::file(&self.path, error))
    }

    /// Writes the header of an .npy array of this shape; its elements are to follow by [`PendingOutput::write_part`].
    pub(crate) fn begin<T: AutoSerialize + Serialize>(&mut self, shape: &[usize]) -> Outcome<()> {
        let wide: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let mut header = Vec::new();
        let begun = npyz::WriteOptions::<T>::new().default_dtype().shape(&wide).writer(&mut header).begin_nd();
        begun.map(drop).map_err(|error| Failure::file(&self.path, error))?;
        self.start = header.len() as u64;
        self.write_bytes(&header)
    }

    /// Writes elements of the array to their place, `first` being the first one's index.
    pub(crate) fn write_part<T: NoUninit>(&mut self, values: &[T], first: u64) -> Outcome<()> {
        let write = || {
            let mut file = self.file.as_file();
            file.seek(SeekFrom::Start(self.start + first * size_of::<T>() as u64))?;
            file.write_all(bytemuck::cast_slice(values))
        };
        write().map_err(|error| Failure::file(&self.path, error))
    }

    /// Gives the file its name.
    pub(crate) fn publish(self) -> Outcome<()> {
        let Self { file, path, .. } = self;
        let mut unfinished = unfinished();
        unfinished.retain(|path| path != file.path());
        file.persist(&path).map(drop).map_err(|error| Failure::file(&path, error.error))
    }
}
