//! From a batch to dispatches and back: the code that all launchers share.
//!
//! 1. Host data is uploaded in chunks that fit one binding; device tensors are bound in place, window by window.
//! 2. If the gradient's divisor is unknown (a weighted mean, ignored rows), a first pass reads only labels and weights.
//! 3. All dispatches of a chunk go in one submission, and one read brings the results back. The host waits for it only
//!    after it has uploaded the next chunk.
//! 4. If a kernel met a value too wild for plain f32 arithmetic, the same dispatches run again with the extended one.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::dispatch::dispatches;
use super::launcher::{Launcher, Pass, Resident, ResidentOutputs, TAME};
use super::patterns::launcher;
use super::prepared::PreparedKernel;
use super::shader::Arithmetic;
use super::sink::Sinks;
use super::submit::{Pending, ReadBack, submit};
use crate::data::batch::{Batch, mixed_types};
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::evaluation::{Buffers, Evaluation, Output, Outputs, Precision, Request, Totals};
use crate::data::shape::BatchShape;
use crate::data::tensor::{Floats, Targets};
use crate::data::weights;
use crate::error::{Error, Input, Result};
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::max_samples;
use crate::loss::{Loss, Spec};

/// 2^126: a device need not be able to invert a larger number.
const MOST_TAME_DIVISOR: f64 = 8.507059173023462e37;

/// Most scores per upload, even if a binding could hold more. Enough that the cost of a submission does not count; few
/// enough that a large batch has several chunks, so that one is uploaded while the previous one is evaluated.
const CHUNK_SCORES: usize = 2 << 20;

/// Evaluates a batch, into the caller's memory if there is any.
pub(crate) async fn evaluate(
    gpu: &Gpu,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let launcher = &*launcher(*spec, spec.check_batch(batch, request)?);
    let sinks = Sinks::new(launcher, batch, request, buffers)?;
    let (totals, outputs) = match batch.device_tensor() {
        Some(_) => evaluate_device(gpu, launcher, batch, request, sinks).await?,
        None => evaluate_host(gpu, launcher, batch, request, sinks).await?,
    };
    totals.finish(request, launcher.shape().samples, spec.has_correct(), outputs)
}

/// Uploads the targets of training in the form that [`prepare`] needs.
pub(in crate::gpu) async fn upload_targets(
    gpu: &Gpu,
    loss: &dyn Loss,
    shape: BatchShape,
    targets: &[f64],
) -> Result<DeviceTensor> {
    let launcher = launcher(loss.spec(), shape);
    launcher.check_training()?;
    Ok(launcher.decode_targets(targets.into(), 0..shape.samples)?.upload(gpu).await?.0)
}

/// Binds a kernel to scores and decoded targets that stay in place. The gradient, if any, is that of the mean.
pub(in crate::gpu) async fn prepare(
    gpu: &Gpu,
    loss: &dyn Loss,
    shape: BatchShape,
    scores: &DeviceTensor,
    targets: &DeviceTensor,
    gradient: Option<&DeviceTensor>,
) -> Result<PreparedKernel> {
    let launcher = &*launcher(loss.spec(), shape);
    launcher.check_training()?;
    let samples = shape.samples;
    let class_table = upload_class_table(gpu, launcher).await?;
    let inputs = Resident {
        scores: scores.clone(),
        second_scores: None,
        third_scores: None,
        targets: targets.clone(),
        decoded: true,
        sample_weights: None,
        class_table: class_table.clone(),
        samples,
    };
    let outputs = ResidentOutputs { losses: None, gradient: gradient.cloned() };
    let request = if gradient.is_some() { Request::new().gradient() } else { Request::new() };
    // Scores too wild for the finite arithmetic would be noticed too late.
    let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: false, divisor: samples as f32 };
    let variant = launcher.variant(&inputs, &request, pass);
    let dispatches = dispatches(gpu, launcher, &variant, &inputs, &outputs, &request, pass)?;
    PreparedKernel::new(gpu, &variant, &dispatches, class_table).await
}

/// Submits the sums of a batch and leaves them on the device.
///
/// Uses the extended arithmetic from the start: a value too wild for the finite one shows only when the sums are read,
/// and the batch may be gone by then.
pub(crate) async fn accumulate(
    gpu: &Gpu,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Vec<Pending>> {
    let launcher = &*launcher(*spec, spec.check_batch(batch, request)?);
    let class_table = upload_class_table(gpu, launcher).await?;
    let samples = launcher.shape().samples;
    let chunk =
        if batch.device_tensor().is_some() { samples.max(1) } else { host_chunk(gpu, launcher.shape().columns)? };
    let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: false, divisor: 1.0 };
    let mut all = Vec::new();
    for start in (0..samples).step_by(chunk) {
        let end = (start + chunk).min(samples);
        // Host data is checked here. Only device data, which is a single chunk, can turn out bad later.
        let inputs = upload(gpu, launcher, batch, start..end, &class_table).await;
        let inputs = inputs.map_err(|error| launcher.shape().whole_index(error, start))?;
        all.push(
            submit(gpu, launcher, &inputs, &ResidentOutputs::default(), request, pass, ReadBack::WhenAsked).await?,
        );
    }
    Ok(all)
}

