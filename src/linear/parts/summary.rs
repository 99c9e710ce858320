//! What a fit must know of all rows before its first question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Input, Result};

/// The rows of some parts in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartSummary {
    pub(super) columns: usize,
    pub(super) rows: u64,
    /// Rows and weight of each label.
    pub(super) labels: BTreeMap<i64, (u64, f64)>,
    /// The first row, from which columns are measured.
    pub(super) first: Vec<f64>,
    pub(super) is_sparse: bool,
}

/// The error for weights whose sum f64 cannot hold.
pub(super) fn overflows(sum: f64) -> Error {
    Error::Option { option: "sample_weights", expected: "weights with a finite sum".into(), got: sum.to_string() }
}

impl PartSummary {
    /// Adds other parts.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of columns, [`Error::Option`] for weights whose sum is not finite.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.columns != other.columns {
            let (expected, got) =
                (format!("(N, {}), as in another part", self.columns), format!("(N, {})", other.columns));
            return Err(Error::Shape { input: Input::Features, expected, got });
        }
        self.rows = self.rows.saturating_add(other.rows);
        for (label, (count, weight)) in &other.labels {
            let own = self.labels.entry(*label).or_default();
            own.0 = own.0.saturating_add(*count);
            own.1 += weight;
            if !own.1.is_finite() {
                return Err(overflows(own.1));
            }
        }
        if self.first.is_empty() {
            self.first.clone_from(&other.first);
        }
        self.is_sparse |= other.is_sparse;
        Ok(())
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The labels, in ascending order.
    pub fn classes(&self) -> Vec<i64> {
        self.labels.keys().copied().collect()
    }
}
