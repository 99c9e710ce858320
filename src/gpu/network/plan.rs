//! The commands of one pass over a data set, batch by batch: bound once, recorded any number of times.

use super::kernel::{
    GatherParams, KerasAccuracyParams, NetworkKernel, OutputGradientParams, ProductParams, Role, UpdateParams,
    feature_number,
};
use crate::data::device_tensor::DeviceTensor;
use crate::data::evaluation::Totals;
use crate::data::shape::BatchShape;
use crate::error::{Error, Result};
use crate::gpu::device::command::{Command, OwnedWindow, grid_width};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::options::ProductWalk;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::losses::launch;
use crate::gpu::losses::prepared::PreparedKernel;
use crate::nn::{Activation, EngineParts, EpochSums, LayerShape, Update};

/// Most rows that go through the network at a time when nothing is trained.
const EVALUATED_ROWS: u64 = 4096;

/// Lanes per workgroup of the kernels that take one element per lane.
const LANES: u64 = 256;

/// Loop steps per lane for 16 terms of a product: one round of 4 loads and 16 sums.
const STEPS_OF_16_TERMS: u64 = 22;

pub(super) struct Weights {
    pub(super) parameters: PooledBuffer,
    pub(super) gradient: PooledBuffer,
    pub(super) first: PooledBuffer,
    pub(super) second: PooledBuffer,
}

#[derive(Clone)]
pub(super) struct DeviceData {
    pub(super) features: DeviceTensor,
    pub(super) columns: usize,
    pub(super) samples: usize,
    /// Targets as the loss's kernel reads them, `target_width` per row; `None` if there is nothing to compare.
    pub(super) targets: Option<DeviceTensor>,
    pub(super) target_width: usize,
    /// The shape that the loss gives the whole data set.
    pub(super) shape: BatchShape,
    /// The original targets, where Keras's accuracy is wanted.
    pub(super) raw_targets: Option<DeviceTensor>,
    /// Rows in the order of the pass.
    pub(super) order: DeviceTensor,
}

pub(super) struct EpochPlan {
    pub(super) steps: Vec<PlannedStep>,
    /// The partials of the losses' kernels: one part per step.
    results: Option<PooledBuffer>,
    result_stride: u64,
    /// Samples predicted right by Keras's rule: one part per step.
    right: Option<PooledBuffer>,
    right_stride: u64,
    updates: Option<PooledBuffer>,
    update_stride: u64,
    parameters: u32,
    /// The losses' kernels for full batches and for the last batch.
    losses: [Option<PreparedKernel>; 2],
    /// The outputs of the batch that ran last.
    pub(super) outputs: DeviceTensor,
    /// Multiplications of a full batch.
    pub(super) cost: u64,
    /// Keeps alive what the commands refer to.
    _buffers: Vec<PooledBuffer>,
    _tensors: Vec<DeviceTensor>,
}

pub(super) struct PlannedStep {
    pub(super) commands: Vec<Command>,
    pub(super) rows: usize,
    is_last_kind: bool,
}

pub(super) fn whole(tensor: &DeviceTensor) -> OwnedWindow {
    tensor.window(0, tensor.len()).owned()
}

fn buffer(pooled: &PooledBuffer, elements: usize) -> OwnedWindow {
    (pooled.buffer.clone(), 0, 4 * elements as u64)
}

