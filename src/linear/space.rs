//! Features in the units in which they are solved for, and the intercept's constant feature.

use rayon::prelude::*;

use crate::cpu::linear::Matrix;

/// What the constant in the decision value costs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Intercept {
    /// There is none: the decision value of a row of zeros is 0.
    None,
    /// It is the weight of a further feature with this constant value, and penalised as all weights are: LIBLINEAR's bias
    /// and LinearSVC's `intercept_scaling`. A larger value penalises it less.
    Penalized(f64),
    /// It costs nothing, as in SVC and cuML.
    Free,
}

impl Default for Intercept {
    /// Penalised, as a feature of value 1.
    fn default() -> Self {
        Self::Penalized(1.0)
    }
}

/// Elements that a thread takes at a time in loops over rows. It does not depend on the number of threads, and so
/// neither do the sums.
pub(super) const CHUNK: usize = 8192;

/// Features as they are solved for. Weights have one element more than there are columns: that of the intercept's constant
/// feature, 0 where there is none.
#[derive(Clone, Copy)]
pub(super) struct Space<'a> {
    pub(super) matrix: Matrix<'a>,
    pub(super) intercept: Intercept,
    /// The features are solved for as (x - shift) * scale.
    pub(super) shift: &'a [f64],
    pub(super) scale: &'a [f64],
}

impl Space<'_> {
    pub(super) fn rows(&self) -> usize {
        self.matrix.rows
    }

    /// The length of the weights of one output.
    pub(super) fn width(&self) -> usize {
        self.matrix.columns + 1
    }

    /// The value of the intercept's feature.
    pub(super) fn constant(&self) -> f64 {
        match self.intercept {
            Intercept::None => 0.0,
            Intercept::Penalized(scale) => scale,
            Intercept::Free => 1.0,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.intercept == Intercept::Free
    }

    /// Half the squared norm of the penalised weights of one output.
    pub(super) fn penalty(&self, w: &[f64]) -> f64 {
        let penalised = if self.is_free() { &w[..w.len() - 1] } else { w };
        0.5 * penalised.iter().map(|x| x * x).sum::<f64>()
    }

    /// Weights and intercept in the units of the stored features.
    pub(super) fn in_stored_units(&self, w: &[f64]) -> (Vec<f64>, f64) {
        let (last, w) = w.split_last().map_or((0.0, w), |(last, w)| (*last, w));
        let stored: Vec<f64> = w.iter().zip(self.scale).map(|(w, scale)| w * scale).collect();
        let shifted: f64 = stored.iter().zip(self.shift).map(|(w, shift)| w * shift).sum();
        (stored, last * self.constant() - shifted)
    }

    /// Weights of the stored features and their intercept, in the units that are solved for.
    pub(super) fn in_solved_units(&self, stored: &[f64], bias: f64) -> Vec<f64> {
        let mut w: Vec<f64> = stored.iter().zip(self.scale).map(|(w, scale)| w / scale).collect();
        let shifted: f64 = stored.iter().zip(self.shift).map(|(w, shift)| w * shift).sum();
        let constant = self.constant();
        w.push(if constant > 0.0 { (bias + shifted) / constant } else { 0.0 });
        w
    }

    /// Adds the sum of factor times x over the listed rows to `sums`.
    pub(super) fn add(&self, list: &[(u32, f64)], sums: &mut [f64]) {
        let total: f64 = list.iter().map(|(_, factor)| factor).sum();
        let mut stored = vec![0.0; self.matrix.columns];
        self.matrix.add_rows(list, &mut stored);
        self.add_stored(&stored, total, sums);
    }

    /// Adds a sum of stored rows, whose factors have the sum `total`, in the units that are solved for.
    pub(super) fn add_stored(&self, stored: &[f64], total: f64, sums: &mut [f64]) {
        let Some((last, sums)) = sums.split_last_mut() else { return };
        for (((sum, &x), shift), scale) in sums.iter_mut().zip(stored).zip(self.shift).zip(self.scale) {
            *sum += (x - shift * total) * scale;
        }
        *last += self.constant() * total;
    }
}

/// Sums of N numbers per row, added in the order of the rows whatever the number of threads.
pub(super) fn sums<const N: usize>(rows: usize, of: impl Fn(usize) -> [f64; N] + Sync) -> [f64; N] {
    let chunk = |index: usize| {
        let mut sums = [0.0; N];
        for row in index * CHUNK..((index + 1) * CHUNK).min(rows) {
            of(row).iter().zip(&mut sums).for_each(|(x, sum)| *sum += x);
        }
        sums
    };
    let parts: Vec<[f64; N]> = (0..rows.div_ceil(CHUNK)).into_par_iter().map(chunk).collect();
    total(parts)
}

/// The sum of arrays, in their order.
pub(super) fn total<const N: usize>(parts: impl IntoIterator<Item = [f64; N]>) -> [f64; N] {
    let mut sums = [0.0; N];
    for part in parts {
        part.iter().zip(&mut sums).for_each(|(x, sum)| *sum += x);
    }
    sums
}
