//! The GPU backend: WGSL kernels through wgpu, on Vulkan, Metal and DX12 (GL as far as it goes).
//!
//! | room | what lives there |
//! |---|---|
//! | `device/` | one device: adapters, buffers, staging, readback, compiled kernels |
//! | `workgroups.rs` | how work is spread over lanes and workgroups |
//! | `losses/` | the kernels of the losses |
//! | `network/` | training: its kernels beside the losses', and the plan of an epoch |
//! | `probe.rs` | how fast the device's own memory is |
//!
//! The functions ending in `_async` are the core; the others block on them and exist on native targets only.

mod device;
mod losses;
#[cfg(feature = "nn")]
pub(crate) mod network;
mod probe;
mod workgroups;

pub use crate::data::device_tensor::{DeviceTensor, ElementType};
pub use device::adapter::{AdapterDescription, adapters, adapters_async};
pub use device::context::Gpu;
pub use device::options::{Exchange, GpuOptions, ProductWalk};
pub use losses::elementwise::ElementwiseParams;
pub use losses::partial::Partial;
pub use losses::rows::RowsParams;
pub use losses::segments::SegmentsParams;
pub use losses::shader::{Arithmetic, Constants, Loads, Variant, variants};
pub use losses::submit::Pending;
pub use losses::target_rows::TargetRowsParams;
pub use losses::vectors::VectorsParams;
pub(crate) use losses::{accumulate, evaluate};
#[cfg(feature = "nn")]
pub use network::{
    GatherParams, KerasAccuracyParams, NetworkKernel, OutputGradientParams, ProductParams, ProductProbe, Role,
    UpdateParams, WholeStepsParams,
};
pub use probe::{MemoryParams, MemoryProbe};
