//! Sums over the pairs of a row or list. Each item in turn meets all lower items, a vector of them at a time.
//!
//! The loss says by ranks which items form pairs, and does not handle vectors. Left to the compiler, the loop had a
//! branch per pair. The pairs of a repeated label are added once and multiplied: in a sum of a thousand equal numbers,
//! every addition would round in the same direction.

use std::mem;

use pulp::Simd;

use super::HostReal;
use super::lanes::{Sum, Vector};
use crate::data::real::Number;
use crate::loss::{Higher, PairSums, PenaltyShape, Rule, rival_violation};

pub(super) struct VectorPairs<S: Simd, T: HostReal, P> {
    simd: S,
    rule: Rule<T::Lanes<S>, P>,
}

struct ItemSums<S: Simd, L: Vector<S>> {
    values: Sum<S>,
    /// The slope of the item whose pairs are being added.
    slopes: Sum<S>,
    active: L::Mask,
}

impl<S: Simd, T: HostReal, P: PenaltyShape> VectorPairs<S, T, P> {
    #[inline(always)]
    pub(super) fn new(simd: S, rule: &Rule<T, P>) -> Self {
        Self { simd, rule: rule.splat(T::Lanes::all(simd, T::ZERO)) }
    }

    /// Adds the pairs of one item with a vector of others. Only the others' slopes are multiplied by `times`.
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

    /// Adds the pairs of one item with all others. The values and its own slope are not multiplied yet.
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
        // Values of items that count several times, multiplied once: no equal numbers are added in a chain.
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
