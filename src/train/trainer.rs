//! The training loop: epochs of batches, validation, early stopping, and recovery from a loss that is not finite.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::check_columns;
use super::targets::check_targets;
use crate::cpu::network::CpuEngine;
use crate::data::evaluation::Precision;
use crate::data::memory::{check_room, filled};
use crate::device::Device;
use crate::error::{Error, Result, number};
use crate::loss::Loss;
use crate::nn::{
    Accuracy, Dataset, End, Engine, EngineParts, Epoch, EpochPart, EpochSums, Evaluated, Features, History, Memory,
    MemorySlot, Optimizer, Progress, RowCounter, Score, Sequential, order,
};

/// A network, its objective and its optimizer on a device.
///
/// ```
/// use maxmargin::nn::{Activation, Dataset, Dense, Initializer, Optimizer, Sequential};
/// use maxmargin::train::{Fit, Trainer};
/// use maxmargin::{BinaryHinge, Device};
///
/// let (train, test) = Dataset::circles(1000, 0.1, 0.8, 1)?.signs().split_tail(0.5)?;
/// let hidden = Dense::new(50).activation(Activation::Relu).initializer(Initializer::HeUniform);
/// let output = Dense::new(1).activation(Activation::Tanh).initializer(Initializer::GlorotUniform);
/// let network = Sequential::new(2, &[hidden, output], 1)?;
/// let optimizer = Optimizer::sgd(0.01).momentum(0.9);
/// let mut trainer = Trainer::new(Device::cpu(), network, BinaryHinge::new(), optimizer)?;
/// let history = trainer.fit(&train, &Fit::new().epochs(20).batch_size(32).validation(&test), |_| {})?;
/// assert_eq!(history.epochs.len(), 20);
/// assert!(trainer.evaluate(&test)?.loss < 1.0);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trainer {
    pub(super) device: Device,
    pub(super) network: Sequential,
    pub(super) loss: Box<dyn Loss>,
    pub(super) optimizer: Optimizer,
    pub(super) accuracy: Accuracy,
    pub(super) precision: Precision,
    /// The optimizer's memory, a number for each weight.
    pub(super) first: Vec<f64>,
    pub(super) second: Vec<f64>,
    pub(super) position: Position,
    /// Whether the position is a checkpoint's: the next fit must then be as the one before.
    pub(super) is_resumed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) epoch: u64,
    pub(super) batch: u64,
    /// Samples per batch in the current epoch.
    pub(super) batch_size: u64,
    pub(super) updates: u64,
    /// Sums over the batches done in the current epoch.
    pub(super) sums: EpochSums,
    /// Rows of the data at the start of the current epoch.
    pub(super) rows: u64,
    /// The fingerprint of that data.
    pub(super) data: u64,
    /// Whether that epoch has an order of its own.
    pub(super) shuffle: bool,
    /// The seed at the start of training.
    pub(super) seed: Option<u64>,
    /// The fingerprint of the data that `lowest` is a loss of.
    pub(super) judged: u64,
    /// The lowest loss of an epoch so far.
    #[serde(with = "crate::data::exact::number")]
    pub(super) lowest: f64,
    /// Epochs since the one with the lowest loss.
    pub(super) since_lowest: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            epoch: 0,
            batch: 0,
            batch_size: 0,
            updates: 0,
            sums: EpochSums::default(),
            rows: 0,
            data: 0,
            shuffle: true,
            seed: None,
            judged: 0,
            lowest: f64::INFINITY,
            since_lowest: 0,
        }
    }
}

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    epochs: u64,
    batch_size: usize,
    validation: Option<&'a Dataset>,
    shuffle: bool,
    seed: u64,
    early_stopping: Option<u64>,
    scores: bool,
    stop: Option<&'a AtomicBool>,
    progress: Option<&'a AtomicU64>,
}

