//! Training of [`crate::nn`] networks with max-margin losses, on the CPU or any GPU.
//!
//! | file | content |
//! |---|---|
//! | `trainer.rs` | epochs, validation, early stopping, history |
//! | `weights.rs` | networks as safetensors files |
//! | `checkpoint.rs` | checkpoints: weights and the progress of training |
//! | `targets.rs` | the check of a data set's targets |
//! | `probe.rs` | how fast the CPU multiplies |
//!
//! The devices' own parts are `src/cpu/network.rs` and `src/gpu/network/`. A GPU keeps data, weights, the optimizer's
//! memory and all sums; an epoch is read back as one block of sums. An epoch's loss is the mean of its batches' losses
//! before each update, weighted by their samples, as Keras reports it.

mod checkpoint;
mod probe;
mod targets;
mod trainer;
mod weights;

pub use probe::ProductProbe;
pub use trainer::{Fit, Trainer};

use crate::cpu::network::CpuEngine;
use crate::data::evaluation::Precision;
use crate::device::Device;
use crate::error::{Error, Input, Result};
use crate::loss::BinaryHinge;
use crate::nn::{Accuracy, Dataset, EngineParts, Features, Memory, Optimizer, RowCounter, Sequential};

/// The outputs of a network for rows of features, row-major (rows x outputs).
///
/// # Errors
/// [`crate::Error::Shape`] where the rows do not have as many columns as the network has inputs, and device failures.
pub fn predict(device: &Device, network: &Sequential, features: &Features, precision: Precision) -> Result<Vec<f64>> {
    let columns = network.inputs();
    if !features.len().is_multiple_of(columns) {
        return Err(columns_error(columns, features.len()));
    }
    let rows = features.len() / columns;
    let data = Dataset::of_any_numbers(features.clone(), columns, vec![0.0; rows])?;
    let memory = Memory { parameters: network.parameters().to_vec(), ..Memory::default() };
    let parts = EngineParts {
        // A placeholder: the loss is never evaluated.
        loss: &BinaryHinge::new(),
        optimizer: Optimizer::sgd(0.0),
        accuracy: Accuracy::Sign,
        batch_size: None,
        shapes: network.shapes(),
        training: &data,
        validation: None,
        evaluates_training: false,
        memory: &memory,
        progress: RowCounter::default(),
    };
    Ok(match (device, precision) {
        #[cfg(feature = "gpu")]
        (Device::Gpu(gpu), _) => crate::gpu::network::predict(gpu, &parts)?.into_iter().map(f64::from).collect(),
        (Device::Cpu, Precision::F32) => {
            CpuEngine::<f32>::new(parts).predict(&data).into_iter().map(f64::from).collect()
        }
        (Device::Cpu, Precision::F64) => CpuEngine::<f64>::new(parts).predict(&data),
    })
}

fn check_columns(network: &Sequential, columns: usize) -> Result<()> {
    if columns == network.inputs() { Ok(()) } else { Err(columns_error(network.inputs(), columns)) }
}

fn columns_error(expected: usize, got: usize) -> Error {
    let (expected, got) = (format!("(N, {expected}), as the network's inputs"), format!("(N, {got})"));
    Error::Shape { input: Input::Features, expected, got }
}
