//! What a loss of each pattern computes, as traits that are generic over the numbers: one formula serves single numbers
//! and vectors of them, in f32 and f64.

use super::penalty::{PenaltyShape, Rule, Ties};
use crate::data::real::{Number, Real};

/// One sample of an elementwise loss, or a vector of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point<T: Number> {
    /// The loss.
    pub(crate) value: T,
    /// Its derivative with respect to the score.
    pub(crate) slope: T,
    /// True where the margin is violated, v > 0.
    pub(crate) active: T::Mask,
    /// True where the sign of the score is the target's.
    pub(crate) correct: T::Mask,
}

/// A formula of one score and one target a sample.
pub(crate) trait Elementwise: Sync {
    /// Whether targets are -1 and +1 alone, and not any finite number.
    const LABELS: bool;
    /// The loss and its slope at one score, or at each of a vector of scores.
    fn value_and_slope<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T>;
}

/// How the penalties of a row's columns make the row's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combination {
    /// The largest: the worst rival decides.
    Max,
    /// The penalty of the mean of the largest violations, the true class's own zero among them.
    Top,
    /// The sum.
    Sum,
}

/// A formula of one row of class scores and one true class a sample.
pub(crate) trait Rows: Copy + Send + Sync {
    /// How columns are combined.
    const COMBINATION: Combination;
    /// Whether the true class's own column carries a penalty (with slope -1 on its score) beside the rivals'.
    #[inline(always)]
    fn has_true_column(self) -> bool {
        false
    }
    /// Whether a rival's violation grows as the true class's score falls, as one for one. It grows with its own score in any
    /// case.
    #[inline(always)]
    fn compares(self) -> bool {
        true
    }
    /// The margin violation of one column.
    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, true_score: T, _is_true: T::Mask) -> T {
        rival_violation(margin, score, true_score)
    }
}

/// Any sum over columns: one loop for the three methods that are one, where a penalty or a precision is rare.
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
        // A difference from 0 is the number itself.
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

/// One sample of a loss of rows of targets, before its sum over classes is divided and its weight is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowPoint {
    /// The loss.
    pub(crate) value: f64,
    /// Any violation v > 0.
    pub(crate) active: bool,
    /// The prediction agrees with the targets.
    pub(crate) correct: bool,
}

/// What a row's loss writes beside its value, one element a class, and what helps it.
#[derive(Debug)]
pub(crate) struct RowScratch<'a, T, S> {
    /// The derivative with respect to each score, zeros before; none where nobody asks for it.
    pub(crate) slopes: Option<&'a mut [f64]>,
    /// Room for a rank a class.
    pub(crate) ranks: &'a mut [T],
    /// Room for a count a class.
    pub(crate) times: &'a mut [u32],
    /// Adds up pairs.
    pub(crate) pairs: &'a S,
}

/// An item of a row or list that forms pairs with lower ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Higher {
    /// Where it stands.
    pub(crate) index: usize,
    /// How often each of its pairs counts.
    pub(crate) times: u32,
}

/// Sums over the pairs of a row's or list's items.
pub(crate) trait PairSums<T> {
    /// The sum of phi(margin + s_lower - s_higher) over the pairs of each of these items with all items whose rank is lower, and
    /// whether a margin is violated. An item whose rank is NaN is lower than none. The derivatives are added to `slopes`,
    /// where they are wanted. All slices are as long.
    fn add(
        &self,
        items: impl Iterator<Item = Higher>,
        scores: &[T],
        ranks: &[T],
        slopes: Option<&mut [f64]>,
    ) -> (f64, bool);
}

/// A formula of one row of class scores and one row of targets a sample, or of one list of scores and one of targets.
pub(crate) trait TargetRows: Sync {
    /// Whether a score with this target takes no part, whatever it is.
    fn is_padding(_target: i32) -> bool {
        false
    }
    /// The loss and its slopes. A NaN score is seen to by the driver.
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        ties: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint;
}

/// One sample of a loss of vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Combined<T> {
    /// The loss.
    pub(crate) value: T,
    /// Its derivatives with respect to the distances.
    pub(crate) slopes: [T; 3],
    /// True where the margin is violated, v > 0.
    pub(crate) active: bool,
}

/// A formula of the distances of two or three vectors a sample.
pub(crate) trait Vectors: Sync {
    /// The loss and its slopes, given the distances. `target` is -1, 0 or +1.
    fn combine<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        distances: [T; 3],
        has_third: bool,
        target: T,
    ) -> Combined<T>;
}

/// phi(margin - t*s) for label t in {-1, +1} and a score s that predicts its sign, 0 the sign -1.
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
