//! The interface of a pattern's launcher, and how it reads a loss's options.

use std::ops::Range;

use super::shader::{Arithmetic, Constants, Loads, Variant};
use super::templates::LossParams;
use crate::data::batch::Batch;
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::evaluation::{Request, Totals};
use crate::data::shape::BatchShape;
use crate::data::tensor::Targets;
use crate::data::weights;
use crate::error::Result;
use crate::gpu::device::context::Gpu;
use crate::loss::{LossShader, Penalty, Terms};

/// `TAME_LIMIT` of shaders/common/real_finite.wgsl: 2^20.
pub(crate) const TAME: f64 = 1_048_576.0;

/// The inputs of an evaluation, all on the device.
pub(crate) struct Resident {
    pub(crate) scores: DeviceTensor,
    /// The second score of each pair.
    pub(crate) second_scores: Option<DeviceTensor>,
    /// The third vector of each triplet.
    pub(crate) third_scores: Option<DeviceTensor>,
    pub(crate) targets: DeviceTensor,
    /// True if the host decoded the targets, so that they no longer have the caller's encoding.
    pub(crate) decoded: bool,
    pub(crate) sample_weights: Option<DeviceTensor>,
    pub(crate) class_table: Option<DeviceTensor>,
    pub(crate) samples: usize,
}

impl Resident {
    /// The kernel of a pass over these inputs. `own` holds the pattern's own constants.
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

#[derive(Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) only_weights: bool,
    pub(crate) divisor: f32,
}

/// Targets of the host, ready to be uploaded.
pub(in crate::gpu) enum HostTargets<'a> {
    /// Integers.
    I32(Vec<i32>),
    /// Signs.
    F32(Vec<f32>),
    /// Narrow labels in the caller's encoding.
    Narrow(Targets<'a>),
}

impl HostTargets<'_> {
    /// Uploads them, and says whether they had been decoded.
    pub(in crate::gpu) async fn upload(&self, gpu: &Gpu) -> Result<(DeviceTensor, bool)> {
        match self {
            Self::I32(x) => Ok((gpu.upload_i32_async(x).await?, true)),
            Self::F32(x) => Ok((gpu.upload_f32_async(x).await?, true)),
            Self::Narrow(x) => Ok((gpu.upload_labels_async(*x).await?, false)),
        }
    }
}

pub(crate) trait Launcher {
    /// The shape of the whole batch.
    fn shape(&self) -> BatchShape;
    /// Margin, penalty and kink in the kernel's form.
    fn terms(&self) -> Terms;
    /// What the sum over the columns of a sample is divided by: 1 or their number.
    fn sample_divisor(&self) -> f64 {
        1.0
    }
    /// True if every option of the loss is small enough for the finite arithmetic.
    fn has_tame_options(&self) -> bool;
    /// Refuses a loss that cannot train a network.
    fn check_training(&self) -> Result<()> {
        Ok(())
    }
    /// True if the number of kept samples is known only from the labels.
    fn may_ignore(&self) -> bool {
        false
    }
    /// Describes the allowed targets, for error messages.
    fn target_expected(&self) -> String;
    /// The allowed element types of device targets, and their names.
    fn target_types(&self) -> (&'static [ElementType], &'static str);
    /// Count and weight sum of validated host data.
    fn host_totals(&self, batch: &Batch<'_>) -> Result<Totals> {
        weights::totals(batch, self.shape().samples)
    }
    /// Checks host targets and converts them for the upload.
    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>>;
    /// Weights and margins of the classes; empty if there are none.
    fn class_table(&self) -> Vec<f32> {
        Vec::new()
    }
    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant;
    /// Workgroups per sample: several if a sample is too large for one. The host then combines their parts.
    fn groups_per_sample(&self, _: &Gpu) -> u32 {
        1
    }
    /// Gradients of the scores' size, one after the other: one per vector of a sample.
    fn gradient_blocks(&self) -> usize {
        1
    }
    /// How the samples of a pass are spread over dispatches.
    fn plan<'a>(&'a self, gpu: &'a Gpu, inputs: &Resident, request: &Request, pass: Pass) -> Result<DispatchPlan<'a>>;
}

pub(crate) struct DispatchPlan<'a> {
    /// The most samples per dispatch.
    pub(in crate::gpu) most_samples: usize,
    /// The dispatches, in order, over the given number of samples.
    pub(in crate::gpu) steps: Box<dyn Fn(usize) -> Vec<DispatchStep> + 'a>,
}

#[derive(Default)]
pub(in crate::gpu) struct DispatchStep {
    /// The pattern fills in only lanes, samples per team, and its own parameters.
    pub(in crate::gpu) params: LossParams,
    pub(in crate::gpu) groups: usize,
    /// Elements of the per-class binding (rows).
    pub(in crate::gpu) per_class: u64,
    /// Bytes of the last binding if it holds data for the next dispatch instead of per-class sums.
    pub(in crate::gpu) part_bytes: u64,
    /// True if it leaves only that data, and a later dispatch finishes the samples.
    pub(in crate::gpu) leaves_parts: bool,
    /// Which of its variant's kernels it runs (ranked).
    pub(in crate::gpu) kernel: u8,
}

/// True if an option of this size keeps the finite arithmetic sound.
pub(crate) fn is_tame(option: f64) -> bool {
    option.abs() <= TAME
}

/// As [`is_tame`], for all numbers in a loss's terms.
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
