//! One submission: all dispatches of a pass, and what their workgroups found, to be read when wanted.

use super::context::Gpu;
use super::launch::{Launcher, Pass, Resident, ResidentOutputs};
use super::partial::{Bad, FLAG_WILD, Partial, Sum};
use super::pool::PooledBuffer;
use super::shader::Variant;
use super::tensor::{DeviceTensor, ElementType, Window};
use crate::cpu::weights;
use crate::error::{Error, Input, Result};
use crate::evaluation::{Request, Totals};
use crate::loss::Pattern;

/// One call of a kernel.
#[derive(Default)]
pub(crate) struct Dispatch<'a> {
    /// The bytes of the pattern's parameter struct.
    pub(super) params: Vec<u8>,
    /// The read bindings after the parameters; `None` for one that was not given.
    pub(super) inputs: Vec<Option<Window<'a>>>,
    /// Losses and gradients.
    pub(super) outputs: Vec<Option<Window<'a>>>,
    pub(super) groups: u32,
    /// Index of the first sample in the tensors.
    pub(super) first_sample: usize,
    /// Elements of the per-class binding (rows).
    pub(super) per_class: u64,
    /// Elements of the same binding where workgroups leave what they know of their parts of rows.
    pub(super) parts: u64,
    /// It leaves only these: the dispatch after it finishes the rows.
    pub(super) leaves_parts: bool,
}

impl Dispatch<'_> {
    /// Workgroups that leave a Partial.
    fn partials(&self) -> u64 {
        if self.leaves_parts { 0 } else { self.groups.into() }
    }
}

/// Bytes for the parts of rows: each dispatch is done with them before the next begins.
fn part_bytes(dispatches: &[Dispatch<'_>]) -> u64 {
    dispatches.iter().map(|d| d.parts * size_of::<Sum>() as u64).max().unwrap_or(0)
}

/// What a pass left on the device: its workgroups' partials, and what it takes to finish them on the host.
#[derive(Debug)]
pub struct Pending {
    gpu: Gpu,
    results: Option<PooledBuffer>,
    bytes: u64,
    partials: Layout,
    per_class: Layout,
    /// Index of each dispatch's first sample.
    first_samples: Vec<usize>,
    per_class_start: u64,
    /// Columns of the per-class sums, 0 where they were not asked for.
    classes: usize,
    has_weights: bool,
    targets: ElementType,
    target_expected: String,
    /// Targets a sample.
    target_width: usize,
    /// Workgroups a sample, where it takes several.
    groups_a_sample: usize,
}

/// What the partials of a pass add up to.
pub(crate) struct Found {
    pub(crate) totals: Totals,
    /// The finite arithmetic met a value that it cannot compute.
    pub(crate) wild: bool,
    /// The losses of samples that took several workgroups each.
    pub(crate) losses: Vec<f32>,
}

/// Records all dispatches of a pass over `inputs` and submits them once.
pub(super) async fn submit<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    inputs: &Resident,
    outputs: &ResidentOutputs,
    request: &Request,
    pass: Pass,
) -> Result<Pending> {
    let dispatches = match inputs.samples {
        0 => vec![],
        _ => launcher.dispatches(gpu, inputs, outputs, request, pass)?,
    };
    let limits = &gpu.description().limits;
    let storage_alignment = u64::from(limits.min_storage_buffer_offset_alignment);
    let partials = Layout::new(&dispatches, storage_alignment, size_of::<Partial>(), |d| d.partials());
    let per_class = Layout::new(&dispatches, storage_alignment, size_of::<Sum>(), |d| d.per_class);
    // One buffer for partials and per-class sums, so that one read brings both.
    let per_class_start = partials.total.next_multiple_of(storage_alignment.max(4));
    let mut pending = Pending {
        gpu: gpu.clone(),
        results: None,
        bytes: per_class_start + per_class.total,
        partials,
        per_class,
        first_samples: dispatches.iter().map(|d| d.first_sample).collect(),
        per_class_start,
        classes: if request.per_class { launcher.shape().columns } else { 0 },
        has_weights: inputs.sample_weights.is_some(),
        targets: inputs.targets.element_type(),
        target_expected: launcher.target_expected(),
        target_width: launcher.shape().target_width,
        groups_a_sample: launcher.groups_a_sample() as usize,
    };
    if !dispatches.is_empty() {
        pending.run(&launcher.variant(inputs, request, pass), &dispatches).await?;
    }
    Ok(pending)
}

