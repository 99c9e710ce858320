//! What training asks of a device.

use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::data::Dataset;
use super::optimizer::Optimizer;
use super::sequential::LayerShape;
use crate::data::evaluation::Evaluation;
use crate::error::Result;
use crate::loss::Loss;
use crate::names::names;

/// Which predictions count as right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accuracy {
    /// What the loss says: the sign for one output, the highest score for several.
    #[default]
    Sign,
    /// Keras's BinaryAccuracy with threshold 0.5, for one output: predicts 1 above it and 0 else, and compares with the
    /// target as it is. With labels -1 and +1 **every negative counts as wrong**.
    Keras,
}

names!(Accuracy, "accuracy": Sign = "sign", Keras = "keras");

/// What an engine is made of, on any device.
pub(crate) struct EngineParts<'a> {
    pub(crate) loss: &'a dyn Loss,
    pub(crate) optimizer: Optimizer,
    pub(crate) accuracy: Accuracy,
    /// Samples an update; `None` where nothing is trained.
    pub(crate) batch_size: Option<usize>,
    pub(crate) shapes: Vec<LayerShape>,
    pub(crate) training: &'a Dataset,
    pub(crate) validation: Option<&'a Dataset>,
    /// Whether the training data is evaluated too.
    pub(crate) evaluates_training: bool,
    pub(crate) memory: &'a Memory,
}

/// The sums over samples that an epoch reports.
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

    /// A batch's mean counts as often as it has samples.
    pub(crate) fn of(evaluation: &Evaluation) -> Self {
        let loss = evaluation.value.unwrap_or(f64::NAN) * evaluation.count as f64;
        Self { loss, count: evaluation.count, correct: evaluation.correct.unwrap_or(0) }
    }
}

/// Weights and the optimizer's memory, as numbers that both precisions hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) parameters: Vec<f64>,
    /// The optimizer's first and second number for each weight; empty where it has none.
    pub(crate) first: Vec<f64>,
    pub(crate) second: Vec<f64>,
}

/// Part of an epoch.
pub(crate) struct EpochPart<'a> {
    /// Rows in the order of training, the whole epoch's.
    pub(crate) order: &'a [u32],
    /// The first batch to train on.
    pub(crate) first_batch: usize,
    /// Updates before that batch, over all epochs.
    pub(crate) updates: u64,
    /// Set from outside to end after the step at hand.
    pub(crate) stop: Option<&'a AtomicBool>,
}

/// How far an epoch came.
pub(crate) struct Progress {
    pub(crate) sums: EpochSums,
    /// The mean losses of the batches done by this call.
    pub(crate) batch_losses: Vec<f64>,
    /// The batch whose loss was not finite, and that loss.
    pub(crate) diverged: Option<(usize, f64)>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { sums: EpochSums::default(), batch_losses: Vec::new(), diverged: None }
    }

    /// Batches done by this call.
    pub(crate) fn batches(&self) -> usize {
        self.batch_losses.len()
    }

    /// Counts a batch; false where its loss is no finite number, which ends the epoch. `first` is the call's first batch.
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

/// Data that a network is evaluated on.
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

/// A device with a network, its training data and its validation data.
pub(crate) trait Engine {
    /// Trains on the batches of an epoch.
    fn train(&mut self, part: &EpochPart<'_>) -> Result<Progress>;
    /// Sums over a data set; none where there is no such one.
    fn evaluate(&mut self, data: Evaluated) -> Result<Option<EpochSums>>;
    /// Remembers the weights and the optimizer's memory where they are.
    fn remember(&mut self, slot: MemorySlot) -> Result<()>;
    /// Goes back to what was remembered there.
    fn recall(&mut self, slot: MemorySlot) -> Result<()>;
    /// The weights and the optimizer's memory, on the host.
    fn memory(&mut self) -> Result<Memory>;
}
