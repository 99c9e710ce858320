//! The launcher of lists: of the segments pattern here, of the ranked one by `ranked.rs`.

use std::ops::Range;

use super::dispatch::Dispatch;
use super::launcher::{
    self, HostTargets, Launcher, Pass, Resident, ResidentOutputs, has_tame_terms, is_tame, penalty_numbers,
};
use super::list_plan::{MOST_LISTS, Plan, Step};
use super::ranked;
use super::shader::{Constants, Loads, Variant};
use super::target_rows::decode_rows;
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::evaluation::Request;
use crate::data::labels::{LabelEncoding, TargetRowRule};
use crate::data::shape::BatchShape;
use crate::data::tensor::Targets;
use crate::error::{Error, Result};
use crate::gpu::device::command::groups_in_row;
use crate::gpu::device::context::Gpu;
use crate::gpu::device::kernel::params;
use crate::gpu::device::tensor::Window;
use crate::gpu::workgroups::{WORKGROUP, units_each};
use crate::loss::{Pattern, TargetRowsSpec};

params! {
    /// `Params` of shaders/common/lists.wgsl.
    pub struct SegmentsParams {
        lists: u32,
        items: u32,
        groups_in_row: u32,
        groups: u32,
        lanes: u32,
        lists_per_team: u32,
        tiles: u32,
        scores_shift: u32,
        targets_shift: u32,
        weights_shift: u32,
        losses_shift: u32,
        gradient_shift: u32,
        margin: f32,
        kink_slope: f32,
        penalty_gamma: f32,
        penalty_scale: f32,
        divisor: f32,
        list_divisor: f32,
        tiles_per_group: u32,
        run: u32,
        half_read: u32,
    }
    padding: [u32; 3]
}

/// Pairs that a lane meets in one step of its loop: `STRIDE` of shaders/common/team.wgsl.
const STRIDE: usize = 8;

/// Beyond so many items the pairs of a list could overflow the finite arithmetic.
const MOST_TAME_ITEMS: f64 = 1_048_576.0;

/// A loss over a batch.
pub(super) struct Segments {
    pub(super) loss: TargetRowsSpec,
    pub(super) shape: BatchShape,
}

impl Segments {
    fn is_ranked(&self) -> bool {
        self.loss.shader.pattern == Pattern::Ranked
    }

    /// Lists that one dispatch can take: they fit a binding, and what they are sorted in, or the loops over pairs, the driver.
    fn most_lists(&self, gpu: &Gpu) -> Result<usize> {
        let items = self.shape.columns;
        let (mut limit, got) = ((gpu.max_binding_bytes() / 4).saturating_sub(WORKGROUP.into()), items as u64);
        let mut most = limit / got;
        if self.is_ranked() {
            let scratch = ranked::scratch_limits(gpu, items);
            (limit, most) = (limit.min(scratch.items), most.min(scratch.lists));
        } else if let Some(steps) = gpu.description().loop_limit() {
            // A step for each tile and one for each eight pairs.
            limit = limit.min(u64::from(steps) * STRIDE as u64 * 7 / 8);
        }
        match most {
            most if most > 0 && got <= limit => Ok(most as usize),
            _ => Err(Error::DeviceLimit { what: "items in one list", limit, got }),
        }
    }

    /// Each item of a list has a lane that meets all others.
    fn plan_of_pairs(&self, gpu: &Gpu, lists: usize) -> Plan {
        let lanes = self.shape.columns.next_power_of_two().min(WORKGROUP as usize);
        let (teams, tiles) = (WORKGROUP as usize / lanes, self.groups_a_sample(gpu) as usize);
        let lists_per_team = if tiles > 1 { 1 } else { units_each(gpu, lists, teams, MOST_LISTS) };
        let groups = (lists * tiles).div_ceil(teams * lists_per_team);
        let step = Step { number: 0, groups, run: 0, half_read: 0, leaves_parts: false };
        Plan { lanes, lists_per_team, tiles, tiles_per_group: 1, part_bytes: 0, steps: vec![step] }
    }
}

