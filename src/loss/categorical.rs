//! Categorical hinge: Keras's CategoricalHinge, to the letter.

use serde::{Deserialize, Serialize};

use super::penalty::{PenaltyShape, Rule, Ties};
use super::{
    LossShader, Pattern, RowPoint, RowScratch, TargetRowRule, TargetRowsLoss, Terms, evaluate_target_rows,
    terms_builder,
};
use crate::real::Real;

pub(super) const SHADER: LossShader = LossShader {
    name: "categorical",
    pattern: Pattern::TargetRows,
    source: include_str!("../../shaders/loss/categorical.wgsl"),
    workgroup_bytes: 0,
};

/// Categorical hinge loss of rows of scores s with targets y of -1, 0 or 1 a class (or one class index a row, which
/// means a 1 there and 0 elsewhere): phi(margin + max over i of (1 - y_i)*s_i - sum over i of y_i*s_i).
///
/// With the default options it is Keras's CategoricalHinge. **It is not Crammer-Singer**
/// ([`crate::MulticlassHinge::crammer_singer`]): the true class takes part in the maximum with a zero, so a row whose
/// rivals are all negative still pays for a true score below the margin, and no rival then receives a gradient.
/// Targets of -1 count a rival twice in the maximum and subtract it from the sum, as in Keras. A row is correct where
/// the lowest index of the highest score has a target of 1.
///
/// ```
/// use maxmargin::{Batch, CategoricalHinge, Device, Request};
/// let batch = Batch::rows(&[-1.0f32, -2.0, -3.0], 3, &[1i8, 0, 0]);
/// let value = Device::cpu().evaluate(&CategoricalHinge::new(), &batch, &Request::new())?.value;
/// assert_eq!(value, Some(2.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoricalHinge {
    terms: Terms,
    ties: Ties,
}

impl Default for CategoricalHinge {
    fn default() -> Self {
        Self::new()
    }
}

impl CategoricalHinge {
    /// Margin 1, linear penalty, kink 0, the first of equal classes receives the gradient.
    pub fn new() -> Self {
        Self { terms: Terms::new(), ties: Ties::First }
    }

    terms_builder!("The margin.");

    /// Which of equal largest terms receives the gradient.
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }
}

/// (1 - y)*s. A factor of 0 is left out, so that an infinite score is no NaN.
#[inline(always)]
fn slot<T: Real>(score: T, target: i32) -> f64 {
    match target {
        1 => 0.0,
        target => f64::from(1 - target) * score.to_f64(),
    }
}

impl TargetRowsLoss for CategoricalHinge {
    const SHADER: LossShader = SHADER;
    const HAS_CORRECT: bool = true;

    fn target_rule(&self) -> TargetRowRule {
        TargetRowRule::Categories
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn ties(&self) -> Ties {
        self.ties
    }

    fn divisor(&self, _: usize) -> f64 {
        1.0
    }

    #[inline(always)]
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        ties: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_>,
    ) -> RowPoint {
        // In f64, where large scores cancel before they overflow.
        let (mut best, mut best_index, mut tied) = (f64::NEG_INFINITY, 0, 0);
        let (mut top, mut top_index) = (T::NEG_INFINITY, 0);
        let mut positive = 0.0;
        for (i, (&score, &target)) in scores.iter().zip(targets).enumerate() {
            let slot = slot(score, target);
            if i == 0 || slot > best {
                (best, best_index, tied) = (slot, i, 1);
            } else if slot == best {
                tied += 1;
            }
            if i == 0 || score > top {
                (top, top_index) = (score, i);
            }
            if target != 0 {
                positive += f64::from(target) * score.to_f64();
            }
        }
        let violation = T::from_f64(rule.margin.to_f64() + (best - positive));
        let (value, slope) = rule.penalise(violation);
        let slope = slope.to_f64();
        for (i, (&score, &target)) in scores.iter().zip(targets).enumerate() {
            let share = match ties {
                Ties::First => f64::from(u8::from(i == best_index)),
                Ties::Split if self::slot(score, target) == best => 1.0 / f64::from(tied),
                Ties::Split => 0.0,
            };
            let factor = share * f64::from(1 - target) - f64::from(target);
            // Zero times an infinite slope is nothing owed, not NaN.
            scratch.slopes[i] = if factor == 0.0 { 0.0 } else { slope * factor };
        }
        RowPoint { value: value.to_f64(), active: violation > T::ZERO, correct: targets[top_index] == 1 }
    }
}

evaluate_target_rows!(CategoricalHinge);
