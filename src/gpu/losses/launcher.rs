//! What a pattern's launcher says of itself, and what the numbers of all losses are to it.

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

/// Targets of the host on their way to the device.
pub(in crate::gpu) enum HostTargets<'a> {
    /// Integers.
    I32(Vec<i32>),
    /// Signs.
    F32(Vec<f32>),
    /// Narrow labels, as they are.
    Narrow(Targets<'a>),
}

impl HostTargets<'_> {
    /// Uploads them, and says whether they were decoded before.
    pub(in crate::gpu) async fn upload(&self, gpu: &Gpu) -> Result<(DeviceTensor, bool)> {
        match self {
            Self::I32(x) => Ok((gpu.upload_i32_async(x).await?, true)),
            Self::F32(x) => Ok((gpu.upload_f32_async(x).await?, true)),
            Self::Narrow(x) => Ok((gpu.upload_labels_async(*x).await?, false)),
        }
    }
}

/// A pattern's launcher.
pub(crate) trait Launcher {
    /// The shape of the whole batch.
    fn shape(&self) -> BatchShape;
    /// Margin, penalty and kink, as the kernel takes them.
    fn terms(&self) -> Terms;
    /// True where every option of the loss is small enough for the finite arithmetic.
    fn has_tame_options(&self) -> bool;
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
        weights::totals(batch, self.shape().samples)
    }
    /// Host targets as they are uploaded, checked.
    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>>;
    /// Weights and margins of the classes, where there are any.
    fn class_table(&self) -> Vec<f32> {
        Vec::new()
    }
    /// The kernel for a pass.
    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant;
    /// Workgroups that share a sample, where it is too large for one; the host then puts their parts together.
    fn groups_per_sample(&self, _: &Gpu) -> u32 {
        1
    }
    /// Gradients of the scores' size that follow each other: one a vector of a sample.
    fn gradient_blocks(&self) -> usize {
        1
    }
    /// How the samples of a pass are spread over dispatches.
    fn plan<'a>(&'a self, gpu: &'a Gpu, inputs: &Resident, request: &Request, pass: Pass) -> Result<DispatchPlan<'a>>;
}

/// How the samples of a pass are spread over dispatches.
pub(crate) struct DispatchPlan<'a> {
    /// Samples that one dispatch takes at most.
    pub(in crate::gpu) most_samples: usize,
    /// The dispatches over so many samples, one after the other.
    pub(in crate::gpu) steps: Box<dyn Fn(usize) -> Vec<DispatchStep> + 'a>,
}

/// A dispatch as its pattern plans it.
#[derive(Default)]
pub(in crate::gpu) struct DispatchStep {
    /// What only the pattern knows: lanes, samples of a team, and its own.
    pub(in crate::gpu) params: LossParams,
    pub(in crate::gpu) groups: usize,
    /// Elements of the per-class binding (rows).
    pub(in crate::gpu) per_class: u64,
    /// Bytes of the last binding where it is no per-class sums but what workgroups leave for the dispatch after theirs.
    pub(in crate::gpu) part_bytes: u64,
    /// It leaves only these: a dispatch after it finishes the samples.
    pub(in crate::gpu) leaves_parts: bool,
    /// Which of its variant's kernels it is (ranked).
    pub(in crate::gpu) kernel: u8,
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
