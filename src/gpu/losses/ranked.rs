//! Sorts the lists of the ranked pattern: the dispatches, and their scratch memory.
//!
//! An item's step of the Jaccard loss depends on how many items of each label precede it. For 32 Mi scores in lists of
//! 1024 an H100 took 62 ms to count pairs and takes 1.7 to sort. Runs up to a tile merge in workgroup memory, with two
//! barriers per doubling (a bitonic sort had 55 and took 2.6 ms); longer ones merge through scratch memory. A workgroup
//! finishes several tiles: with one each, the host took 0.5 ms to add the parts.

use super::launcher::DispatchStep;
use super::templates::{LossParams, RankedStep};
use crate::data::shape::BatchShape;
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{WORKGROUP, units_each};

/// Items per lane: `EACH` of shaders/patterns/ranked.wgsl.
const EACH: usize = 4;

/// Items per workgroup: `TILE` of the shader.
pub(in crate::gpu) const TILE: usize = EACH * WORKGROUP as usize;

const ENTRY_BYTES: u64 = 8;

/// Most tiles of a list per workgroup in the last step: the length of a chain of their sums.
const MOST_TILES: usize = 16;

/// Most lists per team: the length of its chain of list losses.
pub(super) const MOST_LISTS: usize = 16;

/// Most scratch memory for several lists at once: enough to keep a device busy. A single list may take more.
const SCRATCH_BYTES: u64 = 256 << 20;

fn tiles_of(items: usize) -> usize {
    items.div_ceil(TILE).max(1)
}

pub(in crate::gpu) struct ScratchLimits {
    /// The longest list that fits.
    pub(in crate::gpu) items: u64,
    /// Lists of the given length that fit at once.
    pub(in crate::gpu) lists: u64,
}

/// Scratch entries per tile of a list: both halves, and two for its counts and flags.
const TILE_ENTRIES: u64 = 2 * TILE as u64 + 2;

/// Scratch entries of a list: those of its tiles and one for the list itself.
const fn scratch_entries(tiles: u64) -> u64 {
    tiles * TILE_ENTRIES + 1
}

pub(in crate::gpu) fn scratch_limits(gpu: &Gpu, items: usize) -> ScratchLimits {
    // The shader counts entries in 32 bits.
    let most_entries = (gpu.max_binding_bytes() / ENTRY_BYTES).min(u32::MAX.into());
    // A list of a single tile needs no scratch.
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

/// Tiles of one list per workgroup in the last step: several, so that the host has fewer parts to add up.
fn tiles_per_group(gpu: &Gpu, shape: &BatchShape) -> usize {
    let tiles = tiles_of(shape.columns);
    units_each(gpu, shape.samples * tiles, 1, MOST_TILES).min(tiles)
}

/// Workgroups that leave a part of a list for the host: the same number for all chunks of a batch.
pub(in crate::gpu) fn groups_per_list(gpu: &Gpu, shape: &BatchShape) -> usize {
    tiles_of(shape.columns).div_ceil(tiles_per_group(gpu, shape))
}

/// The dispatches over so many lists of a batch. With `only_weights` no item is read.
pub(in crate::gpu) fn plan(gpu: &Gpu, lists: usize, shape: &BatchShape, only_weights: bool) -> Vec<DispatchStep> {
    let tiles = tiles_of(shape.columns);
    if tiles == 1 {
        let lanes = shape.columns.next_power_of_two().div_ceil(EACH);
        let teams = WORKGROUP as usize / lanes;
        let lists_per_team = units_each(gpu, lists, teams, MOST_LISTS);
        let params = LossParams {
            lanes: lanes as u32,
            samples_per_team: lists_per_team as u32,
            tiles: 1,
            tiles_per_group: 1,
            ..LossParams::default()
        };
        let groups = lists.div_ceil(teams * lists_per_team);
        return vec![DispatchStep { params, groups, kernel: RankedStep::Whole as u8, ..DispatchStep::default() }];
    }
    let params = LossParams {
        lanes: WORKGROUP,
        samples_per_team: 1,
        tiles: tiles as u32,
        tiles_per_group: tiles_per_group(gpu, shape) as u32,
        ..LossParams::default()
    };
    let part_bytes = if only_weights { 0 } else { lists as u64 * scratch_entries(tiles as u64) * ENTRY_BYTES };
    let step = |kernel: RankedStep, groups, run: usize, half_read| DispatchStep {
        params: LossParams { run: run as u32, half_read, ..params },
        groups,
        part_bytes,
        leaves_parts: !matches!(kernel, RankedStep::Finish),
        kernel: kernel as u8,
        per_class: 0,
    };
    let groups = lists * tiles;
    let mut steps = vec![step(RankedStep::Sort, groups, 0, 0)];
    let (mut half_read, mut run) = (0, TILE);
    while run < tiles * TILE {
        steps.push(step(RankedStep::Split, groups.div_ceil(WORKGROUP as usize), run, half_read));
        steps.push(step(RankedStep::Merge, groups, run, half_read));
        (half_read, run) = (1 - half_read, 2 * run);
    }
    steps.push(step(RankedStep::Count, lists, 0, 0));
    if only_weights {
        steps.clear();
    }
    steps.push(step(RankedStep::Finish, lists * groups_per_list(gpu, shape), 0, half_read));
    steps
}
