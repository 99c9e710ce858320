//! Weights and checkpoints as safetensors files.
//!
//! A network is stored as `layers.N.weight` of shape (outputs, inputs) and `layers.N.bias`, where N counts dense layers
//! from 0: torch's names and shapes for the Linear layers of a Sequential with nothing in between. A checkpoint also
//! holds `optimizer.first.layers.N.weight` and so on, and the progress of training.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::trainer::{Position, Trainer};
use crate::error::{Error, Result};
use crate::nn::{Optimizer, Sequential};

/// The key of the safetensors header under which a checkpoint stores all but its tensors.
const METADATA: &str = "maxmargin.checkpoint";

/// A limit for counters: none reaches it in practice, and sums of two counters cannot overflow.
const MOST_COUNTED: u64 = 1 << 53;

/// The content of a checkpoint besides its tensors.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// The loss with its options.
    loss: String,
    optimizer: Optimizer,
    layers: Vec<String>,
    position: Position,
}

/// The name, shape and place of each tensor of a network.
fn tensors(network: &Sequential) -> Vec<(String, Vec<usize>, Range<usize>)> {
    let mut tensors = Vec::new();
    for (n, shape) in network.shapes().into_iter().enumerate() {
        tensors.push((format!("layers.{n}.weight"), vec![shape.outputs, shape.inputs], shape.weight));
        tensors.push((format!("layers.{n}.bias"), vec![shape.outputs], shape.bias));
    }
    tensors
}

fn wrong(expected: impl Into<String>, got: impl Into<String>) -> Error {
    Error::File { what: "weights", expected: expected.into(), got: got.into() }
}

/// Numbers as f32 where that loses nothing, else as f64.
fn bytes(numbers: &[f64]) -> (Dtype, Vec<u8>) {
    let fits = numbers.iter().all(|&x| f64::from(x as f32).to_bits() == x.to_bits() || x.is_nan());
    match fits {
        true => (Dtype::F32, numbers.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect()),
        false => (Dtype::F64, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()),
    }
}

/// Writes groups of numbers as tensors. Each group has a prefix and as many numbers as the network has parameters.
fn write(
    network: &Sequential,
    groups: &[(&str, &[f64])],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>> {
    let mut parts = Vec::new();
    for (prefix, numbers) in groups {
        for (name, shape, range) in tensors(network) {
            let numbers = numbers.get(range).unwrap_or_default();
            parts.push((format!("{prefix}{name}"), shape, bytes(numbers)));
        }
    }
    let failed = |error: safetensors::SafeTensorError| wrong("tensors that can be written", error.to_string());
    let mut views = Vec::new();
    for (name, shape, (dtype, bytes)) in &parts {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?));
    }
    serialize(views, metadata).map_err(failed)
}

/// Reads all tensors under a prefix, or fails.
fn read(file: &SafeTensors<'_>, network: &Sequential, prefix: &str) -> Result<Vec<f64>> {
    let mut numbers = vec![0.0; network.parameters().len()];
    for (name, shape, range) in tensors(network) {
        let name = format!("{prefix}{name}");
        let tensor = file.tensor(&name).map_err(|_| {
            let names = file.names().into_iter().map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
            wrong(format!("a tensor {name} of shape {}", written(&shape)), format!("tensors {names}"))
        })?;
        if tensor.shape() != shape {
            let expected = format!("{name} of shape {}, as the layers say", written(&shape));
            return Err(wrong(expected, written(tensor.shape())));
        }
        let data = tensor.data();
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F16 => data.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).into()).collect(),
            Dtype::BF16 => data.as_chunks().0.iter().map(|&b| half::bf16::from_le_bytes(b).into()).collect(),
            other => return Err(wrong(format!("{name} of f16, bf16, f32 or f64"), format!("{other:?}"))),
        };
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(wrong(format!("finite numbers in {name}"), format!("{} at [{at}]", values[at])));
        }
        numbers[range].copy_from_slice(&values);
    }
    Ok(numbers)
}

fn open(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| wrong("a safetensors file", error.to_string()))
}

