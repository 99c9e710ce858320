//! The choice where to run, and nothing else.

use crate::batch::Batch;
use crate::error::{Error, Input, Result};
use crate::evaluation::{Buffers, Evaluation, FloatsMut, Output, Request};
use crate::gpu::{Gpu, adapters};
use crate::loss::Loss;
use crate::scores::Prepared;

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
    /// the device's own failures. A bad target is named before a bad weight, wherever they are.
    pub fn evaluate<L: Loss>(&self, loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
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
    pub fn evaluate_into<L: Loss>(
        &self,
        loss: &L,
        batch: &Batch<'_>,
        request: &Request,
        mut buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        let mut request = *request;
        request.losses |= buffers.losses.is_some();
        request.gradient |= buffers.gradient.is_some();
        loss.check()?;
        request.check()?;
        if matches!(self, Device::Cpu) && !Prepared::is_needed(batch) {
            return self.evaluate_on_cpu(loss, batch, &request, buffers);
        }
        let prepared = Prepared::new(loss, batch)?;
        if matches!(self, Device::Cpu) && prepared.has_own_scores() {
            return self.evaluate_on_cpu(loss, &prepared.batch(batch), &request, buffers);
        }
        let mut evaluation = pollster::block_on(self.evaluate_prepared(loss, batch, &request, &prepared))?;
        move_to(buffers.losses.take(), &mut evaluation.losses, Input::LossesBuffer)?;
        move_to(buffers.gradient.take(), &mut evaluation.gradient, Input::GradientBuffer)?;
        Ok(evaluation)
    }

    #[inline]
    fn evaluate_on_cpu<L: Loss>(
        &self,
        loss: &L,
        batch: &Batch<'_>,
        request: &Request,
        buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        let evaluation = loss.evaluate_on_cpu(batch, request, buffers);
        evaluation.or_else(|error| pollster::block_on(self.targets_first(loss, batch, error)))
    }

    /// As [`Device::evaluate`], without blocking in a browser; natively it waits for the device inside.
    ///
    /// # Errors
    /// As [`Device::evaluate`].
    pub async fn evaluate_async<L: Loss>(&self, loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        loss.check()?;
        request.check()?;
        self.evaluate_prepared(loss, batch, request, &Prepared::new(loss, batch)?).await
    }

    async fn evaluate_prepared<L: Loss>(
        &self,
        loss: &L,
        batch: &Batch<'_>,
        request: &Request,
        prepared: &Prepared,
    ) -> Result<Evaluation> {
        let batch = &prepared.batch(batch);
        match self.evaluate_raw(loss, batch, request).await {
            Ok(evaluation) => Ok(prepared.chain(evaluation)),
            Err(error) => self.targets_first(loss, batch, error).await,
        }
    }

    async fn evaluate_raw<L: Loss>(&self, loss: &L, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        match self {
            Device::Cpu => loss.evaluate_on_cpu(batch, request, Buffers::new()),
            Device::Gpu(gpu) => loss.evaluate_on_gpu(gpu, batch, request).await,
        }
    }

    /// The error of an evaluation. Which of bad weights and bad targets a driver meets first depends on the request and on how
    /// it cuts the batch; where it was a weight, the targets are looked through alone.
    async fn targets_first<L: Loss>(&self, loss: &L, batch: &Batch<'_>, error: Error) -> Result<Evaluation> {
        if error.input() == Some(Input::SampleWeights) && matches!(error, Error::Value { .. }) {
            let unweighted = Batch { sample_weights: None, ..*batch };
            if let Err(of_targets) = self.evaluate_raw(loss, &unweighted, &Request::new()).await
                && of_targets.input() == Some(Input::Targets)
            {
                return Err(of_targets);
            }
        }
        Err(error)
    }
}

/// Moves an output to the caller's memory, where there is any.
fn move_to(callers: Option<FloatsMut<'_>>, output: &mut Option<Output>, input: Input) -> Result<()> {
    let Some(callers) = callers else { return Ok(()) };
    match (callers, output.take()) {
        (FloatsMut::F32(to), Some(Output::F32(from))) => copy(to, &from, input),
        (FloatsMut::F64(to), Some(Output::F64(from))) => copy(to, &from, input),
        (_, Some(Output::Device(_))) => Err(Error::Option {
            option: "buffers",
            expected: "none where the scores live on a GPU".into(),
            got: format!("a {input} in host memory"),
        }),
        (callers, output) => {
            let expected = if matches!(output, Some(Output::F64(_))) { "f64" } else { "f32" };
            Err(Error::ElementType { input, expected, got: callers.type_name() })
        }
    }
}

fn copy<T: Copy>(to: &mut [T], from: &[T], input: Input) -> Result<()> {
    if to.len() != from.len() {
        return Err(Error::Length { input, expected: from.len(), got: to.len(), unit: "element" });
    }
    to.copy_from_slice(from);
    Ok(())
}
