//! The formulas of each pattern, as traits generic over the number type: one formula serves scalars and vectors, f32
//! and f64.

use super::penalty::{PenaltyShape, Rule, Ties};
use crate::data::real::{Number, Real};

/// One sample of an elementwise loss, or one sample per lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point<T: Number> {
    pub(crate) value: T,
    pub(crate) slope: T,
    pub(crate) active: T::Mask,
    /// The sign of the score is the target's.
    pub(crate) correct: T::Mask,
}

/// A formula of one score and one target per sample.
pub(crate) trait Elementwise: Sync {
    /// True if targets are only -1 and +1; false if they are any finite number.
    const LABELS: bool;
    /// The loss and its slope, in every lane.
    fn value_and_slope<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T>;
}

/// How the penalties of a row's columns combine into the row's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combination {
    /// The largest penalty: the worst rival decides.
    Max,
    /// The penalty of the mean of the largest violations; the true class takes part with violation 0.
    Top,
    Sum,
}

/// A formula of one row of class scores and one true class per sample.
pub(crate) trait Rows: Copy + Send + Sync {
    const COMBINATION: Combination;
    /// Whether the true class's column also carries a penalty, with slope -1 on its score.
    #[inline(always)]
    fn has_true_column(self) -> bool {
        false
    }
    /// Whether a rival's violation also depends on the true class's score, with derivative -1. It always depends on the
    /// rival's own score.
    #[inline(always)]
    fn compares(self) -> bool {
        true
    }
    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, true_score: T, _is_true: T::Mask) -> T {
        rival_violation(margin, score, true_score)
    }
}

/// Any sum over columns. One compiled loop serves the three sum methods where the penalty or the precision is rare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnySum {
    pub(crate) has_true_column: bool,
    pub(crate) compares: bool,
}

impl Rows for AnySum {
    const COMBINATION: Combination = Combination::Sum;

    #[inline(always)]
    fn has_true_column(self) -> bool {
        self.has_true_column
    }

    #[inline(always)]
    fn compares(self) -> bool {
        self.compares
    }

    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, true_score: T, is_true: T::Mask) -> T {
        let reference = if self.compares { true_score } else { score.splat(0.0) };
        let signed = if self.has_true_column { T::select(is_true, -score, score) } else { score };
        rival_violation(margin, signed, reference)
    }
}

/// margin + (s_i - s_y), in this order: two large scores cancel before the margin is added, so it is not lost.
#[inline(always)]
pub(crate) fn rival_violation<T: Number>(margin: T, score: T, true_score: T) -> T {
    margin + (score - true_score)
}

/// One sample of a loss with rows of targets, before division by C and weighting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowPoint {
    pub(crate) value: f64,
    pub(crate) active: bool,
    pub(crate) correct: bool,
}

/// Where a row's loss writes its slopes, and scratch memory; one element per class.
#[derive(Debug)]
pub(crate) struct RowScratch<'a, T, S> {
    /// The derivative with respect to each score, zero on entry; `None` if no gradient is wanted.
    pub(crate) slopes: Option<&'a mut [f64]>,
    pub(crate) ranks: &'a mut [T],
    pub(crate) times: &'a mut [u32],
    pub(crate) pairs: &'a S,
}

/// An item of a row or list that forms pairs with lower-ranked ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Higher {
    pub(crate) index: usize,
    /// How often each of its pairs counts.
    pub(crate) times: u32,
}

pub(crate) trait PairSums<T> {
    /// Pairs each of `items` with every item of lower rank. Returns the sum of phi(margin + s_lower - s_higher) over
    /// the pairs and whether any margin is violated. An item with rank NaN is never the lower one. Derivatives are
    /// added to `slopes` if it is given. All slices have the same length.
    fn add(
        &self,
        items: impl Iterator<Item = Higher>,
        scores: &[T],
        ranks: &[T],
        slopes: Option<&mut [f64]>,
    ) -> (f64, bool);
}

/// A formula of one row of class scores and one row of targets per sample, or of one list of each.
pub(crate) trait TargetRows: Sync {
    /// Whether an item with this target is left out, whatever its score.
    fn is_padding(_target: i32) -> bool {
        false
    }
    /// The loss and its slopes. The driver handles NaN scores.
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        ties: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Combined<T> {
    pub(crate) value: T,
    pub(crate) slopes: [T; 3],
    pub(crate) active: bool,
}

/// A formula of the distances between two or three vectors per sample.
pub(crate) trait Vectors: Sync {
    /// The loss and its slopes. `target` is -1, 0 or +1.
    fn combine<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        distances: [T; 3],
        has_third: bool,
        target: T,
    ) -> Combined<T>;
}

/// phi(margin - t*s) for label t in {-1, +1}. Score s predicts its own sign; 0 predicts -1.
pub(crate) struct SignedHinge;

impl Elementwise for SignedHinge {
    const LABELS: bool = true;

    #[inline(always)]
    fn value_and_slope<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T> {
        let zero = score.splat(0.0);
        let agreement = target * score;
        let violation = rule.margin - agreement;
        let (value, slope) = rule.penalise(violation);
        Point {
            value,
            slope: -target * slope,
            active: zero.below(violation),
            correct: zero.below(agreement) | (score.equals(zero) & target.below(zero)),
        }
    }
}
