//! Kernels that are bound once and run many times, for training.

use super::dispatch::{Dispatch, bindings, parts, pipelines};
use super::partial::Partial;
use super::shader::Variant;
use super::templates::template;
use crate::data::device_tensor::DeviceTensor;
use crate::data::evaluation::Totals;
use crate::error::Result;
use crate::gpu::device::command::{BufferLayout, Command, OwnedWindow, result_window};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;

/// A kernel over tensors that stay in place: bound once, run any number of times.
pub(in crate::gpu) struct PreparedKernel {
    dispatches: Vec<PreparedDispatch>,
    /// The binding after the partials.
    last: Option<OwnedWindow>,
    /// The buffer of `last`, unless that is a placeholder.
    _parts: Option<PooledBuffer>,
    /// Kept alive for the bindings.
    _class_table: Option<DeviceTensor>,
}

#[derive(Debug)]
struct PreparedDispatch {
    pipeline: wgpu::ComputePipeline,
    windows: Vec<OwnedWindow>,
    groups: u32,
    partial_bytes: u64,
}

impl PreparedKernel {
    /// Uploads the parameters of the dispatches. Runs nothing.
    pub(in crate::gpu) async fn new(
        gpu: &Gpu,
        variant: &Variant,
        dispatches: &[Dispatch<'_>],
        class_table: Option<DeviceTensor>,
    ) -> Result<Self> {
        let bindings = bindings(gpu, dispatches).await?;
        let pipelines = pipelines(gpu, variant, dispatches).await?;
        let prepared = |((windows, dispatch), pipeline): ((Vec<OwnedWindow>, &Dispatch<'_>), _)| PreparedDispatch {
            pipeline,
            windows,
            groups: dispatch.step.groups as u32,
            partial_bytes: dispatch.partial_bytes(),
        };
        let all = bindings.into_iter().zip(dispatches).zip(pipelines).map(prepared).collect();
        let (parts, part_bytes) = parts(gpu, dispatches).await?;
        // Takes the place of the per-class sums, which training does not ask for.
        let last = template(variant.loss.pattern).has_last_binding().then(|| match &parts {
            Some(parts) => (parts.buffer.clone(), 0, part_bytes),
            None => gpu.unused_output().owned(),
        });
        Ok(Self { dispatches: all, last, _parts: parts, _class_table: class_table })
    }

    /// Bytes of partials per run.
    pub(in crate::gpu) fn partial_bytes(&self, gpu: &Gpu) -> u64 {
        self.partials(gpu).total
    }

    fn partials(&self, gpu: &Gpu) -> BufferLayout {
        BufferLayout::new(gpu.storage_alignment(), self.dispatches.iter().map(|dispatch| dispatch.partial_bytes))
    }

    /// The commands of one run. It leaves its partials in `results` from `start` on, which must be aligned.
    pub(in crate::gpu) fn commands(&self, gpu: &Gpu, results: &wgpu::Buffer, start: u64) -> Vec<Command> {
        let parts = self.partials(gpu).parts;
        let command = |(dispatch, (offset, bytes)): (&PreparedDispatch, (u64, u64))| {
            let mut windows = dispatch.windows.clone();
            windows.push(result_window(gpu, results, start + offset, bytes));
            windows.extend(self.last.clone());
            Command::of_groups(gpu, &dispatch.pipeline, &windows, dispatch.groups)
        };
        self.dispatches.iter().zip(parts).map(command).collect()
    }

    /// Adds up the partials of one run. `bytes` begins at the run's `start`.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] for a row that is too long for the driver.
    pub(in crate::gpu) fn fold(&self, gpu: &Gpu, bytes: &[u8]) -> Result<Totals> {
        let mut totals = Totals::default();
        for (offset, length) in self.partials(gpu).parts {
            let partials: Vec<Partial> = bytemuck::pod_collect_to_vec(&bytes[offset as usize..][..length as usize]);
            for partial in partials {
                partial.check(gpu)?;
                partial.add_to(&mut totals, false);
            }
        }
        Ok(totals)
    }
}
