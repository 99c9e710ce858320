//! optax.losses: functions with one loss per sample. The request sets the reduction; optax's callers take a mean or a
//! sum themselves.
//!
//! As in JAX, the slope at the kink is one half, and tied maxima share it.

use super::Peer;
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Request};
use crate::device::Device;
use crate::error::Result;
use crate::loss::{BinaryHinge, MulticlassHinge};

/// `optax.losses.hinge_loss(predictor_outputs, targets)`: max(0, 1 - t*s), labels -1/+1.
///
/// # Errors
/// As [`Device::evaluate`].
pub fn hinge_loss(device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
    device.evaluate(&BinaryHinge::new().kink(Peer::Optax.kink()), batch, request)
}

/// `optax.losses.perceptron_loss(predictor_outputs, targets)`: max(0, -t*s), labels -1/+1.
///
/// # Errors
/// As [`Device::evaluate`].
pub fn perceptron_loss(device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
    device.evaluate(&BinaryHinge::perceptron().kink(Peer::Optax.kink()), batch, request)
}

/// `optax.losses.multiclass_hinge_loss(scores, labels)`: Crammer-Singer with margin 1, over a batch of rows.
///
/// # Errors
/// As [`Device::evaluate`].
pub fn multiclass_hinge_loss(device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
    let loss = MulticlassHinge::crammer_singer().kink(Peer::Optax.kink()).ties(Peer::Optax.ties());
    device.evaluate(&loss, batch, request)
}