/// Samples of host data per upload.
fn host_chunk(gpu: &Gpu, width: usize) -> Result<usize> {
    Ok(max_samples(gpu, width)?.min((CHUNK_SCORES / width).max(1)))
}

/// At least one input is on the device: the others are uploaded.
async fn evaluate_device(
    gpu: &Gpu,
    launcher: &dyn Launcher,
    batch: &Batch<'_>,
    request: &Request,
    mut sinks: Sinks<'_>,
) -> Result<(Totals, Outputs)> {
    let samples = launcher.shape().samples;
    let started = Instant::now();
    let class_table = upload_class_table(gpu, launcher).await?;
    let inputs = upload(gpu, launcher, batch, 0..samples, &class_table).await?;
    let upload_time = started.elapsed();
    let known = Totals { count: samples as u64, weight_sum: samples as f64, ..Totals::default() };
    let totals = if request.needs_divisor() && (launcher.may_ignore() || inputs.sample_weights.is_some()) {
        let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: true, divisor: 1.0 };
        let pending =
            submit(gpu, launcher, &inputs, &ResidentOutputs::default(), &Request::new(), pass, ReadBack::Soon).await?;
        pending.fold().await?.totals
    } else {
        known
    };
    let divisor = request.divisor_of_gradient(samples, || Ok(totals))?;
    let running = Running::begin(gpu, launcher, inputs, request, divisor).await?;
    let (totals, outputs) = running.finish(gpu, launcher, request).await?;
    if let Floats::Device(_) = batch.scores {
        let outputs = Outputs {
            losses: outputs.losses.map(Output::Device),
            gradient: outputs.gradient.map(Output::Device),
            precision: Precision::F32,
            upload_time,
        };
        return Ok((totals, outputs));
    }
    sinks.take(outputs).await?;
    Ok((totals, sinks.finish(upload_time)))
}

/// All inputs are on the host: they pass through the device chunk by chunk.
async fn evaluate_host(
    gpu: &Gpu,
    launcher: &dyn Launcher,
    batch: &Batch<'_>,
    request: &Request,
    mut sinks: Sinks<'_>,
) -> Result<(Totals, Outputs)> {
    let samples = launcher.shape().samples;
    let divisor = request.divisor_of_gradient(samples, || launcher.host_totals(batch))?;
    let chunk = host_chunk(gpu, launcher.shape().columns)?;
    let class_table = upload_class_table(gpu, launcher).await?;
    let mut upload_time = Duration::ZERO;
    let mut totals = Totals::default();
    if request.per_class {
        totals.per_class = vec![0.0; launcher.shape().columns];
    }
    let mut finish = async |running: Option<(usize, Running)>| -> Result<()> {
        let Some((start, running)) = running else { return Ok(()) };
        let found = running.finish(gpu, launcher, request).await;
        let (part, outputs) = found.map_err(|error| launcher.shape().whole_index(error, start))?;
        totals.merge(&part);
        sinks.take(outputs).await
    };
    let mut running = None;
    for start in (0..samples).step_by(chunk) {
        let started = Instant::now();
        let inputs = upload(gpu, launcher, batch, start..(start + chunk).min(samples), &class_table).await;
        upload_time += started.elapsed();
        // An error of the previous chunk comes first.
        finish(running.take()).await?;
        let shift = |error| launcher.shape().whole_index(error, start);
        let begun = Running::begin(gpu, launcher, inputs.map_err(shift)?, request, divisor).await;
        running = Some((start, begun.map_err(shift)?));
    }
    finish(running).await?;
    Ok((totals, sinks.finish(upload_time)))
}

/// Uploads weights and margins of the classes: once for all chunks of a batch.
async fn upload_class_table(gpu: &Gpu, launcher: &dyn Launcher) -> Result<Option<DeviceTensor>> {
    let table = launcher.class_table();
    let (limit, got) = (gpu.max_binding_bytes() / 4, table.len() as u64);
    match table.len() {
        0 => Ok(None),
        _ if got > limit => Err(Error::DeviceLimit { what: "weights and margins of the classes", limit, got }),
        _ => gpu.upload_f32_async(&table).await.map(Some),
    }
}

