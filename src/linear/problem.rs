//! One binary problem.

use super::loss::LinearLoss;
use super::space::Space;

/// Rows of features against labels.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) space: Space<'a>,
    /// -1 or +1 per row.
    pub(super) signs: &'a [i8],
    /// The weight of the row times that of its class.
    pub(super) weights: &'a [f64],
    pub(super) c: f64,
    pub(super) loss: LinearLoss,
}

impl Problem<'_> {
    pub(super) fn rows(&self) -> usize {
        self.space.rows()
    }

    pub(super) fn sign(&self, row: usize) -> f64 {
        f64::from(self.signs[row])
    }

    /// The factor of a row's loss.
    pub(super) fn cost(&self, row: usize) -> f64 {
        self.c * self.weights[row]
    }

    /// The sum of multiplier times y x over all rows.
    pub(super) fn image_of(&self, multipliers: &[f64]) -> Vec<f64> {
        let mut image = vec![0.0; self.space.width()];
        let list = multipliers.iter().zip(0u32..).filter(|(a, _)| **a != 0.0).map(|(&a, row)| (row, a)).collect();
        self.add(list, &mut image);
        image
    }

    /// Adds the sum of multiplier times y x over the listed rows to `sums`.
    pub(super) fn add(&self, mut list: Vec<(u32, f64)>, sums: &mut [f64]) {
        list.iter_mut().for_each(|(row, multiplier)| *multiplier *= self.sign(*row as usize));
        self.space.add(&list, sums);
    }
}
