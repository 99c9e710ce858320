//! Submits all dispatches of a pass; their results are read when wanted.

use super::dispatch::{Dispatch, bindings, dispatches, parts, pipelines};
use super::launcher::{Launcher, Pass, Resident, ResidentOutputs};
use super::partial::{Bad, FLAG_WILD, Partial, Sum};
use super::shader::Variant;
use super::templates::template;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::{Request, Totals};
use crate::data::weights;
use crate::error::{Error, Input, Result};
use crate::gpu::device::command::{BufferLayout, Command, result_window};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::device::readback::{Readback, elements};

/// The partials that a pass left on the device, and the data to finish them on the host.
#[derive(Debug)]
pub(crate) struct Pending {
    gpu: Gpu,
    results: Option<Results>,
    bytes: u64,
    partials: BufferLayout,
    per_class: BufferLayout,
    first_samples: Vec<usize>,
    per_class_start: u64,
    /// Columns of the per-class sums; 0 if they were not requested.
    classes: usize,
    has_weights: bool,
    targets: ElementType,
    target_expected: String,
    /// Targets per sample.
    target_width: usize,
    groups_per_sample: usize,
}

/// Where the workgroups' results are.
#[derive(Debug)]
enum Results {
    OnDevice(PooledBuffer),
    OnTheWay(Readback),
}

/// When the host reads the results.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::gpu) enum ReadBack {
    /// As soon as they are ready: the same submission copies them.
    Soon,
    /// Perhaps never; until then they stay on the device.
    WhenAsked,
}

/// The sum of a pass's partials.
pub(crate) struct Found {
    pub(crate) totals: Totals,
    /// The finite arithmetic met a value that it cannot handle.
    pub(crate) wild: bool,
    /// The losses of samples that took several workgroups each.
    pub(crate) losses: Vec<f32>,
}

/// Records all dispatches of a pass over `inputs` and submits them once.
pub(in crate::gpu) async fn submit(
    gpu: &Gpu,
    launcher: &dyn Launcher,
    inputs: &Resident,
    outputs: &ResidentOutputs,
    request: &Request,
    pass: Pass,
    read_back: ReadBack,
) -> Result<Pending> {
    let variant = launcher.variant(inputs, request, pass);
    let dispatches = match inputs.samples {
        0 => vec![],
        _ => dispatches(gpu, launcher, &variant, inputs, outputs, request, pass)?,
    };
    let alignment = gpu.storage_alignment();
    let partials = BufferLayout::new(alignment, dispatches.iter().map(|d| d.partial_bytes()));
    let per_class = BufferLayout::new(alignment, dispatches.iter().map(|d| d.step.per_class * size_of::<Sum>() as u64));
    // Partials and per-class sums share one buffer, so that one read fetches both.
    let per_class_start = partials.total.next_multiple_of(alignment);
    let mut pending = Pending {
        gpu: gpu.clone(),
        results: None,
        bytes: per_class_start + per_class.total,
        partials,
        per_class,
        first_samples: dispatches.iter().map(|d| d.first_sample).collect(),
        per_class_start,
        classes: if request.per_class { launcher.shape().columns } else { 0 },
        has_weights: inputs.sample_weights.is_some(),
        targets: inputs.targets.element_type(),
        target_expected: launcher.target_expected(),
        target_width: launcher.shape().target_width,
        groups_per_sample: launcher.groups_per_sample(gpu) as usize,
    };
    if !dispatches.is_empty() {
        pending.run(&variant, &dispatches, read_back).await?;
    }
    Ok(pending)
}

