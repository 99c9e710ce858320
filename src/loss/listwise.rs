//! Listwise: every pair of a list's items that have different relevances.

use serde::{Deserialize, Serialize};

use super::formula::{Higher, PairSums, RowPoint, RowScratch, TargetRows};
use super::penalty::{PenaltyShape, Rule, Ties};
use super::sorted_pairs::{self, PairRule};
use super::spec::{LossShader, Spec, TargetRowsFormula, TargetRowsSpec, shader};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRowRule;
use crate::data::real::Real;
use crate::names::names;

pub(super) const SHADER: LossShader = shader!("listwise", Segments);

/// Up to this many items, comparing all pairs, a vector at a time, is faster than sorting. Measured: 4 times faster at
/// 64 items (somewhat faster with the gradient); slower with the gradient at 128.
const SHORT: usize = 64;

/// Whether a list's loss is the sum over its pairs, or that sum divided by its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverItems {
    /// The sum (the literature's form).
    #[default]
    Sum,
    /// The sum divided by L, padding included (keras-rs's mean).
    Mean,
}

names!(OverItems, "over_items": Sum = "sum", Mean = "mean");

/// Pairwise hinge of lists of scores s with relevances y (learning to rank): the sum over all pairs of a list with y_i
/// > y_j of phi(margin - (s_i - s_j)).
///
/// A batch is [`crate::Batch::rows`] of Q lists of L scores and Q x L targets. A target is a relevance: any finite
/// number, compared as f32. An item with a negative target is padding and takes no part, whatever its score. The mean
/// divides by the number of lists. [`OverItems::Mean`] also divides by L, as keras-rs's PairwiseHingeLoss does. No
/// accuracy is reported.
///
/// The CPU needs O(L log L) steps per list for any number of relevances. [`crate::Penalty::Softplus`] and lists with
/// infinite scores need one step per pair. So do all lists on a GPU, spread over the device.
///
/// ```
/// use maxmargin::{Batch, Device, ListwiseHinge, Request};
/// // Relevances 2 > 1 > 0: the pairs' violations are 1 - 0.5, 1 - 2 and 1 - 1.5; the last item is padding.
/// let batch = Batch::rows(&[2.0f32, 1.5, 0.0, 9.0], 4, &[2i32, 1, 0, -1]);
/// let value = Device::cpu().evaluate(&ListwiseHinge::new(), &batch, &Request::new())?.value;
/// assert_eq!(value, Some(0.5));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListwiseHinge {
    terms: Terms,
    over_items: OverItems,
    ignore_index: Option<i64>,
}

impl ListwiseHinge {
    /// Margin 1, linear penalty, the sum over pairs, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), over_items: OverItems::Sum, ignore_index: None }
    }

    terms_builder!("The margin by which a more relevant item must score higher.");

    ignore_index!("Treats the items with this relevance as padding. Inputs must be in host memory.");

    loss_option! {
        /// Whether a list's sum over pairs is divided by its length.
        over_items, get_over_items: OverItems = [over_items]
    }
}

loss_type!(ListwiseHinge);

impl Loss for ListwiseHinge {
    fn spec(&self) -> Spec<'_> {
        Spec::TargetRows(TargetRowsSpec {
            shader: &SHADER,
            formula: TargetRowsFormula::Listwise,
            terms: self.terms,
            has_correct: false,
            ignore_index: self.ignore_index,
            target_rule: TargetRowRule::Relevances,
            ties: Ties::First,
            is_mean: self.over_items == OverItems::Mean,
        })
    }

    loss_value!();
}

pub(crate) struct ListwiseFormula;

impl TargetRows for ListwiseFormula {
    fn is_padding(target: i32) -> bool {
        target < 0
    }

    #[inline(always)]
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        _: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint {
        let items = || (0..scores.len()).filter(|&i| targets[i] >= 0);
        if scores.len() > SHORT
            && let Some(pieces) = rule.pieces()
            && items().all(|i| scores[i].to_f64().abs() < 1e150)
        {
            let list = items().map(|i| (targets[i], scores[i].to_f64(), i));
            let rule = PairRule { margin: rule.margin.to_f64(), kink_slope: rule.kink_slope().to_f64(), pieces };
            let (value, active) = sorted_pairs::sum(list.collect(), &rule, scratch.slopes);
            return RowPoint { value, active, correct: false };
        }
        // A non-negative relevance is stored as the bits of its f32. Padding gets rank NaN.
        let rank =
            |&target: &i32| if target < 0 { T::NAN } else { T::from_f64(f64::from(f32::from_bits(target as u32))) };
        scratch.ranks.iter_mut().zip(targets).for_each(|(to, target)| *to = rank(target));
        let items = items().map(|index| Higher { index, times: 1 });
        let (value, active) = scratch.pairs.add(items, scores, scratch.ranks, scratch.slopes);
        RowPoint { value, active, correct: false }
    }
}
