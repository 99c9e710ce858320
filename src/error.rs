//! The crate's only error type. Every variant says what was expected, what came, and where.

use std::fmt;

/// The input that an error refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// The scores (raw decision values, logits, predictions).
    Scores,
    /// The second scores or vectors of pairs, or the positives of triplets.
    SecondScores,
    /// The negatives of triplets.
    Negatives,
    /// The targets (labels, class indices).
    Targets,
    /// One weight per sample.
    SampleWeights,
    /// One weight per class.
    ClassWeights,
    /// One margin per pair of classes.
    MarginMatrix,
    /// Rows of features for a network.
    Features,
    /// Rows of features for a network's validation.
    ValidationFeatures,
    /// The targets for a network's validation.
    ValidationTargets,
    /// The weights of a network.
    Weights,
    /// The caller's memory for the losses.
    LossesBuffer,
    /// The caller's memory for the gradient.
    GradientBuffer,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Input::Scores => "scores",
            Input::SecondScores => "second scores",
            Input::Negatives => "negatives",
            Input::Targets => "targets",
            Input::SampleWeights => "sample weights",
            Input::ClassWeights => "class weights",
            Input::MarginMatrix => "margin matrix",
            Input::Features => "features",
            Input::ValidationFeatures => "validation features",
            Input::ValidationTargets => "validation targets",
            Input::Weights => "network weights",
            Input::LossesBuffer => "buffer of losses",
            Input::GradientBuffer => "buffer of the gradient",
        })
    }
}

/// Everything that can go wrong in this crate. [`Error::is_input`] tells bad input from a failing device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input has the wrong number of elements.
    #[error("{input}: expected {expected} elements (one for each {unit}), got {got}")]
    Length {
        /// The input with the wrong length.
        input: Input,
        /// Elements expected.
        expected: usize,
        /// Elements received.
        got: usize,
        /// What one element belongs to: `score`, `row of scores`, `class`.
        unit: &'static str,
    },
    /// A shape that the loss does not take.
    #[error("{input}: expected shape {expected}, got {got}")]
    Shape {
        /// The input with the wrong shape.
        input: Input,
        /// The shape expected, in words.
        expected: String,
        /// The shape received, in words.
        got: String,
    },
    /// Labels that a model cannot be made of.
    #[error("{input}: expected {expected}, got {got}")]
    Labels {
        /// The input with the labels.
        input: Input,
        /// The labels expected, in words.
        expected: String,
        /// The labels received, in words.
        got: String,
    },
    /// An element with a value that the loss does not take.
    #[error("{input}[{index}]: expected {expected}, got {value}")]
    Value {
        /// The input that holds the value.
        input: Input,
        /// Flat index of the first bad element.
        index: u64,
        /// The value found there, in the input's own digits.
        value: String,
        /// What is allowed there.
        expected: String,
    },
    /// An update of a streaming metric failed.
    #[error("update {update}: {source}")]
    Update {
        /// The update, counted from 0 since the last reset.
        update: u64,
        /// What was wrong with it.
        source: Box<Error>,
    },
    /// The mean of no samples: the input is empty, or every row is ignored.
    #[error(
        "mean over no samples: expected at least one sample that is not ignored, got {got} samples, all ignored or none at all; reduction sum is defined (0)"
    )]
    EmptyMean {
        /// Samples received, ignored ones included.
        got: u64,
    },
    /// A weighted mean with a sum of weights of zero.
    #[error("weighted mean over {count} samples: expected a positive sum of weights, got 0; reduction sum is defined")]
    ZeroWeight {
        /// Samples that entered the sum.
        count: u64,
    },
    /// An option of a loss or a request has an invalid value.
    #[error("option {option}: expected {expected}, got {got}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What is allowed.
        expected: String,
        /// The value given.
        got: String,
    },
    /// A file or a saved metric has invalid contents.
    #[error("{what}: expected {expected}, got {got}")]
    File {
        /// What was read: `weights`, `saved metric`.
        what: &'static str,
        /// What it should hold.
        expected: String,
        /// What it holds.
        got: String,
    },
    /// No device matches this selection.
    #[error(
        "device \"{requested}\": expected auto, cpu, gpu, gpu:N or a part of an adapter's name; adapters here: {available}"
    )]
    UnknownDevice {
        /// The selection asked for.
        requested: String,
        /// What could have been selected.
        available: String,
    },
    /// A part of a name fits several adapters.
    #[error("device \"{requested}\": expected a name of one adapter, or gpu:N; it fits {fitting}")]
    AmbiguousDevice {
        /// The selection asked for.
        requested: String,
        /// The adapters that it fits.
        fitting: String,
    },
    /// A device tensor was used with another device.
    #[error("{input}: the tensor lives on {expected}, but the evaluation was asked for on {got}")]
    WrongDevice {
        /// The input on another device.
        input: Input,
        /// Where the tensor lives.
        expected: String,
        /// The device that was asked to evaluate.
        got: String,
    },
    /// An element type that the device does not take for this input.
    #[error("{input}: expected elements of type {expected}, got {got}")]
    ElementType {
        /// The input with the wrong type.
        input: Input,
        /// The types allowed.
        expected: &'static str,
        /// The type received.
        got: &'static str,
    },
    /// A request goes beyond what the device can address.
    #[error("{what}: the device allows at most {limit}, got {got}")]
    DeviceLimit {
        /// What is too large.
        what: &'static str,
        /// The device's limit.
        limit: u64,
        /// The size asked for.
        got: u64,
    },
    /// The device has no memory left for an allocation.
    #[error("{device}: out of memory while {operation}")]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// What was being done.
        operation: String,
    },
    /// The device was lost (unplugged, reset by its driver, or destroyed by its owner).
    #[error("{device}: device lost while {operation}: {reason}")]
    DeviceLost {
        /// The device's name.
        device: String,
        /// What was being done.
        operation: String,
        /// The driver's words.
        reason: String,
    },
    /// The loss became NaN or infinite in training.
    #[error(
        "epoch {epoch}, step {step}: the loss is {loss}; expected a finite number (a lower learning rate may help)"
    )]
    Diverged {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The batch within the epoch, counted from 0.
        step: u64,
        /// The loss.
        loss: String,
    },
    /// A plot could not be drawn.
    #[error("plot: {message}")]
    Plot {
        /// What was expected and what came.
        message: String,
    },
    /// The graphics API refused an operation: a defect of this crate or of the driver.
    #[error("{device}: {operation} failed: {message}")]
    Gpu {
        /// The device's name.
        device: String,
        /// What was being done.
        operation: String,
        /// The API's words.
        message: String,
    },
}

