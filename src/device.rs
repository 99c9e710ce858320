//! The choice where to run, and nothing else.

use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, Request};
use crate::gpu::{Gpu, adapters};
use crate::loss::Loss;
use crate::scores::Prepared;
use crate::tensor::Batch;

/// The environment variable that [`Device::auto`] obeys.
pub const DEVICE_VARIABLE: &str = "MAXMARGIN_DEVICE";

/// Where losses are evaluated: the native CPU backend or a GPU.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Device {
    /// The native backend: threads and vector instructions, no driver needed.
    Cpu,
    /// An opened GPU.
    Gpu(Gpu),
}

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
    /// [`Error::UnknownDevice`] where nothing answers to the selection; [`Error::Gpu`] where it cannot be opened.
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
            Device::Gpu(gpu) => gpu.name(),
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
    /// the device's own failures.
    pub fn evaluate<L: Loss>(&self, loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        pollster::block_on(self.evaluate_async(loss, batch, request))
    }

    /// As [`Device::evaluate`], without blocking in a browser; natively it waits for the device inside.
    ///
    /// # Errors
    /// As [`Device::evaluate`].
    pub async fn evaluate_async<L: Loss>(&self, loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        loss.check()?;
        let prepared = Prepared::new(loss, batch, matches!(self, Device::Cpu))?;
        let batch = &prepared.batch(batch);
        let evaluation = match self {
            Device::Cpu => loss.evaluate_on_cpu(batch, request),
            Device::Gpu(gpu) => loss.evaluate_on_gpu(gpu, batch, request).await,
        };
        evaluation.map(|evaluation| prepared.chain(evaluation))
    }
}
