//! The parts of each pattern's kernel: its WGSL template, its parameters and its buffers.

use crate::gpu::device::kernel::{Binding, params};
use crate::loss::Pattern;

params! {
    /// The parameters of a loss's kernel, the same for every pattern. `penalty_gamma` and `penalty_scale` belong to the
    /// smooth hinge. A shift is the number of elements between the start of a binding and its first element.
    pub(in crate::gpu) struct LossParams {
        /// Samples in this dispatch: scores, rows, lists or vectors.
        samples: u32,
        /// Scores per sample: classes of a row, items of a list, components of a vector.
        columns: u32,
        /// Targets per sample.
        target_width: u32,
        /// Workgroups in the grid's first dimension.
        grid_width: u32,
        groups: u32,
        /// Lanes per team, a power of two.
        lanes: u32,
        /// Samples that each team takes, one after the other.
        samples_per_team: u32,
        scores_shift: u32,
        second_shift: u32,
        third_shift: u32,
        targets_shift: u32,
        weights_shift: u32,
        losses_shift: u32,
        gradient_shift: u32,
        second_gradient_shift: u32,
        third_gradient_shift: u32,
        margin: f32,
        kink_slope: f32,
        penalty_gamma: f32,
        penalty_scale: f32,
        /// The divisor of the gradient of the reduced value.
        divisor: f32,
        /// The divisor of the sum over a sample's columns: 1 or the number of columns.
        sample_divisor: f32,
        /// Elementwise: chains per round of a lane, and rounds per lane.
        chains: u32,
        rounds: u32,
        /// Elementwise: lanes that take samples side by side, a power of two.
        neighbours: u32,
        /// Rows: workgroups per row, at most `WORKGROUP`; several only if a team fills a workgroup and takes one row.
        groups_per_sample: u32,
        /// Rows: WHOLE, LOOK or FINISH.
        step: u32,
        /// Rows: those with this target are left out, if `has_ignore_index` is not 0.
        ignore_index: i32,
        has_ignore_index: u32,
        /// Rows: where the margins begin in `class_table`.
        margins_shift: u32,
        /// Rows: how many violations count.
        top: u32,
        /// Target rows: most loop steps per lane, where the driver cuts loops short.
        most_steps: u32,
        /// Lists: parts of each list. A workgroup takes one at a time; the host adds up the parts of a shared list.
        tiles: u32,
        /// Ranked lists: tiles per workgroup in the last step.
        tiles_per_group: u32,
        /// Ranked lists: items per sorted run; runs are merged in pairs.
        run: u32,
        /// Ranked lists: which half of the scratch is read.
        half_read: u32,
        /// Vectors: p of the norm.
        exponent: f32,
        /// Vectors: the term added to a difference, or to the squared lengths of a cosine.
        epsilon: f32,
    }
    padding: [u32; 2]
}

/// The steps of the ranked pattern, one kernel each: `STEP_*` of shaders/patterns/ranked.wgsl.
#[derive(Clone, Copy)]
pub(super) enum RankedStep {
    Whole = 0,
    Sort = 1,
    Split = 2,
    Merge = 3,
    Count = 4,
    Finish = 5,
}

impl RankedStep {
    pub(super) const STEPS: u8 = RankedStep::Finish as u8 + 1;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) enum BufferSlot {
    Scores,
    SecondScores,
    ThirdScores,
    Targets,
    SampleWeights,
    /// C weights if classes have weights; then C x C margins if there is a margin matrix.
    ClassTable,
    Losses,
    Gradient,
    SecondGradient,
    ThirdGradient,
    /// One partial per workgroup.
    Partials,
    /// One row of sums per team, `sums[team * C + class]`; if workgroups share a row, one Row per workgroup.
    Sums,
    /// Four arrays, one behind the other. Two buffers of `params.tiles` tiles of entries per list: a merge reads one
    /// and writes the other. One entry per tile: how many entries of the first of two merged runs come before it. One
    /// entry per tile: its positives, which the count step replaces by the positives before it, and its flags. One
    /// entry per list: its positives and flags.
    Scratch,
}

impl BufferSlot {
    /// The buffer in WGSL; buffers without an element type of their own hold `element`.
    fn binding(self, element: &'static str) -> Binding {
        match self {
            BufferSlot::Scores => Binding::read("scores", "Cell"),
            BufferSlot::SecondScores => Binding::read("second_scores", element),
            BufferSlot::ThirdScores => Binding::read("third_scores", element),
            BufferSlot::Targets => Binding::read("targets", element),
            BufferSlot::SampleWeights => Binding::read("sample_weights", element),
            BufferSlot::ClassTable => Binding::read("class_table", element),
            BufferSlot::Losses => Binding::written("losses", element),
            BufferSlot::Gradient => Binding::written("gradient", element),
            BufferSlot::SecondGradient => Binding::written("second_gradient", element),
            BufferSlot::ThirdGradient => Binding::written("third_gradient", element),
            BufferSlot::Partials => Binding::written("partials", "Partial"),
            BufferSlot::Sums => Binding::written("sums", "Sum"),
            BufferSlot::Scratch => Binding::written("scratch", "Entry"),
        }
    }
}

