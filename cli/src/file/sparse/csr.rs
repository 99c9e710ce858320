//! SciPy's CSR matrices: the arrays `data`, `indices`, `indptr`, `shape` and the text `format` of an .npz.

use std::path::Path;

use super::{SparseArray, Values, check_columns};
use crate::failure::{Failure, Outcome};
use crate::file::elements::{Array, Data};
use crate::file::{Shape, TextOptions, npz, read as read_array};

pub(super) fn read(path: &Path) -> Outcome<SparseArray> {
    let fail = |message: String| Failure::file(path, message);
    let format = npz::text(path, "format")?.filter(|text| text.len() == 3);
    match format.as_deref() {
        Some("csr") => {}
        Some(other) => return Err(fail(format!("expected a CSR matrix, got {other:?}: save matrix.tocsr()"))),
        None => {
            let text = path.display();
            return Err(fail(format!("expected SciPy's CSR matrix, or the name of a dense array, as {text}:ARRAY")));
        }
    }
    let array = |name: &str| -> Outcome<Data> {
        let mut argument = path.as_os_str().to_owned();
        argument.push(format!(":{name}"));
        let Array { shape, data } = read_array(Path::new(&argument), TextOptions::default())?;
        match shape.len() {
            1 => Ok(data),
            _ => Err(fail(format!("{name}: expected one axis, got shape {}", Shape(&shape)))),
        }
    };
    let whole = |name: &str| -> Outcome<Vec<u64>> {
        let all = |numbers: &mut dyn Iterator<Item = i64>| -> Outcome<Vec<u64>> {
            let number = |(at, number): (usize, i64)| {
                u64::try_from(number).map_err(|_| fail(format!("{name}[{at}]: expected 0 or more, got {number}")))
            };
            numbers.enumerate().map(number).collect()
        };
        match array(name)? {
            Data::U64(x) => Ok(x),
            Data::I64(x) => all(&mut x.into_iter()),
            Data::I32(x) => all(&mut x.into_iter().map(i64::from)),
            Data::I8(x) => all(&mut x.into_iter().map(i64::from)),
            Data::U8(x) => all(&mut x.into_iter().map(i64::from)),
            other => Err(fail(format!("{name}: expected integers, got {}", other.type_name()))),
        }
    };
    let shape = whole("shape")?;
    let &[rows, columns] = &shape[..] else {
        return Err(fail(format!("shape: expected two numbers, got {}", shape.len())));
    };
    let starts = whole("indptr")?;
    let mut indices = whole("indices")?;
    let mut values = match array("data")? {
        Data::F32(x) => Values::F32(x),
        other => Values::F64(other.to_f64()?),
    };
    let count = values.len();
    if indices.len() != count {
        return Err(fail(format!("indices: expected one for each of {count} elements of data, got {}", indices.len())));
    }
    let expected = rows.saturating_add(1);
    if starts.is_empty() || starts.len() as u64 != expected {
        return Err(fail(format!("indptr: expected {expected} numbers for {rows} rows, got {}", starts.len())));
    }
    if starts[0] != 0 {
        return Err(fail(format!("indptr[0]: expected 0, got {}", starts[0])));
    }
    for (row, ends) in starts.windows(2).enumerate() {
        if ends[1] < ends[0] || ends[1] > count as u64 {
            let place = format!("indptr[{}], the end of row {row}", row + 1);
            return Err(fail(format!("{place}: expected {} to {count}, got {}", ends[0], ends[1])));
        }
    }
    let entries = starts[starts.len() - 1] as usize;
    let mut starts: Vec<usize> = starts.into_iter().map(|start| start as usize).collect();
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

    fn truncate(&mut self, count: usize) {
        match self {
            Self::F32(x) => x.truncate(count),
            Self::F64(x) => x.truncate(count),
        }
    }
}
