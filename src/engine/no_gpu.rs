//! What stands in the place of the GPU backend where the crate is built without it: a device that cannot be opened.

use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Request, Totals};
use crate::error::Result;
use crate::loss::Spec;

/// There is none.
pub(crate) enum Gpu {}

/// Without GPUs nothing waits on one.
#[derive(Debug)]
pub(crate) enum Pending {}

pub(crate) async fn evaluate(
    gpu: &Gpu,
    _: &Spec<'_>,
    _: &Batch<'_>,
    _: &Request,
    _: Buffers<'_>,
) -> Result<Evaluation> {
    match *gpu {}
}

pub(crate) async fn accumulate(gpu: &Gpu, _: &Spec<'_>, _: &Batch<'_>, _: &Request) -> Result<Vec<Pending>> {
    match *gpu {}
}

impl Pending {
    pub(crate) fn bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn classes(&self) -> usize {
        match *self {}
    }

    pub(crate) async fn totals(&self) -> Result<Totals> {
        match *self {}
    }
}