/// Collects commands and keeps alive what they refer to.
pub(super) struct Builder<'a> {
    gpu: &'a Gpu,
    buffers: Vec<PooledBuffer>,
    tensors: Vec<DeviceTensor>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, buffers: vec![], tensors: vec![] }
    }

    /// The buffers that the commands refer to, other than tensors.
    pub(super) fn into_memory(self) -> Vec<PooledBuffer> {
        self.buffers
    }

    /// Memory for this many words; it must fit one binding.
    pub(super) async fn tensor(&mut self, words: usize, what: &'static str) -> Result<DeviceTensor> {
        let limit = self.gpu.max_binding_bytes() / 4;
        if words as u64 > limit {
            return Err(Error::DeviceLimit { what, limit, got: words as u64 });
        }
        let tensor = self.gpu.output_tensor(words.max(1)).await?;
        self.tensors.push(tensor.clone());
        Ok(tensor)
    }

    async fn params(&mut self, bytes: &[u8]) -> Result<OwnedWindow> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let pooled = self.gpu.allocate(bytes.len() as u64, usage).await?;
        self.gpu.queue().write_buffer(&pooled.buffer, 0, bytes);
        let window = (pooled.buffer.clone(), 0, bytes.len() as u64);
        self.buffers.push(pooled);
        Ok(window)
    }

    async fn command(&self, kernel: NetworkKernel, windows: &[OwnedWindow], workgroups: [u32; 2]) -> Result<Command> {
        let pipeline = self.gpu.pipeline(&kernel).await?;
        let create = || Command::new(self.gpu, &pipeline, windows, workgroups);
        self.gpu.attempt("binding a kernel", create).await
    }

    /// The grid of a kernel that takes one element per lane: its width, and its two dimensions.
    fn grid(&self, count: u64) -> Result<(u32, [u32; 2])> {
        let limit = LANES * u64::from(u32::MAX / 512);
        let groups = u32::try_from(count.div_ceil(LANES)).ok().filter(|_| count <= limit);
        let groups = groups.ok_or(Error::DeviceLimit { what: "elements of one step", limit, got: count })?;
        let width = grid_width(self.gpu, groups);
        Ok((width, [width, groups.div_ceil(width)]))
    }

    /// A product's command; refuses sums too long for the driver's loops.
    pub(super) async fn product(
        &mut self,
        role: Role,
        activation: Activation,
        params: ProductParams,
        (m, n, k): (usize, usize, usize),
        windows: [OwnedWindow; 4],
    ) -> Result<Command> {
        let most_terms = self.gpu.description().loop_limit().map(|steps| u64::from(steps) / STEPS_OF_16_TERMS * 16);
        if let Some(limit) = most_terms.filter(|&limit| k as u64 > limit) {
            return Err(Error::DeviceLimit { what: "terms of one sum of a dense layer", limit, got: k as u64 });
        }
        let best = || ProductWalk::of(self.gpu.description(), (m, n));
        let walk = self.gpu.options().product_walk.unwrap_or_else(best);
        let groups = [(n as u32).div_ceil(walk.tile()), (m as u32).div_ceil(walk.tile())];
        let limit = u64::from(self.gpu.max_workgroups()) * u64::from(walk.tile());
        if let Some(&got) = [m, n].iter().find(|&&x| x as u64 > limit) {
            return Err(Error::DeviceLimit { what: "rows or columns of a dense layer", limit, got: got as u64 });
        }
        let mut all = vec![self.params(bytemuck::bytes_of(&params)).await?];
        all.extend(windows);
        self.command(NetworkKernel::Product { role, activation, walk }, &all, groups).await
    }
}

/// What a pass over a data set needs.
#[derive(Clone, Copy)]
pub(super) struct WalkSetup<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) parts: &'a EngineParts<'a>,
    pub(super) weights: &'a Weights,
    pub(super) data: &'a DeviceData,
    pub(super) batch_size: usize,
    /// Whether to compute the weights' gradients and to update the weights.
    pub(super) trains: bool,
}

impl<'a> WalkSetup<'a> {
    /// A pass without an update.
    pub(super) fn evaluation(
        gpu: &'a Gpu,
        parts: &'a EngineParts<'a>,
        weights: &'a Weights,
        data: &'a DeviceData,
    ) -> Self {
        Self { gpu, parts, weights, data, batch_size: evaluated_rows(gpu, parts), trains: false }
    }

    pub(super) fn parameters(&self) -> usize {
        self.parts.memory.parameters.len()
    }
}

