//! The kernels of the losses: one launcher a pattern, and what they share.
//!
//! | file | room for |
//! |---|---|
//! | `shader.rs` | assembling WGSL, and the list of all variants |
//! | `templates.rs` | the kernel of each pattern: template, parameters, buffers |
//! | `partial.rs` | what a workgroup returns, finished in f64 |
//! | `launcher.rs` | what a pattern's launcher says of itself |
//! | `patterns.rs` | which launcher a loss has |
//! | `launch.rs` | from a batch to passes: uploads, chunks, the choice of arithmetic |
//! | `sink.rs` | where losses and gradient go on the host |
//! | `dispatch.rs` | one call of a kernel |
//! | `submit.rs` | one pass: its calls, their submission, and the partials read back |
//! | `prepared.rs` | a pass that is bound once and run often |
//! | `elementwise.rs`, `rows.rs`, `target_rows.rs`, `segments.rs`, `vectors.rs` | one launcher a pattern; `segments.rs` has that of ranked lists too |
//! | `ranked.rs` | how lists are sorted: their dispatches and scratch memory |

mod dispatch;
pub(in crate::gpu) mod elementwise;
pub(in crate::gpu) mod launch;
pub(in crate::gpu) mod launcher;
pub(in crate::gpu) mod partial;
mod patterns;
pub(in crate::gpu) mod prepared;
mod ranked;
pub(in crate::gpu) mod rows;
pub(in crate::gpu) mod segments;
pub(in crate::gpu) mod shader;
mod sink;
pub(in crate::gpu) mod submit;
pub(in crate::gpu) mod target_rows;
pub(in crate::gpu) mod templates;
pub(in crate::gpu) mod vectors;

pub(crate) use launch::{accumulate, evaluate};
