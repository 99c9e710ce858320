//! One call of a loss's kernel: its parameters and bindings.

use super::launcher::{DispatchStep, Launcher, Pass, Resident, ResidentOutputs, penalty_numbers};
use super::partial::Partial;
use super::shader::Variant;
use super::templates::{BufferSlot, LossParams, template};
use crate::data::device_tensor::DeviceTensor;
use crate::data::evaluation::Request;
use crate::error::Result;
use crate::gpu::device::command::{BufferLayout, OwnedWindow, grid_width};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::device::tensor::Window;

pub(crate) struct Dispatch<'a> {
    /// The step with all its parameters.
    pub(in crate::gpu) step: DispatchStep,
    /// The buffers before the partials.
    windows: Vec<Window<'a>>,
    /// Index of the first sample in the tensors.
    pub(in crate::gpu) first_sample: usize,
}

/// The dispatches of a pass over `inputs` by the kernel `variant`.
pub(in crate::gpu) fn dispatches<'a>(
    gpu: &'a Gpu,
    launcher: &dyn Launcher,
    variant: &Variant,
    inputs: &'a Resident,
    outputs: &'a ResidentOutputs,
    request: &Request,
    pass: Pass,
) -> Result<Vec<Dispatch<'a>>> {
    let template = template(variant.loss.pattern);
    let (shape, terms, plan) = (launcher.shape(), launcher.terms(), launcher.plan(gpu, inputs, request, pass)?);
    let (penalty_gamma, penalty_scale) = penalty_numbers(terms.penalty);
    let mut dispatches = Vec::new();
    for first_sample in (0..inputs.samples).step_by(plan.most_samples) {
        let samples = plan.most_samples.min(inputs.samples - first_sample);
        let part = SamplePart { launcher, inputs, outputs, first_sample, samples };
        let buffers = template.slots.iter().take_while(|slot| **slot != BufferSlot::Partials);
        let windows: Vec<(BufferSlot, Window<'a>)> = buffers
            .map(|&slot| {
                let unused = if template.binding(slot).is_written { gpu.unused_output() } else { gpu.unused_input() };
                (slot, part.window(slot).unwrap_or(unused))
            })
            .collect();
        let shift = |slot| windows.iter().find(|(bound, _)| *bound == slot).map_or(0, |(_, window)| window.shift);
        dispatches.extend((plan.steps)(samples).into_iter().map(|step| {
            let groups = step.groups as u32;
            let params = LossParams {
                samples: samples as u32,
                columns: shape.columns as u32,
                target_width: shape.target_width as u32,
                grid_width: grid_width(gpu, groups),
                groups,
                scores_shift: shift(BufferSlot::Scores),
                second_shift: shift(BufferSlot::SecondScores),
                third_shift: shift(BufferSlot::ThirdScores),
                targets_shift: shift(BufferSlot::Targets),
                weights_shift: shift(BufferSlot::SampleWeights),
                losses_shift: shift(BufferSlot::Losses),
                gradient_shift: shift(BufferSlot::Gradient),
                second_gradient_shift: shift(BufferSlot::SecondGradient),
                third_gradient_shift: shift(BufferSlot::ThirdGradient),
                margin: terms.margin as f32,
                kink_slope: terms.kink.slope() as f32,
                penalty_gamma,
                penalty_scale,
                divisor: pass.divisor,
                sample_divisor: launcher.sample_divisor() as f32,
                ..step.params
            };
            let windows = windows.iter().map(|&(_, window)| window).collect();
            Dispatch { step: DispatchStep { params, ..step }, windows, first_sample }
        }));
    }
    Ok(dispatches)
}

/// A range of a pass's samples.
struct SamplePart<'a, 'l> {
    launcher: &'l dyn Launcher,
    inputs: &'a Resident,
    outputs: &'a ResidentOutputs,
    first_sample: usize,
    samples: usize,
}

impl<'a> SamplePart<'a, '_> {
    /// The part of a tensor with these samples; `None` if there is no tensor.
    fn window(&self, slot: BufferSlot) -> Option<Window<'a>> {
        let (inputs, shape) = (self.inputs, self.launcher.shape());
        let of =
            |tensor: &'a DeviceTensor, width: usize| tensor.window(self.first_sample * width, self.samples * width);
        let gradient = |block: usize| {
            let gradient = self.outputs.gradient.as_ref().filter(|_| block < self.launcher.gradient_blocks())?;
            let start = (block * inputs.samples + self.first_sample) * shape.columns;
            Some(gradient.window(start, self.samples * shape.columns))
        };
        match slot {
            BufferSlot::Scores => Some(of(&inputs.scores, shape.columns)),
            BufferSlot::SecondScores => inputs.second_scores.as_ref().map(|tensor| of(tensor, shape.columns)),
            BufferSlot::ThirdScores => inputs.third_scores.as_ref().map(|tensor| of(tensor, shape.columns)),
            BufferSlot::Targets => Some(of(&inputs.targets, shape.target_width)),
            BufferSlot::SampleWeights => inputs.sample_weights.as_ref().map(|tensor| of(tensor, 1)),
            BufferSlot::ClassTable => inputs.class_table.as_ref().map(|table| table.window(0, table.len())),
            BufferSlot::Losses => self.outputs.losses.as_ref().map(|tensor| of(tensor, 1)),
            BufferSlot::Gradient => gradient(0),
            BufferSlot::SecondGradient => gradient(1),
            BufferSlot::ThirdGradient => gradient(2),
            BufferSlot::Partials | BufferSlot::Sums | BufferSlot::Scratch => None,
        }
    }
}

impl Dispatch<'_> {
    /// Bytes of partials for the host.
    pub(in crate::gpu) fn partial_bytes(&self) -> u64 {
        if self.step.leaves_parts { 0 } else { self.step.groups as u64 * size_of::<Partial>() as u64 }
    }
}

/// The buffer for data from one dispatch to the next, if needed, and its bytes. All dispatches share the space.
pub(in crate::gpu) async fn parts(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<(Option<PooledBuffer>, u64)> {
    let bytes = dispatches.iter().map(|dispatch| dispatch.step.part_bytes).max().unwrap_or(0);
    Ok((if bytes > 0 { Some(gpu.allocate_output(bytes).await?) } else { None }, bytes))
}

pub(in crate::gpu) async fn pipelines(
    gpu: &Gpu,
    variant: &Variant,
    dispatches: &[Dispatch<'_>],
) -> Result<Vec<wgpu::ComputePipeline>> {
    let mut pipelines = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        pipelines.push(gpu.pipeline(&variant.at_step(dispatch.step.kernel)).await?);
    }
    Ok(pipelines)
}

/// The bindings of each dispatch, without its results. All parameters are parts of one buffer.
pub(in crate::gpu) async fn bindings(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<Vec<Vec<OwnedWindow>>> {
    let layout = BufferLayout::new(gpu.uniform_alignment(), dispatches.iter().map(|_| size_of::<LossParams>() as u64));
    let mut bytes = vec![0u8; layout.total as usize];
    for (dispatch, &(offset, length)) in dispatches.iter().zip(&layout.parts) {
        bytes[offset as usize..][..length as usize].copy_from_slice(bytemuck::bytes_of(&dispatch.step.params));
    }
    let params = gpu.params(bytes).await?;
    let windows = |(dispatch, &(offset, length)): (&Dispatch<'_>, &(u64, u64))| {
        let params = (params.clone(), offset, length);
        std::iter::once(params).chain(dispatch.windows.iter().map(|window| window.owned())).collect()
    };
    Ok(dispatches.iter().zip(&layout.parts).map(windows).collect())
}