/// Rows that go through a network at a time, so that every layer fits a binding.
fn evaluated_rows(gpu: &Gpu, parts: &EngineParts<'_>) -> usize {
    let widest = parts.shapes.iter().map(|shape| shape.inputs.max(shape.outputs)).max().unwrap_or(1);
    (gpu.max_binding_bytes() / 4 / widest as u64).clamp(1, EVALUATED_ROWS) as usize
}

struct Workspace {
    features: DeviceTensor,
    targets: Option<DeviceTensor>,
    raw_targets: Option<DeviceTensor>,
    /// One per layer.
    outputs: Vec<DeviceTensor>,
    /// The gradient with respect to each layer's weighted sums.
    slopes: Vec<DeviceTensor>,
}

impl EpochPlan {
    pub(super) async fn new(setup: WalkSetup<'_>) -> Result<Self> {
        let WalkSetup { gpu, parts, data, batch_size, trains, .. } = setup;
        let mut builder = Builder::new(gpu);
        let batch = batch_size.min(data.samples).max(1);
        let shapes = &parts.shapes;
        let parameters = setup.parameters();
        let work = Workspace {
            features: builder.tensor(batch * data.columns, "features of one batch").await?,
            targets: match &data.targets {
                // The gather kernel copies words of any type; the type tells the loss's kernel how to read them.
                Some(targets) => {
                    let words = builder.tensor(batch * data.target_width, "targets of one batch").await?;
                    Some(words.reinterpreted(targets.element_type()))
                }
                None => None,
            },
            raw_targets: match &data.raw_targets {
                Some(_) => Some(builder.tensor(batch, "targets of one batch").await?),
                None => None,
            },
            outputs: builder.of_layers(shapes, batch).await?,
            slopes: if trains { builder.of_layers(shapes, batch).await? } else { vec![] },
        };
        let outputs = work.outputs.last().cloned().unwrap_or_else(|| work.features.clone());
        let sizes: Vec<usize> = (0..data.samples).step_by(batch).map(|s| batch.min(data.samples - s)).collect();
        let last = sizes.last().copied().unwrap_or(batch);
        let kinds: &[usize] = if last == batch { &[batch] } else { &[batch, last] };

        // Commands that do not change from step to step, for both batch sizes.
        let (mut losses, mut passes) = ([None, None], Vec::new());
        for (kind, &rows) in kinds.iter().enumerate() {
            let forward = builder.forward(setup, &work, rows).await?;
            let backward = match trains {
                true => builder.backward(setup, &work, rows).await?,
                false => vec![],
            };
            if let Some(targets) = &work.targets {
                let shape = data.shape_of(rows);
                let gradient = work.slopes.last();
                losses[kind] = Some(launch::prepare(gpu, parts.loss, shape, &outputs, targets, gradient).await?);
            }
            passes.push((forward, backward));
        }
        let alignment = gpu.storage_alignment();
        let of_losses = losses.iter().flatten().map(|loss| loss.partial_bytes(gpu)).max();
        let result_stride = of_losses.unwrap_or(0).next_multiple_of(alignment);
        let update_stride = (size_of::<UpdateParams>() as u64).next_multiple_of(gpu.uniform_alignment());
        let count = sizes.len() as u64;
        let results = match of_losses {
            Some(_) => Some(gpu.allocate_output(count * result_stride).await?),
            None => None,
        };
        let right = match &work.raw_targets {
            Some(_) => Some(gpu.allocate_output(count * alignment).await?),
            None => None,
        };
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let updates = if trains { Some(gpu.allocate(count * update_stride, uniform).await?) } else { None };

        let mut steps = Vec::with_capacity(sizes.len());
        for (index, &rows) in sizes.iter().enumerate() {
            let kind = usize::from(rows != batch);
            let (forward, backward) = &passes[kind];
            let mut commands = builder.gather(data, &work, index * batch, rows).await?;
            commands.extend_from_slice(forward);
            if let (Some(loss), Some(results)) = (&losses[kind], &results) {
                let bind = || loss.commands(gpu, &results.buffer, index as u64 * result_stride);
                commands.extend(gpu.attempt("binding a kernel", bind).await?);
            }
            if let (Some(raw), Some(right)) = (&work.raw_targets, &right) {
                let params = KerasAccuracyParams { count: rows as u32, ..Default::default() };
                let params = builder.params(bytemuck::bytes_of(&params)).await?;
                let slot = (right.buffer.clone(), index as u64 * alignment, 4);
                let windows = [params, whole(&outputs), whole(raw), slot];
                commands.push(builder.command(NetworkKernel::KerasAccuracy, &windows, [1, 1]).await?);
            }
            commands.extend_from_slice(backward);
            if let Some(updates) = &updates {
                let params = (updates.buffer.clone(), index as u64 * update_stride, size_of::<UpdateParams>() as u64);
                commands.push(builder.update(setup, params).await?);
            }
            steps.push(PlannedStep { commands, rows, is_last_kind: kind == 1 });
        }
        Ok(Self {
            steps,
            results,
            result_stride,
            right,
            right_stride: alignment,
            updates,
            update_stride,
            parameters: parameters as u32,
            losses,
            outputs,
            cost: if trains { 3 } else { 1 } * batch as u64 * parameters as u64,
            _buffers: builder.buffers,
            _tensors: builder.tensors,
        })
    }

