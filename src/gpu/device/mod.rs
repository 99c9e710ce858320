//! One device: adapters, buffers, staging, readback, compiled kernels and their calls.
//!
//! | file | contents |
//! |---|---|
//! | `adapter.rs` | listing adapters and choosing one |
//! | `options.rs` | how a device runs its kernels |
//! | `context.rs` | one opened device: errors, waiting |
//! | `kernel.rs` | compiling kernels, once each |
//! | `command.rs` | one call of a kernel and its bindings |
//! | `clock.rs` | how long kernels take by the device's own clock |
//! | `params.rs` | the kernels' parameters, cached |
//! | `pool.rs` | buffers, reused |
//! | `staging.rs` | host data on its way to the device |
//! | `readback.rs` | results on their way to the host |
//! | `tensor.rs` | tensors that stay on the device |

pub(in crate::gpu) mod adapter;
pub(in crate::gpu) mod clock;
pub(in crate::gpu) mod command;
pub(in crate::gpu) mod context;
pub(in crate::gpu) mod kernel;
pub(in crate::gpu) mod options;
pub(in crate::gpu) mod params;
pub(in crate::gpu) mod pool;
pub(in crate::gpu) mod readback;
pub(in crate::gpu) mod staging;
pub(in crate::gpu) mod tensor;
