//! How lists are spread over the dispatches, workgroups and lanes of a device.

/// Lists a team takes at most: the length of its chain of list losses.
pub(in crate::gpu) const MOST_LISTS: usize = 16;

/// How the lists of a dispatch, or of several in turn, are spread over lanes and workgroups.
pub(in crate::gpu) struct Plan {
    /// Lanes of a team.
    pub(in crate::gpu) lanes: usize,
    pub(in crate::gpu) lists_per_team: usize,
    /// Parts of a list that are a workgroup's at a time, and how many of them a workgroup takes in the end.
    pub(in crate::gpu) tiles: usize,
    pub(in crate::gpu) tiles_per_group: usize,
    /// Bytes of scratch.
    pub(in crate::gpu) part_bytes: u64,
    pub(in crate::gpu) steps: Vec<Step>,
}

/// A dispatch of a plan: the kernel's step, `run` and `half_read` of the parameters, and whether it ends with partials.
#[derive(Clone, Copy)]
pub(in crate::gpu) struct Step {
    pub(in crate::gpu) number: u8,
    pub(in crate::gpu) groups: usize,
    pub(in crate::gpu) run: usize,
    pub(in crate::gpu) half_read: u32,
    pub(in crate::gpu) leaves_parts: bool,
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

/// How many of them there are.
pub(in crate::gpu) const RANKED_STEPS: u8 = RankedStep::Finish as u8 + 1;