impl Sequential {
    /// The weights as a safetensors file.
    ///
    /// ```
    /// use maxmargin::nn::{Dense, Sequential};
    /// let network = Sequential::new(3, &[Dense::new(2), Dense::new(1)], 7)?;
    /// let mut other = Sequential::new(3, &[Dense::new(2), Dense::new(1)], 8)?;
    /// other.load_safetensors(&network.to_safetensors()?)?;
    /// assert_eq!(other, network);
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] where the format cannot hold the weights.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        write(self, &[("", self.parameters())], None)
    }

    /// Replaces the weights with those of a safetensors file. Other tensors in the file are ignored.
    ///
    /// # Errors
    /// [`Error::Option`] for a file that is not safetensors, lacks a tensor, or holds another shape, another type or a
    /// number that is not finite. The weights are then unchanged.
    pub fn load_safetensors(&mut self, bytes: &[u8]) -> Result<()> {
        let numbers = read(&open(bytes)?, self, "")?;
        self.set_parameters(&numbers)
    }
}

impl Trainer {
    /// Weights, the optimizer's memory and the progress of training, as a safetensors file.
    ///
    /// # Errors
    /// [`Error::Option`] where the format cannot hold them.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let mut groups = vec![("", self.network.parameters())];
        if !self.first.is_empty() {
            groups.push(("optimizer.first.", &self.first));
        }
        if !self.second.is_empty() {
            groups.push(("optimizer.second.", &self.second));
        }
        let checkpoint = Checkpoint {
            loss: self.loss_text(),
            optimizer: self.optimizer,
            layers: self.network.layers().iter().map(ToString::to_string).collect(),
            position: self.position,
        };
        let text = serde_json::to_string(&checkpoint).map_err(|e| wrong("a checkpoint as JSON", e.to_string()))?;
        write(&self.network, &groups, Some(HashMap::from([(METADATA.to_owned(), text)])))
    }

    fn loss_text(&self) -> String {
        format!("{} {:?}", self.loss.name(), self.loss)
    }

    /// Continues from a checkpoint. On the same device, with the same data and options, the next epochs equal those of
    /// an uninterrupted training, to the bit.
    ///
    /// # Errors
    /// [`Error::Option`] for a file that is not a checkpoint, or a checkpoint of another network, or of a loss or
    /// optimizer with other options. Nothing is then changed.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<()> {
        let (_, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| wrong("a safetensors file", error.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(METADATA));
        let text = text.ok_or_else(|| wrong("a checkpoint, with optimizer and epoch", "weights alone"))?;
        let saved: Checkpoint =
            serde_json::from_str(text).map_err(|error| wrong("a checkpoint's header", error.to_string()))?;
        let own: Vec<String> = self.network.layers().iter().map(ToString::to_string).collect();
        let checks = [
            ("layers", own.join(","), saved.layers.join(",")),
            ("loss", self.loss_text(), saved.loss),
            ("optimizer", format!("{:?}", self.optimizer), format!("{:?}", saved.optimizer)),
        ];
        for (what, own, saved) in checks {
            if own != saved {
                return Err(wrong(format!("a checkpoint with {what} {own}"), saved));
            }
        }
        let Position { epoch, batch, batch_size, updates, rows, sums, since_lowest, .. } = saved.position;
        if let Some(count) =
            [epoch, batch, batch_size, updates, rows, sums.count, since_lowest].into_iter().find(|&n| n > MOST_COUNTED)
        {
            return Err(wrong(format!("a checkpoint that counts to {MOST_COUNTED} at most"), count.to_string()));
        }
        let file = open(bytes)?;
        let parameters = read(&file, &self.network, "")?;
        let memory = |used: bool, prefix| if used { read(&file, &self.network, prefix) } else { Ok(vec![]) };
        let first = memory(!self.first.is_empty(), "optimizer.first.")?;
        let second = memory(!self.second.is_empty(), "optimizer.second.")?;
        self.network.set_parameters(&parameters)?;
        (self.first, self.second, self.position) = (first, second, saved.position);
        Ok(())
    }
}

/// A shape as messages write it.
fn written(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", axes.join(", "))
}
