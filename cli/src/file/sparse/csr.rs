//! SciPy's CSR matrices: the arrays `data`, `indices`, `indptr`, `shape` and the text `format` of an .npz.

use std::path::Path;

use super::{SparseArray, Values, check_columns};
use crate::failure::{Failure, Outcome};
use crate::file::elements::{Array, Data};
use crate::file::{Shape, TextOptions, npz, read as read_array};

pub(super) fn read(path: &Path) -> Outcome<SparseArray> {
    let fail = |message: String| Failure::file(path, message);
    match npz::text(path, "format")?.as_deref() {
        Some("csr") => {}
        Some(other) => return Err(fail(format!("expected a CSR matrix, got {other}: save matrix.tocsr()"))),
        None => {
            let text = path.display();
            return Err(fail(format!("expected SciPy's CSR matrix, or the name of a dense array, as {text}:ARRAY")));
        }
    }
    let array = |name: &str| -> Outcome<Array> {
        let mut argument = path.as_os_str().to_owned();
        argument.push(format!(":{name}"));
        read_array(Path::new(&argument), TextOptions::default())
    };
    let whole = |name: &str| -> Outcome<Vec<u64>> {
        let Array { shape, data } = array(name)?;
        let numbers: Option<Vec<u64>> = match &data {
            Data::I32(x) => x.iter().map(|&x| u64::try_from(x).ok()).collect(),
            Data::I64(x) => x.iter().map(|&x| u64::try_from(x).ok()).collect(),
            Data::U64(x) => Some(x.clone()),
            _ => None,
        };
        let got = || format!("{name}: expected whole numbers, 0 or more, got shape {} of others", Shape(&shape));
        numbers.filter(|_| shape.len() == 1).ok_or_else(|| fail(got()))
    };
    let shape = whole("shape")?;
    let &[rows, columns] = &shape[..] else {
        return Err(fail(format!("shape: expected two numbers, got {}", shape.len())));
    };
    let starts = whole("indptr")?;
    let mut indices = whole("indices")?;
    let values = array("data")?.data;
    let mut values = match values {
        Data::F32(x) => Values::F32(x),
        other => Values::F64(other.to_f64()?),
    };
    let count = values.len();
    if indices.len() != count {
        return Err(fail(format!("indices: expected one for each of {count} elements of data, got {}", indices.len())));
    }
    if starts.len() as u64 != rows.saturating_add(1) {
        return Err(fail(format!("indptr: expected {} numbers for {rows} rows, got {}", rows + 1, starts.len())));
    }
    let entries = starts.last().copied().unwrap_or(0);
    if starts.first() != Some(&0) || entries > count as u64 {
        let (first, last) = (starts.first().copied().unwrap_or(0), entries);
        return Err(fail(format!("indptr: expected numbers from 0 to at most {count}, got {first} to {last}")));
    }
    if let Some(row) = starts.windows(2).position(|ends| ends[0] > ends[1]) {
        let (expected, got) = (starts[row], starts[row + 1]);
        return Err(fail(format!("indptr: row {row}: expected an end at {expected} or behind it, got {got}")));
    }
    let mut starts: Vec<usize> = starts.into_iter().map(|start| start as usize).collect();
    let entries = entries as usize;
    indices.truncate(entries);
    if let Some(place) = indices.iter().position(|&index| index >= columns) {
        let row = starts.partition_point(|&start| start <= place) - 1;
        let index = indices[place];
        return Err(fail(format!("indices: row {row}: expected a column below {columns}, got {index}")));
    }
    check_columns(path, columns, entries, &format!("shape ({rows}, {columns})"))?;
    let mut indices: Vec<u32> = indices.into_iter().map(|index| index as u32).collect();
    values.truncate(entries);
    let ascends = |ends: &[usize]| indices[ends[0]..ends[1]].is_sorted_by(|a, b| a < b);
    if !starts.windows(2).all(ascends) {
        (starts, indices, values) = in_order(&starts, &indices, &values);
    }
    Ok(SparseArray { starts, indices, values: values.narrowed(), columns: columns as usize, labels: None })
}

/// Rows whose columns ascend. Entries of one place are added up, as SciPy has it.
fn in_order(starts: &[usize], indices: &[u32], values: &Values) -> (Vec<usize>, Vec<u32>, Values) {
    let (mut all_starts, mut all_indices, mut all_values) = (vec![0], Vec::new(), Vec::new());
    for ends in starts.windows(2) {
        let first = all_indices.len();
        let mut entries: Vec<(u32, f64)> = (ends[0]..ends[1]).map(|at| (indices[at], values.get(at))).collect();
        entries.sort_by_key(|&(index, _)| index);
        for (index, value) in entries {
            if all_indices.len() > first && all_indices.last() == Some(&index) {
                all_values[all_indices.len() - 1] += value;
            } else {
                all_indices.push(index);
                all_values.push(value);
            }
        }
        all_starts.push(all_indices.len());
    }
    (all_starts, all_indices, Values::F64(all_values))
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F64(x) => x.len(),
        }
    }

    fn get(&self, at: usize) -> f64 {
        match self {
            Self::F32(x) => x[at].into(),
            Self::F64(x) => x[at],
        }
    }

    fn truncate(&mut self, count: usize) {
        match self {
            Self::F32(x) => x.truncate(count),
            Self::F64(x) => x.truncate(count),
        }
    }
}
