//! What an argument names: a file, its format, and which array or columns of it.

use std::path::{Path, PathBuf};

use super::sparse;
use crate::failure::{Failure, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Npy,
    Npz,
    Safetensors,
    /// Lines of fields.
    Text {
        delimiter: u8,
        is_compressed: bool,
    },
    Parquet,
    /// An Arrow IPC file or stream.
    Ipc,
}

const COMMA: Format = Format::Text { delimiter: b',', is_compressed: false };
const TAB: Format = Format::Text { delimiter: b'\t', is_compressed: false };

/// In lower case; names of files may have them in upper case.
const EXTENSIONS: [(&str, Format); 11] = [
    (".npy", Format::Npy),
    (".npz", Format::Npz),
    (".safetensors", Format::Safetensors),
    (".csv", COMMA),
    (".csv.gz", Format::Text { delimiter: b',', is_compressed: true }),
    (".tsv", TAB),
    (".tsv.gz", Format::Text { delimiter: b'\t', is_compressed: true }),
    (".parquet", Format::Parquet),
    (".arrow", Format::Ipc),
    (".feather", Format::Ipc),
    (".ipc", Format::Ipc),
];

/// svmlight text.
const SVMLIGHT: [&str; 3] = [".svm", ".libsvm", ".svmlight"];

#[derive(Debug, PartialEq)]
pub(super) struct Argument {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    /// The text behind the colon: the name of an array, or of columns.
    pub(super) within: String,
}

impl Argument {
    /// # Errors
    /// Usage: the argument has no known extension, or lacks the name that its format needs.
    pub(super) fn of(argument: &Path) -> Outcome<Self> {
        let text = argument.to_string_lossy();
        let (path, within) = split(argument);
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let known = EXTENSIONS.iter().find(|(extension, _)| name.ends_with(extension)).map(|&(_, format)| format);
        // /dev/stdin, or what a shell's <(...) gives.
        let is_special = || std::fs::metadata(&path).is_ok_and(|there| !there.is_file() && !there.is_dir());
        let format = match known {
            Some(format) => format,
            None if is_special() => {
                if within.is_empty() {
                    Format::Npy
                } else {
                    COMMA
                }
            }
            None if is_svmlight(&path) => {
                let message = "sparse rows are features of fit and of predict --model; here a dense array is expected";
                return Err(Failure::usage(format!("{text}: {message}")));
            }
            None => {
                return Err(Failure::usage(format!(
                    "{text}: expected .npy, .npz:ARRAY, .safetensors:TENSOR, or .csv, .tsv, .parquet or .arrow with \
                     :COLUMN[,COLUMN]"
                )));
            }
        };
        let text = path.display();
        match format {
            Format::Npy if within.is_empty() => {}
            Format::Npy => return Err(Failure::usage(format!("{text}: a .npy file holds one array, without a name"))),
            _ if !within.is_empty() => {}
            Format::Npz => return Err(Failure::usage(format!("{text}: name the array, as {text}:ARRAY"))),
            Format::Safetensors => return Err(Failure::usage(format!("{text}: name the tensor, as {text}:TENSOR"))),
            _ => return Err(Failure::usage(format!("{text}: name the columns, as {text}:COLUMN[,COLUMN]"))),
        }
        Ok(Self { path, format, within })
    }

    /// The format of sparse rows; `None` for a dense array.
    pub(super) fn of_sparse(argument: &Path) -> Option<sparse::Format> {
        let (path, within) = split(argument);
        let is_npz = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
        match (is_svmlight(argument), is_npz && within.is_empty()) {
            (true, _) => Some(sparse::Format::Svmlight),
            (false, true) => Some(sparse::Format::Csr),
            (false, false) => None,
        }
    }
}

fn is_svmlight(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    SVMLIGHT.iter().any(|extension| name.ends_with(extension))
}

/// The file that an argument names, without the name of an array in it.
pub(crate) fn file_of(argument: &Path) -> PathBuf {
    split(argument).0
}

/// Splits `FILE:NAME` at the colon behind the first known extension; without one, at the last colon behind a file that
/// is there.
fn split(argument: &Path) -> (PathBuf, String) {
    let text = argument.to_string_lossy();
    let lower = text.to_ascii_lowercase();
    let behind_extension = EXTENSIONS
        .iter()
        .filter_map(|(extension, _)| Some(lower.find(&format!("{extension}:"))? + extension.len()))
        .min();
    let behind_file = || {
        let colon = text.rfind(':')?;
        (!argument.exists() && Path::new(&text[..colon]).exists()).then_some(colon)
    };
    match behind_extension.or_else(behind_file) {
        Some(colon) => (PathBuf::from(&text[..colon]), text[colon + 1..].to_owned()),
        None => (argument.into(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_what_is_in_it() {
        for (text, path, format, within) in [
            ("a/x.npy", "a/x.npy", Format::Npy, ""),
            ("X.NPY", "X.NPY", Format::Npy, ""),
            ("x.npz:s", "x.npz", Format::Npz, "s"),
            ("w.safetensors:a.csv:b", "w.safetensors", Format::Safetensors, "a.csv:b"),
            ("x.csv:a,b", "x.csv", COMMA, "a,b"),
            ("x.csv.gz:1-3", "x.csv.gz", Format::Text { delimiter: b',', is_compressed: true }, "1-3"),
            ("x.Tsv:a:b", "x.Tsv", TAB, "a:b"),
            ("x.csv:\"p.parquet\"", "x.csv", COMMA, "\"p.parquet\""),
            ("/dev/null:0", "/dev/null", COMMA, "0"),
        ] {
            let expected = Argument { path: path.into(), format, within: within.into() };
            assert_eq!(Argument::of(Path::new(text)).unwrap(), expected, "{text}");
        }
        for (text, format) in [
            ("a/x.svm", Some(sparse::Format::Svmlight)),
            ("x.LIBSVM", Some(sparse::Format::Svmlight)),
            ("x.npz", Some(sparse::Format::Csr)),
            ("x.npz:a", None),
            ("x.npy", None),
        ] {
            assert_eq!(Argument::of_sparse(Path::new(text)), format, "{text}");
        }
        for text in ["x.svm", "x.txt", "x.csv", "x.csv:", "x.npz", "x.npy:a", "x", "x.parquet"] {
            assert!(Argument::of(Path::new(text)).is_err(), "{text}");
        }
    }
}
