//! Buffers, reused: a fresh one costs an allocation and is zeroed in one more pass over its memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::tensor::QUAD_BYTES;

/// Bytes of unused buffers kept at most; beyond it a returned buffer is freed.
const KEPT_BYTES: u64 = 512 << 20;

/// The unused buffers of one device, by usage and size class.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: HashMap<(wgpu::BufferUsages, u64), Vec<wgpu::Buffer>>,
    bytes: u64,
}

/// A buffer that goes back to its pool when dropped. One queue runs all work in order, so the next user's writes come
/// after the last user's reads.
#[derive(Debug)]
pub(super) struct PooledBuffer {
    pub(super) buffer: wgpu::Buffer,
    pool: Arc<BufferPool>,
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes + self.buffer.size() <= KEPT_BYTES {
            free.bytes += self.buffer.size();
            free.buffers.entry((self.buffer.usage(), self.buffer.size())).or_default().push(self.buffer.clone());
        }
    }
}

/// Sizes in use: an eighth of a power of two apart, so that at most an eighth is wasted and sizes are met again.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.max(2048).next_power_of_two() / 8).max(256);
    bytes.max(256).next_multiple_of(step)
}

impl BufferPool {
    /// A buffer of at least `bytes`; its content is whatever its last user left. `limit` is the device's own on sizes.
    pub(super) fn take(
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
        PooledBuffer { buffer, pool: self.clone() }
    }
}
