//! The launcher of the rows pattern.

use std::ops::Range;

use super::launcher::{DispatchPlan, DispatchStep, HostTargets, Launcher, Pass, Resident, has_tame_terms, is_tame};
use super::partial::Sum;
use super::shader::{Constants, Loads, Variant, workgroup_bytes};
use super::templates::LossParams;
use crate::data::batch::Batch;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::{Request, Totals};
use crate::data::labels::{IGNORED, class_index_expected, decode_class_indices};
use crate::data::shape::BatchShape;
use crate::data::tensor::{Targets, with_targets};
use crate::data::weights;
use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{
    SCORES_EACH, WORKGROUP, Walks, busy_groups, check_row, groups_per_row, max_samples, shared_lanes, team_lanes,
    units_each,
};
use crate::loss::{Combination, Pattern, RowsSpec, Terms, Ties};

/// Most rows per team: the length of its chain of row losses.
const MOST_ROWS: usize = 16;

/// `WHOLE`, `LOOK` and `FINISH` of shaders/patterns/rows.wgsl.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Whole = 0,
    Look = 1,
    Finish = 2,
}

/// Bytes of a workgroup's result for its part of a row: `PART_SUMS` of shaders/patterns/rows.wgsl.
const PART_BYTES: u64 = 6 * size_of::<Sum>() as u64;

/// One walk for the loss and one for the gradient.
const WALKS: Walks = Walks::by_quads(2);

/// The walks of [`Loads::Staged`]: per column one step to load, one to visit, and for the gradient one to store.
const STAGED_WALKS: Walks = Walks::by_elements(6);

/// Walks that find the largest violations by bits: one per bit of the key, one for their sum; for the gradient one to
/// count ties, one per bit of the index, one to write. Finding them by rank takes fewer walks.
const TOP_WALKS: Walks = Walks::by_quads(32 + 1 + 1 + 31 + 1);

pub(super) struct Rows<'a> {
    pub(super) loss: RowsSpec<'a>,
    pub(super) shape: BatchShape,
}

/// Lengths of the rows that lanes take from workgroup memory when a gradient is written.
///
/// Microseconds for 32 Mi scores on an H100, Crammer-Singer with gradient. Forward passes gained nothing at any length.
///
/// | columns | by teams | out of workgroup memory |
/// |--------:|---------:|------------------------:|
/// |       4 |      222 |                     489 |
/// |      10 |      465 |                     319 |
/// |      16 |      490 |                     218 |
/// |      32 |      411 |                     225 |
/// |      64 |      247 |                     223 |
/// |     100 |      280 |                     293 |
/// |     128 |      187 |                     240 |
const STAGED_COLUMNS: std::ops::RangeInclusive<usize> = 8..=64;

impl Rows<'_> {
    /// Whether each lane takes its own rows from workgroup memory ([`Loads::Staged`]). Needs enough rows to keep a
    /// GPU's lanes busy, and a gradient, whose writes it keeps together. A software adapter loads lane by lane anyway.
    fn is_staged(&self, inputs: &Resident, request: &Request) -> bool {
        let gpu = inputs.scores.gpu();
        if self.loss.method.combination == Combination::Top
            || request.per_class
            || gpu.options().lanes_per_row.is_some()
        {
            return false;
        }
        let has_many = inputs.samples >= busy_groups(gpu) * WORKGROUP as usize / 4;
        // A caller's own device may have lower limits than its adapter.
        let limit = gpu.description().limits.max_compute_workgroup_storage_size;
        let has_room = workgroup_bytes(Pattern::Rows, Loads::Staged, gpu.exchange()) <= u64::from(limit);
        let by_itself = !gpu.description().is_software()
            && has_many
            && has_room
            && request.gradient
            && STAGED_COLUMNS.contains(&self.shape.columns);
        // A driver's own limit on loops must not cut a lane's walk short.
        let is_walked = gpu
            .description()
            .loop_limit()
            .is_none_or(|limit| STAGED_WALKS.steps(self.shape.columns, 1) <= limit as usize);
        gpu.options().staged_rows.unwrap_or(by_itself) && is_walked
    }
}

