//! Where losses and gradient are written on the host: new vectors, or the caller's memory.

use std::time::Duration;

use super::launcher::{Launcher, ResidentOutputs};
use crate::data::batch::Batch;
use crate::data::device_tensor::DeviceTensor;
use crate::data::evaluation::{Buffers, FloatsMut, Output, Outputs, Precision, Request};
use crate::data::tensor::Floats;
use crate::error::{Error, Input, Result};

/// Takes elements in order.
enum Sink<'a> {
    Own(Vec<f32>),
    /// The part of the caller's memory that is not yet written.
    Callers(&'a mut [f32]),
}

impl Sink<'_> {
    fn take(&mut self, elements: &[f32]) {
        match self {
            Self::Own(to) => to.extend_from_slice(elements),
            Self::Callers(left) => {
                // `Sinks::new` has checked that the memory is as long as the outputs of all chunks together.
                let (to, rest) = std::mem::take(left).split_at_mut(elements.len());
                to.copy_from_slice(elements);
                *left = rest;
            }
        }
    }
}

pub(super) struct Sinks<'a> {
    losses: Option<Sink<'a>>,
    /// One per vector of a sample.
    gradients: Vec<Sink<'a>>,
}

impl<'a> Sinks<'a> {
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::ElementType`] for memory that does not fit; [`Error::Option`] for host memory
    /// when the scores live on a GPU.
    pub(super) fn new(
        launcher: &dyn Launcher,
        batch: &Batch<'_>,
        request: &Request,
        buffers: Buffers<'a>,
    ) -> Result<Self> {
        let (shape, blocks) = (launcher.shape(), launcher.gradient_blocks());
        let stays = matches!(batch.scores, Floats::Device(_));
        let losses = callers(buffers.losses, Input::LossesBuffer, shape.samples, stays)?;
        let block = shape.samples * shape.columns;
        let mut gradient = callers(buffers.gradient, Input::GradientBuffer, block * blocks, stays)?;
        let room = |is_wanted: bool, len: usize| if is_wanted && !stays { len } else { 0 };
        let gradients = (0..blocks).map(|_| match gradient.take() {
            Some(memory) => {
                let (first, rest) = memory.split_at_mut(block);
                gradient = Some(rest);
                Sink::Callers(first)
            }
            None => Sink::Own(Vec::with_capacity(room(request.gradient, block))),
        });
        let gradients = if request.gradient { gradients.collect() } else { Vec::new() };
        let losses = match losses {
            Some(memory) => Some(Sink::Callers(memory)),
            None => request.losses.then(|| Sink::Own(Vec::with_capacity(room(true, shape.samples)))),
        };
        Ok(Self { losses, gradients })
    }

    /// Writes the outputs of the next samples.
    pub(super) async fn take(&mut self, outputs: ResidentOutputs) -> Result<()> {
        if let (Some(sink), Some(tensor)) = (&mut self.losses, outputs.losses) {
            read(&tensor, std::slice::from_mut(sink)).await?;
        }
        match outputs.gradient {
            Some(tensor) => read(&tensor, &mut self.gradients).await,
            None => Ok(()),
        }
    }

    /// The outputs that are not in the caller's memory.
    pub(super) fn finish(self, upload_time: Duration) -> Outputs {
        let own = |sink| if let Sink::Own(x) = sink { Some(x) } else { None };
        let gradients: Vec<Vec<f32>> = self.gradients.into_iter().filter_map(own).collect();
        Outputs {
            losses: self.losses.and_then(own).map(Output::F32),
            gradient: joined(gradients).map(Output::F32),
            precision: Precision::F32,
            upload_time,
        }
    }
}

/// Reads a tensor into the sinks, an equal part to each, in order.
async fn read(tensor: &DeviceTensor, sinks: &mut [Sink<'_>]) -> Result<()> {
    let part = (tensor.len() / sinks.len().max(1)).max(1);
    tensor
        .read_with(|elements| sinks.iter_mut().zip(elements.chunks(part)).for_each(|(sink, part)| sink.take(part)))
        .await
}

/// The caller's memory for an output, checked to have `expected` elements.
fn callers(memory: Option<FloatsMut<'_>>, input: Input, expected: usize, stays: bool) -> Result<Option<&mut [f32]>> {
    match memory {
        None => Ok(None),
        Some(_) if stays => Err(Error::Option {
            option: "buffers",
            expected: "none where the scores live on a GPU".into(),
            got: format!("a {input} in host memory"),
        }),
        Some(FloatsMut::F32(memory)) if memory.len() == expected => Ok(Some(memory)),
        Some(FloatsMut::F32(memory)) => Err(Error::Length { input, expected, got: memory.len(), unit: "element" }),
        Some(other) => Err(Error::ElementType { input, expected: "f32", got: other.type_name() }),
    }
}

/// Concatenates the vectors; a single one is returned as it is.
fn joined(mut vectors: Vec<Vec<f32>>) -> Option<Vec<f32>> {
    if vectors.len() > 1 { Some(vectors.concat()) } else { vectors.pop() }
}