impl Pending {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn run(&mut self, variant: &Variant, dispatches: &[Dispatch<'_>], read_back: ReadBack) -> Result<()> {
        let gpu = &self.gpu;
        let bindings = bindings(gpu, dispatches).await?;
        let results = gpu.allocate_output(self.bytes).await?;
        // The buffer between dispatches returns to the pool after the submission; the results may be kept for long.
        let (parts, part_bytes) = parts(gpu, dispatches).await?;
        let pipelines = pipelines(gpu, variant, dispatches).await?;
        let result = |(offset, bytes)| result_window(gpu, &results.buffer, offset, bytes);
        let record = |encoder: &mut wgpu::CommandEncoder| {
            let mut pass = gpu.begin_pass(encoder);
            for (index, (dispatch, mut windows)) in dispatches.iter().zip(bindings).enumerate() {
                windows.push(result(self.partials.parts[index]));
                if template(variant.loss.pattern).has_last_binding() {
                    let (offset, bytes) = self.per_class.parts[index];
                    let sums = (self.per_class_start + offset, bytes);
                    windows.push(match &parts {
                        Some(parts) if dispatch.step.part_bytes > 0 => result_window(gpu, &parts.buffer, 0, part_bytes),
                        _ => result(sums),
                    });
                }
                Command::of_groups(gpu, &pipelines[index], &windows, dispatch.step.groups as u32).record(&mut pass);
            }
        };
        let operation = "running a kernel";
        self.results = Some(match read_back {
            ReadBack::Soon => {
                let from = (&results.buffer, 0);
                Results::OnTheWay(gpu.submit_and_read(operation, record, from, self.bytes).await?)
            }
            ReadBack::WhenAsked => {
                gpu.submit(operation, record).await?;
                Results::OnDevice(results)
            }
        });
        Ok(())
    }

    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// The totals; waits until they are ready.
    ///
    /// # Errors
    /// As [`Pending::fold`].
    pub(crate) async fn totals(&self) -> Result<Totals> {
        Ok(self.fold().await?.totals)
    }

    /// Reads the partials and adds them up in f64, in order.
    ///
    /// # Errors
    /// [`Error::Value`] for the first target or weight that is not allowed.
    pub(in crate::gpu) async fn fold(&self) -> Result<Found> {
        let add_up = |bytes: &[u8]| self.add_up(bytes);
        match &self.results {
            None => self.add_up(&[]),
            Some(Results::OnDevice(results)) => self.gpu.read_with(&results.buffer, 0, self.bytes, add_up).await?,
            Some(Results::OnTheWay(readback)) => readback.take(&self.gpu, add_up).await?,
        }
    }

    fn add_up(&self, bytes: &[u8]) -> Result<Found> {
        let mut totals = Totals { per_class: vec![0.0; self.classes], ..Totals::default() };
        let (mut wild, mut losses) = (false, Vec::new());
        let take = |start: u64, (offset, length): (u64, u64)| &bytes[(start + offset) as usize..][..length as usize];
        for (index, &first_sample) in self.first_samples.iter().enumerate() {
            let partials = elements::<Partial>(take(0, self.partials.parts[index]));
            for sample in partials.chunks(self.groups_per_sample) {
                let mut part = Totals::default();
                for partial in sample {
                    self.check_elements(first_sample, partial)?;
                    wild |= partial.flags & FLAG_WILD != 0;
                    partial.add_to(&mut part, self.has_weights);
                }
                if self.groups_per_sample > 1 {
                    // The parts belong to one sample: round its loss as other losses are, and count it as active once.
                    losses.push(part.sum as f32);
                    part.sum = f64::from(part.sum as f32);
                    part.active = part.active.min(1);
                }
                totals.merge(&part);
            }
            let sums = elements::<Sum>(take(self.per_class_start, self.per_class.parts[index]));
            for team in sums.chunks(self.classes.max(1)) {
                for (total, sum) in totals.per_class.iter_mut().zip(team) {
                    *total += sum.to_f64();
                }
            }
        }
        Ok(Found { totals, wild, losses })
    }

    /// The error for a bad target or weight in a partial. Partials come in the order of their samples.
    fn check_elements(&self, first_sample: usize, partial: &Partial) -> Result<()> {
        let check = |input, bad: Bad, element, width: usize, expected: &str| match bad.found(element) {
            None => Ok(()),
            Some((index, value)) => {
                let index = (first_sample * width) as u64 + u64::from(index);
                Err(Error::Value { input, index, value, expected: expected.into() })
            }
        };
        partial.check(&self.gpu)?;
        check(Input::Targets, partial.bad_target, self.targets, self.target_width, &self.target_expected)?;
        check(Input::SampleWeights, partial.bad_weight, ElementType::F32, 1, weights::EXPECTED)
    }
}
