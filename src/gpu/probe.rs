//! Measures the device's memory bandwidth, the ceiling that kernels are compared with.

use crate::error::Result;
use crate::gpu::device::command::Command;
use crate::gpu::device::context::Gpu;
use crate::gpu::device::kernel::{Binding, ParamsLayout, create_pipeline, header, params};
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::device::tensor::QUAD_BYTES;
use crate::gpu::workgroups::busy_groups;

params! {
    /// Numbers of quads to read and to write.
    pub(in crate::gpu) struct MemoryParams {
        read: u32,
        written: u32,
    }
    padding: [u32; 2]
}

/// A kernel that reads and writes the device's memory, and can run any number of times.
#[derive(Debug)]
pub struct MemoryProbe {
    gpu: Gpu,
    command: Command,
    /// Dispatches per run.
    times: u64,
    output: PooledBuffer,
    _input: PooledBuffer,
}

impl MemoryProbe {
    /// How the kernel's parameters lie in memory.
    pub const PARAMS: ParamsLayout = MemoryParams::LAYOUT;

    const BINDINGS: [Binding; 2] = [Binding::read("input", "vec4<u32>"), Binding::written("output", "vec4<u32>")];

    /// The kernel's text.
    pub fn source() -> String {
        header(&Self::PARAMS, &Self::BINDINGS) + include_str!("../../shaders/probe/memory.wgsl")
    }
}

impl Gpu {
    /// A kernel that reads and writes so many bytes, in quads of 16; in several dispatches if a binding is too small.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn memory_probe(&self, read: u64, written: u64) -> Result<MemoryProbe> {
        let times = read.max(written).div_ceil(self.max_binding_bytes()).max(1);
        let (read, written) = ((read / times / QUAD_BYTES).max(1), written / times / QUAD_BYTES);
        pollster::block_on(async {
            let input = self.allocate_output(QUAD_BYTES * read).await?;
            let output = self.allocate_output(QUAD_BYTES * written.max(1)).await?;
            let params = MemoryParams { read: read as u32, written: written as u32, padding: [0; 2] };
            let params = self.params(bytemuck::bytes_of(&params).to_vec()).await?;
            let (source, bindings) = (MemoryProbe::source(), MemoryProbe::BINDINGS);
            let create = || create_pipeline(self.device(), "memory", source, &bindings, &[]);
            let pipeline = self.attempt("compiling a kernel", create).await?;
            let windows = [
                (params.clone(), 0, params.size()),
                (input.buffer.clone(), 0, QUAD_BYTES * read),
                (output.buffer.clone(), 0, QUAD_BYTES * written.max(1)),
            ];
            let groups = (busy_groups(self) as u32).min(self.max_workgroups());
            let bind = || Command::new(self, &pipeline, &windows, [groups, 1]);
            let command = self.attempt("binding a kernel", bind).await?;
            Ok(MemoryProbe { gpu: self.clone(), command, times, output, _input: input })
        })
    }
}

impl MemoryProbe {
    /// Reads and writes everything once, and waits for the end.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn run(&self) -> Result<()> {
        pollster::block_on(async {
            let record = |encoder: &mut wgpu::CommandEncoder| {
                let mut pass = self.gpu.begin_pass(encoder);
                (0..self.times).for_each(|_| self.command.record(&mut pass));
            };
            let output = (&self.output.buffer, 0);
            self.gpu.submit_and_read("going through memory", record, output, 4).await?.take(&self.gpu, |_| ()).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every quad is written with what all lanes read, on every adapter. Another test covers machines without one.
    #[test]
    fn memory_is_read_and_written() {
        for adapter in crate::gpu::adapters() {
            let gpu = Gpu::open(&format!("gpu:{}", adapter.index)).unwrap();
            let probe = gpu.memory_probe(1 << 20, 1 << 18).unwrap();
            let ones = vec![0xa5u8; 1 << 18];
            gpu.queue().write_buffer(&probe.output.buffer, 0, &ones);
            probe.run().unwrap();
            let bytes = pollster::block_on(gpu.read(&probe.output.buffer, 0, 1 << 18)).unwrap();
            assert_eq!(bytes.len(), 1 << 18);
            assert!(bytes.iter().all(|&byte| byte == 0), "the memory that was read is zero");
            gpu.memory_probe(16, 0).unwrap().run().unwrap();
        }
    }
}
