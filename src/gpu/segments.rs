//! The launcher of the segments pattern.

use super::command::{Dispatch, groups_in_row};
use super::context::Gpu;
use super::launch::{self, Launcher, Pass, Resident, ResidentOutputs, has_tame_terms, is_tame, penalty_numbers};
use super::shader::{Constants, Loads, Variant, params};
use super::tensor::{DeviceTensor, ElementType, Window};
use super::workgroups::{WORKGROUP, units_each};
use crate::batch::BatchShape;
use crate::error::{Error, Result};
use crate::evaluation::Request;
use crate::loss::TargetRowsLoss;
use crate::loss::labels::{LabelEncoding, TargetRowDecoder, TargetRowRule};
use crate::tensor::{Targets, with_targets};

params! {
    /// `Params` of shaders/patterns/segments.wgsl.
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
    }
    padding: [u32; 2]
}

/// Lists a team takes at most: the length of its chain of list losses.
const MOST_LISTS: usize = 16;

/// Pairs that a lane meets in one step of its loop: `STRIDE` of shaders/common/team.wgsl.
const STRIDE: usize = 8;

/// Beyond so many items the pairs of a list could overflow the finite arithmetic.
const MOST_TAME_ITEMS: f64 = 1_048_576.0;

/// The launcher of a loss over a batch of this shape.
pub(crate) fn launcher<'a, L: TargetRowsLoss>(loss: &'a L, shape: BatchShape) -> impl Launcher + 'a {
    Segments { loss, shape }
}

struct Segments<'a, L> {
    loss: &'a L,
    shape: BatchShape,
}

impl<L: TargetRowsLoss> Segments<'_, L> {
    /// Lists that one dispatch can take: they fit a binding, and each of their loops the driver.
    fn most_lists(&self, gpu: &Gpu) -> Result<usize> {
        let items = self.shape.columns;
        let (mut limit, got) = ((gpu.max_binding_bytes() / 4).saturating_sub(WORKGROUP.into()), items as u64);
        let most = limit / got;
        if let Some(steps) = gpu.description().loop_limit() {
            // A step for each tile and one for each eight pairs.
            limit = limit.min(u64::from(steps) * STRIDE as u64 * 7 / 8);
        }
        match most {
            most if most > 0 && got <= limit => Ok(most as usize),
            _ => Err(Error::DeviceLimit { what: "items in one list", limit, got }),
        }
    }
}

impl<L: TargetRowsLoss> Launcher for Segments<'_, L> {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn has_tame_options(&self) -> bool {
        has_tame_terms(&self.loss.terms()) && is_tame(self.shape.columns as f64 * (launch::TAME / MOST_TAME_ITEMS))
    }

    fn has_correct(&self) -> bool {
        L::HAS_CORRECT
    }

    fn target_expected(&self) -> String {
        self.loss.target_rule().expected(&self.shape)
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, F32, I8, I32, U8};
        (&[I32, F32, I8, U8, Bit], "i32, f32, i8, u8 or bits")
    }

    async fn upload_targets(
        &self,
        gpu: &Gpu,
        targets: Targets<'_>,
        start: usize,
        end: usize,
    ) -> Result<(DeviceTensor, bool)> {
        let decoder = TargetRowDecoder::new(self.loss.target_rule(), &self.shape);
        let range = start * self.shape.target_width..end * self.shape.target_width;
        let decoded: Result<Vec<i32>> = with_targets!(targets.part(range), x => {
            (0..x.len()).map(|i| decoder.element(x, i)).collect()
        }, tensor => return Ok((tensor.clone(), false)));
        Ok((gpu.upload_i32_async(&decoded?).await?, true))
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        // What the host decoded is -1 and +1, or the bits of floats.
        let has_own_rule = match self.loss.target_rule() {
            TargetRowRule::Binary(LabelEncoding::ZeroOne) | TargetRowRule::Relevances => !inputs.decoded,
            _ => false,
        };
        let own = Constants { target_rule: u8::from(has_own_rule), ..Constants::penalty(self.loss.terms().penalty) };
        inputs.variant(L::SHADER, Loads::Words, pass, request, own)
    }

    fn groups_a_sample(&self) -> u32 {
        self.shape.columns.div_ceil(WORKGROUP as usize) as u32
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
        let terms = self.loss.terms();
        let (penalty_gamma, penalty_scale) = penalty_numbers(terms.penalty);
        let lanes = items.next_power_of_two().min(WORKGROUP as usize);
        let teams = WORKGROUP as usize / lanes;
        let tiles = self.groups_a_sample() as usize;
        let most = self.most_lists(gpu)?;
        let mut dispatches = Vec::new();
        for start in (0..inputs.samples).step_by(most) {
            let lists = most.min(inputs.samples - start);
            let lists_per_team = if tiles > 1 { 1 } else { units_each(gpu, lists, teams, MOST_LISTS) };
            let groups = (lists * tiles).div_ceil(teams * lists_per_team) as u32;
            let of_lists = |tensor: &'a DeviceTensor| tensor.window(start, lists);
            let of_items = |tensor: &'a DeviceTensor| tensor.window(start * items, lists * items);
            let (scores, targets) = (of_items(&inputs.scores), of_items(&inputs.targets));
            let weights = inputs.sample_weights.as_ref().map(of_lists);
            let [losses, gradient] = [outputs.losses.as_ref().map(of_lists), outputs.gradient.as_ref().map(of_items)];
            let shift = |window: Option<Window<'_>>| window.map_or(0, |w| w.shift);
            let params = SegmentsParams {
                lists: lists as u32,
                items: items as u32,
                groups_in_row: groups_in_row(gpu, groups),
                groups,
                lanes: lanes as u32,
                lists_per_team: lists_per_team as u32,
                tiles: tiles as u32,
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
                padding: [0; 2],
            };
            dispatches.push(Dispatch {
                params: bytemuck::bytes_of(&params).to_vec(),
                inputs: vec![Some(scores), Some(targets), weights],
                outputs: vec![losses, gradient],
                groups,
                first_sample: start,
                ..Dispatch::default()
            });
        }
        Ok(dispatches)
    }
}