impl Pending {
    /// Bytes that wait on the device.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn run(&mut self, variant: &Variant, dispatches: &[Dispatch<'_>]) -> Result<()> {
        let gpu = &self.gpu;
        let limits = &gpu.description().limits;
        let uniform_alignment = u64::from(limits.min_uniform_buffer_offset_alignment);
        let storage_alignment = u64::from(limits.min_storage_buffer_offset_alignment).max(4);
        let params = Layout::new(dispatches, uniform_alignment, 1, |d| d.params.len() as u64);
        let mut params_bytes = vec![0u8; params.total as usize];
        for (dispatch, &(offset, bytes)) in dispatches.iter().zip(&params.parts) {
            params_bytes[offset as usize..][..bytes as usize].copy_from_slice(&dispatch.params);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params_buffer = gpu.allocate(params.total, usage).await?;
        // Parts of rows come after what is read.
        let parts = (self.bytes.next_multiple_of(storage_alignment), part_bytes(dispatches));
        let results = gpu.allocate_output(parts.0 + parts.1).await?;
        let pipeline = gpu.pipeline(variant).await?;
        gpu.attempt("running a kernel", || {
            gpu.queue().write_buffer(&params_buffer.buffer, 0, &params_bytes);
            let layout = pipeline.get_bind_group_layout(0);
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            {
                let mut pass = gpu.begin_pass(&mut encoder);
                pass.set_pipeline(&pipeline);
                for (index, dispatch) in dispatches.iter().enumerate() {
                    let part = |buffer, (offset, bytes): (u64, u64)| Window { buffer, offset, bytes, shift: 0 };
                    let whole = |buffer| Window { buffer, offset: 0, bytes: 256, shift: 0 };
                    let mut windows = vec![part(&params_buffer.buffer, params.parts[index])];
                    windows.extend(dispatch.inputs.iter().map(|x| x.unwrap_or(whole(gpu.unused_input()))));
                    windows.extend(dispatch.outputs.iter().map(|x| x.unwrap_or(whole(gpu.unused_output()))));
                    let result = |(offset, bytes)| match bytes {
                        0 => whole(gpu.unused_output()),
                        _ => part(&results.buffer, (offset, bytes)),
                    };
                    windows.push(result(self.partials.parts[index]));
                    if variant.loss.pattern == Pattern::Rows {
                        let (offset, bytes) = self.per_class.parts[index];
                        let sums = (self.per_class_start + offset, bytes);
                        windows.push(result(if dispatch.parts > 0 { parts } else { sums }));
                    }
                    let entries: Vec<_> = (0..)
                        .zip(&windows)
                        .map(|(binding, window)| wgpu::BindGroupEntry {
                            binding,
                            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                buffer: window.buffer,
                                offset: window.offset,
                                size: wgpu::BufferSize::new(window.bytes),
                            }),
                        })
                        .collect();
                    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
                    pass.set_bind_group(0, &gpu.device().create_bind_group(&descriptor), &[]);
                    let row = groups_in_row(gpu, dispatch.groups);
                    pass.dispatch_workgroups(row, dispatch.groups.div_ceil(row), 1);
                }
            }
            gpu.queue().submit([encoder.finish()]);
        })
        .await?;
        self.results = Some(results);
        Ok(())
    }

    /// Reads the partials and adds them up in f64, in order.
    ///
    /// # Errors
    /// [`Error::Value`] for the first target or weight that is not allowed.
    pub(crate) async fn fold(&self) -> Result<Found> {
        let mut totals = Totals { per_class: vec![0.0; self.classes], ..Totals::default() };
        let (mut wild, mut losses) = (false, Vec::new());
        let Some(results) = &self.results else { return Ok(Found { totals, wild, losses }) };
        let bytes = self.gpu.read(&results.buffer, 0, self.bytes).await?;
        let take = |start: u64, (offset, length): (u64, u64)| &bytes[(start + offset) as usize..][..length as usize];
        for (index, &first_sample) in self.first_samples.iter().enumerate() {
            let partials: Vec<Partial> = bytemuck::pod_collect_to_vec(take(0, self.partials.parts[index]));
            for sample in partials.chunks(self.groups_a_sample) {
                let mut part = Totals::default();
                for partial in sample {
                    self.check_elements(first_sample, partial)?;
                    wild |= partial.flags & FLAG_WILD != 0;
                    partial.add_to(&mut part, self.has_weights);
                }
                if self.groups_a_sample > 1 {
                    // One sample: its loss is as precise as others', and it is active once.
                    losses.push(part.sum as f32);
                    part.sum = f64::from(part.sum as f32);
                    part.active = part.active.min(1);
                }
                totals.merge(&part);
            }
            let sums: Vec<Sum> = bytemuck::pod_collect_to_vec(take(self.per_class_start, self.per_class.parts[index]));
            for team in sums.chunks(self.classes.max(1)) {
                for (total, sum) in totals.per_class.iter_mut().zip(team) {
                    *total += sum.to_f64();
                }
            }
        }
        Ok(Found { totals, wild, losses })
    }

    /// The error for a bad target or weight that a workgroup found; partials come in the order of their samples.
    fn check_elements(&self, first_sample: usize, partial: &Partial) -> Result<()> {
        let check = |input, bad: Bad, element, width: usize, expected: &str| match bad.found(element) {
            None => Ok(()),
            Some((index, value)) => {
                let index = (first_sample * width) as u64 + u64::from(index);
                Err(Error::Value { input, index, value, expected: expected.into() })
            }
        };
        partial.check(&self.gpu)?;
        check(Input::Targets, partial.bad_target, self.targets, self.target_width, &self.target_expected)?;
        check(Input::SampleWeights, partial.bad_weight, ElementType::F32, 1, weights::EXPECTED)
    }
}

