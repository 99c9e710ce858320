//! From a batch to dispatches and back: what every pattern's launcher shares.
//!
//! 1. Host data is uploaded in chunks that fit one binding; device tensors are bound as they are, window by window.
//! 2. Where the gradient's divisor is not known (a weighted mean, ignored rows), a pass over labels and weights alone
//!    comes first.
//! 3. All dispatches go in one submission; what the workgroups found comes back in one read.
//! 4. Where a kernel met a value that plain f32 arithmetic cannot be trusted with, the same dispatches run once more
//!    with the extended arithmetic.

use std::time::{Duration, Instant};

use super::context::Gpu;
use super::partial::{FLAG_WILD, NONE_BAD, Partial, Sum};
use super::shader::{Arithmetic, Variant};
use super::tensor::{DeviceTensor, ElementType, Window};
use crate::cpu::weights;
use crate::error::{Error, Input, Result};
use crate::evaluation::{Evaluation, Output, Outputs, Precision, Reduction, Request, Totals};
use crate::loss::{Pattern, Penalty, Terms};
use crate::tensor::{Batch, Floats, Targets};

/// Lanes of a workgroup: `WORKGROUP` of shaders/common/partial.wgsl.
pub(super) const WORKGROUP: u32 = 256;

/// `TAME_LIMIT` of shaders/common/real_finite.wgsl: 2^20.
const TAME: f64 = 1_048_576.0;

/// Scores uploaded at a time where a binding could hold more.
const CHUNK_SCORES: usize = 32 << 20;

/// Workgroups that keep a large GPU busy; below it each lane takes fewer samples.
const BUSY_GROUPS: usize = 1024;

/// One call of a kernel.
pub(super) struct Dispatch<'a> {
    /// The bytes of the pattern's parameter struct.
    pub(super) params: Vec<u8>,
    /// The read bindings after the parameters; `None` for one that was not given.
    pub(super) inputs: Vec<Option<Window<'a>>>,
    /// Losses and gradient.
    pub(super) outputs: [Option<Window<'a>>; 2],
    pub(super) groups: u32,
    /// Index of the first sample in the tensors.
    pub(super) first_sample: usize,
    /// Elements of the per-class binding (rows).
    pub(super) per_class: u64,
}

/// The inputs of an evaluation, all on the device.
pub(super) struct Resident {
    pub(super) scores: DeviceTensor,
    /// The other score of each pair.
    pub(super) second_scores: Option<DeviceTensor>,
    pub(super) targets: DeviceTensor,
    /// Targets were decoded on the host, so they no longer hold the caller's own encoding.
    pub(super) decoded: bool,
    pub(super) sample_weights: Option<DeviceTensor>,
    pub(super) class_weights: Option<DeviceTensor>,
    pub(super) samples: usize,
}

/// The outputs of an evaluation on the device.
#[derive(Default)]
pub(super) struct ResidentOutputs {
    pub(super) losses: Option<DeviceTensor>,
    pub(super) gradient: Option<DeviceTensor>,
}

/// What is asked of one pass.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    pub(super) arithmetic: Arithmetic,
    pub(super) only_weights: bool,
    pub(super) divisor: f32,
}

