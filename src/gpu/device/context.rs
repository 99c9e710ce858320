//! One opened device: its pipelines, its errors, and waiting for its work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::adapter::{self, AdapterDescription, Wishes};
use super::clock::KernelClock;
use super::kernel::PipelineCache;
use super::options::{Exchange, GpuOptions};
use super::params::ParamsCache;
use super::pool::{BufferPool, PooledBuffer};
use super::staging::StagingRing;
use super::tensor::{QUAD_BYTES, Window};
use crate::error::{Error, Result};

/// Features that are used if the device has them.
const USED_FEATURES: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::SUBGROUP);

/// How long the host polls a GPU before it sleeps: waking up takes longer than many kernels.
const AWAKE: Duration = Duration::from_micros(500);

/// An opened GPU. Cheap to clone; every clone is the same device.
///
/// ```no_run
/// use maxmargin::{Batch, BinaryHinge, Device, Request, gpu::Gpu};
/// let gpu = Gpu::open("gpu")?;
/// let scores = gpu.upload_f32(&[0.5, -2.0])?;
/// let labels = gpu.upload_i32(&[1, -1])?;
/// let device = Device::from(gpu);
/// // Nothing but the result visits the host, as often as you like.
/// let evaluation = device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &Request::new())?;
/// assert_eq!(evaluation.value, Some(0.25));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gpu {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    description: AdapterDescription,
    options: GpuOptions,
    pool: Arc<BufferPool>,
    staging: StagingRing,
    params: ParamsCache,
    pipelines: PipelineCache,
    /// The first error outside this crate's error scopes, and the reason for a lost device.
    failure: Arc<Mutex<Failure>>,
    clock: Option<KernelClock>,
    /// Bound in place of inputs and outputs that were not given.
    unused_input: wgpu::Buffer,
    unused_output: wgpu::Buffer,
}

#[derive(Debug, Default)]
struct Failure {
    uncaptured: Option<String>,
    lost: Option<String>,
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Gpu {
    /// Opens the adapter that `selection` names: `gpu`, `gpu:N` or a part of an adapter's name.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] if there is no such adapter, [`Error::AmbiguousDevice`] if a part of a name fits several of
    /// one backend, [`Error::Gpu`] if it cannot be opened.
    pub fn open(selection: &str) -> Result<Self> {
        pollster::block_on(Self::open_async(selection, GpuOptions::default()))
    }

    /// As [`Gpu::open`], with options, without blocking.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub async fn open_async(selection: &str, options: GpuOptions) -> Result<Self> {
        let mut adapters = adapter::enumerate().await;
        let descriptions: Vec<_> = adapters.iter().map(|(_, d)| d.clone()).collect();
        let chosen = adapter::select(&descriptions, selection, &Wishes::of_environment())?;
        let (adapter, description) = adapters.swap_remove(chosen);
        Self::open_adapter(adapter, description, options).await
    }

