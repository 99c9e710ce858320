//! What training reports.

use serde::{Deserialize, Serialize};

/// One epoch. Values are `None` where they mean nothing: without validation data, or where a loss predicts nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: u64,
    /// The mean of the batches' losses, each weighted by its samples and taken before its update.
    pub loss: f64,
    /// Samples predicted right, of the same predictions.
    pub accuracy: Option<f64>,
    /// The loss over the validation data after the epoch.
    pub val_loss: Option<f64>,
    /// The accuracy over the validation data after the epoch.
    pub val_accuracy: Option<f64>,
    /// The mean loss of each batch before its update, in order; after a resume within an epoch, of the batches since.
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
    /// Why there are no more.
    pub end: End,
    /// Seconds that training took, without what scores the last weights.
    #[serde(default)]
    pub seconds: f64,
    /// The training data with the last weights, where asked for.
    pub training: Option<Score>,
    /// The validation data with the last weights, where asked for.
    pub validation: Option<Score>,
}

/// What an evaluation of a network says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// Samples predicted right, where the loss predicts anything.
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
    /// It was asked to stop, and finished its step.
    Stopped,
}

impl History {
    /// One value an epoch, NaN where it means nothing: a line of a chart.
    pub fn line(&self, value: impl Fn(&Epoch) -> Option<f64>) -> Vec<f64> {
        self.epochs.iter().map(|epoch| value(epoch).unwrap_or(f64::NAN)).collect()
    }
}
