//! Networks of dense layers, trained with max-margin losses on the CPU or any GPU.
//!
//! | file | room for |
//! |---|---|
//! | `layer.rs` | dense layers, activations, initialisers |
//! | `sequential.rs` | a network and its weights |
//! | `optimizer.rs` | SGD, Adam and AdamW by torch's and by Keras's rules |
//! | `data.rs` | data sets: circles, moons, images, and a caller's own |
//! | `trainer.rs` | epochs, validation, early stopping, history |
//! | `engine.rs` | what training asks of a device |
//! | `cpu.rs` | training on the CPU; on a GPU: `src/gpu/network/` |
//! | `file.rs` | weights and checkpoints as safetensors |
//! | `probe.rs` | how fast the CPU multiplies |
//! | `random.rs` | seeds |
//!
//! Every loss of the crate can be the objective; the network's outputs are its scores. On a GPU data, weights, the
//! optimizer's memory and all sums stay on the device; an epoch is read back as one block of sums. An epoch's loss is the
//! mean of its batches' losses before each update, weighted by their samples, as Keras reports it.

mod cpu;
mod data;
mod engine;
mod file;
mod history;
mod layer;
mod optimizer;
mod probe;
mod random;
mod sequential;
mod trainer;

pub use data::{Dataset, Features};
pub use engine::Accuracy;
pub use history::{End, Epoch, History};
pub use layer::{Activation, Dense, Initializer};
pub use optimizer::{Conventions, Optimizer};
pub use probe::ProductProbe;
pub use sequential::Sequential;
pub use trainer::{Fit, Score, Trainer};

pub(crate) use cpu::{Parts, batch};
pub(crate) use engine::{Engine, Memory, Part, Progress, Slot, Sums};
pub(crate) use optimizer::Update;
pub(crate) use sequential::LayerShape;

use crate::device::Device;
use crate::error::Result;
use crate::evaluation::Precision;

/// The outputs of a network for rows of features, row-major (rows x outputs).
///
/// # Errors
/// [`crate::Error::Shape`] where the number of columns is not the network's inputs, and the device's own failures.
pub fn predict(device: &Device, network: &Sequential, features: &Features, precision: Precision) -> Result<Vec<f64>> {
    let columns = network.inputs();
    if !features.len().is_multiple_of(columns) {
        return Err(trainer::columns_error(columns, features.len()));
    }
    let rows = features.len() / columns;
    let data = Dataset::new(features.clone(), columns, vec![0.0; rows])?;
    let memory = Memory { parameters: network.parameters().to_vec(), ..Memory::default() };
    let parts = Parts {
        // Nothing asks for its value.
        loss: &crate::loss::BinaryHinge::new(),
        optimizer: Optimizer::sgd(0.0),
        accuracy: Accuracy::Sign,
        batch_size: None,
        shapes: network.shapes(),
        training: &data,
        validation: None,
        memory: &memory,
    };
    Ok(match (device, precision) {
        (Device::Gpu(gpu), _) => crate::gpu::network::predict(gpu, &parts)?.into_iter().map(f64::from).collect(),
        (Device::Cpu, Precision::F32) => {
            cpu::CpuEngine::<_, f32>::new(parts).predict(&data).into_iter().map(f64::from).collect()
        }
        (Device::Cpu, Precision::F64) => cpu::CpuEngine::<_, f64>::new(parts).predict(&data),
    })
}

fn check_columns(network: &Sequential, columns: usize) -> Result<()> {
    if columns == network.inputs() { Ok(()) } else { Err(trainer::columns_error(network.inputs(), columns)) }
}
