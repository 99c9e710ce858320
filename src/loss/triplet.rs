//! Triplet margin: an anchor should be closer to a positive than to a negative.

use serde::{Deserialize, Serialize};

use super::distance::Distance;
use super::formula::{Combined, Vectors};
use super::penalty::{PenaltyShape, Rule};
use super::spec::{LossShader, Spec, VectorsFormula, VectorsSpec, shader};
use super::terms::{Terms, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("triplet", Vectors);

/// Triplet margin loss of anchors a, positives p and negatives n: phi(margin + d(a, p) - d(a, n)).
///
/// For embeddings in which neighbours should be of the same kind. A batch is [`crate::Batch::triplets`]. With the
/// default options it is torch's TripletMarginLoss. With [`TripletMargin::swap`] the smaller of d(a, n) and d(p, n)
/// counts (Balntas et al., 2016); if they are equal, they share the slope. The gradient has shape (3, N, D): with
/// respect to a, then p, then n. No accuracy is reported.
///
/// ```
/// use maxmargin::{Batch, Device, Distance, Request, TripletMargin};
/// let (anchor, positive, negative) = ([0.0f32, 0.0], [3.0f32, 4.0], [0.0f32, 5.5]);
/// let loss = TripletMargin::new().distance(Distance::Norm { p: 2.0, epsilon: 0.0 });
/// let batch = Batch::triplets(&anchor, &positive, &negative, 2);
/// let evaluation = Device::cpu().evaluate(&loss, &batch, &Request::new().gradient())?;
/// assert_eq!(evaluation.value, Some(1.0 + 5.0 - 5.5));
/// assert_eq!(evaluation.gradient.unwrap().to_f64()?[2..], [0.6f32.into(), 0.8f32.into(), 0.0, -1.0]);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TripletMargin {
    terms: Terms,
    distance: Distance,
    swap: bool,
}

impl TripletMargin {
    /// Margin 1, Euclidean distances with torch's epsilon of 1e-6, no swap, linear penalty, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), distance: Distance::EUCLIDEAN, swap: false }
    }

    terms_builder!("By how much the negative must be farther away than the positive.");

    loss_option! {
        /// How the distance between two vectors is measured.
        distance, get_distance: Distance = [distance]
    }

    loss_option! {
        /// Whether the smaller of d(a, n) and d(p, n) counts, instead of d(a, n).
        swap, get_swap: bool = [swap]
    }
}

loss_type!(TripletMargin);

impl Loss for TripletMargin {
    fn spec(&self) -> Spec<'_> {
        Spec::Vectors(VectorsSpec {
            shader: &SHADER,
            formula: VectorsFormula::Triplet,
            terms: self.terms,
            inputs: 3,
            ignore_index: None,
            target_rule: None,
            distance: self.distance,
            has_third_distance: self.swap,
        })
    }

    loss_value!();
}

/// phi(margin + d(a, p) - d), where d is d(a, n) or, with a swap, min(d(a, n), d(p, n)).
pub(crate) struct TripletFormula;

impl Vectors for TripletFormula {
    #[inline(always)]
    fn combine<T: Real, P: PenaltyShape>(rule: &Rule<T, P>, [ap, an, pn]: [T; 3], swap: bool, _: T) -> Combined<T> {
        let half = T::from_f64(0.5);
        let (negative, share) = match () {
            () if swap && pn < an => (pn, T::ZERO),
            () if swap && pn == an => (an, half),
            () => (an, T::ONE),
        };
        let violation = rule.margin + (ap - negative);
        let (value, slope) = rule.penalise(violation);
        let part = |share: T| if share == T::ZERO { T::ZERO } else { -slope * share };
        let slopes = [slope, part(share), part(T::ONE + -share)];
        Combined { value, slopes, active: violation > T::ZERO }
    }
}
