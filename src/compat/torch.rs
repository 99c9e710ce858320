//! torch.nn: losses as modules. `forward` gives the value (without a reduction: the losses), `forward_backward` also
//! the gradient with respect to the input.
//!
//! As in torch, the mean of an empty batch is NaN, and the slope at the kink is 0.

use super::{Peer, evaluate};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Reduction, Request};
use crate::device::Device;
use crate::error::{Error, Result, number};
use crate::loss::{
    BinaryHinge, CosineEmbedding, Distance, EmbeddingHinge, MulticlassHinge, MultilabelMargin, OverClasses, Penalty,
    TripletMargin,
};

/// Defines the two calls of every module by its function `evaluate(device, batch, request)`.
macro_rules! module {
    ($name:ident) => {
        impl $name {
            /// The value, or the losses for [`Reduction::None`].
            ///
            /// # Errors
            /// As [`Device::evaluate`], but the mean of nothing is NaN.
            pub fn forward(&self, device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
                self.evaluate(device, batch, &Request::new().reduction(self.reduction))
            }

            /// As `forward`, with the gradient of the value (of the sum for [`Reduction::None`]).
            ///
            /// # Errors
            /// As `forward`.
            pub fn forward_backward(&self, device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
                self.evaluate(device, batch, &Request::new().reduction(self.reduction).gradient())
            }
        }
    };
}

/// `torch.nn.HingeEmbeddingLoss(margin, reduction=...)` of distances: [`EmbeddingHinge`].
///
/// This is not the hinge of a classifier, [`BinaryHinge`]. A target outside {-1, +1} gets both terms.
///
/// ```
/// use maxmargin::{Batch, Device, compat::torch::HingeEmbeddingLoss};
/// let batch = Batch::new(&[0.25f32, 0.25], &[1.0f32, -1.0]);
/// let evaluation = HingeEmbeddingLoss::default().forward(&Device::cpu(), &batch)?;
/// assert_eq!(evaluation.value, Some(0.5));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HingeEmbeddingLoss {
    /// The distance that dissimilar pairs must keep; 1 by default.
    pub margin: f64,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for HingeEmbeddingLoss {
    fn default() -> Self {
        Self { margin: 1.0, reduction: Reduction::Mean }
    }
}

impl HingeEmbeddingLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let loss = EmbeddingHinge::new().margin(self.margin).kink(Peer::Torch.kink());
        evaluate(device, &loss, batch, request, f64::NAN)
    }
}
module!(HingeEmbeddingLoss);

/// `torch.nn.MultiMarginLoss(p, margin, weight, reduction=...)` over a batch of rows:
/// [`MulticlassHinge::weston_watkins`] divided by C.
///
/// The mean divides by the number of rows, never by the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiMarginLoss {
    /// The exponent of a violation, 1 (the default) or 2.
    pub p: u32,
    /// The margin between the true class and a rival; 1 by default.
    pub margin: f64,
    /// One weight per class.
    pub weight: Option<Vec<f64>>,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for MultiMarginLoss {
    fn default() -> Self {
        Self { p: 1, margin: 1.0, weight: None, reduction: Reduction::Mean }
    }
}

impl MultiMarginLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let penalty = match self.p {
            1 => Penalty::Linear,
            2 => Penalty::Squared,
            p => return Err(Error::Option { option: "p", expected: "1 or 2".into(), got: number(p) }),
        };
        let loss = MulticlassHinge::weston_watkins()
            .penalty(penalty)
            .margin(self.margin)
            .over_classes(OverClasses::Mean)
            .kink(Peer::Torch.kink());
        let loss = match &self.weight {
            Some(weight) => loss.class_weights(weight.clone()),
            None => loss,
        };
        evaluate(device, &loss, batch, request, f64::NAN)
    }
}
module!(MultiMarginLoss);

/// `torch.nn.MarginRankingLoss(margin, reduction=...)` over a batch of pairs: [`crate::MarginRanking`].
///
/// The gradient is with respect to the first input. The inputs are raw, so that for the second is its negative.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarginRankingLoss {
    /// By how much the higher input must be higher; 0 by default.
    pub margin: f64,
    /// Mean by default.
    pub reduction: Reduction,
}

