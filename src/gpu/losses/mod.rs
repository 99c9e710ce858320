//! The kernels of the losses: one launcher per pattern, and the code that all share.
//!
//! | file | contents |
//! |---|---|
//! | `shader.rs` | assembling WGSL, and the list of all variants |
//! | `templates.rs` | the kernel of each pattern: template, parameters, buffers |
//! | `partial.rs` | the result of one workgroup, finished in f64 on the host |
//! | `launcher.rs` | the interface of a pattern's launcher |
//! | `patterns.rs` | which launcher a loss has |
//! | `launch.rs` | from a batch to passes: uploads, chunks, the choice of arithmetic |
//! | `sink.rs` | where losses and gradient are written on the host |
//! | `dispatch.rs` | one call of a kernel |
//! | `submit.rs` | one pass: its calls, their submission, and the partials read back |
//! | `prepared.rs` | a pass that is bound once and run many times |
//! | `elementwise.rs`, `rows.rs`, `target_rows.rs`, `segments.rs`, `vectors.rs` | one launcher per pattern |
//! | `ranked.rs` | how `segments.rs` sorts ranked lists: their dispatches and scratch memory |

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