impl Default for Fit<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Fit<'a> {
    /// One epoch of batches of 32, shuffled by seed 0, without validation.
    pub fn new() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            validation: None,
            shuffle: true,
            seed: 0,
            early_stopping: None,
            scores: false,
            stop: None,
            progress: None,
        }
    }

    /// The total number of epochs, including those done before.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        self
    }

    /// Samples per update. The last batch of an epoch takes the remaining samples.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
        self
    }

    /// Data to evaluate after each epoch.
    pub fn validation(mut self, data: &'a Dataset) -> Self {
        self.validation = Some(data);
        self
    }

    /// Whether each epoch has its own random order. Otherwise samples keep their order.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// The seed of the orders. A resumed training keeps the seed it began with.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends training when this many epochs in a row (with those before a resume) have not lowered the validation loss,
    /// or without validation data the loss. The weights stay those of the last epoch, as with Keras's EarlyStopping by
    /// default.
    pub fn early_stopping(mut self, patience: u64) -> Self {
        self.early_stopping = Some(patience);
        self
    }

    /// Evaluates the last weights on the training and the validation data, for [`History::training`] and
    /// [`History::validation`]. This saves the data transfer of a later [`Trainer::evaluate`].
    pub fn scores(mut self) -> Self {
        self.scores = true;
        self
    }

    /// A flag that, once set, ends training: on the CPU after the current update, on a GPU after the submitted ones.
    pub fn stop(mut self, stop: &'a AtomicBool) -> Self {
        self.stop = Some(stop);
        self
    }

    /// A counter for a progress bar. It is raised by the rows that went through the network: each epoch's training and
    /// validation data, and the data that [`Fit::scores`] evaluates.
    pub fn progress(mut self, rows: &'a AtomicU64) -> Self {
        self.progress = Some(rows);
        self
    }
}

impl Trainer {
    /// An untrained trainer, in f32.
    ///
    /// # Errors
    /// [`Error::Option`] for invalid options of the loss or the optimizer.
    pub fn new(device: Device, network: Sequential, loss: impl Loss, optimizer: Optimizer) -> Result<Self> {
        Self::with_loss(device, network, loss.boxed(), optimizer)
    }

    fn with_loss(device: Device, network: Sequential, loss: Box<dyn Loss>, optimizer: Optimizer) -> Result<Self> {
        loss.check()?;
        optimizer.check()?;
        if let Some(index) = loss.ignore_index() {
            let (option, expected) = ("ignore_index", "none: rows to be ignored are left out of the data".into());
            return Err(Error::Option { option, expected, got: index.to_string() });
        }
        let memory = |used: bool| if used { filled(0.0, network.parameters().len()) } else { Ok(vec![]) };
        let (first, second) = (memory(optimizer.memory() > 0)?, memory(optimizer.memory() > 1)?);
        let (accuracy, precision, position) = (Accuracy::Sign, Precision::F32, Position::default());
        let is_resumed = false;
        Ok(Self { device, network, loss, optimizer, accuracy, precision, first, second, position, is_resumed })
    }

    /// Which predictions count as right.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// The precision of the network. Only the CPU computes in f64.
    ///
    /// # Errors
    /// [`Error::Option`] for f64 on a GPU.
    pub fn precision(mut self, precision: Precision) -> Result<Self> {
        if precision == Precision::F64 && !matches!(self.device, Device::Cpu) {
            let (option, expected) = ("precision", "f32 on a GPU".into());
            return Err(Error::Option { option, expected, got: "f64".into() });
        }
        self.precision = precision;
        Ok(self)
    }

    /// The network as trained so far.
    pub fn network(&self) -> &Sequential {
        &self.network
    }

