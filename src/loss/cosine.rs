//! Cosine embedding: pairs of vectors that belong together should point the same way, others should not.

use serde::{Deserialize, Serialize};

use super::distance::Distance;
use super::formula::{Combined, Vectors};
use super::penalty::{PenaltyShape, Rule};
use super::spec::{LossShader, Spec, VectorsFormula, VectorsSpec, shader};
use super::terms::{Terms, ignore_index, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRule;
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("cosine", Vectors);

/// Cosine embedding loss of pairs of vectors x, y with target t: phi(1 - cos) for t = 1, phi(cos - margin) for t = -1,
/// and 0 for any other t.
///
/// For embeddings where only direction matters, with pairs known to belong together or apart. A batch is
/// [`crate::Batch::vector_pairs`]. With the default options it is torch's CosineEmbeddingLoss. The gradient has shape
/// (2, N, D): first with respect to x, then to y. No accuracy is reported.
///
/// ```
/// use maxmargin::{Batch, CosineEmbedding, Device, Request};
/// let batch = Batch::vector_pairs(&[3.0f32, 4.0, 1.0, 0.0], &[6.0f32, 8.0, 1.0, 1.0], 2, &[1i8, -1]);
/// let value = Device::cpu().evaluate(&CosineEmbedding::new(), &batch, &Request::new())?.value;
/// assert!((value.unwrap() - 0.5f64.sqrt() / 2.0).abs() < 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosineEmbedding {
    terms: Terms,
    ignore_index: Option<i64>,
}

impl CosineEmbedding {
    /// Margin 0, linear penalty, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms { margin: 0.0, ..Terms::new() }, ignore_index: None }
    }

    terms_builder!("The cosine that a pair of target -1 must not exceed.");

    ignore_index!("Leaves out the pairs with this target. Inputs must be in host memory.");
}

loss_type!(CosineEmbedding);

impl Loss for CosineEmbedding {
    fn spec(&self) -> Spec<'_> {
        Spec::Vectors(VectorsSpec {
            shader: &SHADER,
            formula: VectorsFormula::Cosine,
            terms: self.terms,
            inputs: 2,
            ignore_index: self.ignore_index,
            target_rule: Some(TargetRule::Signs),
            distance: Distance::Cosine,
            has_third_distance: false,
        })
    }

    loss_value!();
}

pub(crate) struct CosineFormula;

impl Vectors for CosineFormula {
    #[inline(always)]
    fn combine<T: Real, P: PenaltyShape>(rule: &Rule<T, P>, [distance, ..]: [T; 3], _: bool, t: T) -> Combined<T> {
        if t == T::ZERO && !distance.is_nan() {
            return Combined { value: T::ZERO, slopes: [T::ZERO; 3], active: false };
        }
        let is_together = t > T::ZERO;
        // cos - margin = (1 - margin) - (1 - cos).
        let violation = if is_together { distance } else { (T::ONE - rule.margin) - distance };
        let (value, slope) = rule.penalise(violation);
        let slopes = [if is_together { slope } else { -slope }, T::ZERO, T::ZERO];
        Combined { value, slopes, active: violation > T::ZERO }
    }
}
