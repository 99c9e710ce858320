//! Buffers, reused: a fresh one costs an allocation and is zeroed in one more pass over its memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::tensor::QUAD_BYTES;

/// Bytes of buffers, in use or kept, that a pool holds at most beyond what was ever in use at once: who needs as many again
/// finds them (on an H100 a gradient of 384 MiB took 15 ms in a buffer of its own each time, and takes 0.5 in one that is kept).
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

/// A buffer that goes back to its pool when dropped. One queue runs all work in order, so the next user's writes come
/// after the last user's reads.
#[derive(Debug)]
pub(in crate::gpu) struct PooledBuffer {
    pub(in crate::gpu) buffer: wgpu::Buffer,
    pool: Arc<BufferPool>,
    /// Whether it is kept when dropped.
    is_valid: bool,
}

impl PooledBuffer {
    /// Says that the device could make it: wgpu hands out a buffer also where it could not, and who asks for this size next
    /// would be given it again.
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

/// Sizes in use: an eighth of a power of two apart, so that at most an eighth is wasted and sizes are met again.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.max(2048).next_power_of_two() / 8).max(256);
    bytes.max(256).next_multiple_of(step)
}

impl BufferPool {
    /// A buffer of at least `bytes`, to be vouched for; its content is whatever its last user left. `limit` is the device's
    /// own on sizes.
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
                // Other sizes are asked for now.
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
