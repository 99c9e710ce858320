//! The launcher of the target rows pattern.

use std::ops::Range;

use super::launcher::{
    self, DispatchPlan, DispatchStep, HostTargets, Launcher, Pass, Resident, has_tame_terms, is_tame,
};
use super::shader::{Constants, Loads, Variant};
use super::templates::LossParams;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::Request;
use crate::data::labels::{TargetRowDecoder, TargetRowRule};
use crate::data::shape::BatchShape;
use crate::data::tensor::{Targets, with_targets};
use crate::error::Result;
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{
    FEW_ROWS, SCORES_EACH, WORKGROUP, Walks, check_row, max_samples, shared_lanes, team_lanes, units_each,
};
use crate::loss::{TargetRowsSpec, Terms, Ties};

/// One walk for the loss and one for the gradient.
const WALKS: Walks = Walks::by_quads(2);

/// Most rows per team: the length of its chain of row losses.
const MOST_ROWS: usize = 16;

/// Most columns of all rows that one team takes: only a few rows if they are long, because their pairs take long.
const TEAM_COLUMNS: usize = 4096;

/// As `TEAM_COLUMNS`, for a lane that takes whole rows of labels. With 128 columns, all labels, a row takes about
/// 12,500 of the 60,000 steps that llvmpipe's loops are trusted with.
const LANE_COLUMNS: usize = 512;

/// Most columns whose labels one lane can hold: the bits of `own_members` (a vec4 of u32) in
/// shaders/loss/multilabel.wgsl.
const MOST_OWN_COLUMNS: usize = 128;

/// Most columns for which a GPU's lane takes a whole row. On an H100, 4 Mi scores with gradient in rows of 20 took 208
/// us this way and 398 by teams; in rows of 32, 419 and 293.
const FEW_COLUMNS: usize = 24;

/// Lanes that share a row, for a loss that stores its labels.
///
/// Teams store labels in workgroup memory: with four columns per lane at most 1024 + 256 bits, rounded up to words,
/// which fit MEMBER_WORDS. They wait about ten times per row. A lane with a whole row never waits.
fn labelled_lanes(gpu: &Gpu, rows: usize, columns: usize) -> usize {
    let most = if gpu.description().is_software() { MOST_OWN_COLUMNS } else { FEW_COLUMNS };
    let is_alone = match gpu.options().lanes_per_row {
        Some(lanes) => lanes == 1 && columns <= MOST_OWN_COLUMNS,
        None => rows >= FEW_ROWS && columns <= most,
    };
    if is_alone { 1 } else { shared_lanes(columns) }
}

/// With more columns the pairs of a row could overflow the finite arithmetic.
const MOST_TAME_COLUMNS: f64 = 1_048_576.0;

/// The decoded targets of a range of the host's rows or lists.
pub(super) fn decode_rows(
    rule: TargetRowRule,
    shape: &BatchShape,
    targets: Targets<'_>,
    rows: Range<usize>,
) -> Result<Vec<i32>> {
    let decoder = TargetRowDecoder::new(rule, shape);
    let range = rows.start * shape.target_width..rows.end * shape.target_width;
    with_targets!(targets.part(range), x => (0..x.len()).map(|i| decoder.element(x, i)).collect(),
        _tensor => Ok(Vec::new()))
}

pub(super) struct TargetRows {
    pub(super) loss: TargetRowsSpec,
    pub(super) shape: BatchShape,
}

impl Launcher for TargetRows {
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
        has_tame_terms(&self.loss.terms) && is_tame(self.shape.columns as f64 * (launcher::TAME / MOST_TAME_COLUMNS))
    }

    fn target_expected(&self) -> String {
        self.loss.target_rule.expected(&self.shape)
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, I8, I32, U8};
        (&[I32, I8, U8, Bit], "i32, i8, u8 or bits")
    }

    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>> {
        decode_rows(self.loss.target_rule, &self.shape, targets, range).map(HostTargets::I32)
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        let own =
            Constants { split_ties: self.loss.ties == Ties::Split, ..Constants::penalty(self.loss.terms.penalty) };
        inputs.variant(*self.loss.shader, Loads::of(&inputs.scores), pass, request, own)
    }

    fn plan<'a>(&'a self, gpu: &'a Gpu, inputs: &Resident, _: &Request, _: Pass) -> Result<DispatchPlan<'a>> {
        let columns = self.shape.columns;
        let (lanes, turn_columns) = match self.loss.shader.workgroup_bytes {
            0 => (team_lanes(gpu, inputs.samples, columns, SCORES_EACH, WALKS), TEAM_COLUMNS),
            _ => match labelled_lanes(gpu, inputs.samples, columns) {
                1 => (1, LANE_COLUMNS),
                lanes => (lanes, TEAM_COLUMNS),
            },
        };
        let most_rows = (turn_columns / columns).clamp(1, MOST_ROWS);
        let teams = WORKGROUP as usize / lanes;
        check_row(gpu, columns, WALKS)?;
        let params = LossParams {
            lanes: lanes as u32,
            most_steps: gpu.description().loop_limit().unwrap_or(u32::MAX),
            ..LossParams::default()
        };
        let steps = move |rows: usize| {
            let samples_per_team = units_each(gpu, rows, teams, most_rows);
            let params = LossParams { samples_per_team: samples_per_team as u32, ..params };
            vec![DispatchStep { params, groups: rows.div_ceil(teams * samples_per_team), ..DispatchStep::default() }]
        };
        Ok(DispatchPlan { most_samples: max_samples(gpu, columns)?, steps: Box::new(steps) })
    }
}
