//! Rows of features as the caller has them, dense or sparse.

use half::{bf16, f16};

use crate::cpu::linear::{Elements, Matrix, Sparse, Values};
use crate::error::{Error, Input, Result};

/// Rows of features in the caller's memory, row-major, in any type that they are stored in. Bytes stand for 0 to 255.
///
/// ```
/// use maxmargin::linear::Rows;
/// assert_eq!(Rows::new(&[0.5f32, 1.0, 2.0, -1.0], 2)?.len(), 2);
/// assert!(Rows::new(&[0u8, 255, 3], 2).is_err());
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a>(pub(super) Matrix<'a>);

/// Elements that [`Rows`] can be made of: slices and vectors of f32, f64, f16, bf16 and u8.
#[derive(Clone, Copy, Debug)]
pub struct RowElements<'a>(Elements<'a>);

/// The values of sparse rows' entries: slices and vectors of f32 and f64.
#[derive(Clone, Copy, Debug)]
pub struct EntryValues<'a>(Values<'a>);

/// Makes a wrapper of slices, vectors and arrays.
macro_rules! wraps {
    ($wrapper:ident of $inner:ident: $($variant:ident($t:ty)),+) => {$(
        impl<'a> From<&'a [$t]> for $wrapper<'a> {
            fn from(x: &'a [$t]) -> Self {
                Self($inner::$variant(x))
            }
        }

        impl<'a> From<&'a Vec<$t>> for $wrapper<'a> {
            fn from(x: &'a Vec<$t>) -> Self {
                Self($inner::$variant(x))
            }
        }

        impl<'a, const N: usize> From<&'a [$t; N]> for $wrapper<'a> {
            fn from(x: &'a [$t; N]) -> Self {
                Self($inner::$variant(x))
            }
        }
    )+};
}
wraps!(RowElements of Elements: F32(f32), F64(f64), F16(f16), BF16(bf16), U8(u8));
wraps!(EntryValues of Values: F32(f32), F64(f64));

impl<'a> Rows<'a> {
    /// Rows of `columns` elements each.
    ///
    /// # Errors
    /// [`Error::Shape`] where the elements are no whole number of rows, or rows have no columns; [`Error::DeviceLimit`]
    /// for 2^32 rows or more.
    pub fn new(elements: impl Into<RowElements<'a>>, columns: usize) -> Result<Self> {
        let RowElements(elements) = elements.into();
        let len = elements.len();
        if columns == 0 || !len.is_multiple_of(columns) {
            let (expected, got) = (format!("(N, {columns}) with at least one column"), format!("{len} elements"));
            return Err(Error::Shape { input: Input::Features, expected, got });
        }
        let rows = len / columns;
        check_count("rows of features", rows)?;
        Ok(Self(Matrix { elements, columns, rows }))
    }

    /// Sparse rows in compressed form (CSR): the entries of row i are those from `starts[i]` to `starts[i + 1]`, each
    /// with its column in `indices` and its value in `values`. All other elements are 0. The columns ascend within a row.
    ///
    /// ```
    /// use maxmargin::linear::Rows;
    /// // (0, 2, 0, 1), (0, 0, 0, 0), (3, 0, 0, 0)
    /// let rows = Rows::sparse(&[0, 2, 2, 3], &[1, 3, 0], &[2.0f32, 1.0, 3.0], 4)?;
    /// assert_eq!((rows.len(), rows.columns()), (3, 4));
    /// assert!(Rows::sparse(&[0, 2], &[3, 1], &[2.0f32, 1.0], 4).is_err());
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the starts do not ascend from 0 to the number of entries, columns do not ascend within a row
    /// or lie beyond `columns`, `indices` and `values` differ in length, or there are no columns; [`Error::DeviceLimit`]
    /// for 2^32 rows or columns, or more.
    pub fn sparse(
        starts: &'a [usize],
        indices: &'a [u32],
        values: impl Into<EntryValues<'a>>,
        columns: usize,
    ) -> Result<Self> {
        let EntryValues(values) = values.into();
        let fail = |expected: String, got: String| Err(Error::Shape { input: Input::Features, expected, got });
        check_count("rows of features", starts.len())?;
        check_count("columns of features", columns)?;
        if columns == 0 {
            return fail("at least one column".into(), "none".into());
        }
        if indices.len() != values.len() {
            return fail(format!("a value for each of {} columns of entries", indices.len()), values.len().to_string());
        }
        match (starts.first(), starts.last()) {
            (Some(0), Some(&last)) if last == indices.len() => {}
            (first, last) => {
                let got = match (first, last) {
                    (Some(first), Some(last)) => format!("{first} to {last}"),
                    _ => "none".into(),
                };
                return fail(format!("starts of rows from 0 to {}, the number of entries", indices.len()), got);
            }
        }
        if let Some(row) = starts.windows(2).position(|ends| ends[0] > ends[1]) {
            let expected = format!("starts of rows that ascend, so at least {} after row {row}", starts[row]);
            return fail(expected, starts[row + 1].to_string());
        }
        for (row, ends) in starts.windows(2).enumerate() {
            let mut least = 0;
            for &index in &indices[ends[0]..ends[1]] {
                if (index as usize) < least || index as usize >= columns {
                    return fail(format!("row {row}: a column from {least} to {}", columns - 1), index.to_string());
                }
                least = index as usize + 1;
            }
        }
        let sparse = Sparse { starts, indices, values };
        Ok(Self(Matrix { elements: Elements::Sparse(sparse), columns, rows: starts.len() - 1 }))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.rows
    }

    /// True where there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.rows == 0
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.0.columns
    }

    /// Refuses features that are not finite.
    ///
    /// # Errors
    /// [`Error::Value`], with the place of the first one.
    pub fn check(&self) -> Result<()> {
        match self.0.first_not_finite() {
            None => Ok(()),
            Some((index, value)) => Err(Error::Value {
                input: Input::Features,
                index: index as u64,
                value: value.to_string(),
                expected: "a finite number".into(),
            }),
        }
    }
}

fn check_count(what: &'static str, got: usize) -> Result<()> {
    if u32::try_from(got).is_err() {
        return Err(Error::DeviceLimit { what, limit: u32::MAX.into(), got: got as u64 });
    }
    Ok(())
}