    /// Replaces the weights; see [`Sequential::set_parameters`].
    ///
    /// # Errors
    /// As [`Sequential::set_parameters`].
    pub fn set_parameters(&mut self, parameters: &[f64]) -> Result<()> {
        self.network.set_parameters(parameters)
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> u64 {
        self.position.epoch
    }

    /// The seed at the start of training; `None` before it.
    pub fn seed(&self) -> Option<u64> {
        self.position.seed
    }

    /// Trains until `fit.epochs` epochs are done, and calls `on_epoch` after each.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`] and [`Error::Value`] for data that does not fit the network or the loss (for
    /// validation data they name [`crate::Input::ValidationFeatures`] and [`crate::Input::ValidationTargets`]).
    /// [`Error::Option`] where a resumed training, or one that stopped within an epoch, goes on with another batch size,
    /// order or data. [`Error::OutOfMemory`], [`Error::DeviceLimit`].
    /// [`Error::Diverged`] where a batch's loss is NaN or infinite: the network then has the last weights that gave a
    /// finite loss at the start of an epoch.
    pub fn fit(&mut self, data: &Dataset, fit: &Fit<'_>, on_epoch: impl FnMut(&Epoch)) -> Result<History> {
        if fit.batch_size == 0 {
            let (option, expected) = ("batch_size", "1 or more".into());
            return Err(Error::Option { option, expected, got: "0".into() });
        }
        let started = Instant::now();
        self.check_data(data)?;
        fit.validation.map_or(Ok(()), |data| self.check_data(data).map_err(Error::of_validation))?;
        self.check_room(fit.batch_size.min(data.len()))?;
        self.begin(data, fit)?;
        let seed = *self.position.seed.get_or_insert(fit.seed);
        let has_correct = self.loss.has_correct();
        let mut course = FitRun { fit, seed, position: self.position, has_correct, good: None };
        let memory = self.memory();
        let parts = EngineParts {
            batch_size: Some(fit.batch_size.min(data.len())),
            validation: fit.validation,
            evaluates_training: fit.scores,
            progress: RowCounter(fit.progress),
            ..self.parts(data, &memory)
        };
        let mut engine = self.engine(parts)?;
        let mut result = course.run(&mut *engine, data.len(), on_epoch);
        // Also after a failure: the engine then holds the last good weights.
        let mut memory = engine.memory();
        if let (Ok(_), Ok(last)) = (&result, &memory)
            && let Some(error) = course.undo_last_update(&mut *engine, last, data.len())
        {
            memory = engine.memory();
            result = Err(error);
        }
        let result = result.and_then(|mut history| {
            history.seconds = started.elapsed().as_secs_f64();
            course.score(&mut *engine, &mut history)?;
            Ok(history)
        });
        drop(engine);
        let memory = match (memory, &result) {
            (Ok(memory), _) => memory,
            // The weights cannot be read, so the trainer does not count these epochs as done.
            (Err(error), Ok(_)) => return Err(error),
            (Err(_), Err(_)) => return result,
        };
        self.network.set_parameters(&memory.parameters)?;
        (self.first, self.second, self.position) = (memory.first, memory.second, course.position);
        self.is_resumed = false;
        result
    }

    /// Notes what the fit trains on. Within an epoch, and after a checkpoint, that must be as before.
    fn begin(&mut self, data: &Dataset, fit: &Fit<'_>) -> Result<()> {
        let (batch_size, rows, fingerprint) = (fit.batch_size as u64, data.len() as u64, data.fingerprint());
        let Position { epoch, batch, .. } = self.position;
        if batch > 0 || self.is_resumed && epoch > 0 {
            let before = self.position;
            let check = |option, before: &dyn Display, now: &dyn Display| {
                let (expected, got) = (format!("{before}, as the training began"), now.to_string());
                if before.to_string() == got { Ok(()) } else { Err(Error::Option { option, expected, got }) }
            };
            check("batch_size", &before.batch_size, &batch_size)?;
            check("shuffle", &before.shuffle, &fit.shuffle)?;
            check("rows of the data", &before.rows, &rows)?;
            if before.data != fingerprint {
                let (option, expected) = ("training data", "the data that the training began with".into());
                return Err(Error::Option { option, expected, got: "other numbers".into() });
            }
        }
        let judged = fit.validation.map_or(fingerprint, Dataset::fingerprint);
        if self.position.judged != judged {
            // Losses of other data cannot be compared.
            (self.position.lowest, self.position.since_lowest) = (f64::INFINITY, 0);
        }
        self.position = Position { batch_size, rows, data: fingerprint, shuffle: fit.shuffle, judged, ..self.position };
        Ok(())
    }

    /// Checks that there is memory for all that an engine keeps on the host: the weights, the gradient, the optimizer's
    /// memory and two copies of these, and the activations and slopes of a batch.
    fn check_room(&self, batch_size: usize) -> Result<()> {
        let memories = 1 + self.optimizer.memory();
        let numbers = self.network.parameters().len().saturating_mul(3 * memories + 1);
        let shapes = self.network.shapes();
        let widest = shapes.iter().map(|shape| shape.outputs.max(shape.inputs)).max().unwrap_or(0);
        let columns = shapes.iter().map(|shape| shape.outputs).sum::<usize>() + self.network.inputs() + 2 * widest;
        let size = match self.precision {
            Precision::F32 => size_of::<f32>(),
            Precision::F64 => size_of::<f64>(),
        };
        // The weights are handed over in f64.
        let handed_over = self.network.parameters().len().saturating_mul(memories * size_of::<f64>());
        let kept = numbers.saturating_add(columns.saturating_mul(batch_size)).saturating_mul(size);
        check_room(handed_over.saturating_add(kept))
    }

    /// The mean loss and the accuracy over a data set.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn evaluate(&self, data: &Dataset) -> Result<Score> {
        self.check_data(data)?;
        let memory = self.memory();
        let mut engine = self.engine(EngineParts { evaluates_training: true, ..self.parts(data, &memory) })?;
        let sums = engine.evaluate(Evaluated::Training)?.unwrap_or_default();
        Ok(sums.score(self.loss.has_correct()))
    }