impl Launcher for Rows<'_> {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn terms(&self) -> Terms {
        Terms { margin: self.loss.column_margin(self.shape.columns), ..self.loss.terms }
    }

    fn sample_divisor(&self) -> f64 {
        self.loss.class_divisor(self.shape.columns)
    }

    fn has_tame_options(&self) -> bool {
        has_tame_terms(&self.loss.terms) && self.loss.class_table().all(is_tame)
    }

    fn may_ignore(&self) -> bool {
        self.loss.ignore_index.is_some()
    }

    fn target_expected(&self) -> String {
        class_index_expected(self.shape.columns, self.loss.ignore_index)
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, I8, I32, U8};
        (&[I32, I8, U8, Bit], "i32, i8, u8 or bits")
    }

    fn host_totals(&self, batch: &Batch<'_>) -> Result<Totals> {
        weights::kept_totals(batch, self.shape.columns, self.loss.ignore_index)
    }

    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>> {
        let mut indices = vec![0i32; range.len()];
        let (columns, ignored) = (self.shape.columns, self.loss.ignore_index);
        with_targets!(targets.part(range), x => decode_class_indices(x, columns, ignored, &mut indices)?,
            _tensor => {});
        Ok(HostTargets::I32(indices))
    }

    fn class_table(&self) -> Vec<f32> {
        self.loss.class_table().map(|x| x as f32).collect()
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        let own = Constants {
            has_class_weights: self.loss.class_weights.is_some(),
            has_margin_matrix: self.loss.margin_matrix.is_some(),
            write_per_class: request.per_class,
            split_ties: self.loss.ties == Ties::Split,
            ..Constants::penalty(self.loss.terms.penalty)
        };
        let loads = if self.is_staged(inputs, request) { Loads::Staged } else { Loads::of(&inputs.scores) };
        inputs.variant(*self.loss.method.shader, loads, pass, request, own)
    }

    fn plan<'a>(&'a self, gpu: &'a Gpu, inputs: &Resident, request: &Request, pass: Pass) -> Result<DispatchPlan<'a>> {
        let columns = self.shape.columns;
        let is_staged = self.is_staged(inputs, request);
        let walks = match self.loss.method.combination {
            Combination::Top => TOP_WALKS,
            _ if is_staged => STAGED_WALKS,
            _ => WALKS,
        };
        let lanes = match request.per_class {
            // Each team has a row of sums.
            true => shared_lanes(columns),
            false if is_staged => 1,
            false => team_lanes(gpu, inputs.samples, columns, SCORES_EACH, walks),
        };
        let teams = WORKGROUP as usize / lanes;
        // Ranks are counted within a workgroup, and per-class sums belong to a team.
        let may_share =
            self.loss.method.combination != Combination::Top && !request.per_class && !pass.only_weights && teams == 1;
        let groups_per_sample = if may_share { groups_per_row(gpu, inputs.samples, columns) } else { 1 };
        check_row(gpu, columns.div_ceil(groups_per_sample), walks)?;
        let ignore_index = match self.loss.ignore_index {
            Some(_) if inputs.decoded => Some(IGNORED),
            // An index beyond i32 matches no element.
            index => index.and_then(|index| i32::try_from(index).ok()),
        };
        let most = max_samples(gpu, columns)?;
        // Few enough rows per team for a driver that cuts long loops short.
        let steps = walks.steps(columns, lanes * groups_per_sample);
        let most_rows = gpu.description().loop_limit().map_or(MOST_ROWS, |limit| limit as usize / steps);
        let most_rows = most_rows.clamp(1, MOST_ROWS);
        // Per-class sums take C elements of 12 bytes per team: many rows per team keep them small next to the scores.
        let (most_samples, samples_per_team) = if groups_per_sample > 1 {
            let row_bytes = PART_BYTES * groups_per_sample as u64;
            (most.min((gpu.max_binding_bytes() / row_bytes).max(1) as usize), Some(1))
        } else if request.per_class {
            let group_bytes = (teams * columns * size_of::<Sum>()) as u64;
            let groups = (gpu.max_binding_bytes() / group_bytes) as usize;
            if groups == 0 {
                let limit = gpu.max_binding_bytes() / (teams * size_of::<Sum>()) as u64;
                return Err(Error::DeviceLimit { what: "classes with a value each", limit, got: columns as u64 });
            }
            (most.min(groups * teams * MOST_ROWS), Some(MOST_ROWS))
        } else {
            (most, None)
        };
        let params = LossParams {
            lanes: lanes as u32,
            groups_per_sample: groups_per_sample as u32,
            ignore_index: ignore_index.unwrap_or(0),
            has_ignore_index: ignore_index.is_some().into(),
            margins_shift: self.loss.class_weights.map_or(0, <[f64]>::len) as u32,
            top: self.loss.top() as u32,
            ..LossParams::default()
        };
        let turns: &[_] = if groups_per_sample > 1 { &[Turn::Look, Turn::Finish] } else { &[Turn::Whole] };
        let per_class = request.per_class;
        let steps = move |rows: usize| {
            let samples_per_team = samples_per_team.unwrap_or_else(|| units_each(gpu, rows, teams, most_rows));
            let groups = rows.div_ceil(teams * samples_per_team) * groups_per_sample;
            let step = |&turn| DispatchStep {
                params: LossParams { samples_per_team: samples_per_team as u32, step: turn as u32, ..params },
                groups,
                per_class: if per_class { (groups * teams * columns) as u64 } else { 0 },
                part_bytes: if groups_per_sample > 1 { groups as u64 * PART_BYTES } else { 0 },
                leaves_parts: turn == Turn::Look,
                kernel: 0,
            };
            turns.iter().map(step).collect()
        };
        Ok(DispatchPlan { most_samples, steps: Box::new(steps) })
    }
}
