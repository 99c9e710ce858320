//! How a kernel's work is spread over workgroups and their lanes: as suits a software adapter, whose barriers and
//! workgroups are dear, or a GPU, whose lanes are many; and within what a binding holds and a driver's loops allow.

use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;

/// Lanes of a workgroup: `WORKGROUP` of shaders/common/partial.wgsl.
pub(crate) const WORKGROUP: u32 = 256;

/// Workgroups that keep a device busy; below it each lane takes fewer samples. A software adapter has few cores, and what a
/// workgroup does once takes it long. On an H100 twice as many took no kernel less time, and the host twice as long to add up
/// what they found.
pub(crate) fn busy_groups(gpu: &Gpu) -> usize {
    if gpu.description().is_software() { 16 } else { 512 }
}

/// How often a kernel goes through a row, and by how many elements at a time: what its loops' steps are counted by.
#[derive(Clone, Copy)]
pub(crate) struct Walks {
    count: usize,
    elements_a_load: usize,
}

impl Walks {
    /// Four elements at a time and then each of them; a row that begins within four has one load more.
    pub(crate) const fn by_quads(count: usize) -> Self {
        Self { count, elements_a_load: 4 }
    }

    /// Element by element.
    pub(crate) const fn by_elements(count: usize) -> Self {
        Self { count, elements_a_load: 1 }
    }

    /// Steps of loops that a lane takes for all walks over a row.
    pub(crate) fn steps(self, elements: usize, lanes: usize) -> usize {
        match self.elements_a_load {
            1 => self.count * elements.div_ceil(lanes),
            each => self.count * (elements.div_ceil(each) + 1).div_ceil(lanes) * (each + 1),
        }
    }

    /// The longest row that a workgroup goes through in so many steps a lane.
    fn longest_row(self, steps: usize) -> usize {
        let each = self.elements_a_load;
        let loads = WORKGROUP as usize;
        match each {
            1 => steps / self.count * loads,
            _ => (steps / self.count / (each + 1) * loads).saturating_sub(1) * each,
        }
    }
}

/// Samples of `width` scores that one binding can hold, wherever it starts.
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

/// Lanes that share a row of so many elements, walked over so many times, where a GPU's lane takes some `elements_each`.
///
/// A software adapter runs the lanes of a workgroup one vector after the other and switches between them at every barrier,
/// so there a lane takes a row of its own, where there are several vectors of them and the driver's loops are long enough.
/// On llvmpipe 2^20 scores in rows of 64 take 7.6 ms so; in rows of 1000, which lanes then still shared, they took 109 ms.
/// On a GPU a lane takes several elements, since what lanes tell each other costs as much, and a subgroup's lanes take what
/// remains; only few rows are worth those of a whole workgroup ([`FEW_ON_A_GPU`]).
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

/// Scores of a row that a GPU's lane takes. With four, lanes were busier with each other than with the row: an H100 took 512 Ki
/// rows of 64 in 262 us by sixteen lanes per row and takes 117 by four (Crammer-Singer, forward), 32 Ki rows of 1000 in 306 by
/// 256 and 100 by 32.
pub(crate) const SCORES_EACH: usize = 16;

/// Lanes that tell each other what they know without workgroup memory, on most GPUs.
const NEAR_LANES: u32 = 32;

/// With fewer rows the lanes of some multiprocessors would stay without one.
const FEW_ON_A_GPU: usize = 2048;

/// Lanes that share a row where each keeps something of some four of its elements at hand.
pub(crate) fn shared_lanes(elements: usize) -> usize {
    elements.div_ceil(4).next_power_of_two().min(WORKGROUP as usize)
}

/// With fewer rows the lanes of some vectors stay without one.
pub(crate) const FEW_ROWS: usize = 64;

/// Steps that a lane takes for a row of its own at most.
const MOST_STEPS_ALONE: usize = 10_240;

/// How many units of work a lane or team takes, so that small inputs still spread over the device.
pub(crate) fn units_each(gpu: &Gpu, units: usize, units_per_group: usize, most: usize) -> usize {
    (units / (units_per_group * busy_groups(gpu))).clamp(1, most)
}
