//! Binary hinge: phi(margin - t*s), the loss of the support vector machine.

use serde::{Deserialize, Serialize};

use super::penalty::Penalty;
use super::spec::{ElementwiseFormula, ElementwiseSpec, LossShader, Spec, shader};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::{LabelEncoding, TargetRule};

pub(super) const SHADER: LossShader = shader!("binary", Elementwise);

/// Binary hinge loss: phi(margin - t*s) for score s and label t in {-1, +1} (Cortes and Vapnik, 1995).
///
/// Scores are raw: no sigmoid is ever applied. The caller states the label encoding; it is never guessed from the
/// batch. A positive score predicts +1.
///
/// ```
/// use maxmargin::{Batch, BinaryHinge, Device, LabelEncoding, Request};
/// let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
/// let batch = Batch::new(&[0.5f32, 0.7, 0.1], &[0u8, 1, 1]);
/// let evaluation = Device::cpu().evaluate(&loss, &batch, &Request::new())?;
/// assert!((evaluation.value.unwrap() - 0.9).abs() < 1e-6);
/// assert_eq!(evaluation.correct, Some(2));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinaryHinge {
    terms: Terms,
    labels: LabelEncoding,
    ignore_index: Option<i64>,
}

impl BinaryHinge {
    /// Margin 1, linear penalty, labels -1/+1, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), labels: LabelEncoding::PlusMinusOne, ignore_index: None }
    }

    /// Rosenblatt's perceptron: max(0, -t*s), the linear penalty at margin 0.
    pub fn perceptron() -> Self {
        Self::new().margin(0.0)
    }

    /// The soft margin (logistic) loss: ln(1 + exp(-t*s)), [`Penalty::Softplus`] at margin 0. Finite for finite scores.
    pub fn soft_margin() -> Self {
        Self::new().margin(0.0).penalty(Penalty::Softplus)
    }

    terms_builder!("The margin that t*s must reach.");

    ignore_index!("Leaves out the samples with this target. Inputs must be in host memory.");

    loss_option! {
        /// How the labels are encoded.
        labels, get_labels: LabelEncoding = [labels]
    }
}

loss_type!(BinaryHinge);

impl Loss for BinaryHinge {
    fn spec(&self) -> Spec<'_> {
        Spec::Elementwise(ElementwiseSpec {
            shader: &SHADER,
            formula: ElementwiseFormula::Signed,
            terms: self.terms,
            has_correct: true,
            pairs: false,
            ignore_index: self.ignore_index,
            target_rule: TargetRule::Labels(self.labels),
        })
    }

    loss_value!();
}
