//! From a batch to dispatches and back: what every pattern's launcher shares.
//!
//! 1. Host data is uploaded in chunks that fit one binding; device tensors are bound as they are, window by window.
//! 2. Where the gradient's divisor is not known (a weighted mean, ignored rows), a pass over labels and weights alone
//!    comes first.
//! 3. All dispatches of a chunk go in one submission; what the workgroups found comes back in one read, for which the host
//!    waits only once it has uploaded the next chunk.
//! 4. Where a kernel met a value that plain f32 arithmetic cannot be trusted with, the same dispatches run once more
//!    with the extended arithmetic.

use std::time::{Duration, Instant};

use super::command::Dispatch;
use super::context::Gpu;
use super::prepared::Prepared;
use super::shader::{Arithmetic, Constants, Loads, Variant};
use super::submit::{Pending, ReadBack, submit};
use super::tensor::{DeviceTensor, ElementType};
use super::workgroups::max_samples;
use crate::batch::{Batch, BatchShape, mixed_types};
use crate::cpu::weights;
use crate::error::{Error, Input, Result};
use crate::evaluation::{Evaluation, Output, Outputs, Precision, Request, Totals};
use crate::loss::{LossShader, Penalty, Terms};
use crate::tensor::{Floats, Targets};

/// `TAME_LIMIT` of shaders/common/real_finite.wgsl: 2^20.
pub(crate) const TAME: f64 = 1_048_576.0;

/// 2^126: of a larger number a device need not know the inverse.
const MOST_TAME_DIVISOR: f64 = 8.507059173023462e37;

/// Scores uploaded at a time where a binding could hold more: enough that what a submission costs is nothing beside them, and
/// few enough that a large batch is several chunks, of which one is uploaded while the one before is evaluated.
const CHUNK_SCORES: usize = 2 << 20;

/// The inputs of an evaluation, all on the device.
pub(crate) struct Resident {
    pub(crate) scores: DeviceTensor,
    /// The other score of each pair.
    pub(crate) second_scores: Option<DeviceTensor>,
    /// The third vector of each triplet.
    pub(crate) third_scores: Option<DeviceTensor>,
    pub(crate) targets: DeviceTensor,
    /// Targets were decoded on the host, so they no longer hold the caller's own encoding.
    pub(crate) decoded: bool,
    pub(crate) sample_weights: Option<DeviceTensor>,
    pub(crate) class_table: Option<DeviceTensor>,
    pub(crate) samples: usize,
}

impl Resident {
    /// The kernel of a pass over these inputs: `own` is what the pattern has beside what all have.
    pub(crate) fn variant(
        &self,
        loss: LossShader,
        loads: Loads,
        pass: Pass,
        request: &Request,
        own: Constants,
    ) -> Variant {
        let constants = Constants {
            has_weights: self.sample_weights.is_some(),
            write_losses: request.losses,
            write_gradient: request.gradient,
            only_weights: pass.only_weights,
            score_type: self.scores.element_type().score_number(),
            target_type: self.targets.element_type().target_number(),
            ..own
        };
        Variant { loss, arithmetic: pass.arithmetic, loads, exchange: self.scores.gpu().exchange(), constants }
    }
}

/// The outputs of an evaluation on the device.
#[derive(Default)]
pub(crate) struct ResidentOutputs {
    pub(crate) losses: Option<DeviceTensor>,
    pub(crate) gradient: Option<DeviceTensor>,
}

/// What is asked of one pass.
#[derive(Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) only_weights: bool,
    pub(crate) divisor: f32,
}

/// A pattern's launcher.
pub(crate) trait Launcher {
    /// The shape of the whole batch.
    fn shape(&self) -> BatchShape;
    /// True where every option of the loss is small enough for the finite arithmetic.
    fn has_tame_options(&self) -> bool;
    /// True where a correct prediction means something.
    fn has_correct(&self) -> bool;
    /// Refuses a loss that no network can be trained with.
    fn check_training(&self) -> Result<()> {
        Ok(())
    }
    /// True where the count of kept samples is not known before the labels were seen.
    fn may_ignore(&self) -> bool {
        false
    }
    /// What a target may be, in words.
    fn target_expected(&self) -> String;
    /// The element types that device targets may have, and their names.
    fn target_types(&self) -> (&'static [ElementType], &'static str);
    /// Count and weight sum of host data, validated.
    fn host_totals(&self, batch: &Batch<'_>) -> Result<Totals> {
        crate::cpu::elementwise::weight_totals(batch, self.shape().samples)
    }
    /// Uploads host targets, and says whether they were decoded before.
    async fn upload_targets(
        &self,
        gpu: &Gpu,
        targets: Targets<'_>,
        start: usize,
        end: usize,
    ) -> Result<(DeviceTensor, bool)>;
    /// Weights and margins of the classes, where there are any.
    async fn upload_class_table(&self, _: &Gpu) -> Result<Option<DeviceTensor>> {
        Ok(None)
    }
    /// The kernel for a pass.
    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant;
    /// Workgroups that share a sample, where it is too large for one; the host then puts their parts together.
    fn groups_a_sample(&self, _: &Gpu) -> u32 {
        1
    }
    /// Gradients of the scores' size that follow each other: one a vector of a sample.
    fn gradient_blocks(&self) -> usize {
        1
    }
    /// The dispatches that cover `inputs`.
    fn dispatches<'a>(
        &self,
        gpu: &Gpu,
        inputs: &'a Resident,
        outputs: &'a ResidentOutputs,
        request: &Request,
        pass: Pass,
    ) -> Result<Vec<Dispatch<'a>>>;
}