    /// The network's outputs for rows of features, row-major (rows x outputs).
    ///
    /// # Errors
    /// [`Error::Shape`] where the rows do not have as many columns as the network has inputs.
    pub fn predict(&self, features: &Features) -> Result<Vec<f64>> {
        super::predict(&self.device, &self.network, features, self.precision)
    }

    /// The gradient of the mean loss over a data set with respect to all weights, in the order of
    /// [`Sequential::parameters`]. It is computed on the CPU.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn gradient(&self, data: &Dataset) -> Result<Vec<f64>> {
        self.check_data(data)?;
        let memory = self.memory();
        let rows: Vec<u32> = (0..data.len() as u32).collect();
        let parts = self.parts(data, &memory);
        Ok(match self.precision {
            Precision::F64 => CpuEngine::<f64>::new(parts).gradient(&rows)?.1.to_vec(),
            Precision::F32 => CpuEngine::<f32>::new(parts).gradient(&rows)?.1.iter().map(|&g| g.into()).collect(),
        })
    }

    fn memory(&self) -> Memory {
        let parameters = self.network.parameters().to_vec();
        Memory { parameters, first: self.first.clone(), second: self.second.clone() }
    }

    /// The parts of an engine that evaluates `data` but does not train.
    fn parts<'a>(&'a self, data: &'a Dataset, memory: &'a Memory) -> EngineParts<'a> {
        EngineParts {
            loss: &*self.loss,
            optimizer: self.optimizer,
            accuracy: self.accuracy,
            batch_size: None,
            shapes: self.network.shapes(),
            training: data,
            validation: None,
            evaluates_training: false,
            memory,
            progress: RowCounter::default(),
        }
    }

    fn engine<'a>(&self, parts: EngineParts<'a>) -> Result<Box<dyn Engine + 'a>> {
        Ok(match (&self.device, self.precision) {
            #[cfg(feature = "gpu")]
            (Device::Gpu(gpu), _) => Box::new(crate::gpu::network::GpuEngine::new(gpu, parts)?),
            (Device::Cpu, Precision::F32) => Box::new(CpuEngine::<f32>::new(parts)),
            (Device::Cpu, Precision::F64) => Box::new(CpuEngine::<f64>::new(parts)),
        })
    }

    /// Checks a data set: its shape, and the targets of all rows.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`] and [`Error::Value`] for data that does not fit the network or the loss, and
    /// [`Error::EmptyMean`] for data without rows.
    pub fn check_data(&self, data: &Dataset) -> Result<()> {
        check_columns(&self.network, data.columns)?;
        if data.is_empty() {
            return Err(Error::EmptyMean { got: 0 });
        }
        let spec = self.loss.spec();
        let shape = data.shape(&spec, self.network.outputs())?;
        check_targets(&spec, &shape, &data.targets)
    }
}

struct FitRun<'a> {
    fit: &'a Fit<'a>,
    seed: u64,
    position: Position,
    has_correct: bool,
    /// Where the weights at the start of the last epoch that gave finite losses are, and its position.
    good: Option<(MemorySlot, Position)>,
}