impl Error {
    /// True if the caller's data or options are at fault; false if a device is.
    pub fn is_input(&self) -> bool {
        self.input().is_some()
            || matches!(self, Error::Update { source, .. } if source.is_input())
            || matches!(
                self,
                Error::EmptyMean { .. } | Error::ZeroWeight { .. } | Error::Option { .. } | Error::File { .. }
            )
    }

    /// The input that the error refers to, if any.
    pub fn input(&self) -> Option<Input> {
        match self {
            Error::Length { input, .. }
            | Error::Shape { input, .. }
            | Error::Labels { input, .. }
            | Error::Value { input, .. }
            | Error::WrongDevice { input, .. }
            | Error::ElementType { input, .. } => Some(*input),
            Error::Update { source, .. } => source.input(),
            _ => None,
        }
    }

    /// The same error, naming the inputs of the validation instead of the training.
    #[cfg(any(feature = "nn", feature = "linear"))]
    pub(crate) fn of_validation(mut self) -> Self {
        if let Error::Length { input, .. }
        | Error::Shape { input, .. }
        | Error::Labels { input, .. }
        | Error::Value { input, .. } = &mut self
        {
            *input = match *input {
                Input::Features => Input::ValidationFeatures,
                Input::Targets => Input::ValidationTargets,
                other => other,
            };
        }
        self
    }

    /// The same error with `offset` added to the index of a bad value, to turn a chunk's index into the whole input's.
    pub(crate) fn shifted(self, offset: u64) -> Self {
        match self {
            Error::Value { input, index, value, expected } => {
                Error::Value { input, index: index.wrapping_add(offset), value, expected }
            }
            Error::Update { update, source } => Error::Update { update, source: Box::new(source.shifted(offset)) },
            other => other,
        }
    }
}

/// A number as a person writes it, with an exponent if it would have many digits.
pub(crate) fn number<T: Copy + Into<f64> + fmt::Display + fmt::LowerExp>(x: T) -> String {
    let magnitude = x.into().abs();
    let is_short = magnitude == 0.0 || !magnitude.is_finite() || (1e-5..1e16).contains(&magnitude);
    if is_short { x.to_string() } else { format!("{x:e}") }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
