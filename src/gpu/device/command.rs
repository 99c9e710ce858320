//! Kernel calls: bindings, recording and submission.

use super::context::Gpu;
use crate::error::Result;

/// A binding: buffer, offset and bytes.
pub(in crate::gpu) type OwnedWindow = (wgpu::Buffer, u64, u64);

/// The binding of a part of a results buffer, or a placeholder for an empty part.
pub(in crate::gpu) fn result_window(gpu: &Gpu, results: &wgpu::Buffer, offset: u64, bytes: u64) -> OwnedWindow {
    match bytes {
        0 => gpu.unused_output().owned(),
        _ => (results.clone(), offset, bytes),
    }
}

/// A kernel with its bindings, ready to be recorded.
#[derive(Clone, Debug)]
pub(in crate::gpu) struct Command {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Command {
    /// `windows` has the order of the kernel's bindings.
    pub(in crate::gpu) fn new(
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

    /// As [`Command::new`], for a loss's kernel, which numbers its workgroups by rows of the grid.
    pub(in crate::gpu) fn of_groups(
        gpu: &Gpu,
        pipeline: &wgpu::ComputePipeline,
        windows: &[OwnedWindow],
        groups: u32,
    ) -> Self {
        let row = grid_width(gpu, groups);
        Self::new(gpu, pipeline, windows, [row, groups.div_ceil(row)])
    }

    pub(in crate::gpu) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], 1);
    }
}

/// Where each part of a shared buffer lies, aligned as bindings must be: (offset, bytes).
#[derive(Debug)]
pub(in crate::gpu) struct BufferLayout {
    pub(in crate::gpu) parts: Vec<(u64, u64)>,
    pub(in crate::gpu) total: u64,
}

impl BufferLayout {
    pub(in crate::gpu) fn new(alignment: u64, bytes: impl Iterator<Item = u64>) -> Self {
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

/// Width of a grid of so many workgroups; its second dimension takes those beyond the device's limit.
pub(in crate::gpu) fn grid_width(gpu: &Gpu, groups: u32) -> u32 {
    groups.min(gpu.max_workgroups()).max(1)
}

impl Gpu {
    pub(in crate::gpu) async fn submit(
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
