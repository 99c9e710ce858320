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

/// Whether an argument names svmlight text, which holds labels, or another file of sparse rows; `None` for dense ones.
pub(crate) fn has_labels(argument: &Path) -> Option<bool> {
    match Argument::of_sparse(argument)? {
        Format::Svmlight => Some(true),
        Format::Csr => Some(false),
    }
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
        let value = |entry: usize| match &self.values {
            Values::F32(x) => x[entry].into(),
            Values::F64(x) => x[entry],
        };
        let point = |ends: &[usize]| {
            let mut point = [0.0; 2];
            (ends[0]..ends[1]).for_each(|entry| point[self.indices[entry] as usize] = value(entry));
            (point[0], point[1])
        };
        self.starts.windows(2).take(most).map(point).collect()
    }
}

impl Values {
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
    let most = MOST_COLUMNS.max(COLUMNS_PER_ENTRY.saturating_mul(entries as u64)).min(u32::MAX.into());
    if columns <= most {
        return Ok(());
    }
    let message = format!(
        "{place}: expected at most {most} columns for {entries} entries: give those that occur consecutive numbers"
    );
    Err(Failure::file(path, message))
}
