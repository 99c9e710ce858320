//! A group of rows, as many as a vector has lanes, and the state kept from group to group.

use pulp::Simd;

use super::transpose::Transpose;
use crate::cpu::HostReal;
use crate::cpu::lanes::{Counts, MOST_LANES, Sum, Vector};
use crate::data::labels::IGNORED;
use crate::data::real::Number;
use crate::loss::{PenaltyShape, Rows, Rule};

/// Columns per block of short rows. Also the longest chain of additions: a row's sum is the sum of such chains.
pub(super) const BLOCK: usize = 16;

/// As many rows as a vector has lanes. The last group may have fewer.
pub(super) struct Group<'a, T> {
    pub(super) scores: &'a [T],
    /// One per lane, as are weights and factors; [`IGNORED`] in lanes without a row.
    pub(super) classes: &'a [i32],
    pub(super) weights: &'a [T],
    /// The losses are multiplied by these: the sample's weight times its class's weight.
    pub(super) factors: &'a [T],
    /// One per row.
    pub(super) losses: Option<&'a mut [T]>,
}

pub(super) type Raw<S, T> = <<T as HostReal>::Lanes<S> as Vector<S>>::Raw;

/// The constants of all rows, and the running sums.
pub(super) struct Walk<S: Simd, T: HostReal, P, M> {
    pub(super) simd: S,
    pub(super) method: M,
    pub(super) rule: Rule<T::Lanes<S>, P>,
    pub(super) columns: usize,
    pub(super) divisor: T::Lanes<S>,
    pub(super) class_divisor: T::Lanes<S>,
    /// 0, 1, 2, ...
    pub(super) first_columns: T::Lanes<S>,
    pub(super) transpose: Transpose,
    pub(super) block: [Raw<S, T>; BLOCK],
    pub(super) losses: Sum<S>,
    pub(super) weights: Sum<S>,
    pub(super) counts: Counts<S>,
    /// Rows that are not ignored.
    pub(super) kept: Counts<S>,
    /// Correct rows that the comparison with the best rival leaves open: see `undecided` in `groups.rs`.
    pub(super) correct_by_index: u64,
}

/// The results of visiting the columns, with one lane per row.
pub(super) struct Seen<V: Number> {
    /// Sums of penalties and of rivals' slopes.
    pub(super) total: V,
    pub(super) total_slope: V,
    /// The highest score of a rival; unspecified for NaN.
    pub(super) best: V,
    pub(super) best_column: V,
    /// Whether no score is NaN. Always true for sums, whose total shows a NaN.
    pub(super) is_ordered: V::Mask,
}

/// The true class of each row, its score, and the factor of the row's slopes.
#[derive(Clone, Copy)]
pub(super) struct RowsKnown<V> {
    pub(super) classes: V,
    pub(super) true_scores: V,
    pub(super) coefficients: V,
}

impl<S: Simd, T: HostReal, P: PenaltyShape, M: Rows> Walk<S, T, P, M> {
    #[inline(always)]
    pub(super) fn new(simd: S, method: M, rule: Rule<T, P>, columns: usize, divisor: T, class_divisor: T) -> Self {
        let all = |x| T::Lanes::<S>::all(simd, x);
        let mut first_columns = [T::ZERO; MOST_LANES];
        (0..).zip(&mut first_columns).for_each(|(column, first)| *first = T::from_f64(column.into()));
        Self {
            simd,
            method,
            rule: rule.splat(all(T::ZERO)),
            columns,
            divisor: all(divisor),
            class_divisor: all(class_divisor),
            first_columns: load::<S, T>(simd, &first_columns),
            transpose: Transpose::new(),
            block: [all(T::ZERO).raw(); BLOCK],
            losses: Sum::new(simd),
            weights: Sum::new(simd),
            counts: Counts::new(simd),
            kept: Counts::new(simd),
            correct_by_index: 0,
        }
    }

    #[inline(always)]
    pub(super) fn lanes(&self) -> usize {
        T::Lanes::<S>::COUNT
    }

    #[inline(always)]
    pub(super) fn all(&self, x: T) -> T::Lanes<S> {
        T::Lanes::all(self.simd, x)
    }

    /// The score of each row's true class; 0 where a row is ignored.
    #[inline(always)]
    pub(super) fn true_scores(&self, group: &Group<'_, T>) -> T::Lanes<S> {
        let mut scores = self.all(T::ZERO);
        for (row, (score, &class)) in scores.lanes_mut().iter_mut().zip(group.classes).enumerate() {
            if class != IGNORED {
                *score = group.scores[row * self.columns + class as usize];
            }
        }
        scores
    }
}

/// A vector of the first of these numbers, of which there are at least as many as lanes.
#[inline(always)]
pub(super) fn load<S: Simd, T: HostReal>(simd: S, numbers: &[T]) -> T::Lanes<S> {
    let zero = T::Lanes::<S>::all(simd, T::ZERO);
    T::Lanes::vectors(numbers).0.first().map_or(zero, |&raw| T::Lanes::new(simd, raw))
}
