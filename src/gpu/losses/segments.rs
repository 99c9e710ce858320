//! The launcher of lists: the segments pattern here, the ranked pattern with `ranked.rs`.

use std::ops::Range;

use super::launcher::{
    self, DispatchPlan, DispatchStep, HostTargets, Launcher, Pass, Resident, has_tame_terms, is_tame,
};
use super::ranked;
use super::shader::{Constants, Loads, Variant};
use super::target_rows::decode_rows;
use super::templates::LossParams;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::Request;
use crate::data::labels::{LabelEncoding, TargetRowRule};
use crate::data::shape::BatchShape;
use crate::data::tensor::Targets;
use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{WORKGROUP, units_each};
use crate::loss::{Pattern, TargetRowsSpec, Terms};

/// Pairs that a lane visits per loop step: `STRIDE` of shaders/common/team.wgsl.
const STRIDE: usize = 8;

/// With more items the pairs of a list could overflow the finite arithmetic.
const MOST_TAME_ITEMS: f64 = 1_048_576.0;

pub(super) struct Segments {
    pub(super) loss: TargetRowsSpec,
    pub(super) shape: BatchShape,
}

impl Segments {
    fn is_ranked(&self) -> bool {
        self.loss.shader.pattern == Pattern::Ranked
    }

    /// Lists per dispatch: limited by a binding, and by the sort's scratch memory or the driver's loops over pairs.
    fn most_lists(&self, gpu: &Gpu) -> Result<usize> {
        let items = self.shape.columns;
        let (mut limit, got) = ((gpu.max_binding_bytes() / 4).saturating_sub(WORKGROUP.into()), items as u64);
        let mut most = limit / got;
        if self.is_ranked() {
            let scratch = ranked::scratch_limits(gpu, items);
            (limit, most) = (limit.min(scratch.items), most.min(scratch.lists));
        } else if let Some(steps) = gpu.description().loop_limit() {
            // One step per tile and one per eight pairs.
            limit = limit.min(u64::from(steps) * STRIDE as u64 * 7 / 8);
        }
        match most {
            most if most > 0 && got <= limit => Ok(most as usize),
            _ => Err(Error::DeviceLimit { what: "items in one list", limit, got }),
        }
    }

    /// Each item of a list has a lane that visits all other items.
    fn plan_of_pairs(&self, gpu: &Gpu, lists: usize) -> DispatchStep {
        let lanes = self.shape.columns.next_power_of_two().min(WORKGROUP as usize);
        let (teams, tiles) = (WORKGROUP as usize / lanes, self.groups_per_sample(gpu) as usize);
        let lists_per_team = if tiles > 1 { 1 } else { units_each(gpu, lists, teams, ranked::MOST_LISTS) };
        let params = LossParams {
            lanes: lanes as u32,
            samples_per_team: lists_per_team as u32,
            tiles: tiles as u32,
            tiles_per_group: 1,
            ..LossParams::default()
        };
        DispatchStep { params, groups: (lists * tiles).div_ceil(teams * lists_per_team), ..DispatchStep::default() }
    }
}

impl Launcher for Segments {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn terms(&self) -> Terms {
        self.loss.terms
    }

    fn sample_divisor(&self) -> f64 {
        self.loss.divisor(self.shape.columns)
    }

    fn has_tame_options(&self) -> bool {
        // Ranked: the values of items are multiplied by steps that add up to 1, so any length is safe.
        let is_short = self.is_ranked() || is_tame(self.shape.columns as f64 * (launcher::TAME / MOST_TAME_ITEMS));
        has_tame_terms(&self.loss.terms) && is_short
    }

    fn target_expected(&self) -> String {
        self.loss.target_rule.expected(&self.shape)
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, F32, I8, I32, U8};
        (&[I32, F32, I8, U8, Bit], "i32, f32, i8, u8 or bits")
    }

    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>> {
        decode_rows(self.loss.target_rule, &self.shape, targets, range).map(HostTargets::I32)
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        // The host decodes to -1 and +1, or to the bits of floats.
        let has_own_rule = match self.loss.target_rule {
            TargetRowRule::Binary(LabelEncoding::ZeroOne) | TargetRowRule::Relevances => !inputs.decoded,
            _ => false,
        };
        let own = Constants { target_rule: u8::from(has_own_rule), ..Constants::penalty(self.loss.terms.penalty) };
        inputs.variant(*self.loss.shader, Loads::Words, pass, request, own)
    }

    fn groups_per_sample(&self, gpu: &Gpu) -> u32 {
        match self.is_ranked() {
            true => ranked::groups_per_list(gpu, &self.shape) as u32,
            false => self.shape.columns.div_ceil(WORKGROUP as usize) as u32,
        }
    }

    fn plan<'a>(&'a self, gpu: &'a Gpu, _: &Resident, _: &Request, pass: Pass) -> Result<DispatchPlan<'a>> {
        let steps = move |lists: usize| match self.is_ranked() {
            true => ranked::plan(gpu, lists, &self.shape, pass.only_weights),
            false => vec![self.plan_of_pairs(gpu, lists)],
        };
        Ok(DispatchPlan { most_samples: self.most_lists(gpu)?, steps: Box::new(steps) })
    }
}