/// A binding: buffer, offset and bytes.
pub(super) type OwnedWindow = (wgpu::Buffer, u64, u64);

/// A kernel over tensors that stay where they are: bound once, run as often as wanted.
pub struct Prepared {
    pipeline: wgpu::ComputePipeline,
    _params: PooledBuffer,
    dispatches: Vec<PreparedDispatch>,
    /// The bindings after the partials.
    last: Option<OwnedWindow>,
    /// What `last` refers to, where it is more than a stand-in.
    _parts: Option<PooledBuffer>,
    /// Buffers that the bindings refer to and that nobody else keeps.
    _class_table: Option<DeviceTensor>,
}

#[derive(Debug)]
struct PreparedDispatch {
    /// The bindings before the partials.
    windows: Vec<OwnedWindow>,
    groups: u32,
    partials: u64,
}

impl Prepared {
    /// Uploads the parameters of the dispatches. Nothing runs yet.
    pub(super) async fn new(
        gpu: &Gpu,
        variant: &Variant,
        dispatches: &[Dispatch<'_>],
        class_table: Option<DeviceTensor>,
    ) -> Result<Self> {
        let alignment = u64::from(gpu.description().limits.min_uniform_buffer_offset_alignment);
        let layout = Layout::new(dispatches, alignment, 1, |d| d.params.len() as u64);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = gpu.allocate(layout.total, usage).await?;
        let pipeline = gpu.pipeline(variant).await?;
        let mut all = Vec::new();
        for (dispatch, &(offset, bytes)) in dispatches.iter().zip(&layout.parts) {
            gpu.queue().write_buffer(&params.buffer, offset, &dispatch.params);
            let owned = |window: &Option<Window<'_>>, unused: &wgpu::Buffer| match window {
                Some(w) => (w.buffer.clone(), w.offset, w.bytes),
                None => (unused.clone(), 0, 256),
            };
            let mut windows: Vec<OwnedWindow> = vec![(params.buffer.clone(), offset, bytes)];
            windows.extend(dispatch.inputs.iter().map(|w| owned(w, gpu.unused_input())));
            windows.extend(dispatch.outputs.iter().map(|w| owned(w, gpu.unused_output())));
            all.push(PreparedDispatch { windows, groups: dispatch.groups, partials: dispatch.partials() });
        }
        let parts = match part_bytes(dispatches) {
            0 => None,
            bytes => Some((gpu.allocate_output(bytes).await?, bytes)),
        };
        // Where per-class sums would go.
        let last = (variant.loss.pattern == Pattern::Rows).then(|| match &parts {
            Some((parts, bytes)) => (parts.buffer.clone(), 0, *bytes),
            None => (gpu.unused_output().clone(), 0, 256),
        });
        let parts = parts.map(|(parts, _)| parts);
        Ok(Self { pipeline, _params: params, dispatches: all, last, _parts: parts, _class_table: class_table })
    }

