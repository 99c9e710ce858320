//! How the lists of the ranked pattern are sorted: what its dispatches are, and what scratch memory they take.

use super::list_plan::{MOST_LISTS, Plan, RankedStep, Step};
use crate::data::shape::BatchShape;
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{WORKGROUP, units_each};

/// Items of a lane: `EACH` of shaders/patterns/ranked.wgsl.
const EACH: usize = 4;

/// Items of a workgroup: `TILE` of the shader.
pub(in crate::gpu) const TILE: usize = EACH * WORKGROUP as usize;

/// Bytes of an `Entry` of the shader.
const ENTRY_BYTES: u64 = 8;

/// Tiles of a list that a workgroup takes in the end at most: the length of a chain of their sums.
const MOST_TILES: usize = 16;

/// Scratch memory that is taken where several lists could take more: enough to keep a device busy.
const SCRATCH_BYTES: u64 = 256 << 20;

/// Tiles of a list of so many items.
fn tiles_of(items: usize) -> usize {
    items.div_ceil(TILE).max(1)
}

/// What fits the scratch memory.
pub(in crate::gpu) struct ScratchLimits {
    /// The longest list.
    pub(in crate::gpu) items: u64,
    /// Lists of the asked length at once.
    pub(in crate::gpu) lists: u64,
}

/// Entries of the scratch for a tile of a list, in both halves and what is known of it.
const TILE_ENTRIES: u64 = 2 * TILE as u64 + 2;

/// As [`TILE_ENTRIES`], for a list of so many tiles: one more is for the list.
const fn scratch_entries(tiles: u64) -> u64 {
    tiles * TILE_ENTRIES + 1
}

pub(in crate::gpu) fn scratch_limits(gpu: &Gpu, items: usize) -> ScratchLimits {
    // The shader counts them in 32 bits.
    let most_entries = (gpu.max_binding_bytes() / ENTRY_BYTES).min(u32::MAX.into());
    // A single tile needs none.
    let longest = ((most_entries - 1) / TILE_ENTRIES).max(1) * TILE as u64;
    let lists = match tiles_of(items) {
        1 => u64::MAX,
        tiles => {
            let entries = scratch_entries(tiles as u64);
            (most_entries.min(SCRATCH_BYTES / ENTRY_BYTES) / entries).max(u64::from(entries <= most_entries))
        }
    };
    ScratchLimits { items: longest, lists }
}

/// Tiles of one list that a workgroup takes in the end, so that the host has fewer parts to add up.
fn tiles_per_group(gpu: &Gpu, shape: &BatchShape) -> usize {
    let tiles = tiles_of(shape.columns);
    units_each(gpu, shape.samples * tiles, 1, MOST_TILES).min(tiles)
}

/// Workgroups that leave a part of a list for the host. The same for all chunks of a batch.
pub(in crate::gpu) fn groups_a_list(gpu: &Gpu, shape: &BatchShape) -> usize {
    tiles_of(shape.columns).div_ceil(tiles_per_group(gpu, shape))
}

/// The dispatches over so many lists of a batch. With `only_weights` no item is looked at.
pub(in crate::gpu) fn plan(gpu: &Gpu, lists: usize, shape: &BatchShape, only_weights: bool) -> Plan {
    let tiles = tiles_of(shape.columns);
    let step = |number: RankedStep, groups| Step {
        number: number as u8,
        groups,
        run: 0,
        half_read: 0,
        leaves_parts: !matches!(number, RankedStep::Whole | RankedStep::Finish),
    };
    if tiles == 1 {
        let lanes = shape.columns.next_power_of_two().div_ceil(EACH);
        let teams = WORKGROUP as usize / lanes;
        let lists_per_team = units_each(gpu, lists, teams, MOST_LISTS);
        let steps = vec![step(RankedStep::Whole, lists.div_ceil(teams * lists_per_team))];
        return Plan { lanes, lists_per_team, tiles, tiles_per_group: 1, part_bytes: 0, steps };
    }
    let groups = lists * tiles;
    let mut steps = vec![step(RankedStep::Sort, groups)];
    let (mut half_read, mut run) = (0, TILE);
    while run < tiles * TILE {
        let of_run = |number, groups| Step { run, half_read, ..step(number, groups) };
        steps.extend([
            of_run(RankedStep::Split, groups.div_ceil(WORKGROUP as usize)),
            of_run(RankedStep::Merge, groups),
        ]);
        (half_read, run) = (1 - half_read, 2 * run);
    }
    steps.push(step(RankedStep::Count, lists));
    let last = Step { half_read, ..step(RankedStep::Finish, lists * groups_a_list(gpu, shape)) };
    let mut part_bytes = lists as u64 * scratch_entries(tiles as u64) * ENTRY_BYTES;
    if only_weights {
        (steps, part_bytes) = (vec![], 0);
    }
    steps.push(last);
    let tiles_per_group = tiles_per_group(gpu, shape);
    Plan { lanes: WORKGROUP as usize, lists_per_team: 1, tiles, tiles_per_group, part_bytes, steps }
}
