//! Output files. They are written under a temporary name in the same folder and then renamed, so that no half-written
//! file stays behind.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::NoUninit;
use npyz::{AutoSerialize, Serialize, WriterBuilder};
use tempfile::NamedTempFile;

use super::argument::file_of;
use crate::failure::{Failure, Outcome};

/// Refuses an output that would overwrite an input or another output, even if the paths are spelled differently.
pub(crate) fn refuse_same_file(inputs: &[(&str, Option<&Path>)], outputs: &[(&str, Option<&Path>)]) -> Outcome<()> {
    let place = |path: &Path| Some((folder_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    let mut seen = Vec::new();
    for &(option, path) in inputs {
        let Some(file) = path.map(file_of) else { continue };
        // The given name, and the file that it links to.
        let places = [place(&file), file.canonicalize().ok().as_deref().and_then(place)];
        seen.extend(places.into_iter().flatten().map(|place| (option, place)));
    }
    for &(option, path) in outputs {
        let Some(path) = path else { continue };
        // A link is written through.
        let places: Vec<_> =
            [place(path), path.canonicalize().ok().as_deref().and_then(place)].into_iter().flatten().collect();
        if let Some((other, _)) = seen.iter().find(|(_, taken)| places.contains(taken)) {
            return Err(Failure::usage(format!("{other} and {option} name the same file")));
        }
        seen.extend(places.into_iter().map(|place| (option, place)));
    }
    Ok(())
}

/// The temporary files that are not yet renamed.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes half-written files before an immediate exit. The lock stays held, so that no other thread makes or renames a
/// file afterwards.
pub(crate) fn remove_unfinished() {
    let mut paths = unfinished();
    for path in paths.drain(..) {
        // A file that no longer exists needs no removing.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(paths);
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An output file that still has its temporary name. If dropped before [`PendingOutput::publish`], it leaves nothing
/// behind.
#[derive(Debug)]
pub(crate) struct PendingOutput {
    file: NamedTempFile,
    path: PathBuf,
    /// Size of the array's header in bytes; the elements begin behind it.
    start: u64,
}

impl PendingOutput {
    /// Creates the temporary file of an option's output, so that an unwritable place shows before any work is done. A link
    /// is followed, so that the file it leads to is replaced and not the link.
    ///
    /// # Errors
    /// Usage: the name does not end in one of `extensions`.
    pub(crate) fn new(option: &str, path: &Path, extensions: &[&str]) -> Outcome<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let linked = path.is_symlink().then(|| path.canonicalize().ok()).flatten();
        let path = linked.as_deref().unwrap_or(path);
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(Failure::file(path, "is a folder")),
            // A rename would replace a special file, such as /dev/null, by a regular one.
            Ok(there) if !there.is_file() => return Err(Failure::file(path, "is not a regular file")),
            _ => {}
        }
        if !extensions.iter().any(|extension| name.ends_with(extension)) {
            let expected = extensions.join(" or ");
            return Err(Failure::usage(format!(
                "{option} {}: expected a name that ends in {expected}",
                path.display()
            )));
        }
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(Failure::data(format!("{option} {}: there is no folder {}", path.display(), folder.display())));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".maxmargin-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The permissions of any new file: the umask applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        // The lock is held while the file is made, so that `remove_unfinished` misses none.
        let mut unfinished = unfinished();
        let file = builder.tempfile_in(folder).map_err(|error| {
            // The temporary name is not the user's.
            let text = error.to_string();
            Failure::file(path, text.split(" at path ").next().unwrap_or_default())
        })?;
        unfinished.push(file.path().into());
        Ok(Self { file, path: path.into(), start: 0 })
    }

    /// Replaces the content of the file.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        let write = || {
            let mut file = self.file.as_file();
            file.rewind()?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        };
        write().map_err(|error| Failure::file(&self.path, error))
    }

    /// Writes the header of an .npy array of this shape. [`PendingOutput::write_part`] writes the elements.
    pub(crate) fn begin<T: AutoSerialize + Serialize>(&mut self, shape: &[usize]) -> Outcome<()> {
        let wide: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let mut header = Vec::new();
        let begun = npyz::WriteOptions::<T>::new().default_dtype().shape(&wide).writer(&mut header).begin_nd();
        begun.map(drop).map_err(|error| Failure::file(&self.path, error))?;
        self.start = header.len() as u64;
        self.write_bytes(&header)
    }

    /// Writes elements of the array to their place; `first` is the index of the first of them.
    pub(crate) fn write_part<T: NoUninit>(&mut self, values: &[T], first: u64) -> Outcome<()> {
        let write = || {
            let mut file = self.file.as_file();
            file.seek(SeekFrom::Start(self.start + first * size_of::<T>() as u64))?;
            file.write_all(bytemuck::cast_slice(values))
        };
        write().map_err(|error| Failure::file(&self.path, error))
    }

    /// Whether the file is there under its name already.
    fn is_there(&self) -> bool {
        self.path.exists()
    }

    fn publish(self) -> Outcome<PathBuf> {
        let Self { file, path, .. } = self;
        let mut unfinished = unfinished();
        unfinished.retain(|path| path != file.path());
        file.persist(&path).map_err(|error| Failure::file(&path, error.error))?;
        Ok(path)
    }
}

/// The output of an option that may be missing.
pub(crate) fn pending(option: &str, path: &Option<PathBuf>, extensions: &[&str]) -> Outcome<Option<PendingOutput>> {
    path.as_deref().map(|path| PendingOutput::new(option, path, extensions)).transpose()
}

/// Gives complete files their names. If one cannot have its name, those that are new are removed again.
pub(crate) fn publish_all(outputs: impl IntoIterator<Item = PendingOutput>) -> Outcome<()> {
    let mut new = Vec::new();
    for output in outputs {
        let was_there = output.is_there();
        match output.publish() {
            Ok(path) if !was_there => new.push(path),
            Ok(_) => {}
            Err(failure) => {
                for path in new {
                    // The first failure is the one to report.
                    let _ = std::fs::remove_file(path);
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Gives each complete file its name, if that can be done, and returns the paths of those that have it.
pub(crate) fn publish_each(outputs: impl IntoIterator<Item = PendingOutput>) -> (Vec<PathBuf>, Option<Failure>) {
    let (mut written, mut failed) = (Vec::new(), None);
    for output in outputs {
        match output.publish() {
            Ok(path) => written.push(path),
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    (written, failed)
}
