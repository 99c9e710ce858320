//! Replaces the GPU backend in builds without it: types without values.

use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Request, Totals};
use crate::error::Result;
use crate::loss::Spec;

pub(crate) enum Gpu {}

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