impl Launcher for Segments {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn has_tame_options(&self) -> bool {
        // What ranked items are worth is multiplied by steps that add up to 1.
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
        // What the host decoded is -1 and +1, or the bits of floats.
        let has_own_rule = match self.loss.target_rule {
            TargetRowRule::Binary(LabelEncoding::ZeroOne) | TargetRowRule::Relevances => !inputs.decoded,
            _ => false,
        };
        let own = Constants { target_rule: u8::from(has_own_rule), ..Constants::penalty(self.loss.terms.penalty) };
        inputs.variant(*self.loss.shader, Loads::Words, pass, request, own)
    }

    fn groups_a_sample(&self, gpu: &Gpu) -> u32 {
        match self.is_ranked() {
            true => ranked::groups_a_list(gpu, &self.shape) as u32,
            false => self.shape.columns.div_ceil(WORKGROUP as usize) as u32,
        }
    }

    fn dispatches<'a>(
        &self,
        gpu: &Gpu,
        inputs: &'a Resident,
        outputs: &'a ResidentOutputs,
        _: &Request,
        pass: Pass,
    ) -> Result<Vec<Dispatch<'a>>> {
        let items = self.shape.columns;
        let terms = self.loss.terms;
        let (penalty_gamma, penalty_scale) = penalty_numbers(terms.penalty);
        let most = self.most_lists(gpu)?;
        let mut dispatches = Vec::new();
        for start in (0..inputs.samples).step_by(most) {
            let lists = most.min(inputs.samples - start);
            let plan = match self.is_ranked() {
                true => ranked::plan(gpu, lists, &self.shape, pass.only_weights),
                false => self.plan_of_pairs(gpu, lists),
            };
            let of_lists = |tensor: &'a DeviceTensor| tensor.window(start, lists);
            let of_items = |tensor: &'a DeviceTensor| tensor.window(start * items, lists * items);
            let (scores, targets) = (of_items(&inputs.scores), of_items(&inputs.targets));
            let weights = inputs.sample_weights.as_ref().map(of_lists);
            let [losses, gradient] = [outputs.losses.as_ref().map(of_lists), outputs.gradient.as_ref().map(of_items)];
            let shift = |window: Option<Window<'_>>| window.map_or(0, |w| w.shift);
            let params = SegmentsParams {
                lists: lists as u32,
                items: items as u32,
                lanes: plan.lanes as u32,
                lists_per_team: plan.lists_per_team as u32,
                tiles: plan.tiles as u32,
                tiles_per_group: plan.tiles_per_group as u32,
                scores_shift: scores.shift,
                targets_shift: targets.shift,
                weights_shift: shift(weights),
                losses_shift: shift(losses),
                gradient_shift: shift(gradient),
                margin: terms.margin as f32,
                kink_slope: terms.kink.slope() as f32,
                penalty_gamma,
                penalty_scale,
                divisor: pass.divisor,
                list_divisor: self.loss.divisor(items) as f32,
                ..SegmentsParams::default()
            };
            dispatches.extend(plan.steps.iter().map(|step| {
                let groups = step.groups as u32;
                let params = SegmentsParams {
                    groups_in_row: groups_in_row(gpu, groups),
                    groups,
                    run: step.run as u32,
                    half_read: step.half_read,
                    ..params
                };
                Dispatch {
                    params: bytemuck::bytes_of(&params).to_vec(),
                    inputs: vec![Some(scores), Some(targets), weights],
                    outputs: vec![losses, gradient],
                    groups,
                    first_sample: start,
                    part_bytes: plan.part_bytes,
                    leaves_parts: step.leaves_parts,
                    step: step.number,
                    ..Dispatch::default()
                }
            }));
        }
        Ok(dispatches)
    }
}