/// Evaluates a batch that was checked.
pub(crate) async fn evaluate<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Evaluation> {
    let (totals, outputs) = match batch.device_tensor() {
        Some(_) => evaluate_device(gpu, launcher, batch, request).await?,
        None => evaluate_host(gpu, launcher, batch, request).await?,
    };
    totals.finish(request, launcher.shape().samples, launcher.has_correct(), outputs)
}

/// Uploads the targets of training as [`prepare`] wants them.
pub(crate) async fn upload_targets<L: Launcher>(gpu: &Gpu, launcher: &L, targets: &[f64]) -> Result<DeviceTensor> {
    launcher.check_training()?;
    Ok(launcher.upload_targets(gpu, targets.into(), 0, launcher.shape().samples).await?.0)
}

/// Binds a kernel to scores and decoded targets that stay where they are. With a gradient, which is that of the mean.
pub(crate) async fn prepare<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    scores: &DeviceTensor,
    targets: &DeviceTensor,
    gradient: Option<&DeviceTensor>,
) -> Result<Prepared> {
    launcher.check_training()?;
    let samples = launcher.shape().samples;
    let class_table = launcher.upload_class_table(gpu).await?;
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
    // Whether scores are too wild for the finite arithmetic would only show when it is too late.
    let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: false, divisor: samples as f32 };
    let dispatches = launcher.dispatches(gpu, &inputs, &outputs, &request, pass)?;
    Prepared::new(gpu, &launcher.variant(&inputs, &request, pass), &dispatches, class_table).await
}

/// Submits the sums of a batch that was checked and leaves them on the device.
///
/// With the extended arithmetic from the start: whether a value is too wild for the finite one would only show once the
/// sums are read, and by then the batch may be gone.
pub(crate) async fn accumulate<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Vec<Pending>> {
    let samples = launcher.shape().samples;
    let chunk =
        if batch.device_tensor().is_some() { samples.max(1) } else { host_chunk(gpu, launcher.shape().columns)? };
    let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: false, divisor: 1.0 };
    let mut all = Vec::new();
    for start in (0..samples).step_by(chunk) {
        let end = (start + chunk).min(samples);
        // Host data is checked here, so only device data, which comes in one chunk, can be found bad later.
        let inputs = upload(gpu, launcher, batch, start, end).await;
        let inputs = inputs.map_err(|error| launcher.shape().whole_index(error, start))?;
        all.push(
            submit(gpu, launcher, &inputs, &ResidentOutputs::default(), request, pass, ReadBack::WhenAsked).await?,
        );
    }
    Ok(all)
}

/// Samples of host data that are uploaded at a time.
fn host_chunk(gpu: &Gpu, width: usize) -> Result<usize> {
    Ok(max_samples(gpu, width)?.min((CHUNK_SCORES / width).max(1)))
}

/// At least one input is on the device: the others join it there.
async fn evaluate_device<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<(Totals, Outputs)> {
    let samples = launcher.shape().samples;
    let started = Instant::now();
    let inputs = upload(gpu, launcher, batch, 0, samples).await?;
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
    let stay = matches!(batch.scores, Floats::Device(_));
    let hand_over = async |tensor: Option<DeviceTensor>| -> Result<Option<Output>> {
        Ok(match tensor {
            Some(tensor) if stay => Some(Output::Device(tensor)),
            Some(tensor) => Some(Output::F32(tensor.read_f32_async().await?)),
            None => None,
        })
    };
    let outputs = Outputs {
        losses: hand_over(outputs.losses).await?,
        gradient: hand_over(outputs.gradient).await?,
        precision: Precision::F32,
        upload_time,
    };
    Ok((totals, outputs))
}

