//! keras.losses. The batch's scores are `y_pred`, its targets are `y_true`.
//!
//! As in Keras, the mean of nothing is 0, and the slope at the kink is one half. The binary losses take one score per
//! sample, (N) or (N, 1).

use super::{Peer, evaluate};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Reduction, Request};
use crate::data::labels::Label;
use crate::data::tensor::{Targets, with_targets};
use crate::device::Device;
use crate::error::Result;
use crate::loss::{BinaryHinge, LabelEncoding, Penalty};

/// Keras's reductions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KerasReduction {
    /// The weighted sum divided by the number of samples. Keras's `mean` is the same.
    #[default]
    SumOverBatchSize,
    /// The weighted sum divided by the sum of the weights.
    MeanWithSampleWeight,
    /// The weighted sum.
    Sum,
    /// No value, only the losses.
    None,
}

impl From<KerasReduction> for Reduction {
    fn from(reduction: KerasReduction) -> Self {
        match reduction {
            KerasReduction::SumOverBatchSize => Peer::Keras.mean(),
            KerasReduction::MeanWithSampleWeight => Reduction::Mean,
            KerasReduction::Sum => Reduction::Sum,
            KerasReduction::None => Reduction::None,
        }
    }
}

/// Defines a Keras loss. `$loss` builds this crate's loss from the reduction and the batch.
macro_rules! loss {
    ($name:ident, $doc:literal, $loss:expr) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// Sum over batch size by default.
            pub reduction: KerasReduction,
        }

        impl $name {
            /// The value, or the losses for [`KerasReduction::None`].
            ///
            /// # Errors
            /// As [`Device::evaluate`], but the mean of nothing is 0.
            pub fn call(&self, device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
                evaluate(
                    device,
                    &$loss(self.reduction, batch),
                    batch,
                    &Request::new().reduction(self.reduction.into()),
                    0.0,
                )
            }

            /// As `call`, with the gradient with respect to the scores.
            ///
            /// # Errors
            /// As `call`.
            pub fn call_with_gradient(&self, device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
                evaluate(
                    device,
                    &$loss(self.reduction, batch),
                    batch,
                    &Request::new().reduction(self.reduction.into()).gradient(),
                    0.0,
                )
            }
        }
    };
}
pub(super) use loss;

loss!(
    Hinge,
    "`keras.losses.Hinge`: max(1 - y*s, 0).

Labels are 0/1 where every label of this batch is 0 or 1, else -1/+1: a batch of nothing but 1 reads the same in both.
[`BinaryHinge::labels`] states the encoding instead.",
    |_, batch: &Batch<'_>| binary(batch, Penalty::Linear)
);
loss!(
    SquaredHinge,
    "`keras.losses.SquaredHinge`: max(1 - y*s, 0)^2. Labels are read as by [`Hinge`].",
    |_, batch: &Batch<'_>| binary(batch, Penalty::Squared)
);
loss!(
    CategoricalHinge,
    "`keras.losses.CategoricalHinge` over a batch of rows of scores with rows of targets:
[`crate::CategoricalHinge`], which is not Crammer-Singer ([`crate::MulticlassHinge::crammer_singer`]).",
    |_, _: &Batch<'_>| crate::CategoricalHinge::new().kink(Peer::Keras.kink()).ties(Peer::Keras.ties())
);

fn binary(batch: &Batch<'_>, penalty: Penalty) -> BinaryHinge {
    BinaryHinge::new().penalty(penalty).kink(Peer::Keras.kink()).labels(label_encoding(batch.targets))
}

/// 0/1 where every label of the batch is 0 or 1, else -1/+1. Labels on a device count as -1/+1.
fn label_encoding(targets: Targets<'_>) -> LabelEncoding {
    fn all_binary<L: Label>(labels: &[L]) -> bool {
        labels.iter().all(|l| l.is(0) | l.is(1))
    }
    match with_targets!(targets, x => all_binary(x), _tensor => false) {
        true => LabelEncoding::ZeroOne,
        false => LabelEncoding::PlusMinusOne,
    }
}
