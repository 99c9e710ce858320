//! The sums of everything that a metric has seen, in whatever order.

use serde::{Deserialize, Serialize};

use crate::data::evaluation::Totals;
use crate::data::exact_sum::ExactSum;

/// Sums of the sums of batches, exact: any order of additions and merges gives the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ExactTotals {
    pub(super) sum: ExactSum,
    pub(super) weight_sum: ExactSum,
    pub(super) count: u64,
    pub(super) active: u64,
    pub(super) correct: u64,
    pub(super) per_class: Vec<ExactSum>,
}

impl ExactTotals {
    /// Adds the sums of a batch.
    pub(super) fn add(&mut self, part: &Totals) {
        self.sum.add(part.sum);
        self.weight_sum.add(part.weight_sum);
        self.count([part.count, part.active, part.correct]);
        self.per_class.resize(self.per_class.len().max(part.per_class.len()), ExactSum::default());
        self.per_class.iter_mut().zip(&part.per_class).for_each(|(sum, &x)| sum.add(x));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.weight_sum.merge(&other.weight_sum);
        self.count([other.count, other.active, other.correct]);
        self.per_class.resize(self.per_class.len().max(other.per_class.len()), ExactSum::default());
        self.per_class.iter_mut().zip(&other.per_class).for_each(|(sum, other)| sum.merge(other));
    }

    fn count(&mut self, [count, active, correct]: [u64; 3]) {
        // Saturate: counts read from a file may be arbitrary.
        self.count = self.count.saturating_add(count);
        self.active = self.active.saturating_add(active);
        self.correct = self.correct.saturating_add(correct);
    }

    /// Each sum, rounded once.
    pub(super) fn rounded(&self) -> Totals {
        Totals {
            sum: self.sum.value(),
            weight_sum: self.weight_sum.value(),
            count: self.count,
            active: self.active,
            correct: self.correct,
            per_class: self.per_class.iter().map(ExactSum::value).collect(),
        }
    }
}
