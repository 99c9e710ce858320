//! The choice where to run, and nothing else.

use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Request};
use crate::engine::{self, Backend};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{Gpu, adapters};
use crate::loss::Loss;

/// The environment variable that [`Device::auto`] obeys.
pub const DEVICE_VARIABLE: &str = "MAXMARGIN_DEVICE";

/// Where losses are evaluated: the native CPU backend or a GPU.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Device {
    /// The native backend: threads and vector instructions, no driver needed.
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

    /// What the environment variable `MAXMARGIN_DEVICE` says; without it the best real GPU, or else the CPU. A
    /// software adapter is never chosen here.
    ///
    /// # Errors
    /// Where the variable names a device that is not there, or a GPU cannot be opened.
    pub fn auto() -> Result<Self> {
        match std::env::var(DEVICE_VARIABLE) {
            Ok(selection) if !selection.is_empty() => Self::select(&selection),
            _ => Self::select("auto"),
        }
    }

    /// `auto` (a real GPU or the CPU, whatever the environment says), `cpu`, `gpu` (the best adapter, a software one
    /// included), `gpu:N` or a part of an adapter's name.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] where nothing answers to the selection; [`Error::Gpu`] where it cannot be opened. Without
    /// the feature `gpu` there is the CPU alone.
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

    /// `auto` (a real GPU or the CPU, whatever the environment says), `cpu`, `gpu` (the best adapter, a software one
    /// included), `gpu:N` or a part of an adapter's name.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] where nothing answers to the selection; [`Error::Gpu`] where it cannot be opened.
    #[cfg(feature = "gpu")]
    pub fn select(selection: &str) -> Result<Self> {
        match selection.to_lowercase().as_str() {
            "cpu" => Ok(Device::Cpu),
            "auto" => {
                let real = adapters().into_iter().filter(|a| !a.is_software()).min_by_key(|a| a.rank());
                match real {
                    Some(adapter) => Gpu::open(&format!("gpu:{}", adapter.index)).map(Device::Gpu),
                    None => Ok(Device::Cpu),
                }
            }
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

    /// The backend that evaluates.
    pub(crate) fn backend(&self) -> Backend<'_> {
        match self {
            Device::Cpu => Backend::Cpu,
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => Backend::Gpu(gpu),
        }
    }

    /// Evaluates a loss over a batch: one pass over the scores for everything that `request` asks.
    ///
    /// Outputs stay where the scores are: host vectors for host scores, device tensors for device scores.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Shape`] for inputs that do not match, [`Error::Value`] with the index of the
    /// first bad target or weight, [`Error::EmptyMean`] and [`Error::ZeroWeight`] for a mean of nothing,
    /// [`Error::Option`] for an option without meaning, [`Error::WrongDevice`] for a tensor that lives elsewhere, and
    /// the device's own failures. A bad target is named before a bad weight, wherever they are.
    pub fn evaluate(&self, loss: &dyn Loss, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        self.evaluate_into(loss, batch, request, Buffers::new())
    }

    /// As [`Device::evaluate`], with losses and gradient written to the caller's memory, which asks for them. What is in
    /// the buffers is not in the evaluation; after an error they hold anything.
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
    /// As [`Device::evaluate`]; [`Error::Length`] and [`Error::ElementType`] for memory that does not fit, and
    /// [`Error::Option`] for host memory beside scores that live on a GPU.
    pub fn evaluate_into(
        &self,
        loss: &dyn Loss,
        batch: &Batch<'_>,
        request: &Request,
        buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        engine::evaluate_into(self.backend(), loss, batch, request, buffers)
    }

    /// As [`Device::evaluate`], without blocking in a browser; natively it waits for the device inside.
    ///
    /// # Errors
    /// As [`Device::evaluate`].
    pub async fn evaluate_async(&self, loss: &dyn Loss, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        engine::evaluate(self.backend(), loss, batch, request).await
    }
}
