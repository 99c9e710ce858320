//! The choice of a device.

use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Request};
use crate::engine::{self, Backend};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{Gpu, Wishes, adapters};
use crate::loss::Loss;

/// The environment variable that [`Device::auto`] obeys.
pub const DEVICE_VARIABLE: &str = "MAXMARGIN_DEVICE";

/// Where losses are evaluated: the native CPU backend or a GPU.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Device {
    /// The native backend: threads and vector instructions, without a driver.
    Cpu,
    /// An opened GPU.
    #[cfg(feature = "gpu")]
    Gpu(Gpu),
}

#[cfg(feature = "gpu")]
impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Device::Gpu(gpu)
    }
}

impl Device {
    /// The native CPU backend.
    pub fn cpu() -> Self {
        Device::Cpu
    }

    /// The device that the environment variable `MAXMARGIN_DEVICE` selects; without it the best real GPU, or else the
    /// CPU. Software adapters are never chosen without it. Of wgpu's own variables, `WGPU_BACKEND` says which adapters are
    /// there, `WGPU_ADAPTER_NAME` and `WGPU_POWER_PREF` which of them is best.
    ///
    /// # Errors
    /// If the variable names a missing device, or a GPU cannot be opened.
    pub fn auto() -> Result<Self> {
        match std::env::var(DEVICE_VARIABLE) {
            Ok(selection) if !selection.is_empty() => Self::select(&selection),
            _ => Self::select("auto"),
        }
    }

    /// Selects by `auto` (a real GPU or the CPU, whatever the environment says), `cpu`, `gpu` (the best adapter,
    /// software ones included), `gpu:N` or a part of an adapter's name.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] if nothing matches; [`Error::Gpu`] if the GPU cannot be opened. Without the feature
    /// `gpu` there is only the CPU.
    #[cfg(not(feature = "gpu"))]
    pub fn select(selection: &str) -> Result<Self> {
        match selection.to_lowercase().as_str() {
            "cpu" | "auto" => Ok(Device::Cpu),
            _ => Err(Error::UnknownDevice {
                requested: selection.into(),
                available: "cpu (built without the feature gpu)".into(),
            }),
        }
    }

    /// Selects by `auto` (a real GPU or the CPU, whatever the environment says), `cpu`, `gpu` (the best adapter,
    /// software ones included), `gpu:N` or a part of an adapter's name.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] if nothing matches, [`Error::AmbiguousDevice`] if a part of a name fits several adapters;
    /// [`Error::Gpu`] if the GPU cannot be opened.
    #[cfg(feature = "gpu")]
    pub fn select(selection: &str) -> Result<Self> {
        match selection.to_lowercase().as_str() {
            "cpu" => Ok(Device::Cpu),
            "auto" => match Wishes::of_environment().best_of(&adapters(), true) {
                Some(index) => Gpu::open(&format!("gpu:{index}")).map(Device::Gpu),
                None => Ok(Device::Cpu),
            },
            _ => match Gpu::open(selection) {
                Err(Error::UnknownDevice { requested, available }) => {
                    Err(Error::UnknownDevice { requested, available: format!("cpu, {available}") })
                }
                other => other.map(Device::Gpu),
            },
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        match self {
            Device::Cpu => "native CPU backend",
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => gpu.name(),
        }
    }

    pub(crate) fn backend(&self) -> Backend<'_> {
        match self {
            Device::Cpu => Backend::Cpu,
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => Backend::Gpu(gpu),
        }
    }

    /// Evaluates a loss over a batch: one pass over the scores for everything that `request` asks for.
    ///
    /// Outputs stay with the scores: host vectors for host scores, device tensors for device scores.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Shape`] for inputs that do not match, [`Error::Value`] with the index of the
    /// first bad target or weight (targets first), [`Error::EmptyMean`] and [`Error::ZeroWeight`] for a mean of
    /// nothing, [`Error::Option`] for an option without meaning, [`Error::WrongDevice`] for a tensor on another device,
    /// and the device's own failures.
    pub fn evaluate(&self, loss: &dyn Loss, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        self.evaluate_into(loss, batch, request, Buffers::new())
    }

    /// As [`Device::evaluate`], but writes losses and gradient to the caller's buffers. A buffer counts as a request
    /// for its output, which is then missing from the evaluation. After an error the buffers hold arbitrary values.
    ///
    /// ```
    /// use maxmargin::{Batch, BinaryHinge, Buffers, Device, Request};
    /// let mut gradient = vec![0f32; 2];
    /// for step in 0..3 {
    ///     let scores = [0.5 + step as f32, 0.25];
    ///     let buffers = Buffers::new().gradient(&mut gradient);
    ///     Device::cpu().evaluate_into(&BinaryHinge::new(), &Batch::new(&scores, &[1i8, 1]), &Request::new(), buffers)?;
    /// }
    /// assert_eq!(gradient, [0.0, -0.5]);
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Device::evaluate`]; [`Error::Length`] and [`Error::ElementType`] for buffers that do not fit, and
    /// [`Error::Option`] for host buffers with scores on a GPU.
    pub fn evaluate_into(
        &self,
        loss: &dyn Loss,
        batch: &Batch<'_>,
        request: &Request,
        buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        engine::evaluate_into(self.backend(), loss, batch, request, buffers)
    }

    /// As [`Device::evaluate`], without blocking in a browser. Natively it waits for the device.
    ///
    /// # Errors
    /// As [`Device::evaluate`].
    pub async fn evaluate_async(&self, loss: &dyn Loss, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        engine::evaluate(self.backend(), loss, batch, request).await
    }
}
