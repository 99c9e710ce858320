//! Margin ranking: phi(margin - t*(x1 - x2)), where t says which of two scores should be higher.

use serde::{Deserialize, Serialize};

use super::spec::{ElementwiseFormula, ElementwiseSpec, LossShader, Spec, shader};
use super::terms::{Terms, ignore_index, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::{LabelEncoding, TargetRule};

pub(super) const SHADER: LossShader = shader!("ranking", Elementwise);

/// Margin ranking loss of pairs of scores: phi(margin - t*(x1 - x2)). t = +1 says that x1 should be higher, t = -1 that
/// x2 should be.
///
/// With the default options (margin 0, linear penalty) it is torch's MarginRankingLoss. The gradient is with respect to
/// the first scores. For raw scores, the gradient with respect to the second scores is its negative; for logits it is
/// not, since each score has its own sigmoid slope. A pair is correct if the score that should be higher is; a tie
/// predicts t = -1.
///
/// ```
/// use maxmargin::{Batch, Device, MarginRanking, Request};
/// let batch = Batch::pairs(&[2.0f32, 0.5], &[1.0f32, 1.0], &[1i8, 1]);
/// let evaluation = Device::cpu().evaluate(&MarginRanking::new(), &batch, &Request::new().gradient())?;
/// assert_eq!(evaluation.value, Some(0.25));
/// assert_eq!(evaluation.gradient.unwrap().to_f64()?, [0.0, -0.5]);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarginRanking {
    terms: Terms,
    ignore_index: Option<i64>,
}

impl MarginRanking {
    /// Margin 0, linear penalty, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms { margin: 0.0, ..Terms::new() }, ignore_index: None }
    }

    terms_builder!("By how much the score that ought to be higher must be.");

    ignore_index!("Leaves out the pairs with this target. Inputs must be in host memory.");
}

loss_type!(MarginRanking);

impl Loss for MarginRanking {
    fn spec(&self) -> Spec<'_> {
        Spec::Elementwise(ElementwiseSpec {
            shader: &SHADER,
            formula: ElementwiseFormula::Signed,
            terms: self.terms,
            has_correct: true,
            pairs: true,
            ignore_index: self.ignore_index,
            target_rule: TargetRule::Labels(LabelEncoding::PlusMinusOne),
        })
    }

    loss_value!();
}
