//! One margin per pair of classes.

use serde::{Deserialize, Serialize};

use crate::data::exact;
use crate::error::{Error, Input, Result, number};

/// C x C margins, row-major, replacing the single margin. The diagonal is ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Margins", into = "Margins")]
pub(crate) struct MarginMatrix {
    margins: Vec<f64>,
    /// The first margin off the diagonal that is not finite in f32. Found once, since C x C checks cost more than
    /// evaluating a few rows.
    bad: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Margins(#[serde(with = "exact::numbers")] Vec<f64>);

impl From<Margins> for MarginMatrix {
    fn from(Margins(margins): Margins) -> Self {
        Self::new(margins)
    }
}

impl From<MarginMatrix> for Margins {
    fn from(matrix: MarginMatrix) -> Self {
        Self(matrix.margins)
    }
}

impl MarginMatrix {
    pub(super) fn new(margins: Vec<f64>) -> Self {
        let classes = margins.len().isqrt();
        let is_bad = |&(i, margin): &(usize, &f64)| i % (classes + 1) != 0 && !(*margin as f32).is_finite();
        let is_square = classes.checked_mul(classes) == Some(margins.len());
        let bad = margins.iter().enumerate().find(is_bad).map(|(index, _)| index).filter(|_| is_square);
        Self { margins, bad }
    }

    pub(crate) fn margins(&self) -> &[f64] {
        &self.margins
    }

    pub(super) fn check(&self, classes: usize) -> Result<()> {
        let (input, got) = (Input::MarginMatrix, self.margins.len());
        if classes.checked_mul(classes) != Some(got) {
            let (expected, unit) = (classes.saturating_mul(classes), "pair of classes");
            return Err(Error::Length { input, expected, got, unit });
        }
        match self.bad {
            None => Ok(()),
            Some(index) => Err(Error::Value {
                input,
                index: index as u64,
                value: number(self.margins[index]),
                expected: "a finite number in f32's range".into(),
            }),
        }
    }
}
