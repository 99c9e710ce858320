//! How a device runs its kernels: options that the adapter and the sizes choose by default.

use super::adapter::AdapterDescription;
use crate::error::{Error, Result};

/// How a [`crate::gpu::Gpu`] runs. The default limits are the device's; lower ones are for tests and drivers that lie.
///
/// ```
/// use maxmargin::gpu::GpuOptions;
/// let mut options = GpuOptions::default();
/// options.max_binding_bytes = Some(64 << 20);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Fills every output buffer with a pattern before a kernel runs, which exposes elements that no kernel writes.
    pub poison_outputs: bool,
    /// Most bytes per binding; larger inputs take several dispatches.
    pub max_binding_bytes: Option<u64>,
    /// Chains of four samples per lane of an elementwise kernel, 1 to 256; by default chosen by the number of samples.
    pub chains_per_lane: Option<u32>,
    /// Lanes per row or vector, a power of two up to 256; by default chosen by the adapter, the length of the rows and
    /// their number. Few lanes for long rows need a driver with long loops. Rows of labels heed only 1, up to 128
    /// columns.
    pub lanes_per_row: Option<u32>,
    /// Workgroups per row, up to 256, if a row takes all lanes of one; by default chosen by the adapter, the length of
    /// the rows and their number.
    pub workgroups_per_row: Option<u32>,
    /// Whether each lane takes its own rows of class scores from workgroup memory, if the loss allows it and
    /// `lanes_per_row` is not given; by default chosen by the adapter, the number of rows and their length.
    pub staged_rows: Option<bool>,
    /// How lanes combine their results; by default chosen by the adapter.
    pub exchange: Option<Exchange>,
    /// How matrix products walk over their matrices; by default chosen by the adapter and their size.
    pub product_walk: Option<ProductWalk>,
    /// Most workgroups along one dimension of a dispatch.
    pub max_workgroups: Option<u32>,
}

/// How a product kernel walks over its matrices. All walks add in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProductWalk {
    /// Through workgroup memory, 32 rows and columns per workgroup.
    SmallTiles,
    /// Through workgroup memory, 64 rows and columns per workgroup.
    LargeTiles,
    /// Through neighbours' registers, 32 rows and columns per eight lanes of a subgroup.
    Subgroup,
}

/// How the lanes of a workgroup combine their results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Through workgroup memory only.
    Workgroup,
    /// First within subgroups of this many lanes: a power of two, at least 4.
    Subgroups(u32),
}

fn is_subgroup(lanes: u32) -> bool {
    lanes.is_power_of_two() && (4..=128).contains(&lanes)
}

impl Exchange {
    /// The exchange that suits the adapter. Subgroups are not used if the driver chooses their size per kernel.
    pub(in crate::gpu) fn of(adapter: &AdapterDescription) -> Self {
        let (least, most) = adapter.subgroup_sizes;
        let is_fit = least == most && is_subgroup(least);
        match adapter.features.contains(wgpu::Features::SUBGROUP) && is_fit {
            true => Self::Subgroups(least),
            false => Self::Workgroup,
        }
    }

    /// Refuses subgroup sizes that no kernel supports.
    pub(in crate::gpu) fn check(self) -> Result<()> {
        match self {
            Self::Subgroups(lanes) if !is_subgroup(lanes) => Err(Error::Option {
                option: "exchange",
                expected: "subgroups of a power of two lanes, 4 to 128".into(),
                got: lanes.to_string(),
            }),
            _ => Ok(()),
        }
    }
}
