//! What the device's memory allows: the ceiling that kernels are held against.

use super::context::Gpu;
use super::pool::PooledBuffer;
use crate::error::Result;

/// Copies bytes within the device's memory, as often as wanted.
#[derive(Debug)]
pub struct MemoryProbe {
    gpu: Gpu,
    from: PooledBuffer,
    to: PooledBuffer,
    bytes: u64,
}

impl Gpu {
    /// Two buffers of this many bytes, at most what one buffer can hold.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn memory_probe(&self, bytes: u64) -> Result<MemoryProbe> {
        let bytes = bytes.min(self.description().limits.max_buffer_size).max(4).next_multiple_of(4);
        let from = pollster::block_on(self.allocate_output(bytes))?;
        let to = pollster::block_on(self.allocate_output(bytes))?;
        Ok(MemoryProbe { gpu: self.clone(), from, to, bytes })
    }
}

impl MemoryProbe {
    /// Copies once and waits until it is done: as many bytes read as written.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn copy(&self) -> Result<()> {
        pollster::block_on(async {
            self.gpu
                .attempt("copying memory", || {
                    let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
                    encoder.copy_buffer_to_buffer(&self.from.buffer, 0, &self.to.buffer, 0, self.bytes);
                    self.gpu.queue().submit([encoder.finish()]);
                })
                .await?;
            self.gpu.read(&self.to.buffer, 0, 4).await.map(|_| ())
        })
    }
}
