//! Reuses buffers: a new one costs an allocation and another pass over its memory for zeroing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::tensor::QUAD_BYTES;

/// Bytes that a pool may hold, in use or free, beyond the largest amount ever in use at once. On an H100 a gradient of
/// 384 MiB took 15 ms with a new buffer each time and 0.5 with a kept one.
const KEPT_BYTES: u64 = 512 << 20;

/// The unused buffers of one device, by usage and size class.
#[derive(Debug, Default)]
pub(in crate::gpu) struct BufferPool {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: HashMap<(wgpu::BufferUsages, u64), Vec<wgpu::Buffer>>,
    bytes: u64,
    bytes_in_use: u64,
    most_in_use: u64,
}

impl Free {
    fn is_full(&self) -> bool {
        self.bytes + self.bytes_in_use > self.most_in_use + KEPT_BYTES
    }
}

/// Returns to its pool when dropped. One queue runs all work in order: the next user writes after the last one reads.
#[derive(Debug)]
pub(in crate::gpu) struct PooledBuffer {
    pub(in crate::gpu) buffer: wgpu::Buffer,
    pool: Arc<BufferPool>,
    /// Whether the pool keeps it when it is dropped.
    is_valid: bool,
}

impl PooledBuffer {
    /// Marks it as really allocated: wgpu returns a buffer even if that failed, and the pool must not hand it out
    /// again.
    pub(in crate::gpu) fn vouch(&mut self) {
        self.is_valid = true;
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.buffer.size();
        free.bytes_in_use -= size;
        if !self.is_valid {
            return;
        }
        free.bytes += size;
        if free.is_full() {
            free.bytes -= size;
        } else {
            free.buffers.entry((self.buffer.usage(), size)).or_default().push(self.buffer.clone());
        }
    }
}

/// Size classes: an eighth of a power of two apart, so that at most an eighth is wasted and buffers can be reused.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.max(2048).next_power_of_two() / 8).max(256);
    bytes.max(256).next_multiple_of(step)
}

impl BufferPool {
    /// A buffer of at least `bytes`, still to be vouched for, with its last user's data. `limit`: largest buffer size.
    pub(in crate::gpu) fn take(
        self: &Arc<Self>,
        device: &wgpu::Device,
        bytes: u64,
        limit: u64,
        usage: wgpu::BufferUsages,
    ) -> PooledBuffer {
        let size = size_class(bytes).min(limit / QUAD_BYTES * QUAD_BYTES).max(bytes);
        let reused = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let buffer = free.buffers.get_mut(&(usage, size)).and_then(Vec::pop);
            if buffer.is_some() {
                free.bytes -= size;
            }
            free.bytes_in_use += size;
            free.most_in_use = free.most_in_use.max(free.bytes_in_use);
            if free.is_full() {
                // The program now asks for other sizes.
                free.buffers.clear();
                free.bytes = 0;
            }
            buffer
        };
        let buffer = reused.unwrap_or_else(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("maxmargin"),
                size,
                usage,
                mapped_at_creation: false,
            })
        });
        PooledBuffer { buffer, pool: self.clone(), is_valid: false }
    }
}
