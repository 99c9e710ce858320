//! sklearn.metrics.

use super::{Peer, evaluate};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Request};
use crate::device::Device;
use crate::error::Result;
use crate::loss::{BinaryHinge, LabelEncoding, MulticlassHinge};

/// `sklearn.metrics.hinge_loss(y_true, pred_decision, sample_weight=...)` of the batch's targets, scores and weights.
///
/// Single scores are binary decisions; the first label other than 1 tells labels -1/+1 from 0/1
/// ([`LabelEncoding::detect`]). Rows are multiclass decisions with class indices: Crammer-Singer. The mean is weighted.
///
/// ```
/// use maxmargin::{Batch, Device, compat::sklearn::hinge_loss};
/// let batch = Batch::new(&[-2.18, 2.36, 0.09], &[-1i8, 1, 1]);
/// assert!((hinge_loss(&Device::cpu(), &batch)?.value.unwrap() - 0.303333).abs() < 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
///
/// # Errors
/// As [`Device::evaluate`]; the mean of nothing is NaN.
pub fn hinge_loss(device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
    let request = Request::new();
    let kink = Peer::Sklearn.kink();
    if batch.columns.is_some() {
        return evaluate(device, &MulticlassHinge::crammer_singer().kink(kink), batch, &request, f64::NAN);
    }
    let labels = LabelEncoding::detect(batch.targets)?;
    evaluate(device, &BinaryHinge::new().kink(kink).labels(labels), batch, &request, f64::NAN)
}
