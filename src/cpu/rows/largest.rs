//! The largest few violations of a row, for losses that count only those.

use std::cmp::Ordering;

use crate::data::real::Real;

pub(super) type Lanes<T, const R: usize> = [T; R];

/// Up to this many are kept in order as columns go by, for all rows of a tile at once. More are selected from a row's
/// violations. Keeping was three times as fast as selecting at 16 of 64 classes, and five times at 5 of 64.
pub(super) const MOST_KEPT: usize = 16;

/// The violations of a row that count.
pub(super) struct Taken<T> {
    /// The mean of all that count; NaN if any violation of the row is NaN.
    pub(super) mean: T,
    /// The least of them.
    pub(super) last: T,
    /// How many of them equal it.
    pub(super) equals: u32,
}

impl<T: Real> Taken<T> {
    const UNDEFINED: Self = Self { mean: T::NAN, last: T::NAN, equals: 0 };

    /// Takes the violations that count, the least of them last.
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
    #[inline(always)]
    pub(super) fn new(count: usize) -> Self {
        Self { ranks: [[T::NEG_INFINITY; R]; MOST_KEPT], count, is_nan: [0; R] }
    }

    /// Inserts one violation per row. Each rank keeps the larger and hands the smaller on.
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

    #[inline(always)]
    pub(super) fn taken(&self, row: usize) -> Taken<T> {
        if self.is_nan[row] != 0 {
            return Taken::UNDEFINED;
        }
        Taken::new(self.ranks.iter().take(self.count).map(|rank| rank[row]), self.count)
    }
}

/// Selects the largest `count` violations of a row, in time proportional to the number of columns.
pub(super) fn top_of<T: Real>(count: usize, violations: impl Iterator<Item = T>, selected: &mut Vec<T>) -> Taken<T> {
    selected.clear();
    selected.extend(violations);
    if selected.iter().any(|violation| violation.is_nan()) {
        return Taken::UNDEFINED;
    }
    // RowsSpec::check_batch ensures 1 <= count <= C.
    selected.select_nth_unstable_by(count - 1, |a, b| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    Taken::new(selected[..count].iter().copied(), count)
}
