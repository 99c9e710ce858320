//! Rows of which only the entries that are not 0 are stored: compressed sparse rows.
//!
//! Vectors of these rows' length are long, and so sums over rows are kept in few parts: see [`Sparse::listed_rows`].

use std::ops::Range;

use crate::data::memory::reserved;
use crate::error::Result;

/// Parts of a sum over listed rows, at most. It does not depend on the number of threads, and so neither do the sums.
const PARTS: usize = 16;

/// Entries per column that a part must have: making and adding up its sums then costs little beside its entries.
const ENTRIES_PER_COLUMN: usize = 4;

/// Entries that a part must have at least: a thread takes some microseconds to begin it.
const LEAST_ENTRIES: usize = 1 << 14;

/// The values of entries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Values<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Values::F32(x) => x.len(),
            Values::F64(x) => x.len(),
        }
    }
}

/// Rows whose entries lie one row after the other. Columns ascend within a row and are below the number of columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse<'a> {
    /// Where the entries of each row begin, and where those of the last one end.
    pub(crate) starts: &'a [usize],
    pub(crate) indices: &'a [u32],
    pub(crate) values: Values<'a>,
}

impl<'a> Sparse<'a> {
    /// Some of the rows. Their entries stay where they are.
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        Self { starts: &self.starts[rows.start..=rows.end], ..*self }
    }

    pub(crate) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Where the entries of a row lie.
    pub(crate) fn entries(&self, row: usize) -> Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }

    /// The mean number of entries per row, rounded up, 1 at least.
    pub(crate) fn entries_per_row(&self) -> usize {
        self.indices.len().div_ceil(self.rows().max(1)).max(1)
    }

    /// The most entries of a row.
    pub(crate) fn longest_row(&self) -> usize {
        self.starts.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0)
    }

    /// How many listed rows are added up in one part, where so many are listed.
    pub(crate) fn listed_rows(&self, listed: usize, columns: usize) -> usize {
        let entries = listed.saturating_mul(self.entries_per_row());
        listed.div_ceil((entries / (ENTRIES_PER_COLUMN * columns).max(LEAST_ENTRIES)).clamp(1, PARTS)).max(1)
    }

    /// The product of a row with a vector.
    #[inline]
    pub(crate) fn dot(&self, row: usize, v: &[f64]) -> f64 {
        let entries = self.entries(row);
        let indices = &self.indices[entries.clone()];
        match self.values {
            Values::F32(x) => dot(indices, &x[entries], v),
            Values::F64(x) => dot(indices, &x[entries], v),
        }
    }

    /// Adds a row, times a factor, to `sums`.
    #[inline]
    pub(crate) fn add(&self, row: usize, factor: f64, sums: &mut [f64]) {
        self.each(row, |column, x| sums[column] += factor * x);
    }

    /// Calls `each` with the column and the value of every entry of a row.
    #[inline]
    pub(crate) fn each(&self, row: usize, mut each: impl FnMut(usize, f64)) {
        let entries = self.entries(row);
        let indices = &self.indices[entries.clone()];
        match self.values {
            Values::F32(x) => indices.iter().zip(&x[entries]).for_each(|(&k, &x)| each(k as usize, x.into())),
            Values::F64(x) => indices.iter().zip(&x[entries]).for_each(|(&k, &x)| each(k as usize, x)),
        }
    }

    /// The listed rows in memory of their own.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn copied(&self, list: &[u32]) -> Result<CopiedEntries> {
        let mut starts = reserved(list.len() + 1)?;
        starts.push(0);
        let mut count = 0;
        for &row in list {
            count += self.entries(row as usize).len();
            starts.push(count);
        }
        fn copy<T: Copy>(x: &[T], count: usize, ranges: impl Iterator<Item = Range<usize>>) -> Result<Vec<T>> {
            let mut all = reserved(count)?;
            ranges.for_each(|range| all.extend_from_slice(&x[range]));
            Ok(all)
        }
        let ranges = || list.iter().map(|&row| self.entries(row as usize));
        let values = match self.values {
            Values::F32(x) => CopiedValues::F32(copy(x, count, ranges())?),
            Values::F64(x) => CopiedValues::F64(copy(x, count, ranges())?),
        };
        Ok(CopiedEntries { starts, indices: copy(self.indices, count, ranges())?, values })
    }

    /// The sums of each column's elements and of their squares about `shift`, over all rows, or those that are kept.
    pub(crate) fn moments(&self, shift: &[f64], kept: Option<&[bool]>) -> [Vec<f64>; 2] {
        let mut sums = [vec![0.0; shift.len()], vec![0.0; shift.len()]];
        let mut stored = vec![0u32; shift.len()];
        let mut rows = 0u32;
        for row in (0..self.rows()).filter(|&row| kept.is_none_or(|kept| kept[row])) {
            rows += 1;
            self.each(row, |column, x| {
                let x = x - shift[column];
                sums[0][column] += x;
                sums[1][column] += x * x;
                stored[column] += 1;
            });
        }
        for (column, (&stored, &shift)) in stored.iter().zip(shift).enumerate() {
            let zeros = f64::from(rows - stored);
            sums[0][column] -= zeros * shift;
            sums[1][column] += zeros * shift * shift;
        }
        sums
    }

    /// Adds the squares of a row times `scale`, times a factor, to `sums`.
    pub(crate) fn add_squares(&self, row: usize, factor: f64, scale: &[f64], sums: &mut [f64]) {
        self.each(row, |column, x| sums[column] += factor * (x * scale[column]) * (x * scale[column]));
    }

    /// The squared norm of a row times `scale`.
    pub(crate) fn squared_norm(&self, row: usize, scale: &[f64]) -> f64 {
        let mut sum = 0.0;
        self.each(row, |column, x| sum += (x * scale[column]) * (x * scale[column]));
        sum
    }
}

/// Sums in several numbers: an addition need not wait for the one before.
#[inline(always)]
fn dot<T: Copy + Into<f64>>(indices: &[u32], x: &[T], v: &[f64]) -> f64 {
    const LANES: usize = 4;
    let mut sums = [0f64; LANES];
    let (index_lanes, index_rest) = indices.as_chunks::<LANES>();
    let (x_lanes, x_rest) = x.as_chunks::<LANES>();
    for (indices, x) in index_lanes.iter().zip(x_lanes) {
        for lane in 0..LANES {
            sums[lane] += x[lane].into() * v[indices[lane] as usize];
        }
    }
    let rest = index_rest.iter().zip(x_rest).map(|(&index, &x)| x.into() * v[index as usize]).sum::<f64>();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Entries copied out of a matrix.
pub(crate) struct CopiedEntries {
    pub(crate) starts: Vec<usize>,
    pub(crate) indices: Vec<u32>,
    pub(crate) values: CopiedValues,
}

pub(crate) enum CopiedValues {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl CopiedEntries {
    pub(crate) fn sparse(&self) -> Sparse<'_> {
        let values = match &self.values {
            CopiedValues::F32(x) => Values::F32(x),
            CopiedValues::F64(x) => Values::F64(x),
        };
        Sparse { starts: &self.starts, indices: &self.indices, values }
    }
}
