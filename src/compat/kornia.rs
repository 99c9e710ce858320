//! kornia.losses: called with the batch's scores as `pred` and its labels 0/1 as `target`.

use super::{Peer, evaluate};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Request};
use crate::device::Device;
use crate::error::Result;
use crate::loss::{LabelEncoding, LovaszHinge};

/// `kornia.losses.lovasz_hinge_loss(pred, target)` over a batch of rows: [`LovaszHinge`] averaged over the rows. Each
/// row holds the pixels of an image.
///
/// # Errors
/// As [`Device::evaluate`], but the mean of nothing is NaN.
///
/// ```
/// use maxmargin::{Batch, Device, Request, compat::kornia::lovasz_hinge_loss};
/// let batch = Batch::rows(&[0.5f32, 0.5], 2, &[1u8, 0]);
/// assert_eq!(lovasz_hinge_loss(&Device::cpu(), &batch, &Request::new())?.value, Some(1.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
pub fn lovasz_hinge_loss(device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
    let loss = LovaszHinge::new().labels(LabelEncoding::ZeroOne).kink(Peer::Torch.kink());
    evaluate(device, &loss, batch, request, f64::NAN)
}