    /// Bytes of partials of one run, each dispatch's part aligned as bindings must be.
    pub(super) fn partial_bytes(&self, gpu: &Gpu) -> u64 {
        self.partial_parts(gpu).last().map_or(0, |(offset, bytes)| offset + bytes)
    }

    fn partial_parts(&self, gpu: &Gpu) -> Vec<(u64, u64)> {
        let alignment = u64::from(gpu.description().limits.min_storage_buffer_offset_alignment).max(4);
        let mut end = 0u64;
        let part = |dispatch: &PreparedDispatch| {
            let offset = end.next_multiple_of(alignment);
            let bytes = dispatch.partials * size_of::<Partial>() as u64;
            end = offset + bytes;
            (offset, bytes)
        };
        self.dispatches.iter().map(part).collect()
    }

    /// The commands of one run that leaves its partials in `results` from `start` on, which is aligned.
    pub(super) fn commands(&self, gpu: &Gpu, results: &wgpu::Buffer, start: u64) -> Vec<Command> {
        let parts = self.partial_parts(gpu);
        let command = |(dispatch, (offset, bytes)): (&PreparedDispatch, (u64, u64))| {
            let mut windows = dispatch.windows.clone();
            windows.push(match bytes {
                0 => (gpu.unused_output().clone(), 0, 256),
                _ => (results.clone(), start + offset, bytes),
            });
            windows.extend(self.last.clone());
            let row = groups_in_row(gpu, dispatch.groups);
            Command::new(gpu, &self.pipeline, &windows, [row, dispatch.groups.div_ceil(row)])
        };
        self.dispatches.iter().zip(parts).map(command).collect()
    }

    /// Adds up what one run left in `bytes`, which begin at its start.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] for a row that is too long for the driver.
    pub(super) fn fold(&self, gpu: &Gpu, bytes: &[u8]) -> Result<Totals> {
        let mut totals = Totals::default();
        for (offset, length) in self.partial_parts(gpu) {
            let partials: Vec<Partial> = bytemuck::pod_collect_to_vec(&bytes[offset as usize..][..length as usize]);
            for partial in partials {
                partial.check(gpu)?;
                partial.add_to(&mut totals, false);
            }
        }
        Ok(totals)
    }
}

/// A kernel with its bindings, ready to be recorded.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Command {
    /// Bindings come in the order of the kernel's.
    pub(super) fn new(
        gpu: &Gpu,
        pipeline: &wgpu::ComputePipeline,
        windows: &[OwnedWindow],
        workgroups: [u32; 2],
    ) -> Self {
        let entries: Vec<_> = (0..)
            .zip(windows)
            .map(|(binding, (buffer, offset, bytes))| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: *offset,
                    size: wgpu::BufferSize::new(*bytes),
                }),
            })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        Self { pipeline: pipeline.clone(), group: gpu.device().create_bind_group(&descriptor), workgroups }
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], 1);
    }
}

/// Where each dispatch's part of a shared buffer lies: (offset, bytes).
#[derive(Debug)]
struct Layout {
    parts: Vec<(u64, u64)>,
    total: u64,
}

impl Layout {
    fn new(dispatches: &[Dispatch<'_>], alignment: u64, size: usize, count: impl Fn(&Dispatch<'_>) -> u64) -> Self {
        let mut total = 0u64;
        let mut parts = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            let offset = total.next_multiple_of(alignment.max(4));
            let bytes = count(dispatch) * size as u64;
            parts.push((offset, bytes));
            total = offset + bytes;
        }
        Self { parts, total: total.next_multiple_of(4) }
    }
}

/// Workgroups in one row of the grid; a second dimension takes what goes beyond the device's limit.
pub(super) fn groups_in_row(gpu: &Gpu, groups: u32) -> u32 {
    groups.min(gpu.max_workgroups()).max(1)
}