/// All inputs are on the host: chunk by chunk through the device.
async fn evaluate_host<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<(Totals, Outputs)> {
    let samples = launcher.shape().samples;
    let divisor = request.divisor_of_gradient(samples, || launcher.host_totals(batch))?;
    let chunk = host_chunk(gpu, launcher.shape().columns)?;
    let mut losses = request.losses.then(|| Vec::with_capacity(samples));
    let room = if request.gradient { samples * launcher.shape().columns } else { 0 };
    let mut gradients: Vec<Vec<f32>> = (0..launcher.gradient_blocks()).map(|_| Vec::with_capacity(room)).collect();
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
        if let (Some(host), Some(tensor)) = (&mut losses, outputs.losses) {
            tensor.append_to(&mut [host]).await?;
        }
        if let Some(tensor) = outputs.gradient {
            tensor.append_to(&mut gradients.iter_mut().collect::<Vec<_>>()).await?;
        }
        Ok(())
    };
    let mut running = None;
    for start in (0..samples).step_by(chunk) {
        let started = Instant::now();
        let inputs = upload(gpu, launcher, batch, start, (start + chunk).min(samples)).await;
        upload_time += started.elapsed();
        // An error of the chunk before comes first.
        finish(running.take()).await?;
        let shift = |error| launcher.shape().whole_index(error, start);
        let begun = Running::begin(gpu, launcher, inputs.map_err(shift)?, request, divisor).await;
        running = Some((start, begun.map_err(shift)?));
    }
    finish(running).await?;
    let outputs = Outputs {
        losses: losses.map(Output::F32),
        gradient: request.gradient.then(|| Output::F32(joined(gradients))),
        precision: Precision::F32,
        upload_time,
    };
    Ok((totals, outputs))
}

/// Vectors one after the other; a single one as it is.
fn joined(mut vectors: Vec<Vec<f32>>) -> Vec<f32> {
    if vectors.len() == 1 { vectors.swap_remove(0) } else { vectors.concat() }
}

/// The samples `start..end` on the device: host data is decoded, checked and uploaded; tensors are taken as they are.
async fn upload<L: Launcher>(gpu: &Gpu, launcher: &L, batch: &Batch<'_>, start: usize, end: usize) -> Result<Resident> {
    let (targets, decoded) = match batch.targets {
        Targets::Device(tensor) => {
            let (types, names) = launcher.target_types();
            tensor.expect_type(Input::Targets, types, names)?;
            (on_device(gpu, Input::Targets, tensor)?, false)
        }
        host => launcher.upload_targets(gpu, host, start, end).await?,
    };
    let sample_weights = match batch.sample_weights {
        Some(w) => Some(upload_floats(gpu, Input::SampleWeights, w, start, end).await?),
        None => None,
    };
    let width = launcher.shape().columns;
    let (first, last) = (start * width, end * width);
    let other = async |input, floats| match floats {
        // Kernels read all scores of a sample as one type.
        Some(floats) if stored_type(floats) != stored_type(batch.scores) => Err(mixed_types(input, floats)),
        Some(floats) => upload_floats(gpu, input, floats, first, last).await.map(Some),
        None => Ok(None),
    };
    Ok(Resident {
        second_scores: other(Input::SecondScores, batch.second_scores).await?,
        third_scores: other(Input::ThirdScores, batch.third_scores).await?,
        scores: upload_floats(gpu, Input::Scores, batch.scores, first, last).await?,
        targets,
        decoded,
        sample_weights,
        class_table: launcher.upload_class_table(gpu).await?,
        samples: end - start,
    })
}

/// The type that floats have on the device.
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

/// Kernels that were submitted over inputs on the device.
struct Running {
    inputs: Resident,
    outputs: ResidentOutputs,
    pass: Pass,
    pending: Pending,
}

impl Running {
    /// Submits the kernels, with the arithmetic that the options allow.
    async fn begin<L: Launcher>(
        gpu: &Gpu,
        launcher: &L,
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

    /// Waits for what they found; with the arithmetic that the values need.
    async fn finish<L: Launcher>(
        self,
        gpu: &Gpu,
        launcher: &L,
        request: &Request,
    ) -> Result<(Totals, ResidentOutputs)> {
        let Self { inputs, mut outputs, pass, pending } = self;
        let mut found = pending.fold().await?;
        if found.wild {
            let pass = Pass { arithmetic: Arithmetic::Extended, ..pass };
            found = submit(gpu, launcher, &inputs, &outputs, request, pass, ReadBack::Soon).await?.fold().await?;
        }
        if let (Some(losses), true) = (&mut outputs.losses, launcher.groups_a_sample(gpu) > 1) {
            *losses = gpu.upload_f32_async(&found.losses).await?;
        }
        Ok((found.totals, outputs))
    }
}

/// True where options of this size keep the finite arithmetic sound.
pub(crate) fn is_tame(option: f64) -> bool {
    option.abs() <= TAME
}

/// As [`is_tame`], for all numbers of a loss's terms.
pub(crate) fn has_tame_terms(terms: &Terms) -> bool {
    let penalty = match terms.penalty {
        Penalty::Smooth { gamma, scale } => is_tame(gamma) && is_tame(1.0 / gamma) && is_tame(scale),
        _ => true,
    };
    is_tame(terms.margin) && penalty
}

/// `penalty_gamma` and `penalty_scale` of the parameter structs.
pub(crate) fn penalty_numbers(penalty: Penalty) -> (f32, f32) {
    match penalty {
        Penalty::Smooth { gamma, scale } => (gamma as f32, scale as f32),
        _ => (1.0, 1.0),
    }
}
