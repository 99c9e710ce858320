//! A kernel's calls: what each of them takes, and its bindings.

use super::context::Gpu;
use super::partial::Partial;
use super::pool::PooledBuffer;
use super::shader::Variant;
use super::tensor::Window;
use crate::error::Result;

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
    /// Bytes of the last binding where it is no per-class sums but what workgroups leave for the dispatch after theirs.
    pub(super) part_bytes: u64,
    /// It leaves only these: a dispatch after it finishes the samples.
    pub(super) leaves_parts: bool,
    /// Which of its variant's kernels it is, where there is one a step.
    pub(super) step: u8,
}

impl Dispatch<'_> {
    /// Bytes that its workgroups leave for the host.
    pub(super) fn partial_bytes(&self) -> u64 {
        if self.leaves_parts { 0 } else { u64::from(self.groups) * size_of::<Partial>() as u64 }
    }
}

/// A buffer, where one is needed, for what dispatches leave for those after them, all of them in the same place; and its bytes.
pub(super) async fn parts(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<(Option<PooledBuffer>, u64)> {
    let bytes = dispatches.iter().map(|d| d.part_bytes).max().unwrap_or(0);
    Ok((if bytes > 0 { Some(gpu.allocate_output(bytes).await?) } else { None }, bytes))
}

/// The kernel of each dispatch.
pub(super) async fn pipelines(
    gpu: &Gpu,
    variant: &Variant,
    dispatches: &[Dispatch<'_>],
) -> Result<Vec<wgpu::ComputePipeline>> {
    let mut pipelines = Vec::with_capacity(dispatches.len());
    for dispatch in dispatches {
        pipelines.push(gpu.pipeline(&variant.at_step(dispatch.step)).await?);
    }
    Ok(pipelines)
}

/// A binding: buffer, offset and bytes.
pub(super) type OwnedWindow = (wgpu::Buffer, u64, u64);

/// The bindings of each dispatch but for what its workgroups find. The parameters of all are parts of one buffer.
pub(super) async fn bindings(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<Vec<Vec<OwnedWindow>>> {
    let layout = Layout::new(gpu.uniform_alignment(), dispatches.iter().map(|d| d.params.len() as u64));
    let mut bytes = vec![0u8; layout.total as usize];
    for (dispatch, &(offset, length)) in dispatches.iter().zip(&layout.parts) {
        bytes[offset as usize..][..length as usize].copy_from_slice(&dispatch.params);
    }
    let params = gpu.params(bytes).await?;
    let windows = |(dispatch, &(offset, length)): (&Dispatch<'_>, &(u64, u64))| {
        let inputs = dispatch.inputs.iter().map(|window| window.unwrap_or(gpu.unused_input()).owned());
        let outputs = dispatch.outputs.iter().map(|window| window.unwrap_or(gpu.unused_output()).owned());
        let params = (params.clone(), offset, length);
        std::iter::once(params).chain(inputs).chain(outputs).collect()
    };
    Ok(dispatches.iter().zip(&layout.parts).map(windows).collect())
}

/// The binding of a part of a buffer of results, or a stand-in for one without bytes.
pub(super) fn result_window(gpu: &Gpu, results: &wgpu::Buffer, offset: u64, bytes: u64) -> OwnedWindow {
    match bytes {
        0 => gpu.unused_output().owned(),
        _ => (results.clone(), offset, bytes),
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

    /// As [`Command::new`], of a kernel of a loss, which finds its workgroups in rows of the grid.
    pub(super) fn of_groups(gpu: &Gpu, pipeline: &wgpu::ComputePipeline, windows: &[OwnedWindow], groups: u32) -> Self {
        let row = groups_in_row(gpu, groups);
        Self::new(gpu, pipeline, windows, [row, groups.div_ceil(row)])
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], 1);
    }
}

/// Where each part of a shared buffer lies, aligned as bindings must be: (offset, bytes).
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) parts: Vec<(u64, u64)>,
    pub(super) total: u64,
}

impl Layout {
    /// Parts of so many bytes, in their order.
    pub(super) fn new(alignment: u64, bytes: impl Iterator<Item = u64>) -> Self {
        let mut total = 0u64;
        let place = |bytes| {
            let offset = total.next_multiple_of(alignment);
            total = offset + bytes;
            (offset, bytes)
        };
        let parts = bytes.map(place).collect();
        Self { parts, total: total.next_multiple_of(4) }
    }
}

/// Workgroups in one row of the grid; a second dimension takes what goes beyond the device's limit.
pub(super) fn groups_in_row(gpu: &Gpu, groups: u32) -> u32 {
    groups.min(gpu.max_workgroups()).max(1)
}

impl Gpu {
    /// Submits what `record` records.
    pub(super) async fn submit(
        &self,
        operation: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        let submit = || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            record(&mut encoder);
            self.queue().submit([encoder.finish()])
        };
        self.attempt(operation, submit).await
    }
}
