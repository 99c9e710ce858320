//! Embedding hinge: torch's HingeEmbeddingLoss, which is not the hinge of a classifier.

use serde::{Deserialize, Serialize};

use super::formula::{Elementwise, Point};
use super::penalty::{Kink, Penalty, PenaltyShape, Rule};
use super::spec::{ElementwiseFormula, ElementwiseSpec, LossShader, Spec, shader};
use super::terms::{Terms, ignore_index, loss_option};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRule;
use crate::data::real::Number;

pub(super) const SHADER: LossShader = shader!("embedding", Elementwise);

/// Embedding hinge loss for a distance x: x where t = +1, max(0, margin - x) where t = -1.
///
/// **This is not the hinge of a classifier** ([`crate::BinaryHinge`]): x is a distance. Samples with t = +1 pull it
/// down without bound; samples with t = -1 push it up to the margin. Minimising the loss drives outputs *against* the
/// labels, so no accuracy is reported.
///
/// The rule is exactly torch's: `(t != 1 ? max(0, margin - x) : 0) + (t != -1 ? x : 0)`. A target outside {-1, +1} gets
/// both terms, whose sum is max(margin, x). Losses may be negative. A sample is active if t != 1 and x is below the
/// margin.
///
/// ```
/// use maxmargin::{Batch, Device, EmbeddingHinge, Reduction, Request};
/// let batch = Batch::new(&[0.25f32, 0.25, 0.25], &[1.0f32, -1.0, 0.5]);
/// let request = Request::new().reduction(Reduction::Sum);
/// let evaluation = Device::cpu().evaluate(&EmbeddingHinge::new(), &batch, &request)?;
/// assert_eq!(evaluation.value, Some(0.25 + 0.75 + 1.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingHinge {
    terms: Terms,
    ignore_index: Option<i64>,
}

impl EmbeddingHinge {
    /// Margin 1, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), ignore_index: None }
    }

    ignore_index!("Leaves out the samples with this target. Inputs must be in host memory.");

    loss_option! {
        /// The distance that samples with t = -1 must keep.
        margin, get_margin: f64 = [terms margin]
    }

    loss_option! {
        /// The slope of the hinge where the margin is met exactly.
        kink, get_kink: Kink = [terms kink]
    }
}

loss_type!(EmbeddingHinge);

impl Loss for EmbeddingHinge {
    fn spec(&self) -> Spec<'_> {
        Spec::Elementwise(ElementwiseSpec {
            shader: &SHADER,
            formula: ElementwiseFormula::Embedding,
            terms: Terms { penalty: Penalty::Linear, ..self.terms },
            has_correct: false,
            pairs: false,
            ignore_index: self.ignore_index,
            target_rule: TargetRule::Signs,
        })
    }

    loss_value!();
}

pub(crate) struct EmbeddingFormula;

impl Elementwise for EmbeddingFormula {
    const LABELS: bool = false;

    #[inline(always)]
    fn value_and_slope<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T> {
        let (zero, one) = (score.splat(0.0), score.splat(1.0));
        let violation = rule.margin - score;
        let (hinge, slope) = rule.penalise(violation);
        let (is_similar, is_dissimilar) = (target.equals(one), target.equals(-one));
        let is_violated = zero.below(violation);
        // max(margin, x) directly: the sum of both terms would lose the margin next to a large x, and be NaN at -inf.
        let both = T::select(is_violated, rule.margin, score);
        let value = T::select(is_similar, score, T::select(is_dissimilar, hinge, both));
        let hinge_slope = T::select(is_similar, zero, -slope);
        let distance_slope = T::select(is_dissimilar, zero, one);
        let slope = T::select(score.equals(score), hinge_slope + distance_slope, score);
        Point { value, slope, active: is_violated & !is_similar, correct: zero.below(zero) }
    }
}