pub(in crate::gpu) struct Template {
    /// Its file in shaders/patterns.
    pub(super) source: &'static str,
    /// The files of shaders/common that it needs, other than those that every kernel needs.
    pub(super) common: &'static [&'static str],
    /// Its buffers in the order of their bindings, from 1 on. Results for the host or for the next dispatch come last.
    pub(super) slots: &'static [BufferSlot],
    /// The element of buffers without a type of their own: `u32`, or `Cell` if all are loaded alike.
    pub(super) element: &'static str,
    pub(super) constants: &'static [&'static str],
    /// Bytes of workgroup memory per subgroup (per lane if lanes do not exchange), in addition to a Partial.
    pub(super) subgroup_bytes: usize,
    /// Bytes of workgroup memory per lane.
    pub(super) lane_bytes: usize,
}

impl Template {
    /// True if a binding follows the partials: per-class sums, or data from one dispatch to the next.
    pub(super) fn has_last_binding(&self) -> bool {
        self.slots.last() != Some(&BufferSlot::Partials)
    }

    /// The binding of one of its slots.
    pub(super) fn binding(&self, slot: BufferSlot) -> Binding {
        slot.binding(self.element)
    }

    pub(super) fn bindings(&self) -> Vec<Binding> {
        self.slots.iter().map(|&slot| self.binding(slot)).collect()
    }
}

const POINT: &str = include_str!("../../../shaders/common/point.wgsl");
const TEAM: &str = include_str!("../../../shaders/common/team.wgsl");
const LISTS: &str = include_str!("../../../shaders/common/lists.wgsl");

use BufferSlot::{
    ClassTable, Gradient, Losses, Partials, SampleWeights, Scores, Scratch, SecondGradient, SecondScores, Sums,
    Targets, ThirdGradient, ThirdScores,
};

const ELEMENTWISE: Template = Template {
    source: include_str!("../../../shaders/patterns/elementwise.wgsl"),
    common: &[POINT],
    slots: &[Scores, Targets, SampleWeights, SecondScores, Losses, Gradient, Partials],
    element: "Cell",
    constants: &["TARGET_RULE", "PAIRS"],
    subgroup_bytes: 0,
    lane_bytes: 0,
};

const ROWS: Template = Template {
    source: include_str!("../../../shaders/patterns/rows.wgsl"),
    common: &[TEAM, include_str!("../../../shaders/common/top.wgsl")],
    slots: &[Scores, Targets, SampleWeights, ClassTable, Losses, Gradient, Partials, Sums],
    element: "u32",
    constants: &["HAS_CLASS_WEIGHTS", "HAS_MARGIN_MATRIX", "WRITE_PER_CLASS", "SPLIT_TIES"],
    // A Row and a violation.
    subgroup_bytes: 40 + 8,
    lane_bytes: 0,
};

const TARGET_ROWS: Template = Template {
    source: include_str!("../../../shaders/patterns/target_rows.wgsl"),
    common: &[TEAM],
    slots: &[Scores, Targets, SampleWeights, Losses, Gradient, Partials],
    element: "u32",
    constants: &["SPLIT_TIES"],
    subgroup_bytes: 0,
    // A Row.
    lane_bytes: 40,
};

const SEGMENTS: Template = Template {
    source: include_str!("../../../shaders/patterns/segments.wgsl"),
    common: &[POINT, TEAM, LISTS],
    slots: TARGET_ROWS.slots,
    element: "u32",
    constants: &["TARGET_RULE"],
    // A Row.
    subgroup_bytes: 16,
    // An item.
    lane_bytes: 8,
};

const RANKED: Template = Template {
    source: include_str!("../../../shaders/patterns/ranked.wgsl"),
    common: SEGMENTS.common,
    slots: &[Scores, Targets, SampleWeights, Losses, Gradient, Partials, Scratch],
    element: "u32",
    constants: &["TARGET_RULE", "STEP"],
    subgroup_bytes: 16,
    // Four entries and two counts.
    lane_bytes: 4 * 8 + 2 * 4,
};

const VECTORS: Template = Template {
    source: include_str!("../../../shaders/patterns/vectors.wgsl"),
    common: &[POINT, TEAM],
    slots: &[
        Scores,
        SecondScores,
        ThirdScores,
        Targets,
        SampleWeights,
        Losses,
        Gradient,
        SecondGradient,
        ThirdGradient,
        Partials,
    ],
    element: "u32",
    constants: &["TARGET_RULE", "DISTANCE", "THIRD"],
    // A Row.
    subgroup_bytes: 40,
    lane_bytes: 0,
};

pub(in crate::gpu) fn template(pattern: Pattern) -> &'static Template {
    match pattern {
        Pattern::Elementwise => &ELEMENTWISE,
        Pattern::Rows => &ROWS,
        Pattern::TargetRows => &TARGET_ROWS,
        Pattern::Segments => &SEGMENTS,
        Pattern::Ranked => &RANKED,
        Pattern::Vectors => &VECTORS,
    }
}
