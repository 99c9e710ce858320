//! One call of a loss's kernel: what it takes, and its bindings.

use super::partial::Partial;
use super::shader::Variant;
use crate::error::Result;
use crate::gpu::device::command::{Layout, OwnedWindow};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::device::tensor::Window;

/// One call of a kernel.
#[derive(Default)]
pub(crate) struct Dispatch<'a> {
    /// The bytes of the pattern's parameter struct.
    pub(in crate::gpu) params: Vec<u8>,
    /// The read bindings after the parameters; `None` for one that was not given.
    pub(in crate::gpu) inputs: Vec<Option<Window<'a>>>,
    /// Losses and gradients.
    pub(in crate::gpu) outputs: Vec<Option<Window<'a>>>,
    pub(in crate::gpu) groups: u32,
    /// Index of the first sample in the tensors.
    pub(in crate::gpu) first_sample: usize,
    /// Elements of the per-class binding (rows).
    pub(in crate::gpu) per_class: u64,
    /// Bytes of the last binding where it is no per-class sums but what workgroups leave for the dispatch after theirs.
    pub(in crate::gpu) part_bytes: u64,
    /// It leaves only these: a dispatch after it finishes the samples.
    pub(in crate::gpu) leaves_parts: bool,
    /// Which of its variant's kernels it is, where there is one a step.
    pub(in crate::gpu) step: u8,
}

impl Dispatch<'_> {
    /// Bytes that its workgroups leave for the host.
    pub(in crate::gpu) fn partial_bytes(&self) -> u64 {
        if self.leaves_parts { 0 } else { u64::from(self.groups) * size_of::<Partial>() as u64 }
    }
}

/// A buffer, where one is needed, for what dispatches leave for those after them, all of them in the same place; and its bytes.
pub(in crate::gpu) async fn parts(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<(Option<PooledBuffer>, u64)> {
    let bytes = dispatches.iter().map(|d| d.part_bytes).max().unwrap_or(0);
    Ok((if bytes > 0 { Some(gpu.allocate_output(bytes).await?) } else { None }, bytes))
}

/// The kernel of each dispatch.
pub(in crate::gpu) async fn pipelines(
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

/// The bindings of each dispatch but for what its workgroups find. The parameters of all are parts of one buffer.
pub(in crate::gpu) async fn bindings(gpu: &Gpu, dispatches: &[Dispatch<'_>]) -> Result<Vec<Vec<OwnedWindow>>> {
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
