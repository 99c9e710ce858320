//! Where losses and gradient go on the host: fresh vectors, or the caller's memory.

use std::time::Duration;

use super::launcher::{Launcher, ResidentOutputs};
use crate::data::batch::Batch;
use crate::data::device_tensor::DeviceTensor;
use crate::data::evaluation::{Buffers, FloatsMut, Output, Outputs, Precision, Request};
use crate::data::tensor::Floats;
use crate::error::{Error, Input, Result};

/// Elements that come one after the other.
enum Sink<'a> {
    Own(Vec<f32>),
    /// What is left of the caller's memory.
    Callers(&'a mut [f32]),
}

impl Sink<'_> {
    fn take(&mut self, elements: &[f32]) {
        match self {
            Self::Own(to) => to.extend_from_slice(elements),
            Self::Callers(left) => {
                // As long as the outputs of all chunks together: Sinks::new has seen to it.
                let (to, rest) = std::mem::take(left).split_at_mut(elements.len());
                to.copy_from_slice(elements);
                *left = rest;
            }
        }
    }
}

/// The outputs of an evaluation on their way to the host.
pub(super) struct Sinks<'a> {
    losses: Option<Sink<'a>>,
    /// One for each vector of a sample.
    gradients: Vec<Sink<'a>>,
}

impl<'a> Sinks<'a> {
    /// For the outputs of a checked batch.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::ElementType`] for memory that does not fit, and [`Error::Option`] for host memory beside
    /// scores that live on a GPU.
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

    /// Takes the outputs of the next samples.
    pub(super) async fn take(&mut self, outputs: ResidentOutputs) -> Result<()> {
        if let (Some(sink), Some(tensor)) = (&mut self.losses, outputs.losses) {
            read(&tensor, std::slice::from_mut(sink)).await?;
        }
        match outputs.gradient {
            Some(tensor) => read(&tensor, &mut self.gradients).await,
            None => Ok(()),
        }
    }

    /// What the caller has not already got.
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

/// Reads a tensor into sinks: as many elements to each, one after the other.
async fn read(tensor: &DeviceTensor, sinks: &mut [Sink<'_>]) -> Result<()> {
    let part = (tensor.len() / sinks.len().max(1)).max(1);
    tensor
        .read_with(|elements| sinks.iter_mut().zip(elements.chunks(part)).for_each(|(sink, part)| sink.take(part)))
        .await
}

/// The caller's memory for an output of so many elements.
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

/// Vectors one after the other; a single one as it is.
fn joined(mut vectors: Vec<Vec<f32>>) -> Option<Vec<f32>> {
    if vectors.len() > 1 { Some(vectors.concat()) } else { vectors.pop() }
}