impl FitRun<'_> {
    /// Takes the last update back if it left weights that are not finite. No loss has seen them yet.
    fn undo_last_update(&mut self, engine: &mut dyn Engine, last: &Memory, samples: usize) -> Option<Error> {
        let (slot, good) = self.good?;
        if last.parameters.iter().all(|weight| weight.is_finite()) {
            return None;
        }
        if let Err(error) = engine.recall(slot) {
            return Some(error);
        }
        let (epoch, step) = match self.position {
            Position { epoch, batch: 0, .. } => (epoch.saturating_sub(1), samples.div_ceil(self.fit.batch_size) as u64),
            Position { epoch, batch, .. } => (epoch, batch),
        };
        self.position = good;
        let loss = "not finite after this update".into();
        Some(Error::Diverged { epoch, step: step.saturating_sub(1), loss })
    }

    fn run(&mut self, engine: &mut dyn Engine, samples: usize, mut on_epoch: impl FnMut(&Epoch)) -> Result<History> {
        let mut history = History::default();
        let batches = samples.div_ceil(self.fit.batch_size) as u64;
        // The slots hold the weights at the start of the current epoch and of the one before.
        let mut slot = MemorySlot::A;
        if self.position.epoch < self.fit.epochs && self.has_waited_long_enough() {
            history.end = End::EarlyStopping;
            return Ok(history);
        }
        while self.position.epoch < self.fit.epochs {
            let started = Instant::now();
            engine.remember(slot)?;
            let before = self.position;
            let order = order(samples as u32, self.fit.shuffle, self.seed, self.position.epoch);
            let first_batch = self.position.batch as usize;
            let part = EpochPart { order: &order, first_batch, updates: self.position.updates, stop: self.fit.stop };
            let progress = match engine.train(&part) {
                Ok(progress) => progress,
                Err(error) => {
                    // Undo the updates made so far. On a lost device this fails, but the updates are lost too.
                    let _ = engine.recall(slot);
                    return Err(error);
                }
            };
            if let Some((batch, loss)) = progress.diverged {
                // Only a finite loss of its first batch shows that the weights at an epoch's start are good.
                let (slot, position) = match self.good {
                    Some(good) if batch == first_batch => good,
                    _ => (slot, before),
                };
                engine.recall(slot)?;
                let epoch = self.position.epoch;
                self.position = position;
                return Err(Error::Diverged { epoch, step: batch as u64, loss: number(loss) });
            }
            self.good = Some((slot, before));
            slot = slot.other();
            self.advance(&progress);
            if self.position.batch < batches {
                history.end = End::Stopped;
                return Ok(history);
            }
            let row = self.finish_epoch(engine, progress.batch_losses, started)?;
            on_epoch(&row);
            history.epochs.push(row);
            if self.fit.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                history.end = End::Stopped;
                return Ok(history);
            }
            if self.has_waited_long_enough() {
                history.end = End::EarlyStopping;
                return Ok(history);
            }
        }
        Ok(history)
    }

    fn score(&self, engine: &mut dyn Engine, history: &mut History) -> Result<()> {
        if !self.fit.scores {
            return Ok(());
        }
        let mut of = |data| Ok(engine.evaluate(data)?.map(|sums| sums.score(self.has_correct)));
        history.training = of(Evaluated::Training)?;
        // A completed epoch was validated with these weights.
        let last = history.epochs.last().filter(|_| self.position.batch == 0);
        let validated = last.and_then(|epoch| Some(Score { loss: epoch.val_loss?, accuracy: epoch.val_accuracy }));
        history.validation = match validated {
            None => of(Evaluated::Validation)?,
            validated => validated,
        };
        Ok(())
    }

    fn has_waited_long_enough(&self) -> bool {
        self.fit.early_stopping.is_some_and(|patience| self.position.since_lowest >= patience.max(1))
    }

    fn advance(&mut self, progress: &Progress) {
        self.position.sums.add(progress.sums);
        self.position.batch += progress.batches() as u64;
        self.position.updates += progress.batches() as u64;
    }

    fn finish_epoch(&mut self, engine: &mut dyn Engine, batch_losses: Vec<f64>, started: Instant) -> Result<Epoch> {
        let score = self.position.sums.score(self.has_correct);
        let validation = engine.evaluate(Evaluated::Validation)?.map(|sums| sums.score(self.has_correct));
        let row = Epoch {
            epoch: self.position.epoch,
            loss: score.loss,
            accuracy: score.accuracy,
            val_loss: validation.map(|score| score.loss),
            val_accuracy: validation.and_then(|score| score.accuracy),
            batch_losses,
            seconds: started.elapsed().as_secs_f64(),
        };
        let monitored = row.val_loss.unwrap_or(row.loss);
        let Position { lowest, since_lowest, .. } = &mut self.position;
        *since_lowest = if monitored < *lowest { 0 } else { *since_lowest + 1 };
        *lowest = lowest.min(monitored);
        self.position.epoch += 1;
        (self.position.batch, self.position.sums) = (0, EpochSums::default());
        Ok(row)
    }
}

impl EpochSums {
    fn score(&self, has_correct: bool) -> Score {
        let count = self.count as f64;
        Score { loss: self.loss / count, accuracy: has_correct.then(|| self.correct as f64 / count) }
    }
}
