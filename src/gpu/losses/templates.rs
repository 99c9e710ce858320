//! What the kernel of each pattern is made of: its WGSL template, its parameters and its buffers.

use crate::gpu::device::kernel::{Binding, params};
use crate::loss::Pattern;

params! {
    /// What a loss's kernel is told of its dispatch, whatever its pattern. `penalty_gamma` and `penalty_scale` are of the smooth
    /// hinge; a shift is how many elements lie between the start of a binding and its first element.
    pub(in crate::gpu) struct LossParams {
        /// Samples in this dispatch: scores, rows, lists or vectors.
        samples: u32,
        /// Scores of a sample: classes of a row, items of a list, components of a vector.
        columns: u32,
        /// Targets of a sample.
        target_width: u32,
        /// Workgroups in a row of the grid.
        groups_in_row: u32,
        groups: u32,
        /// Lanes of a team, a power of two.
        lanes: u32,
        /// Samples that a team takes one after the other.
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
        /// What the gradient of the reduced value is divided by.
        divisor: f32,
        /// What the sum over the columns of a sample is divided by: 1 or their number.
        sample_divisor: f32,
        /// Elementwise: chains of a lane's round, and rounds of a lane.
        chains: u32,
        rounds: u32,
        /// Elementwise: lanes that take samples side by side, a power of two.
        neighbours: u32,
        /// Rows: workgroups that share one, up to a workgroup's lanes; more than one only with a single team of one row.
        groups_per_sample: u32,
        /// Rows: WHOLE, LOOK or FINISH.
        step: u32,
        /// Rows: those with this target are left out; compared only where `has_ignore_index` is not 0.
        ignore_index: i32,
        has_ignore_index: u32,
        /// Rows: where the margins begin in `class_table`.
        margins_shift: u32,
        /// Rows: how many violations count.
        top: u32,
        /// Target rows: steps of loops that a lane may take, where the driver cuts loops short.
        most_steps: u32,
        /// Lists: parts of a list that are a workgroup's at a time. Several workgroups may share a list, and the host adds up
        /// theirs.
        tiles: u32,
        /// Ranked lists: tiles that a workgroup takes in the end.
        tiles_per_group: u32,
        /// Ranked lists: items of a run that is merged with the next.
        run: u32,
        /// Ranked lists: which half of the scratch is read.
        half_read: u32,
        /// Vectors: p of the norm.
        exponent: f32,
        /// Vectors: what is added to a difference, or to the squared lengths of a cosine.
        epsilon: f32,
    }
    padding: [u32; 2]
}

/// The kernels of the ranked pattern: `STEP_*` of shaders/patterns/ranked.wgsl.
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
    /// How many of them there are.
    pub(super) const COUNT: u8 = RankedStep::Finish as u8 + 1;
}

/// A buffer of a loss's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) enum BufferSlot {
    Scores,
    SecondScores,
    ThirdScores,
    Targets,
    SampleWeights,
    /// C weights, where classes have weights; then C x C margins, where there is a margin matrix.
    ClassTable,
    Losses,
    Gradient,
    SecondGradient,
    ThirdGradient,
    /// What each workgroup found.
    Partials,
    /// A row of sums for each team, `sums[team * C + class]`; where workgroups share a row, the Row of each.
    Sums,
    /// Two halves of `params.tiles` tiles a list; how many entries of a merged run's first half come before each tile; its
    /// positives, or how many come before it, and its flags; and both of the lists.
    Scratch,
}

impl BufferSlot {
    /// The buffer in WGSL, where those of a template that have no type of their own hold `element`.
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

/// A pattern's kernel without a loss.
pub(in crate::gpu) struct Template {
    /// Its file in shaders/patterns.
    pub(super) source: &'static str,
    /// What it needs of shaders/common beside what all need.
    pub(super) common: &'static [&'static str],
    /// Its buffers in the order of their bindings, from 1 on. What a pass leaves for the host or for the dispatch after it
    /// comes last.
    pub(super) slots: &'static [BufferSlot],
    /// What those hold that have no type of their own: `u32`, or `Cell` where all are loaded alike.
    pub(super) element: &'static str,
    /// Its own constants.
    pub(super) constants: &'static [&'static str],
    /// Bytes of workgroup memory for each subgroup, or each lane where lanes do not exchange, beside a Partial.
    pub(super) subgroup_bytes: usize,
    /// Bytes of workgroup memory for each lane.
    pub(super) lane_bytes: usize,
}

impl Template {
    /// The binding after the partials, where there is one: of per-class sums, or of what dispatches leave each other.
    pub(super) fn has_last_binding(&self) -> bool {
        self.slots.last() != Some(&BufferSlot::Partials)
    }

    pub(super) fn bindings(&self) -> Vec<Binding> {
        self.slots.iter().map(|slot| slot.binding(self.element)).collect()
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

/// The kernel of a pattern.
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
