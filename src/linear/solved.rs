//! Rows in the units that are solved for, one at a time: for descent, and for the Hessian of all classes.

use super::space::Space;
use crate::cpu::linear::{CopiedEntries, CopiedValues, Sparse, add_one, dot};
use crate::error::Result;

/// Rows as they are solved for, with the intercept's feature.
pub(super) trait SolvedRows: Copy + Sync {
    fn dot(self, row: usize, w: &[f64]) -> f64;

    /// Adds a row, times a factor, to `sums`.
    fn add(self, row: usize, factor: f64, sums: &mut [f64]);
}

/// Rows with the intercept's feature at their end.
#[derive(Clone, Copy)]
pub(super) struct Dense<'a, T>(pub(super) &'a [T]);

impl<T: Copy + Into<f64> + Sync> SolvedRows for Dense<'_, T> {
    #[inline(always)]
    fn dot(self, row: usize, w: &[f64]) -> f64 {
        dot(&self.0[row * w.len()..(row + 1) * w.len()], w)
    }

    #[inline(always)]
    fn add(self, row: usize, factor: f64, sums: &mut [f64]) {
        add_one(&self.0[row * sums.len()..(row + 1) * sums.len()], factor, sums);
    }
}

/// Sparse rows, and the value of the intercept's feature.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) rows: Sparse<'a>,
    pub(super) constant: f64,
}

impl SolvedRows for Entries<'_> {
    #[inline(always)]
    fn dot(self, row: usize, w: &[f64]) -> f64 {
        self.rows.dot(row, w) + self.constant * w[w.len() - 1]
    }

    #[inline(always)]
    fn add(self, row: usize, factor: f64, sums: &mut [f64]) {
        self.rows.add(row, factor, sums);
        let last = sums.len() - 1;
        sums[last] += factor * self.constant;
    }
}

/// A copy of sparse rows in the units that are solved for; `None` where these are the units of the stored ones.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(super) fn scaled_entries(rows: &Sparse<'_>, space: &Space<'_>) -> Result<Option<CopiedEntries>> {
    if space.scale.iter().all(|&scale| scale == 1.0) {
        return Ok(None);
    }
    let all: Vec<u32> = (0..rows.rows() as u32).collect();
    let mut copied = rows.copied(&all)?;
    let scales = copied.indices.iter().map(|&column| space.scale[column as usize]);
    match &mut copied.values {
        CopiedValues::F32(x) => x.iter_mut().zip(scales).for_each(|(x, scale)| *x = (f64::from(*x) * scale) as f32),
        CopiedValues::F64(x) => x.iter_mut().zip(scales).for_each(|(x, scale)| *x *= scale),
    }
    Ok(Some(copied))
}
