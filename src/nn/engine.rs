//! What training asks of a device.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::data::Dataset;
use super::optimizer::Optimizer;
use super::sequential::LayerShape;
use crate::data::evaluation::Evaluation;
use crate::error::Result;
use crate::loss::Loss;
use crate::names::names;

/// Which predictions count as right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Accuracy {
    /// A single output predicts by its sign, several outputs by the highest score.
    #[default]
    Sign,
    /// Keras's BinaryAccuracy with threshold 0.5, for one output: an output above 0.5 predicts 1, any other 0. The
    /// prediction is compared with the unchanged target, so with labels -1 and +1 **every negative counts as wrong**.
    Keras,
}

names!(Accuracy, "accuracy": Sign = "sign", Keras = "keras");

/// What a device needs to build an engine.
pub(crate) struct EngineParts<'a> {
    pub(crate) loss: &'a dyn Loss,
    pub(crate) optimizer: Optimizer,
    pub(crate) accuracy: Accuracy,
    /// Samples per update; `None` where nothing is trained.
    pub(crate) batch_size: Option<usize>,
    pub(crate) shapes: Vec<LayerShape>,
    pub(crate) training: &'a Dataset,
    pub(crate) validation: Option<&'a Dataset>,
    pub(crate) evaluates_training: bool,
    pub(crate) memory: &'a Memory,
    pub(crate) progress: RowCounter<'a>,
}

/// A caller's counter of the rows that went through the network, for a progress bar.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowCounter<'a>(pub(crate) Option<&'a AtomicU64>);

impl RowCounter<'_> {
    pub(crate) fn add(self, rows: usize) {
        if let Some(counter) = self.0 {
            counter.fetch_add(rows as u64, Ordering::Relaxed);
        }
    }
}

/// Sums over the samples of an epoch, for its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochSums {
    pub(crate) loss: f64,
    pub(crate) count: u64,
    pub(crate) correct: u64,
}

impl EpochSums {
    pub(crate) fn add(&mut self, other: EpochSums) {
        self.loss += other.loss;
        self.count += other.count;
        self.correct += other.correct;
    }

    /// Weights the batch's mean loss by its number of samples.
    pub(crate) fn of(evaluation: &Evaluation) -> Self {
        let loss = evaluation.value.unwrap_or(f64::NAN) * evaluation.count as f64;
        Self { loss, count: evaluation.count, correct: evaluation.correct.unwrap_or(0) }
    }
}

/// Weights and the optimizer's memory, in f64, which holds f32 and f64 exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) parameters: Vec<f64>,
    /// The optimizer's first and second number for each weight; empty where the optimizer has none.
    pub(crate) first: Vec<f64>,
    pub(crate) second: Vec<f64>,
}

pub(crate) struct EpochPart<'a> {
    /// All rows of the epoch, in the order of training.
    pub(crate) order: &'a [u32],
    pub(crate) first_batch: usize,
    /// Updates over all epochs before `first_batch`.
    pub(crate) updates: u64,
    /// Set by another thread to end the part after the current step.
    pub(crate) stop: Option<&'a AtomicBool>,
}

pub(crate) struct Progress {
    pub(crate) sums: EpochSums,
    pub(crate) batch_losses: Vec<f64>,
    /// The batch with a loss that is not finite, and that loss.
    pub(crate) diverged: Option<(usize, f64)>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { sums: EpochSums::default(), batch_losses: Vec::new(), diverged: None }
    }

    pub(crate) fn batches(&self) -> usize {
        self.batch_losses.len()
    }

    /// Counts a batch. False for a loss that is not finite, which ends the epoch. `first` is the call's first batch.
    pub(crate) fn add(&mut self, sums: EpochSums, first: usize) -> bool {
        let mean = sums.loss / sums.count as f64;
        if !sums.loss.is_finite() {
            self.diverged = Some((first + self.batches(), mean));
            return false;
        }
        self.sums.add(sums);
        self.batch_losses.push(mean);
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evaluated {
    Training,
    Validation,
}

/// One of two places to remember weights in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySlot {
    A,
    B,
}

impl MemorySlot {
    pub(crate) fn other(self) -> Self {
        match self {
            MemorySlot::A => MemorySlot::B,
            MemorySlot::B => MemorySlot::A,
        }
    }
}

pub(crate) trait Engine {
    fn train(&mut self, part: &EpochPart<'_>) -> Result<Progress>;
    /// Sums over a data set; `None` where the engine has no such data.
    fn evaluate(&mut self, data: Evaluated) -> Result<Option<EpochSums>>;
    /// Copies the weights and the optimizer's memory to `slot`, on the device.
    fn remember(&mut self, slot: MemorySlot) -> Result<()>;
    /// Restores what `remember` copied to `slot`.
    fn recall(&mut self, slot: MemorySlot) -> Result<()>;
    /// Copies the weights and the optimizer's memory to the host.
    fn memory(&mut self) -> Result<Memory>;
}
