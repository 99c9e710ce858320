//! The shape of a batch.

use crate::error::{Error, Input};

/// The shape of a batch whose inputs fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchShape {
    /// Rows, or scores where there are no rows.
    pub samples: usize,
    /// Scores a sample.
    pub columns: usize,
    /// Targets a sample: 1, or as many as there are columns.
    pub target_width: usize,
}

impl BatchShape {
    /// So many samples, scores a sample and targets a sample.
    pub fn new(samples: usize, columns: usize, target_width: usize) -> Self {
        Self { samples, columns, target_width }
    }

    pub(crate) fn elementwise(samples: usize) -> Self {
        Self { samples, columns: 1, target_width: 1 }
    }

    /// The error of a part of the batch that starts at this sample, with the index of a bad value in the whole batch.
    pub fn whole_index(&self, error: Error, start: usize) -> Error {
        let width = match error.input() {
            Some(Input::Scores | Input::SecondScores | Input::Negatives) => self.columns,
            Some(Input::Targets) => self.target_width,
            _ => 1,
        };
        error.shifted(start as u64 * width as u64)
    }
}