/// A pattern's launcher.
pub(super) trait Launcher {
    /// Scores a sample.
    fn width(&self) -> usize;
    /// True where every option of the loss is small enough for the finite arithmetic.
    fn has_tame_options(&self) -> bool;
    /// True where a correct prediction means something.
    fn has_correct(&self) -> bool;
    /// True where the count of kept samples is not known before the labels were seen.
    fn may_ignore(&self) -> bool;
    /// What a target may be, in words.
    fn target_expected(&self) -> String;
    /// The element types that device targets may have, and their names.
    fn target_types(&self) -> (&'static [ElementType], &'static str);
    /// Count and weight sum of host data, validated.
    fn host_totals(&self, batch: &Batch<'_>) -> Result<Totals>;
    /// Decodes host targets and uploads them.
    async fn upload_targets(&self, gpu: &Gpu, targets: Targets<'_>, start: usize, end: usize) -> Result<DeviceTensor>;
    /// Weights of the classes, where there are any.
    async fn upload_class_weights(&self, gpu: &Gpu) -> Result<Option<DeviceTensor>>;
    /// The kernel for a pass.
    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant;
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

/// Evaluates a batch that was checked and has `samples` samples.
pub(super) async fn evaluate<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
    samples: usize,
) -> Result<Evaluation> {
    let (totals, outputs) = match batch.device_tensor() {
        Some(_) => evaluate_device(gpu, launcher, batch, request, samples).await?,
        None => evaluate_host(gpu, launcher, batch, request, samples).await?,
    };
    totals.finish(request, samples, launcher.has_correct(), outputs)
}

/// At least one input is on the device: the others join it there.
async fn evaluate_device<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    batch: &Batch<'_>,
    request: &Request,
    samples: usize,
) -> Result<(Totals, Outputs)> {
    let started = Instant::now();
    let inputs = upload(gpu, launcher, batch, 0, samples).await?;
    let upload_time = started.elapsed();
    let divisor = if request.gradient && request.reduction == Reduction::Mean {
        let known = !launcher.may_ignore() && inputs.sample_weights.is_none();
        let totals = if known {
            Totals { count: samples as u64, weight_sum: samples as f64, ..Totals::default() }
        } else {
            let pass = Pass { arithmetic: Arithmetic::Extended, only_weights: true, divisor: 1.0 };
            run(gpu, launcher, &inputs, &ResidentOutputs::default(), &Request::new(), pass).await?.0
        };
        totals.divisor(Reduction::Mean, samples)?
    } else {
        1.0
    };
    let (totals, outputs) = evaluate_resident(gpu, launcher, &inputs, request, divisor).await?;
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
    samples: usize,
) -> Result<(Totals, Outputs)> {
    let divisor = if request.gradient && request.reduction == Reduction::Mean {
        launcher.host_totals(batch)?.divisor(Reduction::Mean, samples)?
    } else {
        1.0
    };
    let chunk = max_samples(gpu, launcher.width())?.min((CHUNK_SCORES / launcher.width()).max(1));
    let mut losses = request.losses.then(|| Vec::with_capacity(samples));
    let mut gradient = request.gradient.then(|| Vec::with_capacity(samples * launcher.width()));
    let mut upload_time = Duration::ZERO;
    let mut totals = Totals::default();
    if request.per_class {
        totals.per_class = vec![0.0; launcher.width()];
    }
    for start in (0..samples).step_by(chunk) {
        let end = (start + chunk).min(samples);
        let shift = |error: Error| error.shifted(start as u64);
        let started = Instant::now();
        let inputs = upload(gpu, launcher, batch, start, end).await.map_err(shift)?;
        upload_time += started.elapsed();
        let (part, outputs) = evaluate_resident(gpu, launcher, &inputs, request, divisor).await.map_err(shift)?;
        totals.merge(&part);
        for (host, tensor) in [(&mut losses, outputs.losses), (&mut gradient, outputs.gradient)] {
            if let (Some(host), Some(tensor)) = (host, tensor) {
                host.append(&mut tensor.read_f32_async().await?);
            }
        }
    }
    let outputs = Outputs {
        losses: losses.map(Output::F32),
        gradient: gradient.map(Output::F32),
        precision: Precision::F32,
        upload_time,
    };
    Ok((totals, outputs))
}

/// The samples `start..end` on the device: host data is decoded, checked and uploaded; tensors are taken as they are.
async fn upload<L: Launcher>(gpu: &Gpu, launcher: &L, batch: &Batch<'_>, start: usize, end: usize) -> Result<Resident> {
    let (targets, decoded) = match batch.targets {
        Targets::Device(tensor) => {
            let (types, names) = launcher.target_types();
            tensor.expect_type(Input::Targets, types, names)?;
            (on_device(gpu, Input::Targets, tensor)?, false)
        }
        host => (launcher.upload_targets(gpu, host, start, end).await?, true),
    };
    let sample_weights = match batch.sample_weights {
        Some(w) => Some(upload_floats(gpu, Input::SampleWeights, w, start, end).await?),
        None => None,
    };
    let second_scores = match batch.second_scores {
        Some(second) => Some(upload_floats(gpu, Input::SecondScores, second, start, end).await?),
        None => None,
    };
    let width = launcher.width();
    Ok(Resident {
        second_scores,
        scores: upload_floats(gpu, Input::Scores, batch.scores, start * width, end * width).await?,
        targets,
        decoded,
        sample_weights,
        class_weights: launcher.upload_class_weights(gpu).await?,
        samples: end - start,
    })
}

async fn upload_floats(gpu: &Gpu, input: Input, floats: Floats<'_>, start: usize, end: usize) -> Result<DeviceTensor> {
    match floats {
        Floats::F32(x) => {
            if input == Input::SampleWeights {
                weights::check(&x[start..end], input)?;
            }
            gpu.upload_f32_async(&x[start..end]).await
        }
        Floats::F64(x) => {
            if input == Input::SampleWeights {
                weights::check(&x[start..end], input)?;
            }
            let rounded: Vec<f32> = x[start..end].iter().map(|&x| x as f32).collect();
            gpu.upload_f32_async(&rounded).await
        }
        Floats::Device(tensor) => {
            tensor.expect_type(input, &[ElementType::F32], "f32")?;
            on_device(gpu, input, tensor)
        }
    }
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

/// The kernels over inputs on the device, with the arithmetic that they need.
async fn evaluate_resident<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    inputs: &Resident,
    request: &Request,
    divisor: f64,
) -> Result<(Totals, ResidentOutputs)> {
    let mut outputs = ResidentOutputs::default();
    if request.losses {
        outputs.losses = Some(gpu.output_tensor(inputs.samples).await?);
    }
    if request.gradient {
        outputs.gradient = Some(gpu.output_tensor(inputs.scores.len()).await?);
    }
    let tame = launcher.has_tame_options() && divisor >= 1.0 / TAME;
    let arithmetic = if tame { Arithmetic::Finite } else { Arithmetic::Extended };
    let pass = Pass { arithmetic, only_weights: false, divisor: divisor as f32 };
    let (mut totals, wild) = run(gpu, launcher, inputs, &outputs, request, pass).await?;
    if wild {
        let pass = Pass { arithmetic: Arithmetic::Extended, ..pass };
        totals = run(gpu, launcher, inputs, &outputs, request, pass).await?.0;
    }
    Ok((totals, outputs))
}

/// True where options of this size keep the finite arithmetic sound.
pub(super) fn is_tame(option: f64) -> bool {
    option.abs() <= TAME
}

/// As [`is_tame`], for all numbers of a loss's terms.
pub(super) fn has_tame_terms(terms: &Terms) -> bool {
    let penalty = match terms.penalty {
        Penalty::Smooth { gamma, scale } => is_tame(gamma) && is_tame(1.0 / gamma) && is_tame(scale),
        _ => true,
    };
    is_tame(terms.margin) && penalty
}

/// `penalty_gamma` and `penalty_scale` of the parameter structs.
pub(super) fn penalty_numbers(penalty: Penalty) -> (f32, f32) {
    match penalty {
        Penalty::Smooth { gamma, scale } => (gamma as f32, scale as f32),
        _ => (1.0, 1.0),
    }
}

/// One pass in one submission: its totals, and whether the finite arithmetic met a value that it cannot compute.
async fn run<L: Launcher>(
    gpu: &Gpu,
    launcher: &L,
    inputs: &Resident,
    outputs: &ResidentOutputs,
    request: &Request,
    pass: Pass,
) -> Result<(Totals, bool)> {
    let mut totals = Totals::default();
    if request.per_class {
        totals.per_class = vec![0.0; launcher.width()];
    }
    if inputs.samples == 0 {
        return Ok((totals, false));
    }
    let variant = launcher.variant(inputs, request, pass);
    let dispatches = launcher.dispatches(gpu, inputs, outputs, request, pass)?;
    let mut wild = false;
    for (dispatch, found) in dispatches.iter().zip(submit(gpu, &variant, &dispatches).await?) {
        for partial in found.partials {
            check_elements(launcher, inputs, dispatch.first_sample, &partial).await?;
            wild |= partial.flags & FLAG_WILD != 0;
            totals.sum += partial.loss.to_f64();
            totals.count += u64::from(partial.count);
            totals.active += u64::from(partial.violating);
            totals.correct += u64::from(partial.correct);
            totals.weight_sum +=
                if inputs.sample_weights.is_some() { partial.weight.to_f64() } else { f64::from(partial.count) };
        }
        for team in found.per_class.chunks(launcher.width()) {
            for (total, sum) in totals.per_class.iter_mut().zip(team) {
                *total += sum.to_f64();
            }
        }
    }
    Ok((totals, wild))
}

/// The error for a bad target or weight that a workgroup found; partials come in the order of their samples.
async fn check_elements<L: Launcher>(
    launcher: &L,
    inputs: &Resident,
    first_sample: usize,
    partial: &Partial,
) -> Result<()> {
    let (input, tensor, index, expected) = if partial.bad_target != NONE_BAD {
        (Input::Targets, Some(&inputs.targets), partial.bad_target, launcher.target_expected())
    } else if partial.bad_weight != NONE_BAD {
        (Input::SampleWeights, inputs.sample_weights.as_ref(), partial.bad_weight, weights::EXPECTED.into())
    } else {
        return Ok(());
    };
    let index = first_sample + index as usize;
    let value = match tensor {
        Some(tensor) => tensor.read_text(index).await?,
        None => String::new(),
    };
    Err(Error::Value { input, index: index as u64, value, expected })
}

/// What the workgroups of one dispatch found.
struct Found {
    partials: Vec<Partial>,
    per_class: Vec<Sum>,
}

/// Records all dispatches in one pass, submits them once, and reads back what their workgroups found.
async fn submit(gpu: &Gpu, variant: &Variant, dispatches: &[Dispatch<'_>]) -> Result<Vec<Found>> {
    let limits = &gpu.description().limits;
    let storage_alignment = u64::from(limits.min_storage_buffer_offset_alignment);
    let partials = Layout::new(dispatches, storage_alignment, size_of::<Partial>(), |d| d.groups.into());
    let per_class = Layout::new(dispatches, storage_alignment, size_of::<Sum>(), |d| d.per_class);
    let uniform_alignment = u64::from(limits.min_uniform_buffer_offset_alignment);
    let params = Layout::new(dispatches, uniform_alignment, 1, |d| d.params.len() as u64);
    let mut params_bytes = vec![0u8; params.total as usize];
    for (dispatch, &(offset, bytes)) in dispatches.iter().zip(&params.parts) {
        params_bytes[offset as usize..][..bytes as usize].copy_from_slice(&dispatch.params);
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let params_buffer = gpu.allocate(params.total, usage).await?;
    // One buffer for partials and per-class sums, so that one read brings both.
    let per_class_start = partials.total.next_multiple_of(storage_alignment.max(4));
    let results_bytes = per_class_start + per_class.total;
    let results = gpu.allocate_output(results_bytes).await?;
    let pipeline = gpu.pipeline(variant).await?;
    gpu.attempt("running a kernel", || {
        gpu.queue().write_buffer(&params_buffer.buffer, 0, &params_bytes);
        let layout = pipeline.get_bind_group_layout(0);
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            for (index, dispatch) in dispatches.iter().enumerate() {
                let part = |buffer, (offset, bytes): (u64, u64)| Window { buffer, offset, bytes, shift: 0 };
                let whole = |buffer| Window { buffer, offset: 0, bytes: 256, shift: 0 };
                let mut windows = vec![part(&params_buffer.buffer, params.parts[index])];
                windows.extend(dispatch.inputs.iter().map(|x| x.unwrap_or(whole(gpu.unused_input()))));
                windows.extend(dispatch.outputs.iter().map(|x| x.unwrap_or(whole(gpu.unused_output()))));
                windows.push(part(&results.buffer, partials.parts[index]));
                if variant.loss.pattern == Pattern::Rows {
                    let (offset, bytes) = per_class.parts[index];
                    windows.push(match bytes {
                        0 => whole(gpu.unused_output()),
                        _ => part(&results.buffer, (per_class_start + offset, bytes)),
                    });
                }
                let entries: Vec<_> = (0..)
                    .zip(&windows)
                    .map(|(binding, window)| wgpu::BindGroupEntry {
                        binding,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: window.buffer,
                            offset: window.offset,
                            size: wgpu::BufferSize::new(window.bytes),
                        }),
                    })
                    .collect();
                let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
                pass.set_bind_group(0, &gpu.device().create_bind_group(&descriptor), &[]);
                let row = groups_in_row(gpu, dispatch.groups);
                pass.dispatch_workgroups(row, dispatch.groups.div_ceil(row), 1);
            }
        }
        gpu.queue().submit([encoder.finish()]);
    })
    .await?;
    let bytes = gpu.read(&results.buffer, 0, results_bytes).await?;
    let take = |start: u64, (offset, length): (u64, u64)| &bytes[(start + offset) as usize..][..length as usize];
    Ok((0..dispatches.len())
        .map(|index| Found {
            partials: bytemuck::pod_collect_to_vec(take(0, partials.parts[index])),
            per_class: bytemuck::pod_collect_to_vec(take(per_class_start, per_class.parts[index])),
        })
        .collect())
}

