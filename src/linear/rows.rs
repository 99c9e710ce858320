//! Rows of features as the caller has them.

use half::{bf16, f16};

use crate::cpu::linear::{Elements, Matrix};
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

macro_rules! elements_from {
    ($($variant:ident($t:ty)),+) => {$(
        impl<'a> From<&'a [$t]> for RowElements<'a> {
            fn from(x: &'a [$t]) -> Self {
                Self(Elements::$variant(x))
            }
        }

        impl<'a> From<&'a Vec<$t>> for RowElements<'a> {
            fn from(x: &'a Vec<$t>) -> Self {
                Self(Elements::$variant(x))
            }
        }

        impl<'a, const N: usize> From<&'a [$t; N]> for RowElements<'a> {
            fn from(x: &'a [$t; N]) -> Self {
                Self(Elements::$variant(x))
            }
        }
    )+};
}
elements_from!(F32(f32), F64(f64), F16(f16), BF16(bf16), U8(u8));

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
        if u32::try_from(rows).is_err() {
            return Err(Error::DeviceLimit { what: "rows of features", limit: u32::MAX.into(), got: rows as u64 });
        }
        Ok(Self(Matrix { elements, columns, rows }))
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
