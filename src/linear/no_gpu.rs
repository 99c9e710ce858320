//! Replaces `on_gpu.rs` in builds without the feature `gpu`: a type without values.

use super::classifier::LinearClassifier;
use super::course::{FitProgress, Limits};
use super::newton::Start;
use super::problem::Problem;
use super::rows::Rows;
use crate::error::{Error, Result};

pub(super) enum OnGpu {}

impl OnGpu {
    pub(super) fn new(_: &LinearClassifier, _: &Rows<'_>) -> Result<Option<Self>> {
        Ok(None)
    }

    pub(super) fn refuse_joint(&self) -> Error {
        match *self {}
    }

    pub(super) fn steps(&self) -> u64 {
        match *self {}
    }

    pub(super) fn approach(
        &mut self,
        _: &Problem<'_>,
        _: Start,
        _: &mut FitProgress,
        _: Limits,
        _: &mut dyn FnMut(FitProgress) -> bool,
    ) -> Result<Option<(Start, bool)>> {
        match *self {}
    }
}
