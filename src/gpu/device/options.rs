//! How a device runs its kernels: what is otherwise chosen by the adapter and the sizes.

use super::adapter::AdapterDescription;
use crate::error::{Error, Result};

/// How a [`crate::gpu::Gpu`] runs. The defaults are the device's own limits; lower ones exist for tests and for drivers that lie.
///
/// ```
/// use maxmargin::gpu::GpuOptions;
/// let mut options = GpuOptions::default();
/// options.max_binding_bytes = Some(64 << 20);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Fills every output buffer with a pattern before a kernel runs, so that an element that no kernel writes shows.
    pub poison_outputs: bool,
    /// At most this many bytes a binding; larger inputs are walked in several dispatches.
    pub max_binding_bytes: Option<u64>,
    /// Chains of four samples that a lane of an elementwise kernel takes, 1 to 256; otherwise chosen by the number of samples.
    pub chains_per_lane: Option<u32>,
    /// Lanes that share a row or a vector, a power of two up to 256; otherwise chosen by the adapter, the length of a row
    /// and how many there are. Few lanes for long rows need a driver whose loops are long enough. Rows of labels heed 1 alone,
    /// up to 128 columns.
    pub lanes_per_row: Option<u32>,
    /// Workgroups that share a row where a row takes all lanes of one, up to 256; otherwise chosen by the adapter, the length
    /// of a row and how many there are.
    pub workgroups_per_row: Option<u32>,
    /// Whether lanes take rows of class scores of their own out of workgroup memory, where the loss allows it and `lanes_per_row`
    /// is not given; otherwise chosen by the adapter, the number of rows and their length.
    pub staged_rows: Option<bool>,
    /// How lanes put together what they know; otherwise by the adapter.
    pub exchange: Option<Exchange>,
    /// How products of matrices walk; otherwise chosen by the adapter and their size.
    pub product_walk: Option<ProductWalk>,
    /// Workgroups along one dimension of a dispatch at most.
    pub max_workgroups: Option<u32>,
}

/// How a kernel of products walks over its matrices. All add in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProductWalk {
    /// Through workgroup memory, 32 rows and columns a workgroup.
    SmallTiles,
    /// Through workgroup memory, 64 rows and columns a workgroup.
    LargeTiles,
    /// From neighbours' registers, 32 rows and columns for eight lanes of a subgroup.
    Subgroup,
}

/// How the lanes of a workgroup put together what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Through workgroup memory alone.
    Workgroup,
    /// Within subgroups of so many lanes first: a power of two, at least 4.
    Subgroups(u32),
}

fn is_subgroup(lanes: u32) -> bool {
    lanes.is_power_of_two() && (4..=128).contains(&lanes)
}

impl Exchange {
    /// What the adapter is good for. Subgroups whose size the driver chooses for each kernel are not used.
    pub(in crate::gpu) fn of(adapter: &AdapterDescription) -> Self {
        let (least, most) = adapter.subgroup_sizes;
        let is_fit = least == most && is_subgroup(least);
        match adapter.features.contains(wgpu::Features::SUBGROUP) && is_fit {
            true => Self::Subgroups(least),
            false => Self::Workgroup,
        }
    }

    /// Refuses subgroups that no kernel can be made for.
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
