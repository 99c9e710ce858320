//! Lovasz hinge: the convex surrogate of the Jaccard loss (1 - intersection over union) of binary labels.

use serde::{Deserialize, Serialize};

use super::formula::{PairSums, RowPoint, RowScratch, TargetRows};
use super::penalty::{PenaltyShape, Rule, Ties};
use super::spec::{LossShader, Spec, TargetRowsFormula, TargetRowsSpec, shader};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::{LabelEncoding, TargetRowRule};
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("lovasz", Ranked);

/// Lovasz hinge (Berman, Triki and Blaschko, 2018) of lists of scores s with binary labels t. The errors margin - t*s
/// are sorted in descending order. The loss is the sum of phi(error) times the item's step of the Jaccard loss.
///
/// For segmentation, and wherever intersection over union is the figure of merit: rare positives weigh as much in the
/// loss as in that figure. A batch is [`crate::Batch::rows`] of Q lists of L scores and Q x L labels; for one value
/// over a whole input, make it one list. Equal errors keep their order. A list without positives costs phi of its
/// largest error. No accuracy is reported.
///
/// Lists are sorted: on the CPU in O(L log L) steps, on a GPU in workgroup memory up to 1024 items. Longer lists are
/// sorted on the GPU in runs of 1024 that are merged, with 16 KiB of scratch memory per run.
///
/// ```
/// use maxmargin::{Batch, Device, LovaszHinge, Request};
/// // Errors 1.5 (negative) and 0.5 (positive): the first adds 1/2, the second the rest.
/// let batch = Batch::rows(&[0.5f32, 0.5], 2, &[1i8, -1]);
/// let value = Device::cpu().evaluate(&LovaszHinge::new(), &batch, &Request::new())?.value;
/// assert_eq!(value, Some(1.5 / 2.0 + 0.5 / 2.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LovaszHinge {
    terms: Terms,
    labels: LabelEncoding,
    ignore_index: Option<i64>,
}

impl LovaszHinge {
    /// Margin 1, linear penalty, labels -1/+1, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), labels: LabelEncoding::PlusMinusOne, ignore_index: None }
    }

    terms_builder!("The margin that a score must clear.");

    ignore_index!(
        "Leaves out the items with this label (the void pixels of a segmentation); a list of which none is left has the loss 0 and still counts. Inputs must be in host memory."
    );

    loss_option! {
        /// How the labels are encoded.
        labels, get_labels: LabelEncoding = [labels]
    }
}

/// What an item adds to the Jaccard loss 1 - I/U.
///
/// Before it, I positives are left and U = P + N, where N counts the negatives so far. A positive item takes one from
/// I, a negative one adds one to U. The differences are written so that nothing cancels.
fn jaccard_step(is_positive: bool, positives: f64, positives_before: f64, negatives_before: f64) -> f64 {
    let union_before = positives + negatives_before;
    if is_positive {
        1.0 / union_before
    } else if positives == 0.0 {
        f64::from(u8::from(negatives_before == 0.0))
    } else {
        (positives - positives_before) / (union_before * (union_before + 1.0))
    }
}

loss_type!(LovaszHinge);

impl Loss for LovaszHinge {
    fn spec(&self) -> Spec<'_> {
        Spec::TargetRows(TargetRowsSpec {
            shader: &SHADER,
            formula: TargetRowsFormula::Lovasz,
            terms: self.terms,
            has_correct: false,
            ignore_index: self.ignore_index,
            target_rule: TargetRowRule::Binary(self.labels),
            ties: Ties::First,
            is_mean: false,
        })
    }

    loss_value!();
}

pub(crate) struct LovaszFormula;

impl TargetRows for LovaszFormula {
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        _: Ties,
        scores: &[T],
        targets: &[i32],
        mut scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint {
        // Ascending t*s is descending error. Adding 0 turns -0 into +0. The index keeps equal errors in order.
        let agreement = |i: usize| f64::from(targets[i]) * scores[i].to_f64() + 0.0;
        let mut order: Vec<(f64, usize)> = (0..scores.len()).map(|i| (agreement(i), i)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let positives = targets.iter().filter(|&&t| t > 0).count() as f64;
        let (mut positives_before, mut negatives_before) = (0.0, 0.0);
        let mut point = RowPoint::default();
        for (_, i) in order {
            let is_positive = targets[i] > 0;
            let step = jaccard_step(is_positive, positives, positives_before, negatives_before);
            *(if is_positive { &mut positives_before } else { &mut negatives_before }) += 1.0;
            let sign = if is_positive { T::ONE } else { -T::ONE };
            let violation = rule.margin - sign * scores[i];
            point.active |= violation > T::ZERO;
            // Zero times an infinite penalty counts as 0, not NaN.
            if step != 0.0 {
                let (value, slope) = rule.penalise(violation);
                point.value += value.to_f64() * step;
                if let Some(slopes) = &mut scratch.slopes {
                    slopes[i] = -sign.to_f64() * slope.to_f64() * step;
                }
            }
        }
        point
    }
}
