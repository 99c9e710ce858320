//! Whole training steps in one workgroup, for networks so small that the gap between two dispatches exceeds a step.

use std::ops::Range;

use super::kernel::{NetworkKernel, WholeStepsParams, feature_number};
use super::plan::{DeviceData, WalkSetup};
use crate::data::device_tensor::ElementType;
use crate::error::Result;
use crate::gpu::device::command::{Command, OwnedWindow};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::losses::elementwise::{self, ElementwiseKernel};
use crate::gpu::losses::launcher::penalty_numbers;
use crate::gpu::losses::partial::Partial;
use crate::gpu::losses::shader::Constants;
use crate::nn::{Accuracy, EpochSums, LayerShape, Update};

/// `MOST_LAYERS` of shaders/network/whole_steps.wgsl.
const MOST_LAYERS: usize = 8;

/// `MOST_STEPS` of shaders/network/whole_steps.wgsl: most steps per dispatch.
const MOST_STEPS: usize = 256;

/// Batches with more multiplications than this use several workgroups, in spite of the extra dispatches. For the
/// tutorial's first network (32 samples, 201 weights) on llvmpipe a step of nine dispatches takes about 0.9 ms, one in
/// a single workgroup 0.15 ms. Not yet measured on a GPU.
const MOST_COST: usize = 1 << 14;

/// Lanes of the workgroup on a GPU.
const LANES: u32 = 256;

/// Lanes of the workgroup on a software adapter, where a barrier costs a switch of context for each vector of lanes.
const SOFTWARE_LANES: u32 = 32;

pub(super) struct Whole {
    params: PooledBuffer,
    params_stride: u64,
    base: WholeStepsParams,
    partials: PooledBuffer,
    /// One per `chunk` steps.
    commands: Vec<Command>,
    chunk: usize,
    steps: usize,
    _work: PooledBuffer,
}

impl Whole {
    /// `None` if the kernel cannot take this work: a network, batch or data set too large for one workgroup, a loss
    /// that is not elementwise, or targets or an accuracy that it does not know.
    pub(super) async fn new(setup: WalkSetup<'_>) -> Result<Option<Self>> {
        let WalkSetup { gpu, parts, weights, data, batch_size, trains } = setup;
        let Some(loss) = elementwise::kernel(parts.loss) else { return Ok(None) };
        let (Some(targets), parameters) = (&data.targets, setup.parameters()) else { return Ok(None) };
        let shapes = &parts.shapes;
        // Training sets the batch size; evaluation may use any.
        let most = MOST_COST.checked_div(parameters).unwrap_or(0);
        let batch = batch_size.min(data.samples).max(1);
        let batch = if trains { batch } else { batch.min(most.max(1)) };
        let evaluates_little = data.samples.checked_mul(parameters).is_some_and(|cost| cost <= MOST_EVALUATED_COST);
        let limit = gpu.max_binding_bytes();
        let features = data.features.window(0, data.features.len());
        let target_window = targets.window(0, targets.len());
        let fits = batch <= most
            && (trains || evaluates_little)
            && shapes.len() <= MOST_LAYERS
            && parts.accuracy == Accuracy::Sign
            && targets.element_type() == ElementType::F32
            && features.bytes <= limit
            && target_window.bytes <= limit;
        let lanes = if gpu.description().is_software() { SOFTWARE_LANES } else { LANES };
        let chunk = match gpu.description().loop_limit() {
            Some(steps) => (steps / steps_of_batch(shapes, batch, lanes as usize)).min(MOST_STEPS as u32) as usize,
            None => MOST_STEPS,
        };
        if !fits || chunk == 0 {
            return Ok(None);
        }
        let steps = data.samples.div_ceil(batch);
        let update = parts.optimizer.update(1);
        let (layer, words) = places(shapes, batch);
        let base = params(&loss, data, &update, shapes.len(), layer, [features.shift, target_window.shift], batch);
        let params_stride = (size_of::<WholeStepsParams>() as u64).next_multiple_of(gpu.uniform_alignment());
        let chunks = steps.div_ceil(chunk);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = gpu.allocate(chunks as u64 * params_stride, usage).await?;
        let partials = gpu.allocate_output((steps * size_of::<Partial>()) as u64).await?;
        let work = gpu.allocate_output(4 * words as u64).await?;
        let kernel = NetworkKernel::WholeSteps {
            loss: loss.shader,
            lanes,
            trains,
            penalty: Constants::penalty(loss.terms.penalty).penalty,
            target_rule: loss.target_rule,
            feature_type: feature_number(data.features.element_type()),
            rule: update.rule as u8,
            nesterov: update.nesterov,
            has_memory: update.first_decay > 0.0,
        };
        let pipeline = gpu.pipeline(&kernel).await?;
        let all = |pooled: &PooledBuffer| (pooled.buffer.clone(), 0, 4 * parameters as u64);
        let order = data.order.window(0, data.order.len());
        let mut commands = Vec::with_capacity(chunks);
        for index in 0..chunks as u64 {
            let windows: [OwnedWindow; 9] = [
                (params.buffer.clone(), index * params_stride, size_of::<WholeStepsParams>() as u64),
                features.owned(),
                target_window.owned(),
                order.owned(),
                all(&weights.parameters),
                all(&weights.first),
                all(&weights.second),
                (work.buffer.clone(), 0, 4 * words as u64),
                (partials.buffer.clone(), 0, (steps * size_of::<Partial>()) as u64),
            ];
            let bind = || Command::new(gpu, &pipeline, &windows, [1, 1]);
            commands.push(gpu.attempt("binding a kernel", bind).await?);
        }
        Ok(Some(Self { params, params_stride, base, partials, commands, chunk, steps, _work: work }))
    }

    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// The rows of these steps.
    pub(super) fn rows(&self, steps: Range<usize>) -> usize {
        let start = |step: usize| (step * self.base.batch as usize).min(self.base.samples as usize);
        start(steps.end) - start(steps.start)
    }

