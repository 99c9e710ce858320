//! The launcher of the elementwise pattern.

use std::ops::Range;

use super::launcher::{DispatchPlan, DispatchStep, HostTargets, Launcher, Pass, Resident, has_tame_terms};
use super::shader::{Constants, Loads, Variant, target_rule_number};
use super::templates::LossParams;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::Request;
use crate::data::labels::{LabelEncoding, TargetRule};
use crate::data::shape::BatchShape;
use crate::data::tensor::{Targets, with_targets};
use crate::error::Result;
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{WORKGROUP, max_samples, units_each};
use crate::loss::{ElementwiseSpec, Loss, LossShader, Spec, Terms};

/// `CHAIN` of shaders/patterns/elementwise.wgsl.
const CHAIN: u32 = 4;
/// Most chains per round, and most rounds per lane.
const MOST_CHAINS: u32 = 16;

/// A loss of single scores for kernels outside its pattern, which read decoded targets.
#[derive(Clone, Copy, Debug)]
pub(in crate::gpu) struct ElementwiseKernel {
    pub(in crate::gpu) shader: LossShader,
    pub(in crate::gpu) terms: Terms,
    /// The number of the rule for decoded targets.
    pub(in crate::gpu) target_rule: u8,
}

/// The loss's part of such a kernel; `None` for pairs of scores and for losses of other patterns.
pub(in crate::gpu) fn kernel(loss: &dyn Loss) -> Option<ElementwiseKernel> {
    let Spec::Elementwise(ElementwiseSpec { shader, terms, target_rule, pairs: false, .. }) = loss.spec() else {
        return None;
    };
    let rule = match target_rule {
        TargetRule::Labels(_) => TargetRule::Labels(LabelEncoding::PlusMinusOne),
        rule => rule,
    };
    Some(ElementwiseKernel { shader: *shader, terms, target_rule: target_rule_number(rule) })
}

pub(super) struct Elementwise {
    pub(super) loss: ElementwiseSpec,
    pub(super) shape: BatchShape,
}

impl Launcher for Elementwise {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn terms(&self) -> Terms {
        self.loss.terms
    }

    fn has_tame_options(&self) -> bool {
        has_tame_terms(&self.loss.terms)
    }

    fn target_expected(&self) -> String {
        self.loss.target_rule.expected().into()
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, F32, I8, I32, U8};
        (&[F32, I32, I8, U8, Bit], "f32, i32, i8, u8 or bits")
    }

    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>> {
        let rule = self.loss.target_rule;
        // Narrow labels are uploaded undecoded: a quarter of the bytes, or less.
        if let Targets::Bool(_) | Targets::I8(_) | Targets::U8(_) | Targets::Bits(_) = targets
            && let Some(part) = targets.slice(range.clone())
        {
            with_targets!(part, x => rule.check(x)?, _tensor => {});
            return Ok(HostTargets::Narrow(part));
        }
        let mut signs = vec![0f32; range.len()];
        with_targets!(targets.part(range), x => rule.decode(x, &mut signs)?, _tensor => {});
        Ok(HostTargets::F32(signs))
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        let rule = match self.loss.target_rule {
            TargetRule::Labels(_) if inputs.decoded => TargetRule::Labels(LabelEncoding::PlusMinusOne),
            rule => rule,
        };
        let own = Constants {
            target_rule: target_rule_number(rule),
            pairs: self.loss.pairs,
            ..Constants::penalty(self.loss.terms.penalty)
        };
        let others = [&inputs.sample_weights, &inputs.second_scores].into_iter().flatten();
        let mut all = [&inputs.scores, &inputs.targets].into_iter().chain(others);
        let by_quads = all.all(|tensor| Loads::by_four(tensor) == Loads::Quads);
        let loads = if by_quads { Loads::Quads } else { Loads::Words };
        inputs.variant(*self.loss.shader, loads, pass, request, own)
    }

    fn plan<'a>(&'a self, gpu: &'a Gpu, _: &Resident, _: &Request, _: Pass) -> Result<DispatchPlan<'a>> {
        let neighbours = gpu.description().subgroup_sizes.1.next_power_of_two().clamp(1, WORKGROUP);
        // A whole number of chains.
        let most_samples = max_samples(gpu, 1)? / CHAIN as usize * CHAIN as usize;
        let steps = move |samples: usize| {
            let most_chains = MOST_CHAINS * MOST_CHAINS;
            let each = match gpu.options().chains_per_lane {
                Some(own) => own.clamp(1, most_chains),
                None => units_each(gpu, samples, (WORKGROUP * CHAIN) as usize, most_chains as usize) as u32,
            };
            let chains = each.min(MOST_CHAINS);
            let rounds = each / chains;
            let groups = samples.div_ceil((WORKGROUP * CHAIN * chains * rounds) as usize);
            let params = LossParams { chains, rounds, neighbours, ..LossParams::default() };
            vec![DispatchStep { params, groups, ..DispatchStep::default() }]
        };
        Ok(DispatchPlan { most_samples, steps: Box::new(steps) })
    }
}
