//! The GPU backend: WGSL kernels through wgpu, on Vulkan, Metal and DX12 (GL as far as it goes).
//!
//! | file | room for |
//! |---|---|
//! | `adapter.rs` | listing adapters and choosing one |
//! | `context.rs` | one opened device: pipelines, errors, waiting |
//! | `clock.rs` | how long kernels take by the device's own clock |
//! | `params.rs` | the kernels' parameters, remembered |
//! | `pool.rs` | buffers, reused |
//! | `staging.rs` | host data on its way to the device |
//! | `readback.rs` | results on their way to the host |
//! | `tensor.rs` | tensors that stay on the device |
//! | `shader.rs` | assembling WGSL, and the list of all variants |
//! | `partial.rs` | what a workgroup returns, finished in f64 |
//! | `launch.rs` | from a batch to passes: uploads, chunks, the choice of arithmetic |
//! | `workgroups.rs` | how work is spread over lanes and workgroups |
//! | `command.rs` | one call of a kernel and its bindings |
//! | `submit.rs` | one pass: its calls, their submission, and the partials read back |
//! | `prepared.rs` | a pass that is bound once and run often |
//! | `probe.rs` | how fast the device's own memory is |
//! | `network/` | training: its kernels beside the losses', and the plan of an epoch |
//! | `elementwise.rs`, `rows.rs`, `target_rows.rs`, `segments.rs`, `vectors.rs` | one launcher a pattern; `segments.rs` has that of ranked lists too |
//! | `ranked.rs` | how lists are sorted: their dispatches and scratch memory |
//!
//! The functions ending in `_async` are the core; the others block on them and exist on native targets only.

mod adapter;
mod clock;
mod command;
mod context;
pub(crate) mod elementwise;
pub(crate) mod launch;
pub(crate) mod network;
mod params;
mod partial;
mod pool;
mod prepared;
mod probe;
mod ranked;
mod readback;
pub(crate) mod rows;
pub(crate) mod segments;
mod shader;
mod staging;
mod submit;
pub(crate) mod target_rows;
mod tensor;
pub(crate) mod vectors;
mod workgroups;

pub use adapter::{AdapterDescription, adapters, adapters_async};
pub use context::{Gpu, GpuOptions};
pub use elementwise::ElementwiseParams;
pub use network::{
    GatherParams, KerasAccuracyParams, NetworkKernel, OutputGradientParams, ProductParams, ProductProbe, ProductWalk,
    Role, UpdateParams, WholeStepsParams,
};
pub use partial::Partial;
pub use prepared::Prepared;
pub use probe::{MemoryParams, MemoryProbe};
pub use rows::RowsParams;
pub use segments::SegmentsParams;
pub use shader::{Arithmetic, Constants, Exchange, Variant, variants};
pub use submit::Pending;
pub use target_rows::TargetRowsParams;
pub use tensor::{DeviceTensor, ElementType};
pub use vectors::VectorsParams;
