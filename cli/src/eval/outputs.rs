//! Writes losses and gradient to files, block by block.

use std::ops::Range;

use maxmargin::FloatsMut;

use super::arguments::Common;
use super::given::SampleLayout;
use super::inputs::Inputs;
use crate::failure::{Failure, Outcome};
use crate::file::{PendingOutput, pending};

enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Elements {
    fn resized(&mut self, count: usize) -> Outcome<FloatsMut<'_>> {
        fn resize<T: Clone + Default>(x: &mut Vec<T>, count: usize) -> Outcome<&mut [T]> {
            x.try_reserve(count.saturating_sub(x.len()))
                .map_err(|_| Failure::data(format!("{count} losses or slopes do not fit in memory")))?;
            x.resize(count, T::default());
            Ok(x)
        }
        match self {
            Self::F32(x) => resize(x, count).map(FloatsMut::F32),
            Self::F64(x) => resize(x, count).map(FloatsMut::F64),
        }
    }

    fn write(&self, output: &mut PendingOutput, range: Range<usize>, first: u64) -> Outcome<()> {
        match self {
            Self::F32(x) => output.write_part(&x[range], first),
            Self::F64(x) => output.write_part(&x[range], first),
        }
    }
}

pub(super) struct Outputs {
    losses: Option<PendingOutput>,
    gradient: Option<PendingOutput>,
    is_double: bool,
    /// The samples that the files hold.
    samples: Range<usize>,
}

pub(super) struct Room {
    losses: Option<Elements>,
    gradient: Option<Elements>,
}

impl Room {
    /// Memory for the losses and the gradient of this many samples.
    pub(super) fn buffers(
        &mut self,
        inputs: &Inputs<'_>,
        samples: usize,
    ) -> Outcome<(Option<FloatsMut<'_>>, Option<FloatsMut<'_>>)> {
        let scores = samples * inputs.shape.columns * inputs.vectors();
        // An empty list is no sample, so it has no loss.
        let losses = self.losses.as_mut().map(|elements| elements.resized(samples)).transpose()?;
        let gradient = self.gradient.as_mut().map(|elements| elements.resized(scores)).transpose()?;
        Ok((losses, gradient))
    }
}

impl Outputs {
    /// Creates the temporary files, so that an unwritable place shows before any work is done.
    pub(super) fn new(common: &Common) -> Outcome<Self> {
        Ok(Self {
            losses: pending("--losses-out", &common.losses_out, &[".npy"])?,
            gradient: pending("--grad-out", &common.grad_out, &[".npy"])?,
            is_double: false,
            samples: 0..0,
        })
    }

    /// Begins the files with the losses and the gradient of these samples.
    pub(super) fn begin(&mut self, inputs: &Inputs<'_>, samples: Range<usize>, is_double: bool) -> Outcome<()> {
        let count = samples.len();
        // A part of scores in several axes is no whole number of rows.
        let scores = match inputs.given.layout() {
            _ if count == inputs.shape.samples => inputs.scores_shape.clone(),
            SampleLayout::Element => vec![count],
            _ => vec![count, inputs.shape.columns],
        };
        let losses_shape = match inputs.given.layout() {
            SampleLayout::Element => scores.clone(),
            // One loss per row or list.
            SampleLayout::Row | SampleLayout::Vectors(_) | SampleLayout::Whole => vec![count],
        };
        let gradient_shape = match inputs.given.layout() {
            SampleLayout::Vectors(vectors) => [&[vectors], &scores[..]].concat(),
            _ => scores,
        };
        (self.samples, self.is_double) = (samples, is_double);
        for (output, shape) in [(&mut self.losses, losses_shape), (&mut self.gradient, gradient_shape)] {
            let Some(file) = output else { continue };
            if is_double {
                file.begin::<f64>(&shape)?;
            } else {
                file.begin::<f32>(&shape)?;
            }
        }
        Ok(())
    }

    pub(super) fn room(&self) -> Room {
        let none = || if self.is_double { Elements::F64(Vec::new()) } else { Elements::F32(Vec::new()) };
        Room { losses: self.losses.as_ref().map(|_| none()), gradient: self.gradient.as_ref().map(|_| none()) }
    }

    /// Writes the losses and the gradient of these samples to their place in the files.
    pub(super) fn write(&mut self, inputs: &Inputs<'_>, samples: Range<usize>, room: &Room) -> Outcome<()> {
        let (total, columns) = (self.samples.len(), inputs.shape.columns);
        let start = samples.start - self.samples.start;
        if let (Some(file), Some(losses)) = (&mut self.losses, &room.losses) {
            losses.write(file, 0..samples.len(), start as u64)?;
        }
        let (Some(file), Some(gradient)) = (&mut self.gradient, &room.gradient) else { return Ok(()) };
        let block = samples.len() * columns;
        for vector in 0..inputs.vectors() {
            let first = (vector as u64 * total as u64 + start as u64) * columns as u64;
            gradient.write(file, vector * block..(vector + 1) * block, first)?;
        }
        Ok(())
    }

    /// The complete files, ready to get their names.
    pub(super) fn finish(self) -> impl Iterator<Item = PendingOutput> {
        [self.gradient, self.losses].into_iter().flatten()
    }
}
