//! Multilabel margin: every label of a row against every other class.

use serde::{Deserialize, Serialize};

use super::formula::{Higher, PairSums, RowPoint, RowScratch, TargetRows};
use super::multiclass::OverClasses;
use super::penalty::{PenaltyShape, Rule, Ties};
use super::spec::{LossShader, Spec, TargetRowsFormula, TargetRowsSpec, shader};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRowRule;
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("multilabel", TargetRows, 4104);

/// Multilabel margin loss of rows of scores with several labels each: the sum of phi(margin + s_i - s_j) over all
/// labels j and all classes i that are not labels, divided by C.
///
/// With the default options it is torch's MultiLabelMarginLoss. As there, a row of targets holds class indices up to
/// the first negative number; the rest is padding. A label given twice counts twice. A row without labels costs
/// nothing. No accuracy is reported.
///
/// ```
/// use maxmargin::{Batch, Device, MultilabelMargin, Request};
/// // torch's own example: labels 3 and 0 of four classes.
/// let batch = Batch::rows(&[0.1f32, 0.2, 0.4, 0.8], 4, &[3i64, 0, -1, 1]);
/// let value = Device::cpu().evaluate(&MultilabelMargin::new(), &batch, &Request::new())?.value;
/// assert!((value.unwrap() - 0.85).abs() < 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultilabelMargin {
    terms: Terms,
    over_classes: OverClasses,
    ignore_index: Option<i64>,
}

impl MultilabelMargin {
    /// Margin 1, linear penalty, divided by C, kink 0.
    pub fn new() -> Self {
        Self { terms: Terms::new(), over_classes: OverClasses::Mean, ignore_index: None }
    }

    terms_builder!("The margin between a label's score and that of a class that is none.");

    ignore_index!("Leaves this class index out of the rows of labels. Inputs must be in host memory.");

    loss_option! {
        /// Whether the sum over pairs is divided by the number of classes.
        over_classes, get_over_classes: OverClasses = [over_classes]
    }
}

loss_type!(MultilabelMargin);

impl Loss for MultilabelMargin {
    fn spec(&self) -> Spec<'_> {
        Spec::TargetRows(TargetRowsSpec {
            shader: &SHADER,
            formula: TargetRowsFormula::Multilabel,
            terms: self.terms,
            has_correct: false,
            ignore_index: self.ignore_index,
            target_rule: TargetRowRule::Labels,
            ties: Ties::First,
            is_mean: self.over_classes == OverClasses::Mean,
        })
    }

    loss_value!();
}

pub(crate) struct MultilabelFormula;

impl TargetRows for MultilabelFormula {
    #[inline(always)]
    fn row<T: Real, P: PenaltyShape>(
        _: &Rule<T, P>,
        _: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint {
        let length = targets.iter().position(|&t| t < 0).unwrap_or(targets.len());
        let labels = &targets[..length];
        // Labels rank 1, other classes 0. A repeated label counts repeatedly.
        let RowScratch { slopes, ranks, times, pairs } = scratch;
        ranks.fill(T::ZERO);
        times.fill(0);
        for &label in labels {
            ranks[label as usize] = T::ONE;
            times[label as usize] += 1;
        }
        let labels = times.iter().enumerate().filter(|&(_, &times)| times > 0);
        let items = labels.map(|(index, &times)| Higher { index, times });
        let (value, active) = pairs.add(items, scores, ranks, slopes);
        RowPoint { value, active, correct: false }
    }
}
