//! What goes in and what comes out: numbers and labels wherever they live, batches of them, requests and results.
//!
//! | file | room for |
//! |---|---|
//! | `real.rs` | the numbers that formulas are written in |
//! | `tensor.rs` | borrowed scores, weights and targets |
//! | `device_tensor.rs` | a handle to numbers in the memory of a device |
//! | `labels.rs` | how each label type is read and checked |
//! | `shape.rs` | samples, columns and targets per sample |
//! | `batch.rs` | scores, targets and weights together, and the checks that they fit each other |
//! | `evaluation.rs` | requests, results, and the sums between them |
//! | `jobs.rs` | a batch on all threads |
//! | `weights.rs` | weights, checked and summed |
//! | `exact.rs` | f64 through serde to the bit |

pub(crate) mod batch;
pub(crate) mod device_tensor;
pub(crate) mod evaluation;
pub(crate) mod exact;
pub(crate) mod jobs;
pub(crate) mod labels;
pub(crate) mod real;
pub(crate) mod shape;
pub(crate) mod tensor;
pub(crate) mod weights;
