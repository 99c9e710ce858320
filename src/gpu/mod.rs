//! The GPU backend: WGSL kernels through wgpu, on Vulkan, Metal and DX12; GL is best effort.
//!
//! | module | contents |
//! |---|---|
//! | `device/` | one device: adapters, buffers, staging, readback, compiled kernels |
//! | `workgroups.rs` | how work is spread over lanes and workgroups |
//! | `losses/` | the kernels of the losses |
//! | `network/` | training: its kernels other than the losses', and the plan of an epoch |
//! | `linear/` | the steps of a linear model's solver that read every row |
//! | `probe.rs` | how fast the device's own memory is |
//!
//! The functions ending in `_async` do the work; the others block on them and exist on native targets only.

mod device;
#[cfg(feature = "linear")]
pub(crate) mod linear;
mod losses;
#[cfg(feature = "nn")]
pub(crate) mod network;
mod probe;
mod workgroups;

pub use crate::data::device_tensor::{DeviceTensor, ElementType};
pub(crate) use device::adapter::Wishes;
pub use device::adapter::{AdapterDescription, adapters, adapters_async};
pub use device::context::Gpu;
pub use device::options::{Exchange, GpuOptions, ProductWalk};
pub(crate) use losses::submit::Pending;
pub(crate) use losses::{accumulate, evaluate};

// Only for the tests and the program's benchmark: kernels without a device, and probes of memory and products.
#[doc(hidden)]
pub use device::kernel::{ParamsLayout, ParamsMember};
#[doc(hidden)]
#[cfg(feature = "linear")]
pub use linear::LinearKernel;
#[doc(hidden)]
pub use losses::partial::Partial;
#[doc(hidden)]
pub use losses::shader::{Arithmetic, Constants, Loads, Variant, variants};
#[doc(hidden)]
#[cfg(feature = "nn")]
pub use network::{NetworkKernel, ProductProbe, Role};
#[doc(hidden)]
pub use probe::MemoryProbe;