/// Where each dispatch's part of a shared buffer lies: (offset, bytes).
struct Layout {
    parts: Vec<(u64, u64)>,
    total: u64,
}

impl Layout {
    fn new(dispatches: &[Dispatch<'_>], alignment: u64, size: usize, count: impl Fn(&Dispatch<'_>) -> u64) -> Self {
        let mut total = 0u64;
        let mut parts = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            let offset = total.next_multiple_of(alignment.max(4));
            let bytes = count(dispatch) * size as u64;
            parts.push((offset, bytes));
            total = offset + bytes;
        }
        Self { parts, total: total.next_multiple_of(4) }
    }
}

/// Workgroups in one row of the grid; a second dimension takes what goes beyond the device's limit.
pub(super) fn groups_in_row(gpu: &Gpu, groups: u32) -> u32 {
    groups.min(gpu.max_workgroups()).max(1)
}

/// Samples of `width` scores that one binding can hold, wherever it starts.
pub(super) fn max_samples(gpu: &Gpu, width: usize) -> Result<usize> {
    let elements = (gpu.max_binding_bytes() / 4 - u64::from(WORKGROUP)) as usize;
    match elements / width {
        0 => Err(Error::DeviceLimit { what: "scores in one row", limit: elements as u64, got: width as u64 }),
        samples => Ok(samples),
    }
}

/// How many units of work a lane or team takes, so that small inputs still spread over the device.
pub(super) fn units_each(units: usize, units_per_group: usize, most: usize) -> usize {
    (units / (units_per_group * BUSY_GROUPS)).clamp(1, most)
}
