//! How a kernel's work is spread over workgroups and lanes: how many workgroups and lanes share a row. A software
//! adapter has costly barriers and workgroups; a GPU has many lanes. What a binding holds and a driver's limit on loops
//! set the bounds.

use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;

/// Lanes per workgroup: `WORKGROUP` of shaders/common/partial.wgsl.
pub(crate) const WORKGROUP: u32 = 256;

/// Workgroups that keep a device busy; with less work than that, each lane takes fewer samples. A software adapter has
/// few cores, and its workgroups cost much. On an H100 twice as many made no kernel faster and doubled the host's time
/// to add up partials.
pub(crate) fn busy_groups(gpu: &Gpu) -> usize {
    if gpu.description().is_software() { 16 } else { 512 }
}

/// Workgroups per row: several if one per row would leave most of a device idle.
pub(crate) fn groups_per_row(gpu: &Gpu, rows: usize, columns: usize) -> usize {
    let most = WORKGROUP as usize;
    match gpu.options().workgroups_per_row {
        Some(own) => (own as usize).clamp(1, most),
        None => (busy_groups(gpu) / rows.max(1)).min(columns / fewest_shared_scores(gpu)).clamp(1, most),
    }
}

/// Scores of a row that are worth one more workgroup: several loads per lane. Few long rows are shared, because one
/// workgroup per row would leave most of a device idle. On a software adapter a workgroup's fixed cost equals thousands
/// of scores (llvmpipe, with gradient: a row of 2^20 took 30 ms with 16 workgroups, 47 with one; a row of 100,000 7.8
/// and 5.4).
fn fewest_shared_scores(gpu: &Gpu) -> usize {
    if gpu.description().is_software() { 256 << 10 } else { 4096 }
}

/// A kernel's number of walks over a row, and elements per load: they give the number of its loop steps.
#[derive(Clone, Copy)]
pub(crate) struct Walks {
    count: usize,
    elements_a_load: usize,
}

impl Walks {
    /// Loads four elements at a time, then visits each. A row that begins within four elements needs one more load.
    pub(crate) const fn by_quads(count: usize) -> Self {
        Self { count, elements_a_load: 4 }
    }

    pub(crate) const fn by_elements(count: usize) -> Self {
        Self { count, elements_a_load: 1 }
    }

    /// Loop steps per lane for all walks over a row.
    pub(crate) fn steps(self, elements: usize, lanes: usize) -> usize {
        match self.elements_a_load {
            1 => self.count * elements.div_ceil(lanes),
            each => self.count * (elements.div_ceil(each) + 1).div_ceil(lanes) * (each + 1),
        }
    }

    /// The longest row for which a workgroup needs no more than `steps` loop steps per lane.
    fn longest_row(self, steps: usize) -> usize {
        let each = self.elements_a_load;
        let loads = WORKGROUP as usize;
        match each {
            1 => steps / self.count * loads,
            _ => (steps / self.count / (each + 1) * loads).saturating_sub(1) * each,
        }
    }
}

/// Samples of `width` scores that fit one binding, at any offset.
pub(crate) fn max_samples(gpu: &Gpu, width: usize) -> Result<usize> {
    let elements = (gpu.max_binding_bytes() / 4 - u64::from(WORKGROUP)) as usize;
    match elements / width {
        0 => Err(row_too_long(elements, width)),
        samples => Ok(samples),
    }
}

/// Refuses rows that a driver's own limit on loops would cut short.
pub(crate) fn check_row(gpu: &Gpu, width: usize, walks: Walks) -> Result<()> {
    let longest = gpu.description().loop_limit().map_or(usize::MAX, |steps| walks.longest_row(steps as usize));
    if width > longest { Err(row_too_long(longest, width)) } else { Ok(()) }
}

fn row_too_long(limit: usize, width: usize) -> Error {
    Error::DeviceLimit { what: "scores in one row", limit: limit as u64, got: width as u64 }
}

/// Lanes that share a row of `elements` elements. On a GPU a lane takes about `elements_each` of them.
///
/// A software adapter runs the lanes of a workgroup one vector after the other and switches between them at every
/// barrier. There a lane takes a whole row, if there are [`FEW_ROWS`] rows and a row takes no more than
/// [`MOST_STEPS_ALONE`] loop steps. On a GPU a lane takes several elements, because lanes that share a row must
/// exchange results, which takes as long as reading several elements. Below [`FEW_ON_A_GPU`] rows a row may take the
/// lanes of a whole workgroup, else [`NEAR_LANES`] at most.
pub(crate) fn team_lanes(gpu: &Gpu, rows: usize, elements: usize, elements_each: usize, walks: Walks) -> usize {
    if let Some(own) = gpu.options().lanes_per_row {
        return own.next_power_of_two().clamp(1, WORKGROUP) as usize;
    }
    if gpu.description().is_software() {
        let is_short = walks.steps(elements, 1) <= MOST_STEPS_ALONE;
        return if rows >= FEW_ROWS && is_short { 1 } else { shared_lanes(elements) };
    }
    let most = if rows >= FEW_ON_A_GPU { NEAR_LANES } else { WORKGROUP };
    elements.div_ceil(elements_each).next_power_of_two().min(most as usize)
}

/// Scores of a row per lane on a GPU. With four scores per lane, exchange took longer than the row. An H100
/// (Crammer-Singer, forward) took 262 us for 512 Ki rows of 64 with sixteen lanes per row and takes 117 with four; for
/// 32 Ki rows of 1000, 306 with 256 and 100 with 32.
pub(crate) const SCORES_EACH: usize = 16;

/// Lanes that exchange results without workgroup memory, on most GPUs.
const NEAR_LANES: u32 = 32;

/// With fewer rows the lanes of some multiprocessors would be idle.
const FEW_ON_A_GPU: usize = 2048;

/// Lanes that share a row where each lane keeps data for about four of its elements.
pub(crate) fn shared_lanes(elements: usize) -> usize {
    elements.div_ceil(4).next_power_of_two().min(WORKGROUP as usize)
}

/// With fewer rows some vectors would have idle lanes.
pub(crate) const FEW_ROWS: usize = 64;

/// Most loop steps of a lane that takes a whole row.
const MOST_STEPS_ALONE: usize = 10_240;

/// Units of work per lane or team, so that small inputs still spread over the device.
pub(crate) fn units_each(gpu: &Gpu, units: usize, units_per_group: usize, most: usize) -> usize {
    (units / (units_per_group * busy_groups(gpu))).clamp(1, most)
}
