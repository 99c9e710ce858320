//! Checkpoints: the weights of a network, and with them `optimizer.first.layers.N.weight` and so on, and the progress of
//! the training.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trainer::{Position, Trainer};
use super::weights::{Texts, open, read, texts, write, wrong};
use crate::data::evaluation::Precision;
use crate::error::{Error, Result};
use crate::loss::difference::{dashed, first_difference};
use crate::nn::{Accuracy, Optimizer};

/// A limit for counters: none reaches it in practice, and sums of two counters cannot overflow.
const MOST_COUNTED: u64 = 1 << 53;

/// The content of a checkpoint besides its tensors.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    loss: String,
    /// The loss with its options.
    loss_options: String,
    optimizer: Optimizer,
    accuracy: Accuracy,
    precision: Precision,
    layers: Vec<String>,
    position: Position,
}

impl Trainer {
    fn description(&self) -> Checkpoint {
        Checkpoint {
            loss: self.loss.name().into(),
            loss_options: format!("{:?}", self.loss),
            optimizer: self.optimizer,
            accuracy: self.accuracy,
            precision: self.precision,
            layers: self.network.layers().iter().map(ToString::to_string).collect(),
            position: self.position,
        }
    }

    /// Weights, the optimizer's memory and the progress of training, as a safetensors file.
    ///
    /// # Errors
    /// [`crate::Error::File`] where the format cannot hold them, [`crate::Error::OutOfMemory`].
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        self.checkpoint_with(None)
    }

    /// As [`Trainer::checkpoint`], with a note of the caller's that [`crate::nn::Sequential::note_in_safetensors`] reads.
    ///
    /// # Errors
    /// As [`Trainer::checkpoint`].
    pub fn checkpoint_with_note(&self, note: &str) -> Result<Vec<u8>> {
        self.checkpoint_with(Some(note.to_owned()))
    }

    fn checkpoint_with(&self, note: Option<String>) -> Result<Vec<u8>> {
        let mut groups = vec![("", self.network.parameters())];
        if !self.first.is_empty() {
            groups.push(("optimizer.first.", &self.first));
        }
        if !self.second.is_empty() {
            groups.push(("optimizer.second.", &self.second));
        }
        let text = serde_json::to_string(&self.description());
        let text = text.map_err(|error| wrong("a checkpoint as JSON", error.to_string()))?;
        write(&self.network, &groups, Texts { note, checkpoint: Some(text) })
    }

    /// Continues from a checkpoint. On the same device, the next epochs equal those of an uninterrupted training, to the
    /// bit. The next [`Trainer::fit`] must have the same data, batch size and order of samples.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is not a checkpoint, or a checkpoint of another network, of another kind of accuracy
    /// or precision, or of another loss or optimizer; [`Error::Option`] for an optimizer with another rate, momentum or
    /// decay; [`Error::OutOfMemory`]. Nothing is then changed.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<()> {
        let text =
            texts(bytes)?.checkpoint.ok_or_else(|| wrong("a checkpoint, with optimizer and epoch", "weights alone"))?;
        let saved: Checkpoint =
            serde_json::from_str(&text).map_err(|error| wrong("a checkpoint's header", error.to_string()))?;
        let own = self.description();
        check_same("layers", own.layers.join(","), saved.layers.join(","))?;
        check_same("loss", own.loss.replace('_', "-"), saved.loss.replace('_', "-"))?;
        check_same("accuracy", own.accuracy.to_string(), saved.accuracy.to_string())?;
        check_same("precision", name_of(own.precision), name_of(saved.precision))?;
        if own.loss_options != saved.loss_options {
            let (own, saved) = first_difference(&own.loss_options, &saved.loss_options);
            return Err(wrong(format!("a checkpoint of a loss with {own}"), saved));
        }
        if let Some((option, own, saved)) = difference(&own.optimizer, &saved.optimizer) {
            // The names of Optimizer's own methods.
            let options = ["learning_rate", "weight_decay", "momentum", "nesterov", "beta1", "beta2", "epsilon"];
            return Err(match options.into_iter().find(|name| *name == option) {
                Some(option) => {
                    Error::Option { option, expected: format!("{saved}, as the checkpoint has it"), got: own }
                }
                None if option == "method" => wrong(format!("a checkpoint with the optimizer {own}"), saved),
                None => wrong(format!("a checkpoint with the optimizer's {option} {own}"), saved),
            });
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
        self.is_resumed = true;
        Ok(())
    }
}

fn check_same(what: &str, own: String, saved: String) -> Result<()> {
    if own == saved { Ok(()) } else { Err(wrong(format!("a checkpoint with {what} {own}"), saved)) }
}

fn name_of(precision: Precision) -> String {
    match precision {
        Precision::F32 => "f32".into(),
        Precision::F64 => "f64".into(),
    }
}

/// The first option in which two optimizers differ: its name, and both values.
fn difference(own: &Optimizer, saved: &Optimizer) -> Option<(String, String, String)> {
    fn find(name: &str, own: &Value, saved: &Value) -> Option<(String, String, String)> {
        match (own, saved) {
            (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
                a.iter().find_map(|(key, value)| find(key, value, b.get(key)?))
            }
            (Value::Object(a), Value::Object(b)) => {
                let names = |map: &serde_json::Map<String, Value>| {
                    map.keys().map(|key| key.to_lowercase()).collect::<Vec<_>>().join(", ")
                };
                Some((name.into(), names(a), names(b)))
            }
            (own, saved) if own != saved => {
                let text = |value: &Value| match value {
                    Value::Null => "by default".into(),
                    value => dashed(value.to_string().trim_matches('"')),
                };
                Some((name.into(), text(own), text(saved)))
            }
            _ => None,
        }
    }
    let value = |optimizer: &Optimizer| serde_json::to_value(optimizer).unwrap_or_default();
    if own == saved { None } else { find("options", &value(own), &value(saved)) }
}
