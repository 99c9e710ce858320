//! Output files: written under a temporary name beside their place, then renamed. Nothing half-written stays behind.

use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use maxmargin::Output;
use npyz::{AutoSerialize, Serialize, WriterBuilder};
use tempfile::NamedTempFile;

use crate::failure::{Failure, Outcome};

/// Refuses two options that name the same file, however they spell it: the second would overwrite the first.
pub(crate) fn refuse_same_file(outputs: &[(&str, Option<&Path>)]) -> Outcome<()> {
    let place = |path: &Path| Some((folder_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    let mut seen = Vec::new();
    for (option, path) in outputs {
        let Some(place) = path.and_then(place) else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == place) {
            return Err(Failure::usage(format!("{other} and {option} name the same file")));
        }
        seen.push((option, place));
    }
    Ok(())
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
}

impl PendingOutput {
    /// Makes the temporary file, so that an unwritable place shows before any work is done.
    pub(crate) fn new(path: &Path) -> Outcome<Self> {
        if path.is_dir() {
            return Err(Failure::file(path, "is a folder"));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".maxmargin-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any new file: the umask takes its part.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder_of(path)).map_err(|error| Failure::file(path, error))?;
        Ok(Self { file, path: path.into() })
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

    /// Writes an array as .npy.
    pub(crate) fn write(&mut self, values: &Output, shape: &[usize]) -> Outcome<()> {
        let result = match values {
            Output::F32(x) => write_npy(&mut self.file, x, shape),
            Output::F64(x) => write_npy(&mut self.file, x, shape),
            other => return Err(Failure::file(&self.path, format!("cannot write {other:?}"))),
        };
        result.map_err(|error| Failure::file(&self.path, error))
    }

    /// Gives the file its name.
    pub(crate) fn publish(self) -> Outcome<()> {
        let Self { file, path } = self;
        file.persist(&path).map(drop).map_err(|error| Failure::file(&path, error.error))
    }
}

fn write_npy<T: Copy + Serialize + AutoSerialize>(
    file: &mut NamedTempFile,
    values: &[T],
    shape: &[usize],
) -> std::io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut buffered = BufWriter::new(file);
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut buffered).begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    buffered.flush()
}