    /// Writes the update numbers of all steps from `first_step` on. `update` is given the distance from `first_step`.
    pub(super) fn write_updates(&self, gpu: &Gpu, first_step: usize, update: impl Fn(u64) -> Update) -> Result<()> {
        let Some(updates) = &self.updates else { return Ok(()) };
        let width = grid_width(gpu, self.parameters.div_ceil(LANES as u32));
        let mut bytes = vec![0u8; (self.steps.len() - first_step) * self.update_stride as usize];
        for (index, part) in bytes.chunks_exact_mut(self.update_stride as usize).enumerate() {
            let params = update_params(&update(index as u64), self.parameters, width);
            part[..size_of::<UpdateParams>()].copy_from_slice(bytemuck::bytes_of(&params));
        }
        gpu.queue().write_buffer(&updates.buffer, first_step as u64 * self.update_stride, &bytes);
        Ok(())
    }

    /// The sums of each of these steps, in one read.
    pub(super) async fn sums(&self, gpu: &Gpu, steps: std::ops::Range<usize>) -> Result<Vec<EpochSums>> {
        let Some(results) = &self.results else { return Ok(vec![]) };
        let count = steps.len() as u64;
        let read = async |buffer: &PooledBuffer, stride: u64| {
            gpu.read(&buffer.buffer, steps.start as u64 * stride, count * stride).await
        };
        let bytes = read(results, self.result_stride).await?;
        let right = match &self.right {
            Some(right) => Some(read(right, self.right_stride).await?),
            None => None,
        };
        let mut all = Vec::new();
        for (index, part) in bytes.chunks_exact(self.result_stride as usize).enumerate() {
            let kind = usize::from(self.steps[steps.start + index].is_last_kind);
            let totals = self.losses[kind].as_ref().map_or(Ok(Totals::default()), |loss| loss.fold(gpu, part))?;
            let mut sums = EpochSums { loss: totals.sum, count: totals.count, correct: totals.correct };
            if let Some(right) = &right {
                let word = &right[index * self.right_stride as usize..][..4];
                sums.correct = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]).into();
            }
            all.push(sums);
        }
        Ok(all)
    }
}

impl DeviceData {
    /// The loss's shape for `rows` rows: an elementwise loss counts every output as a sample.
    fn shape_of(&self, rows: usize) -> BatchShape {
        let samples_a_row = self.shape.samples.checked_div(self.samples).unwrap_or(1);
        BatchShape { samples: rows * samples_a_row, ..self.shape }
    }
}

