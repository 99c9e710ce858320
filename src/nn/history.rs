//! What training reports.

use serde::{Deserialize, Serialize};

/// One epoch. A value is `None` where it has no meaning: without validation data, or where the loss predicts nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: u64,
    /// The mean of the batches' losses before each update, weighted by the batches' samples.
    pub loss: f64,
    /// The fraction of samples predicted right, from the same outputs as `loss`.
    pub accuracy: Option<f64>,
    /// The loss over the validation data after the epoch.
    pub val_loss: Option<f64>,
    /// The accuracy over the validation data after the epoch.
    pub val_accuracy: Option<f64>,
    /// The mean loss of each batch before its update, in order. After a resume within an epoch: only the batches since.
    pub batch_losses: Vec<f64>,
    /// Seconds that the epoch took, validation included.
    pub seconds: f64,
}

/// All epochs of a training, and why it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// In order.
    pub epochs: Vec<Epoch>,
    /// Why training ended.
    pub end: End,
    /// Seconds that training took, without scoring the last weights.
    #[serde(default)]
    pub seconds: f64,
    /// The score of the last weights on the training data, where asked for.
    pub training: Option<Score>,
    /// The score of the last weights on the validation data, where asked for.
    pub validation: Option<Score>,
}

/// The result of evaluating a network on a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// The fraction of samples predicted right; `None` where the loss predicts nothing.
    pub accuracy: Option<f64>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum End {
    /// All epochs are done.
    #[default]
    Finished,
    /// The loss has not improved for as many epochs as early stopping allows.
    EarlyStopping,
    /// A caller asked for a stop, and the current step was finished.
    Stopped,
}

impl History {
    /// One value per epoch, for a line of a chart; NaN where the value has no meaning.
    pub fn line(&self, value: impl Fn(&Epoch) -> Option<f64>) -> Vec<f64> {
        self.epochs.iter().map(|epoch| value(epoch).unwrap_or(f64::NAN)).collect()
    }
}
