//! The largest few violations of a row, for the losses that count no others.

use std::cmp::Ordering;

use crate::data::real::Real;

/// One number for each row of a tile.
pub(super) type Lanes<T, const R: usize> = [T; R];

/// So many are kept in order as columns go by, for all rows of a tile at once; more are selected from a row's violations.
/// Measured against selecting: at 16 of 64 classes three times as fast, at 5 of 64 five times.
pub(super) const MOST_KEPT: usize = 16;

/// The violations of a row that count.
pub(super) struct Taken<T> {
    /// Of all that count; NaN where any violation of the row is.
    pub(super) mean: T,
    /// The least of them.
    pub(super) last: T,
    /// How many of them equal it.
    pub(super) equals: u32,
}

impl<T: Real> Taken<T> {
    const UNDEFINED: Self = Self { mean: T::NAN, last: T::NAN, equals: 0 };

    /// Of the violations that count, whose last is the least.
    #[inline(always)]
    fn new(violations: impl DoubleEndedIterator<Item = T> + Clone, count: usize) -> Self {
        let sum: f64 = violations.clone().map(T::to_f64).sum();
        let last = violations.clone().next_back().unwrap_or(T::NEG_INFINITY);
        let equals = violations.map(|v| u32::from(v == last)).sum();
        Self { mean: T::from_f64(sum / count as f64), last, equals }
    }
}

/// The largest violations so far of each row of a tile, in descending order.
pub(super) struct Largest<T, const R: usize> {
    ranks: [Lanes<T, R>; MOST_KEPT],
    count: usize,
    is_nan: Lanes<u32, R>,
}

impl<T: Real, const R: usize> Largest<T, R> {
    /// For the largest `count`.
    #[inline(always)]
    pub(super) fn new(count: usize) -> Self {
        Self { ranks: [[T::NEG_INFINITY; R]; MOST_KEPT], count, is_nan: [0; R] }
    }

    /// One violation of each row: each rank keeps the larger and hands the smaller on.
    #[inline(always)]
    pub(super) fn insert(&mut self, violations: &Lanes<T, R>) {
        let mut handed = *violations;
        for (is_nan, violation) in self.is_nan.iter_mut().zip(violations) {
            *is_nan |= u32::from(violation.is_nan());
        }
        for rank in self.ranks.iter_mut().take(self.count) {
            for lane in 0..R {
                let (kept, new) = (rank[lane], handed[lane]);
                let is_larger = new > kept;
                rank[lane] = if is_larger { new } else { kept };
                handed[lane] = if is_larger { kept } else { new };
            }
        }
    }

    /// What counts of a row.
    #[inline(always)]
    pub(super) fn taken(&self, row: usize) -> Taken<T> {
        if self.is_nan[row] != 0 {
            return Taken::UNDEFINED;
        }
        Taken::new(self.ranks.iter().take(self.count).map(|rank| rank[row]), self.count)
    }
}

/// The largest `count` of a row, by a selection that takes time in proportion to the columns.
pub(super) fn top_of<T: Real>(count: usize, violations: impl Iterator<Item = T>, selected: &mut Vec<T>) -> Taken<T> {
    selected.clear();
    selected.extend(violations);
    if selected.iter().any(|violation| violation.is_nan()) {
        return Taken::UNDEFINED;
    }
    // RowsSpec::check_batch has seen to 1 <= count <= C.
    selected.select_nth_unstable_by(count - 1, |a, b| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    Taken::new(selected[..count].iter().copied(), count)
}