    pub(crate) async fn open_adapter(
        adapter: wgpu::Adapter,
        description: AdapterDescription,
        options: GpuOptions,
    ) -> Result<Self> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("maxmargin"),
            required_features: adapter.features() & USED_FEATURES,
            // The defaults suit the smallest devices: 128 MiB bindings on a GPU that could bind 4 GiB.
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::Gpu {
            device: description.name.clone(),
            operation: "opening the device".into(),
            message: error.to_string(),
        })?;
        let failure = Arc::new(Mutex::new(Failure::default()));
        // wgpu panics without a handler.
        let seen = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut failure = seen.lock().unwrap_or_else(PoisonError::into_inner);
            failure.uncaptured.get_or_insert_with(|| error.to_string());
        }));
        Ok(Self::assemble(device, queue, description, options, failure))
    }

    /// Uses a caller's own device and queue. The caller keeps both, and its handler for uncaptured errors, since this
    /// crate works inside error scopes. The device-lost callback is replaced: later calls return [`Error::DeviceLost`].
    ///
    /// # Errors
    /// [`Error::DeviceLimit`] if the device was opened with fewer storage buffers than the kernels bind. Too little
    /// workgroup memory fails only when a kernel needs more: without subgroups, rows exceed wgpu's default limits.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue, options: GpuOptions) -> Result<Self> {
        let (limit, need) = (device.limits().max_storage_buffers_per_shader_stage, 8);
        if limit < need {
            let what = "storage buffers in one kernel";
            return Err(Error::DeviceLimit { what, limit: limit.into(), got: need.into() });
        }
        let description = AdapterDescription::new(0, device.adapter_info(), device.features(), device.limits());
        Ok(Self::assemble(device, queue, description, options, Arc::default()))
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        description: AdapterDescription,
        options: GpuOptions,
        failure: Arc<Mutex<Failure>>,
    ) -> Self {
        let seen = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            let mut failure = seen.lock().unwrap_or_else(PoisonError::into_inner);
            failure.lost.get_or_insert_with(|| {
                let reason = match reason {
                    wgpu::DeviceLostReason::Destroyed => "destroyed",
                    _ => "reason unknown",
                };
                format!("{reason}: {message}")
            });
        });
        let unused = |label| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: 256,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let (unused_input, unused_output) = (unused("unused input"), unused("unused output"));
        let pool = Arc::default();
        let clock = KernelClock::new(&device, &queue);
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                description,
                options,
                pool,
                staging: StagingRing::default(),
                params: ParamsCache::default(),
                pipelines: PipelineCache::default(),
                failure,
                clock,
                unused_input,
                unused_output,
            }),
        }
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.inner.description.name
    }

    /// The device's properties and limits.
    pub fn description(&self) -> &AdapterDescription {
        &self.inner.description
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    pub(in crate::gpu) fn staging(&self) -> &StagingRing {
        &self.inner.staging
    }

    pub(in crate::gpu) fn params_cache(&self) -> &ParamsCache {
        &self.inner.params
    }

    pub(in crate::gpu) fn options(&self) -> &GpuOptions {
        &self.inner.options
    }

    pub(in crate::gpu) fn clock(&self) -> Option<&KernelClock> {
        self.inner.clock.as_ref()
    }

    pub(in crate::gpu) fn unused_input(&self) -> Window<'_> {
        Window::whole(&self.inner.unused_input)
    }

    pub(in crate::gpu) fn unused_output(&self) -> Window<'_> {
        Window::whole(&self.inner.unused_output)
    }

    /// The alignment of storage bindings' offsets.
    pub(in crate::gpu) fn storage_alignment(&self) -> u64 {
        u64::from(self.inner.description.limits.min_storage_buffer_offset_alignment).max(4)
    }

    /// The alignment of uniform bindings' offsets.
    pub(in crate::gpu) fn uniform_alignment(&self) -> u64 {
        u64::from(self.inner.description.limits.min_uniform_buffer_offset_alignment).max(4)
    }

    /// The most bytes per binding, a multiple of 256.
    pub(in crate::gpu) fn max_binding_bytes(&self) -> u64 {
        let limits = &self.inner.description.limits;
        let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        self.inner.options.max_binding_bytes.map_or(limit, |own| own.min(limit)).max(1024) / 256 * 256
    }

    /// The most workgroups along one dimension.
    pub(in crate::gpu) fn max_workgroups(&self) -> u32 {
        let limit = self.inner.description.limits.max_compute_workgroups_per_dimension;
        self.inner.options.max_workgroups.map_or(limit, |own| own.min(limit)).max(1)
    }

    /// Runs `work`, which records or submits, and returns the errors that wgpu reports for it.
    pub(in crate::gpu) async fn attempt<R>(&self, operation: &str, work: impl FnOnce() -> R) -> Result<R> {
        let device = &self.inner.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = work();
        // Popped before any await: scopes belong to this thread.
        let scopes = [internal.pop(), validation.pop(), memory.pop()];
        for scope in scopes {
            if let Some(error) = scope.await {
                return Err(self.error(operation, error));
            }
        }
        self.check_alive(operation)?;
        Ok(result)
    }

    /// The error of a lost device, or an error outside all scopes.
    pub(in crate::gpu) fn check_alive(&self, operation: &str) -> Result<()> {
        let failure = self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let (device, operation) = (self.name().to_owned(), operation.to_owned());
        if let Some(reason) = &failure.lost {
            return Err(Error::DeviceLost { device, operation, reason: reason.clone() });
        }
        match &failure.uncaptured {
            Some(message) => Err(Error::Gpu { device, operation, message: message.clone() }),
            None => Ok(()),
        }
    }

    fn error(&self, operation: &str, error: wgpu::Error) -> Error {
        let (device, operation) = (self.name().to_owned(), operation.to_owned());
        match error {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { device, operation },
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Error::Gpu { device, operation, message: description }
            }
        }
    }

    pub(in crate::gpu) async fn allocate(&self, bytes: u64, usage: wgpu::BufferUsages) -> Result<PooledBuffer> {
        let limit = self.inner.description.limits.max_buffer_size;
        // Whole quads, so that kernels can load and write four words at a time.
        let bytes = bytes.next_multiple_of(QUAD_BYTES);
        if bytes > limit {
            return Err(Error::DeviceLimit { what: "bytes in one buffer", limit, got: bytes });
        }
        let take = || self.inner.pool.take(&self.inner.device, bytes, limit, usage);
        let mut buffer = self.attempt("allocating a buffer", take).await?;
        buffer.vouch();
        Ok(buffer)
    }

    /// A pooled buffer for a kernel's output, poisoned if the options say so.
    pub(in crate::gpu) async fn allocate_output(&self, bytes: u64) -> Result<PooledBuffer> {
        use wgpu::BufferUsages as Usage;
        let buffer = self.allocate(bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST).await?;
        if self.inner.options.poison_outputs {
            let poison = vec![0xa5u8; (bytes as usize).min(1 << 20)];
            for offset in (0..bytes).step_by(1 << 20) {
                let part = poison.len().min((bytes - offset) as usize).next_multiple_of(4);
                self.inner.queue.write_buffer(&buffer.buffer, offset, &poison[..part.min(poison.len())]);
            }
        }
        Ok(buffer)
    }

    /// How a kernel's lanes combine their results.
    pub(in crate::gpu) fn exchange(&self) -> Exchange {
        self.inner.options.exchange.unwrap_or_else(|| Exchange::of(&self.inner.description))
    }

    pub(in crate::gpu) fn pipelines(&self) -> &PipelineCache {
        &self.inner.pipelines
    }

    /// The result of a buffer mapping.
    pub(in crate::gpu) fn mapping(
        &self,
        result: Option<std::result::Result<(), wgpu::BufferAsyncError>>,
        operation: &str,
    ) -> Result<()> {
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.check_alive(operation)?;
                Err(self.failed(operation, &error.to_string()))
            }
            None => Err(self.failed(operation, "the mapping was dropped")),
        }
    }

    pub(in crate::gpu) fn failed(&self, operation: &str, message: &str) -> Error {
        Error::Gpu { device: self.name().into(), operation: operation.into(), message: message.into() }
    }

    /// As [`Gpu::failed`]. A lost device may refuse work before it reports the loss, so it is polled once more.
    pub(in crate::gpu) fn refused(&self, operation: &str, message: &str) -> Error {
        let lost = self.check_alive(operation).and_then(|()| {
            let _ = self.inner.device.poll(wgpu::PollType::wait_indefinitely());
            self.check_alive(operation)
        });
        lost.err().unwrap_or_else(|| self.failed(operation, message))
    }

    /// Waits until all submitted work is done. Does nothing in a browser, which drives the device itself.
    pub(in crate::gpu) fn wait(&self, operation: &str) -> Result<()> {
        self.drive(None, operation)
    }

    /// As [`Gpu::wait`], until this submission is done. The host polls a GPU for a while before it sleeps: on an H100
    /// an empty submission took 42 us with sleep and 17 with polling. A second submission took 13 more, so results are
    /// copied in the kernel's submission. An upload of parameters took 12, so they are kept ([`super::params`]).
    pub(in crate::gpu) fn wait_for(&self, submission: &wgpu::SubmissionIndex, operation: &str) -> Result<()> {
        let started = Instant::now();
        // Polling would take a core from a software adapter.
        while !self.inner.description.is_software() && started.elapsed() < AWAKE {
            let until =
                wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(Duration::ZERO) };
            if self.inner.device.poll(until).is_ok() {
                return self.check_alive(operation);
            }
            std::hint::spin_loop();
        }
        self.drive(Some(submission), operation)
    }

    fn drive(&self, submission: Option<&wgpu::SubmissionIndex>, operation: &str) -> Result<()> {
        loop {
            let until = wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: None };
            match self.inner.device.poll(until) {
                Ok(_) => return self.check_alive(operation),
                // GL ends a wait after about two seconds.
                Err(wgpu::PollError::Timeout) => self.check_alive(operation)?,
                Err(error) => {
                    return Err(self.refused(operation, &error.to_string()));
                }
            }
        }
    }
}
