//! The shape of a batch.

use crate::error::{Error, Input};

/// The shape of a batch whose inputs fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchShape {
    /// Rows, or scores if there are no rows.
    pub samples: usize,
    /// Scores per sample.
    pub columns: usize,
    /// Targets per sample: 1, or `columns`.
    pub target_width: usize,
}

impl BatchShape {
    /// A shape from samples, scores per sample and targets per sample.
    pub fn new(samples: usize, columns: usize, target_width: usize) -> Self {
        Self { samples, columns, target_width }
    }

    pub(crate) fn elementwise(samples: usize) -> Self {
        Self { samples, columns: 1, target_width: 1 }
    }

    /// Turns an error of the part that starts at sample `start` into one of the whole batch, by moving its index.
    pub fn whole_index(&self, error: Error, start: usize) -> Error {
        let width = match error.input() {
            Some(Input::Scores | Input::SecondScores | Input::Negatives) => self.columns,
            Some(Input::Targets) => self.target_width,
            _ => 1,
        };
        error.shifted(start as u64 * width as u64)
    }
}