fn update_params(update: &Update, count: u32, grid_width: u32) -> UpdateParams {
    UpdateParams {
        count,
        grid_width,
        coupled_decay: update.coupled_decay as f32,
        decoupled_decay: update.decoupled_decay as f32,
        rate: update.rate as f32,
        first_decay: update.first_decay as f32,
        first_gain: update.first_gain as f32,
        second_decay: update.second_decay as f32,
        second_gain: update.second_gain as f32,
        root_scale: update.root_scale as f32,
        epsilon: update.epsilon as f32,
        ..Default::default()
    }
}

impl Builder<'_> {
    async fn of_layers(&mut self, shapes: &[LayerShape], rows: usize) -> Result<Vec<DeviceTensor>> {
        let mut all = Vec::with_capacity(shapes.len());
        for shape in shapes {
            all.push(self.tensor(rows * shape.outputs, "outputs of one batch").await?);
        }
        Ok(all)
    }

    /// The commands that gather one batch: features in as many parts as bindings need, then targets.
    async fn gather(&mut self, data: &DeviceData, work: &Workspace, first: usize, rows: usize) -> Result<Vec<Command>> {
        let bytes_a_row = data.features.element_type().bytes(data.columns as u64);
        // Leave room for the start of an aligned binding before its first element.
        let most_rows = (self.gpu.max_binding_bytes() - 256) / bytes_a_row;
        if most_rows == 0 {
            let limit = self.gpu.max_binding_bytes() - 256;
            return Err(Error::DeviceLimit { what: "bytes in one row of features", limit, got: bytes_a_row });
        }
        let mut commands = Vec::new();
        for start in (0..data.samples).step_by(most_rows as usize) {
            let held = (data.samples - start).min(most_rows as usize);
            let source = Source { tensor: &data.features, columns: data.columns, start, held };
            commands.push(self.gather_part(&source, &data.order, &work.features, first, rows).await?);
        }
        let targets = [(&data.targets, &work.targets, data.target_width), (&data.raw_targets, &work.raw_targets, 1)];
        for (from, to, columns) in targets {
            if let (Some(tensor), Some(to)) = (from, to) {
                let source = Source { tensor, columns, start: 0, held: data.samples };
                commands.push(self.gather_part(&source, &data.order, to, first, rows).await?);
            }
        }
        Ok(commands)
    }

    async fn gather_part(
        &mut self,
        source: &Source<'_>,
        order: &DeviceTensor,
        to: &DeviceTensor,
        first: usize,
        rows: usize,
    ) -> Result<Command> {
        let Source { tensor, columns, start, held } = *source;
        let window = tensor.window(start * columns, held * columns);
        if window.bytes > self.gpu.max_binding_bytes() {
            let limit = self.gpu.max_binding_bytes() / 4;
            return Err(Error::DeviceLimit { what: "targets to train on", limit, got: tensor.len() as u64 });
        }
        let count = rows * columns;
        let (width, groups) = self.grid(count as u64)?;
        let params = GatherParams {
            count: count as u32,
            columns: columns as u32,
            grid_width: width,
            first: first as u32,
            data_first_row: start as u32,
            data_rows: held as u32,
            data_shift: window.shift,
            ..Default::default()
        };
        let windows = [
            self.params(bytemuck::bytes_of(&params)).await?,
            (window.buffer.clone(), window.offset, window.bytes),
            whole(order),
            whole(to),
        ];
        self.command(NetworkKernel::Gather { feature_type: feature_number(tensor.element_type()) }, &windows, groups)
            .await
    }

    async fn forward(&mut self, setup: WalkSetup<'_>, work: &Workspace, rows: usize) -> Result<Vec<Command>> {
        let (shapes, weights, parameters) = (&setup.parts.shapes, setup.weights, setup.parameters());
        let mut commands = Vec::new();
        let mut input = &work.features;
        let all = buffer(&weights.parameters, parameters);
        for (shape, output) in shapes.iter().zip(&work.outputs) {
            // x W^T: W is stored as outputs x inputs.
            let size @ (m, n, k) = (rows, shape.outputs, shape.inputs);
            let params = ProductParams {
                b_row: 1,
                b_column: k as u32,
                b_shift: shape.weight.start as u32,
                extra_shift: shape.bias.start as u32,
                ..ProductParams::of(m, n, k)
            };
            let windows = [whole(input), all.clone(), all.clone(), whole(output)];
            commands.push(self.product(Role::Output, shape.activation, params, size, windows).await?);
            input = output;
        }
        Ok(commands)
    }

    async fn backward(&mut self, setup: WalkSetup<'_>, work: &Workspace, rows: usize) -> Result<Vec<Command>> {
        let (shapes, weights, parameters) = (&setup.parts.shapes, setup.weights, setup.parameters());
        let mut commands = Vec::new();
        let gradient = buffer(&weights.gradient, parameters);
        let all = buffer(&weights.parameters, parameters);
        if let (Some(shape), Some(outputs), Some(slopes)) = (shapes.last(), work.outputs.last(), work.slopes.last())
            && shape.activation != Activation::Identity
        {
            let count = rows * shape.outputs;
            let (width, groups) = self.grid(count as u64)?;
            let params = OutputGradientParams { count: count as u32, grid_width: width, ..Default::default() };
            let windows = [self.params(bytemuck::bytes_of(&params)).await?, whole(outputs), whole(slopes)];
            let kernel = NetworkKernel::OutputGradient { activation: shape.activation };
            commands.push(self.command(kernel, &windows, groups).await?);
        }
        for (layer, shape) in shapes.iter().enumerate().rev() {
            let slopes = &work.slopes[layer];
            let input = if layer == 0 { &work.features } else { &work.outputs[layer - 1] };
            // g^T x, with one more column for the bias.
            let size @ (m, n, k) = (shape.outputs, shape.inputs + 1, rows);
            let params = ProductParams {
                a_row: 1,
                a_column: shape.outputs as u32,
                b_row: shape.inputs as u32,
                out_shift: shape.weight.start as u32,
                bias_shift: shape.bias.start as u32,
                ..ProductParams::of(m, n, k)
            };
            let windows = [whole(slopes), whole(input), whole(input), gradient.clone()];
            commands.push(self.product(Role::WeightGradient, Activation::Identity, params, size, windows).await?);
            if layer > 0 {
                // g W.
                let size @ (m, n, k) = (rows, shape.inputs, shape.outputs);
                let params = ProductParams { b_shift: shape.weight.start as u32, ..ProductParams::of(m, n, k) };
                let windows = [whole(slopes), all.clone(), whole(input), whole(&work.slopes[layer - 1])];
                let activation = shapes[layer - 1].activation;
                commands.push(self.product(Role::InputGradient, activation, params, size, windows).await?);
            }
        }
        Ok(commands)
    }

    async fn update(&mut self, setup: WalkSetup<'_>, params: OwnedWindow) -> Result<Command> {
        let (update, weights, parameters) = (setup.parts.optimizer.update(1), setup.weights, setup.parameters());
        let (_, groups) = self.grid(parameters as u64)?;
        let kernel = NetworkKernel::Update {
            rule: update.rule as u8,
            nesterov: update.nesterov,
            has_memory: update.first_decay > 0.0,
        };
        let of = |pooled| buffer(pooled, parameters);
        let windows = [params, of(&weights.gradient), of(&weights.parameters), of(&weights.first), of(&weights.second)];
        self.command(kernel, &windows, groups).await
    }
}

struct Source<'a> {
    tensor: &'a DeviceTensor,
    columns: usize,
    /// The first row, and the number of rows.
    start: usize,
    held: usize,
}

impl ProductParams {
    /// For contiguous row-major matrices.
    pub(super) fn of(m: usize, n: usize, k: usize) -> Self {
        let [m, n, k] = [m, n, k].map(|x| x as u32);
        Self { m, n, k, a_row: k, a_column: 1, b_row: n, b_column: 1, ..Self::default() }
    }
}
