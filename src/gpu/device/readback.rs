//! Copies results to the host: in the same submission as the work that makes them. They are mapped when that is done.

use std::borrow::Cow;

use bytemuck::Pod;
use futures_intrusive::channel::shared::oneshot_channel;

use super::context::Gpu;
use super::pool::PooledBuffer;
use crate::error::Result;

const OPERATION: &str = "reading back results";

/// Mapped bytes as elements; copied if they are not aligned for elements.
pub(in crate::gpu) fn elements<T: Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    bytemuck::try_cast_slice(bytes).map_or_else(|_| bytemuck::pod_collect_to_vec(bytes).into(), Cow::Borrowed)
}

/// A submission's copy into memory that the host can read.
#[derive(Debug)]
pub(in crate::gpu) struct Readback {
    staging: PooledBuffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
}

impl Readback {
    /// Waits for the submission and calls `take` with its bytes.
    pub(in crate::gpu) async fn take<R>(&self, gpu: &Gpu, take: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let (sender, receiver) = oneshot_channel();
        let map = || {
            self.staging.buffer.map_async(wgpu::MapMode::Read, 0..self.bytes, move |result| {
                // Fails only if the receiver's future was dropped; then nobody waits for the result.
                let _ = sender.send(result);
            });
        };
        gpu.attempt(OPERATION, map).await?;
        gpu.wait_for(&self.submission, OPERATION)?;
        gpu.mapping(receiver.receive().await, OPERATION)?;
        let data = {
            let view = self.staging.buffer.get_mapped_range(0..self.bytes);
            take(&view.map_err(|error| gpu.failed(OPERATION, &error.to_string()))?)
        };
        self.staging.buffer.unmap();
        Ok(data)
    }
}

impl Gpu {
    /// Submits what `record` records, then a copy of `bytes` bytes (a multiple of 4, not 0) of `buffer` from `offset`.
    pub(in crate::gpu) async fn submit_and_read(
        &self,
        operation: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        (buffer, offset): (&wgpu::Buffer, u64),
        bytes: u64,
    ) -> Result<Readback> {
        let staging = self.allocate(bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST).await?;
        let record_and_copy = |encoder: &mut wgpu::CommandEncoder| {
            record(encoder);
            encoder.copy_buffer_to_buffer(buffer, offset, &staging.buffer, 0, bytes);
        };
        let submission = self.submit(operation, record_and_copy).await?;
        Ok(Readback { staging, bytes, submission })
    }

    /// Copies `bytes` bytes (a multiple of 4) of `buffer` from `offset` to the host, after all work submitted before.
    pub(in crate::gpu) async fn read(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.read_with(buffer, offset, bytes, <[u8]>::to_vec).await
    }

    /// As [`Gpu::read`], but calls `take` with the bytes.
    pub(in crate::gpu) async fn read_with<R>(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        match bytes {
            0 => Ok(take(&[])),
            _ => self.submit_and_read(OPERATION, |_| {}, (buffer, offset), bytes).await?.take(self, take).await,
        }
    }
}
