//! Inputs and results: numbers and labels wherever they live, batches of them, requests and evaluations. Each module's
//! first line says what it holds.

pub(crate) mod batch;
pub(crate) mod device_tensor;
pub(crate) mod elementary;
pub(crate) mod evaluation;
pub(crate) mod exact;
pub(crate) mod exact_sum;
pub(crate) mod jobs;
pub(crate) mod labels;
pub(crate) mod memory;
pub(crate) mod real;
pub(crate) mod shape;
pub(crate) mod tensor;
pub(crate) mod weights;
