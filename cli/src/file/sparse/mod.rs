//! Sparse rows in files: svmlight text (LIBSVM's format) and SciPy's CSR matrices in .npz.

mod csr;
mod svmlight;

use std::path::Path;

use maxmargin::linear::Rows;

pub(crate) use self::svmlight::Base;
use super::argument::Argument;
use crate::failure::{Failure, Outcome};

/// Columns that a file may have however few its entries are: the weights of so many take 8 MB per class.
const MOST_COLUMNS: u64 = 1 << 20;

/// Columns per entry that a file with more of them may have.
const COLUMNS_PER_ENTRY: u64 = 4;

/// Rows of which only the entries that are not 0 are stored.
#[derive(Debug)]
pub(crate) struct SparseArray {
    /// Where the entries of each row begin, and where those of the last one end.
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Values,
    pub(crate) columns: usize,
    /// The labels that svmlight text has in front of each row.
    pub(crate) labels: Option<Vec<f64>>,
}

#[derive(Debug, PartialEq)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// What a file is read for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The number of the first column in svmlight text.
    pub(crate) base: Base,
    /// Whether the labels of svmlight text are needed, and so must be whole numbers.
    pub(crate) labels: bool,
    /// The columns of the model that the rows are for.
    pub(crate) columns: Option<usize>,
}

/// Whether an argument names svmlight text, which holds labels.
pub(crate) fn has_labels(argument: &Path) -> bool {
    Argument::of_sparse(argument) == Some(Format::Svmlight)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Svmlight,
    Csr,
}

/// Reads sparse rows; `None` where the argument names a dense array.
pub(crate) fn read(argument: &Path, wanted: Wanted) -> Outcome<Option<SparseArray>> {
    match Argument::of_sparse(argument) {
        None => Ok(None),
        Some(Format::Svmlight) => svmlight::read(argument, wanted).map(Some),
        Some(Format::Csr) => csr::read(argument).map(Some),
    }
}

impl SparseArray {
    pub(crate) fn rows(&self) -> maxmargin::Result<Rows<'_>> {
        match &self.values {
            Values::F32(x) => Rows::sparse(&self.starts, &self.indices, x, self.columns),
            Values::F64(x) => Rows::sparse(&self.starts, &self.indices, x, self.columns),
        }
    }

    pub(crate) fn entries(&self) -> usize {
        self.indices.len()
    }

    /// The elements of the first rows of two columns.
    pub(crate) fn points(&self, most: usize) -> Vec<(f64, f64)> {
        let point = |ends: &[usize]| {
            let mut point = [0.0; 2];
            (ends[0]..ends[1]).for_each(|entry| point[self.indices[entry] as usize] = self.values.get(entry));
            (point[0], point[1])
        };
        self.starts.windows(2).take(most).map(point).collect()
    }
}

impl Values {
    fn get(&self, at: usize) -> f64 {
        match self {
            Self::F32(x) => x[at].into(),
            Self::F64(x) => x[at],
        }
    }

    /// The same values in half the memory, where f32 holds all of them.
    fn narrowed(self) -> Self {
        match self {
            Self::F64(x) if x.iter().all(|&x| f64::from(x as f32) == x) => {
                Self::F32(x.into_iter().map(|x| x as f32).collect())
            }
            other => other,
        }
    }
}

/// Refuses columns whose weights would need memory that the entries do not account for.
fn check_columns(path: &Path, columns: u64, entries: usize, place: &str) -> Outcome<()> {
    if columns == 0 {
        return Err(Failure::file(path, format!("{place}: expected at least one column")));
    }
    let most = MOST_COLUMNS.max(COLUMNS_PER_ENTRY.saturating_mul(entries as u64)).min(u32::MAX.into());
    if columns <= most {
        return Ok(());
    }
    let message = format!(
        "{place}: expected at most {most} columns for {entries} entries: give those that occur consecutive numbers"
    );
    Err(Failure::file(path, message))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use npyz::WriterBuilder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use crate::{UNCHECKED, read_sparse_rows};

    fn member<T: npyz::AutoSerialize + Copy>(shape: &[u64], elements: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer =
            npyz::WriteOptions::<T>::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
        writer.extend(elements.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// (0, 2, 0, 1), (0, 0, 0, 0), (3, 0, 0, 0) as SciPy saves it.
    fn archive() -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        // Stored as it is: a changed byte changes an element.
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (name, bytes) in [
            ("indptr", member(&[4], &[0i32, 2, 2, 3])),
            ("indices", member(&[3], &[1i32, 3, 0])),
            ("data", member(&[3], &[2.0f32, 1.0, 3.0])),
            ("shape", member(&[2], &[3i64, 4])),
            ("format", b"header\ncsr".to_vec()),
        ] {
            archive.start_file(format!("{name}.npy"), options).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn changed_bytes_are_read_as_rows_or_refused() {
        let text = b"+1 1:0.5 3:2 # comment\n-1 qid:2 2:1e-3\n\n2 4:-1\n".to_vec();
        for (extension, bytes) in [(".svm", text), (".npz", archive())] {
            let file = tempfile::Builder::new().suffix(extension).tempfile().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            assert_eq!(read_sparse_rows(file.path()), Ok((3, 4)), "{extension}");
            let mut state = 1u64;
            let mut next = |most: usize| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as usize % most
            };
            let (mut read, mut refused) = (0, 0);
            for _ in 0..3000 {
                let mut changed = bytes.clone();
                for _ in 0..=next(3) {
                    let at = next(changed.len());
                    changed[at] = [b'0', b':', b' ', b'\n', b'-', 0, 255, 1 << next(8)][next(8)];
                }
                changed.truncate(changed.len() - if next(10) == 0 { next(changed.len()) } else { 0 });
                std::fs::write(file.path(), &changed).unwrap();
                match read_sparse_rows(file.path()) {
                    Ok(_) => read += 1,
                    Err(message) => {
                        assert!(!message.contains(UNCHECKED), "{message}: {changed:?}");
                        refused += 1;
                    }
                }
            }
            assert!(read > 20 && refused > 500, "{extension}: {read} {refused}");
        }
    }
}
