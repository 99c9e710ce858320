//! Sums over the pairs of a row or list, one by one: each item with all lower ones of its row or list, a vector of these at a time.
//!
//! The loss says which items meet which by ranks, and knows nothing of vectors; left to the compiler, its loop had a branch per
//! pair. A label that is given twice is counted, not walked twice: a thousand equal numbers in a chain are all rounded in
//! one direction.

use std::mem;

use pulp::Simd;

use super::HostReal;
use super::lanes::{Sum, Vector};
use crate::data::real::Number;
use crate::loss::{Higher, PairSums, PenaltyShape, Rule, rival_violation};

/// The rule of all pairs, in vectors.
pub(super) struct VectorPairs<S: Simd, T: HostReal, P> {
    simd: S,
    rule: Rule<T::Lanes<S>, P>,
}

/// The sums so far.
struct ItemSums<S: Simd, L: Vector<S>> {
    values: Sum<S>,
    /// Of the item whose pairs are added.
    slopes: Sum<S>,
    active: L::Mask,
}

impl<S: Simd, T: HostReal, P: PenaltyShape> VectorPairs<S, T, P> {
    #[inline(always)]
    pub(super) fn new(simd: S, rule: &Rule<T, P>) -> Self {
        Self { simd, rule: rule.splat(T::Lanes::all(simd, T::ZERO)) }
    }

    /// The pairs of one item, counted so many times, with a vector of others; what the others owe is added to `slopes`.
    #[inline(always)]
    fn meet<const SLOPES: bool>(
        &self,
        ([own, own_rank], times): ([T::Lanes<S>; 2], f64),
        [scores, ranks]: [T::Lanes<S>; 2],
        slopes: &mut [f64],
        sums: &mut ItemSums<S, T::Lanes<S>>,
    ) {
        let zero = own.splat(0.0);
        // False for padding, whose rank is NaN.
        let counts = ranks.below(own_rank);
        let violation = rival_violation(self.rule.margin, scores, own);
        let (value, slope) = self.rule.penalise(violation);
        T::Lanes::select(counts, value, zero).add_to(&mut sums.values);
        sums.active = sums.active | (counts & zero.below(violation));
        if SLOPES {
            let slope = T::Lanes::select(counts, slope, zero);
            slope.add_to(&mut sums.slopes);
            slope.add_to_each(slopes, times);
        }
    }

    /// The pairs of one item with all others; the values and its own slope are not multiplied yet.
    #[inline(always)]
    fn meet_all<const SLOPES: bool>(
        &self,
        item: Higher,
        scores: &[T],
        ranks: &[T],
        slopes: &mut [f64],
        sums: &mut ItemSums<S, T::Lanes<S>>,
    ) {
        let simd = self.simd;
        let all = |x| T::Lanes::all(simd, x);
        let own = ([all(scores[item.index]), all(ranks[item.index])], f64::from(item.times));
        let ((score_vectors, scores), (rank_vectors, ranks)) = (T::Lanes::vectors(scores), T::Lanes::vectors(ranks));
        let mut slopes = slopes.chunks_mut(T::Lanes::<S>::COUNT);
        for (&scores, &ranks) in score_vectors.iter().zip(rank_vectors) {
            let others = [T::Lanes::new(simd, scores), T::Lanes::new(simd, ranks)];
            self.meet::<SLOPES>(own, others, slopes.next().unwrap_or_default(), sums);
        }
        if !scores.is_empty() {
            let others = [T::Lanes::load_part(simd, scores), all(T::NAN).with_first(ranks)];
            self.meet::<SLOPES>(own, others, slopes.next().unwrap_or_default(), sums);
        }
    }
}

impl<S: Simd, T: HostReal, P: PenaltyShape> PairSums<T> for VectorPairs<S, T, P> {
    #[inline(always)]
    fn add(
        &self,
        items: impl Iterator<Item = Higher>,
        scores: &[T],
        ranks: &[T],
        mut slopes: Option<&mut [f64]>,
    ) -> (f64, bool) {
        let zero = || Sum::new(self.simd);
        let mut sums = ItemSums { values: zero(), slopes: zero(), active: T::Lanes::none(self.simd) };
        // Of the items that count several times, each multiplied once: as many equal numbers in a chain would all be rounded
        // in one direction.
        let mut repeated = 0.0;
        for item in items {
            let before = (item.times > 1).then(|| mem::replace(&mut sums.values, zero()));
            match &mut slopes {
                None => self.meet_all::<false>(item, scores, ranks, &mut [], &mut sums),
                Some(slopes) => {
                    self.meet_all::<true>(item, scores, ranks, slopes, &mut sums);
                    let owed = mem::replace(&mut sums.slopes, zero()).total();
                    slopes[item.index] -= owed * f64::from(item.times);
                }
            }
            if let Some(before) = before {
                repeated += mem::replace(&mut sums.values, before).total() * f64::from(item.times);
            }
        }
        (sums.values.total() + repeated, T::Lanes::any(sums.active))
    }
}