/// The samples of a range on the device. Host data is decoded, checked and uploaded; device tensors are used in place.
async fn upload(
    gpu: &Gpu,
    launcher: &dyn Launcher,
    batch: &Batch<'_>,
    range: Range<usize>,
    class_table: &Option<DeviceTensor>,
) -> Result<Resident> {
    let Range { start, end } = range;
    let (targets, decoded) = match batch.targets {
        Targets::Device(tensor) => {
            let (types, names) = launcher.target_types();
            tensor.expect_type(Input::Targets, types, names)?;
            (on_device(gpu, Input::Targets, tensor)?, false)
        }
        host => launcher.decode_targets(host, start..end)?.upload(gpu).await?,
    };
    let sample_weights = match batch.sample_weights {
        Some(w) => Some(upload_floats(gpu, Input::SampleWeights, w, start, end).await?),
        None => None,
    };
    let width = launcher.shape().columns;
    let (first, last) = (start * width, end * width);
    let other = async |input, floats| match floats {
        // Kernels read all scores of a sample as one type.
        Some(floats) if stored_type(floats) != stored_type(batch.scores) => {
            Err(mixed_types(input, batch.scores, floats))
        }
        Some(floats) => upload_floats(gpu, input, floats, first, last).await.map(Some),
        None => Ok(None),
    };
    Ok(Resident {
        second_scores: other(Input::SecondScores, batch.second_scores).await?,
        third_scores: other(Input::Negatives, batch.third_scores).await?,
        scores: upload_floats(gpu, Input::Scores, batch.scores, first, last).await?,
        targets,
        decoded,
        sample_weights,
        class_table: class_table.clone(),
        samples: end - start,
    })
}

fn stored_type(floats: Floats<'_>) -> ElementType {
    match floats {
        Floats::F32(_) | Floats::F64(_) => ElementType::F32,
        Floats::F16(_) => ElementType::F16,
        Floats::BF16(_) => ElementType::BF16,
        Floats::Device(tensor) => tensor.element_type(),
    }
}

async fn upload_floats(gpu: &Gpu, input: Input, floats: Floats<'_>, start: usize, end: usize) -> Result<DeviceTensor> {
    let is_weights = input == Input::SampleWeights;
    match floats {
        Floats::F32(x) if is_weights => weights::check(&x[start..end], input)?,
        Floats::F64(x) if is_weights => weights::check(&x[start..end], input)?,
        _ => {}
    }
    if let Floats::Device(tensor) = floats {
        use ElementType::{BF16, F16, F32};
        let (types, names): (&[_], _) =
            if is_weights { (&[F32], "f32") } else { (&[F32, F16, BF16], "f32, f16 or bf16") };
        tensor.expect_type(input, types, names)?;
        return on_device(gpu, input, tensor);
    }
    let outside = || Error::Length { input, expected: end, got: floats.len(), unit: "sample" };
    gpu.upload_floats_async(floats.slice(start..end).ok_or_else(outside)?).await
}

fn on_device(gpu: &Gpu, input: Input, tensor: &DeviceTensor) -> Result<DeviceTensor> {
    if tensor.gpu() == gpu {
        return Ok(tensor.clone());
    }
    Err(Error::WrongDevice {
        input,
        expected: tensor.gpu().name().into(),
        got: format!("another opening of {}", gpu.name()),
    })
}

/// Kernels submitted over inputs on the device.
struct Running {
    inputs: Resident,
    outputs: ResidentOutputs,
    pass: Pass,
    pending: Pending,
}

impl Running {
    /// Submits the kernels, with the arithmetic that the options allow.
    async fn begin(
        gpu: &Gpu,
        launcher: &dyn Launcher,
        inputs: Resident,
        request: &Request,
        divisor: f32,
    ) -> Result<Self> {
        let mut outputs = ResidentOutputs::default();
        if request.losses {
            outputs.losses = Some(gpu.output_tensor(inputs.samples).await?);
        }
        if request.gradient {
            outputs.gradient = Some(gpu.output_tensor(inputs.scores.len() * launcher.gradient_blocks()).await?);
        }
        let tame = launcher.has_tame_options() && (1.0 / TAME..=MOST_TAME_DIVISOR).contains(&f64::from(divisor));
        let arithmetic = if tame { Arithmetic::Finite } else { Arithmetic::Extended };
        let pass = Pass { arithmetic, only_weights: false, divisor };
        let pending = submit(gpu, launcher, &inputs, &outputs, request, pass, ReadBack::Soon).await?;
        Ok(Self { inputs, outputs, pass, pending })
    }

    /// Waits for the results; runs again with the extended arithmetic if a value needs it.
    async fn finish(self, gpu: &Gpu, launcher: &dyn Launcher, request: &Request) -> Result<(Totals, ResidentOutputs)> {
        let Self { inputs, mut outputs, pass, pending } = self;
        let mut found = pending.fold().await?;
        if found.wild {
            let pass = Pass { arithmetic: Arithmetic::Extended, ..pass };
            found = submit(gpu, launcher, &inputs, &outputs, request, pass, ReadBack::Soon).await?.fold().await?;
        }
        if let (Some(losses), true) = (&mut outputs.losses, launcher.groups_per_sample(gpu) > 1) {
            *losses = gpu.upload_f32_async(&found.losses).await?;
        }
        Ok((found.totals, outputs))
    }
}
