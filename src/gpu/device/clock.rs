//! Kernel times by the device's own clock, without the host's share of a call.

use std::sync::{Mutex, PoisonError};

use super::context::Gpu;
use crate::error::Result;

/// Passes measured between two readings; later ones are not measured.
const PASSES: u32 = 1024;

/// Bytes per timestamp.
const STAMP: u64 = 8;

/// A device's clock: two timestamps per pass of kernels.
#[derive(Debug)]
pub(in crate::gpu) struct KernelClock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Nanoseconds per tick.
    period: f64,
    /// Passes since the clock was started or read; `None` if it is stopped.
    passes: Mutex<Option<u32>>,
}

impl KernelClock {
    /// The device's clock, if it was opened with timestamps.
    pub(in crate::gpu) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("kernel times"),
            ty: wgpu::QueryType::Timestamp,
            count: 2 * PASSES,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("kernel times"),
            size: u64::from(2 * PASSES) * STAMP,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Some(Self { queries, resolved, period: queue.get_timestamp_period().into(), passes: Mutex::new(None) })
    }

    /// Where the next pass writes the timestamps of its beginning and end.
    fn next_pass(&self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = passes.as_mut().filter(|pass| **pass < PASSES)?;
        let first = 2 * *pass;
        *pass += 1;
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }
}

impl Gpu {
    /// Starts the device's own clock for kernels; false if it has none. Read it with [`Gpu::kernel_seconds`].
    pub fn start_kernel_clock(&self) -> bool {
        let Some(clock) = self.clock() else { return false };
        *clock.passes.lock().unwrap_or_else(PoisonError::into_inner) = Some(0);
        true
    }

    /// Stops the clock that [`Gpu::start_kernel_clock`] started.
    pub fn stop_kernel_clock(&self) {
        if let Some(clock) = self.clock() {
            *clock.passes.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Kernel seconds by the device's own clock since it was started or last read, over all threads that use this
    /// device, without uploads and copies. `None` if it was not started. At most 1024 submissions are measured between
    /// two readings.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn kernel_seconds(&self) -> Result<Option<f64>> {
        let Some(clock) = self.clock() else { return Ok(None) };
        let passes = {
            let mut passes = clock.passes.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *passes {
                None => return Ok(None),
                Some(passes) => std::mem::take(passes),
            }
        };
        if passes == 0 {
            return Ok(Some(0.0));
        }
        let bytes = pollster::block_on(async {
            self.submit("reading kernel times", |encoder| {
                encoder.resolve_query_set(&clock.queries, 0..2 * passes, &clock.resolved, 0);
            })
            .await?;
            self.read(&clock.resolved, 0, u64::from(2 * passes) * STAMP).await
        })?;
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let ticks: u64 = stamps.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0])).sum();
        Ok(Some(ticks as f64 * clock.period * 1e-9))
    }

    /// Begins a pass of kernels, measured if the clock runs.
    pub(in crate::gpu) fn begin_pass<'e>(&self, encoder: &'e mut wgpu::CommandEncoder) -> wgpu::ComputePass<'e> {
        let timestamp_writes = self.clock().and_then(KernelClock::next_pass);
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Batch, BinaryHinge, Device, Request};

    /// Tests every adapter; another test covers machines without one.
    #[test]
    fn the_clock_measures_kernels_and_nothing_else() {
        for adapter in crate::gpu::adapters() {
            let gpu = Gpu::open(&format!("gpu:{}", adapter.index)).unwrap();
            assert_eq!(gpu.kernel_seconds().unwrap(), None);
            if !gpu.start_kernel_clock() {
                continue;
            }
            let (scores, labels) = (gpu.upload_f32(&vec![0.5; 1 << 20]).unwrap(), vec![1i8; 1 << 20]);
            assert_eq!(gpu.kernel_seconds().unwrap(), Some(0.0));
            let started = Instant::now();
            let device = Device::from(gpu.clone());
            device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &Request::new()).unwrap();
            let (kernels, all) = (gpu.kernel_seconds().unwrap().unwrap(), started.elapsed().as_secs_f64());
            assert!(kernels > 0.0 && kernels <= all, "{kernels} of {all} seconds");
            assert_eq!(gpu.kernel_seconds().unwrap(), Some(0.0));
            gpu.stop_kernel_clock();
            assert_eq!(gpu.kernel_seconds().unwrap(), None);
        }
    }
}
