//! The losses of other libraries by their own names, arguments and conventions, computed by this crate.
//!
//! Inputs come as a [`Batch`] on the host or on a GPU; results are [`Evaluation`]s. The last column names the
//! deliberate differences.
//!
//! | library | here | differs |
//! |---|---|---|
//! | `torch.nn.HingeEmbeddingLoss` | [`torch::HingeEmbeddingLoss`] | NaN and infinities by the table in [`crate::loss`] |
//! | `torch.nn.MultiMarginLoss` | [`torch::MultiMarginLoss`] | a NaN score gives NaN (torch: finite); an empty batch gives NaN or 0 (torch on CPU: uninitialised memory) |
//! | `torch.nn.MarginRankingLoss` | [`torch::MarginRankingLoss`] | targets other than -1 and +1 are errors |
//! | `torch.nn.SoftMarginLoss` | [`torch::SoftMarginLoss`] | finite for every finite score (torch in f32: inf and a NaN gradient at t*x = -100); targets other than -1 and +1 are errors |
//! | `torch.nn.MultiLabelMarginLoss` | [`torch::MultiLabelMarginLoss`] | a NaN score gives NaN |
//! | `torch.nn.TripletMarginLoss` | [`torch::TripletMarginLoss`] | p below 1 is an error, since it is no norm |
//! | `torch.nn.TripletMarginWithDistanceLoss` | [`torch::TripletMarginWithDistanceLoss`] | the distance is a [`crate::Distance`] |
//! | `torch.nn.CosineEmbeddingLoss` | [`torch::CosineEmbeddingLoss`] | a cosine above 1 by rounding costs 0, not less |
//! | `torchmetrics...binary_hinge_loss` | [`torchmetrics::binary_hinge_loss`] | targets other than 0, 1 and the ignored one are errors |
//! | `torchmetrics...multiclass_hinge_loss` | [`torchmetrics::multiclass_hinge_loss`] | all rows ignored gives NaN (torchmetrics: an exception) |
//! | `torchmetrics...BinaryHingeLoss`, `MulticlassHingeLoss`, `HingeLoss` | [`torchmetrics::BinaryHingeLoss`], [`torchmetrics::MulticlassHingeLoss`], [`torchmetrics::HingeLoss`] | state in f64 and u64 (torchmetrics: f32, which stalls at 2^24); merging another configuration is an error |
//! | `keras.losses.Hinge`, `SquaredHinge` | [`keras::Hinge`], [`keras::SquaredHinge`] | a 0 among -1/+1 labels is an error (Keras: loss 1) |
//! | `keras.losses.CategoricalHinge` | [`keras::CategoricalHinge`] | targets other than -1, 0 and 1 are errors |
//! | `keras_rs.losses.PairwiseHingeLoss` | [`keras_rs::PairwiseHingeLoss`] | unreduced losses are one per list; no temperature |
//! | `kornia.losses.lovasz_hinge_loss` | [`kornia::lovasz_hinge_loss`] | labels other than 0 and 1 are errors; equal errors keep their order (kornia: any order) |
//! | `sklearn.metrics.hinge_loss` | [`sklearn::hinge_loss`] | the encoding decides how a batch of one class is read (scikit-learn: as negative, whatever the label) |
//! | `optax.losses.hinge_loss`, `perceptron_loss` | [`optax::hinge_loss`], [`optax::perceptron_loss`] | labels other than -1 and +1 are errors |
//! | `optax.losses.multiclass_hinge_loss` | [`optax::multiclass_hinge_loss`] | a label out of range is an error (optax: 3.0); where n tied rivals meet the margin exactly, each receives 1/(2n) and the true class -1/2 (optax: 1/(n+1) and -n/(n+1)) |
//!
//! Each item names the pitfalls of the original, with the plain alternative.

pub mod keras;
pub mod keras_rs;
pub mod kornia;
pub mod optax;
pub mod sklearn;
pub mod torch;
pub mod torchmetrics;

use crate::data::batch::{Batch, ScoreKind};
use crate::data::evaluation::{Evaluation, Reduction, Request};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::loss::{Kink, Loss, Ties};
use crate::names::names;

/// A library with conventions that this crate can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// PyTorch 2.15, `torch.nn`.
    Torch,
    /// torchmetrics 1.9.
    Torchmetrics,
    /// Keras 3.15 on JAX or torch.
    Keras,
    /// scikit-learn 1.9, with the gradients of its SGD losses.
    Sklearn,
    /// optax 0.2.
    Optax,
}

names!(Peer, "preset": Torch = "torch", Torchmetrics = "torchmetrics", Keras = "keras", Sklearn = "sklearn", Optax = "optax");

impl Peer {
    /// The slope where a margin is met exactly.
    pub fn kink(self) -> Kink {
        match self {
            Peer::Torch | Peer::Torchmetrics => Kink::Zero,
            Peer::Keras | Peer::Optax => Kink::Half,
            Peer::Sklearn => Kink::Active,
        }
    }

    /// Who receives the gradient of a tied maximum.
    pub fn ties(self) -> Ties {
        match self {
            Peer::Torch | Peer::Torchmetrics | Peer::Sklearn => Ties::First,
            Peer::Keras | Peer::Optax => Ties::Split,
        }
    }

    /// How it reads scores.
    pub fn score_kind(self) -> ScoreKind {
        if self == Peer::Torchmetrics { ScoreKind::Guessed } else { ScoreKind::Raw }
    }

    /// Its mean of weighted samples: Keras's losses divide by the number of samples, the others by the sum of weights.
    pub fn mean(self) -> Reduction {
        if self == Peer::Keras { Reduction::MeanOverCount } else { Reduction::Mean }
    }
}

/// Evaluates a loss; the mean of nothing is `empty`, as in the other library.
fn evaluate(device: &Device, loss: &dyn Loss, batch: &Batch<'_>, request: &Request, empty: f64) -> Result<Evaluation> {
    match device.evaluate(loss, batch, request) {
        Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
            // The sum of nothing is defined, and its gradient is zeros.
            let sum = device.evaluate(loss, batch, &request.reduction(Reduction::Sum))?;
            let classes = sum.per_class.as_ref().map(Vec::len);
            Ok(Evaluation {
                value: sum.value.map(|_| empty),
                per_class: classes.map(|classes| vec![empty; classes]),
                ..sum
            })
        }
        other => other,
    }
}