impl MarginRankingLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let loss = crate::MarginRanking::new().margin(self.margin).kink(Peer::Torch.kink());
        evaluate(device, &loss, batch, request, f64::NAN)
    }
}
module!(MarginRankingLoss);

/// `torch.nn.SoftMarginLoss(reduction=...)`: [`BinaryHinge::soft_margin`] with labels -1/+1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoftMarginLoss {
    /// Mean by default.
    pub reduction: Reduction,
}

impl SoftMarginLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        evaluate(device, &BinaryHinge::soft_margin(), batch, request, f64::NAN)
    }
}
module!(SoftMarginLoss);

/// `torch.nn.MultiLabelMarginLoss(reduction=...)` over a batch of rows of scores and rows of targets:
/// [`MultilabelMargin`].
///
/// A row of targets holds class indices up to the first negative number. A repeated label counts again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MultiLabelMarginLoss {
    /// Mean by default.
    pub reduction: Reduction,
}

impl MultiLabelMarginLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        evaluate(device, &MultilabelMargin::new().kink(Peer::Torch.kink()), batch, request, f64::NAN)
    }
}
module!(MultiLabelMarginLoss);

/// `torch.nn.TripletMarginLoss(margin, p, eps, swap, reduction=...)` over a batch of triplets: [`TripletMargin`].
///
/// The gradient holds the gradients of anchor, positive and negative, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct TripletMarginLoss {
    /// By how much the negative must be farther away; 1 by default.
    pub margin: f64,
    /// The p of the norm, at least 1; 2 by default.
    pub p: f64,
    /// Added to every component of a difference; 1e-6 by default.
    pub eps: f64,
    /// Whether the negative's distance is the smaller of those to anchor and positive.
    pub swap: bool,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for TripletMarginLoss {
    fn default() -> Self {
        Self { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

impl TripletMarginLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let distance = Distance::Norm { p: self.p, epsilon: self.eps };
        let loss = TripletMargin::new().margin(self.margin).distance(distance).swap(self.swap);
        evaluate(device, &loss.kink(Peer::Torch.kink()), batch, request, f64::NAN)
    }
}
module!(TripletMarginLoss);

/// `torch.nn.TripletMarginWithDistanceLoss(distance_function=..., margin, swap, reduction=...)` over a batch of
/// triplets: [`TripletMargin`] with a [`Distance`], where torch takes any function.
#[derive(Clone, Debug, PartialEq)]
pub struct TripletMarginWithDistanceLoss {
    /// The distance; torch's PairwiseDistance by default.
    pub distance: Distance,
    /// By how much the negative must be farther away; 1 by default.
    pub margin: f64,
    /// Whether the negative's distance is the smaller of those to anchor and positive.
    pub swap: bool,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for TripletMarginWithDistanceLoss {
    fn default() -> Self {
        Self { distance: Distance::EUCLIDEAN, margin: 1.0, swap: false, reduction: Reduction::Mean }
    }
}

impl TripletMarginWithDistanceLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let loss = TripletMargin::new().margin(self.margin).distance(self.distance).swap(self.swap);
        evaluate(device, &loss.kink(Peer::Torch.kink()), batch, request, f64::NAN)
    }
}
module!(TripletMarginWithDistanceLoss);

/// `torch.nn.CosineEmbeddingLoss(margin, reduction=...)` over a batch of pairs of vectors: [`CosineEmbedding`].
///
/// A target outside {-1, +1} costs nothing. The gradient holds the gradients of both vectors, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CosineEmbeddingLoss {
    /// The cosine that a pair with target -1 must not exceed; 0 by default.
    pub margin: f64,
    /// Mean by default.
    pub reduction: Reduction,
}

impl CosineEmbeddingLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let loss = CosineEmbedding::new().margin(self.margin).kink(Peer::Torch.kink());
        evaluate(device, &loss, batch, request, f64::NAN)
    }
}
module!(CosineEmbeddingLoss);
