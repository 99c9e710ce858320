//! Uploads host data through a ring of reused buffers. Each is mapped again as soon as the device has copied it. While
//! the host fills one, the device copies others or runs a kernel.
//!
//! wgpu's own `write_buffer` allocates, faults in and zeroes memory in each call: on llvmpipe 128 MiB took 70 ms that
//! way, and 17 through the ring.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::context::Gpu;
use crate::error::Result;

/// Bytes per buffer, a multiple of 4.
const PIECE: usize = 4 << 20;

/// Buffers in the ring: enough for a chunk of host data (`CHUNK_SCORES` of `launch.rs`, with second scores, targets and
/// weights). The next chunk then finds buffers that were copied before this chunk's kernels began.
const BUFFERS: usize = 8;

/// Smaller uploads use wgpu's `write_buffer`, which sends them with the next submission.
const LEAST: usize = 1 << 20;

const OPERATION: &str = "uploading";

/// The buffers of one device; those mapped first come first.
#[derive(Debug, Default)]
pub(in crate::gpu) struct StagingRing {
    waiting: Mutex<VecDeque<Staging>>,
}

/// A buffer that is being copied or mapped again.
#[derive(Debug)]
struct Staging {
    buffer: wgpu::Buffer,
    /// The submission that copies from it.
    submission: wgpu::SubmissionIndex,
    mapped: OneshotReceiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Gpu {
    /// Copies bytes to the beginning of a buffer, which has room for them and for zeros up to a whole word.
    pub(in crate::gpu) async fn write(&self, target: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        // Copies come in whole words.
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        let (large, small) = if words.len() < LEAST { (&[][..], words) } else { (words, &[][..]) };
        let mut last = [0u8; 4];
        last[..rest.len()].copy_from_slice(rest);
        let mut offset = 0;
        for piece in large.chunks(self.piece()) {
            let buffer = self.mapped_staging().await?;
            let staging = self.attempt(OPERATION, || self.stage(buffer, piece, target, offset)).await?;
            let staging = staging.map_err(|error| self.refused(OPERATION, &error.to_string()))?;
            let mut waiting = self.staging().waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Concurrent uploads make more buffers than the ring holds; those are freed.
            if waiting.len() < BUFFERS {
                waiting.push_back(staging);
            }
            offset += piece.len() as u64;
        }
        let write = || {
            if !small.is_empty() {
                self.queue().write_buffer(target, 0, small);
            }
            if !rest.is_empty() {
                self.queue().write_buffer(target, words.len() as u64, &last);
            }
        };
        self.attempt(OPERATION, write).await
    }

    /// Bytes per buffer on this device.
    fn piece(&self) -> usize {
        // At most PIECE, so it fits usize.
        (self.description().limits.max_buffer_size / 4 * 4).clamp(4, PIECE as u64) as usize
    }

    /// Fills a mapped buffer, submits the copy from it, and maps it again.
    fn stage(
        &self,
        buffer: wgpu::Buffer,
        piece: &[u8],
        target: &wgpu::Buffer,
        offset: u64,
    ) -> std::result::Result<Staging, wgpu::MapRangeError> {
        let bytes = piece.len() as u64;
        buffer.get_mapped_range_mut(0..bytes)?.copy_from_slice(piece);
        buffer.unmap();
        let mut encoder = self.device().create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&buffer, 0, target, offset, bytes);
        let submission = self.queue().submit([encoder.finish()]);
        let (sender, mapped) = oneshot_channel();
        buffer.map_async(wgpu::MapMode::Write, .., move |result| {
            // If the receiver was dropped, so was the buffer.
            let _ = sender.send(result);
        });
        Ok(Staging { buffer, submission, mapped })
    }

    /// A buffer that the host can write: a new one until the ring is full, then the one that has waited longest.
    async fn mapped_staging(&self) -> Result<wgpu::Buffer> {
        let oldest = {
            let mut waiting = self.staging().waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < BUFFERS { None } else { waiting.pop_front() }
        };
        let Some(Staging { buffer, submission, mapped }) = oldest else {
            let descriptor = wgpu::BufferDescriptor {
                label: Some("staging"),
                size: self.piece() as u64,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            };
            return self.attempt(OPERATION, || self.device().create_buffer(&descriptor)).await;
        };
        self.wait_for(&submission, OPERATION)?;
        self.mapping(mapped.receive().await, OPERATION)?;
        Ok(buffer)
    }
}