    /// The dispatches that cover `steps`, each with its own steps. Writes their parameters.
    pub(super) fn commands(
        &self,
        gpu: &Gpu,
        steps: Range<usize>,
        update: impl Fn(u64) -> Update,
    ) -> Vec<(&Command, Range<usize>)> {
        let mut all = Vec::new();
        for (index, command) in self.commands.iter().enumerate() {
            let range = (index * self.chunk).max(steps.start)..((index + 1) * self.chunk).min(steps.end);
            if range.is_empty() {
                continue;
            }
            let mut params = WholeStepsParams {
                steps: range.len() as u32,
                first: (range.start * self.base.batch as usize) as u32,
                first_partial: range.start as u32,
                ..self.base
            };
            for (rate, step) in params.rates.iter_mut().zip(range.clone()) {
                let update = update((step - steps.start) as u64);
                *rate = [update.rate as f32, update.root_scale as f32, 0.0, 0.0];
            }
            gpu.queue().write_buffer(
                &self.params.buffer,
                index as u64 * self.params_stride,
                bytemuck::bytes_of(&params),
            );
            all.push((command, range));
        }
        all
    }

    pub(super) async fn sums(&self, gpu: &Gpu, steps: Range<usize>) -> Result<Vec<EpochSums>> {
        let size = size_of::<Partial>() as u64;
        let bytes = gpu.read(&self.partials.buffer, steps.start as u64 * size, steps.len() as u64 * size).await?;
        let partials: Vec<Partial> = bytemuck::pod_collect_to_vec(&bytes);
        Ok(partials.iter().map(Partial::sums).collect())
    }
}

/// Where each layer's weights, bias, outputs and slopes begin, as the shader's `layer` table has them; and the number
/// of words for a batch's outputs and slopes.
fn places(shapes: &[LayerShape], batch: usize) -> ([[u32; 4]; 2 * MOST_LAYERS], usize) {
    let mut layer = [[0u32; 4]; 2 * MOST_LAYERS];
    let mut words = 0;
    for (shape, place) in shapes.iter().zip(layer.as_chunks_mut::<2>().0) {
        let slopes = words + batch * shape.outputs;
        let activation = super::kernel::activation_number(shape.activation);
        place[0] = [shape.inputs as u32, shape.outputs as u32, activation, words as u32];
        place[1] = [shape.weight.start as u32, shape.bias.start as u32, slopes as u32, 0];
        words = slopes + batch * shape.outputs;
    }
    (layer, words)
}

/// The most multiplications for a whole data set that one workgroup evaluates.
const MOST_EVALUATED_COST: usize = 1 << 18;

/// The most loop steps of a lane for one batch.
fn steps_of_batch(shapes: &[LayerShape], batch: usize, lanes: usize) -> u32 {
    let each = |elements: usize, terms: usize| elements.div_ceil(lanes) * (terms + terms.div_ceil(16) + 2);
    let of_layer = |shape: &LayerShape| {
        each(batch * shape.outputs, shape.inputs)
            + each(batch * shape.inputs, shape.outputs)
            + each((shape.inputs + 1) * shape.outputs, batch)
            + 4
    };
    let outputs = shapes.last().map_or(1, |shape| shape.outputs);
    // `workgroup_merge` takes at most 16 loop steps: 256 lanes, four partials at a time.
    let steps = shapes.iter().map(of_layer).sum::<usize>() + (batch * outputs).div_ceil(lanes) + 20;
    u32::try_from(steps).unwrap_or(u32::MAX)
}

fn params(
    loss: &ElementwiseKernel,
    data: &DeviceData,
    update: &Update,
    layers: usize,
    layer: [[u32; 4]; 2 * MOST_LAYERS],
    [data_shift, targets_shift]: [u32; 2],
    batch: usize,
) -> WholeStepsParams {
    let (penalty_gamma, penalty_scale) = penalty_numbers(loss.terms.penalty);
    WholeStepsParams {
        batch: batch as u32,
        samples: data.samples as u32,
        columns: data.columns as u32,
        layers: layers as u32,
        data_shift,
        targets_shift,
        margin: loss.terms.margin as f32,
        kink_slope: loss.terms.kink.slope() as f32,
        penalty_gamma,
        penalty_scale,
        divisor: 1.0,
        coupled_decay: update.coupled_decay as f32,
        decoupled_decay: update.decoupled_decay as f32,
        first_decay: update.first_decay as f32,
        first_gain: update.first_gain as f32,
        second_decay: update.second_decay as f32,
        second_gain: update.second_gain as f32,
        epsilon: update.epsilon as f32,
        layer,
        rates: [[0.0; 4]; MOST_STEPS],
        ..WholeStepsParams::default()
    }
}
