//! The loss of a network: its options, shared by `train` and `predict`, and its text in the note of a weights file.

use clap::{Args, ValueEnum};
use maxmargin::loss::Loss;
use maxmargin::nn::Accuracy;
use maxmargin::{BinaryHinge, EmbeddingHinge, Kink, Ties};
use serde_json::{Value, json};

use crate::choices::{Labels, PenaltyName, one_of, penalty_of};
use crate::failure::{Failure, Outcome};
use crate::method::{LossName, Method, with_method};

/// The options of a network's loss. Those not given have the saved or the default value.
#[derive(Debug, Args)]
pub(crate) struct Objective {
    /// The loss [default: binary]. binary, squared (binary with the squared penalty) and embedding need one output per
    /// sample, the others one per class. multiclass takes --method; its methods may also stand here.
    #[arg(long, value_enum, help_heading = "Loss")]
    loss: Option<LossName>,
    /// The method of --loss multiclass, as for eval [default: crammer-singer].
    #[arg(long, value_enum, help_heading = "Loss")]
    method: Option<Method>,
    /// For top-k: the number of worst violations to average, from 1 to the number of classes.
    #[arg(long, help_heading = "Loss")]
    k: Option<usize>,
    /// The margin that an output must clear [default: 1; 0 for perceptron and soft-margin].
    #[arg(long, help_heading = "Loss")]
    margin: Option<f64>,
    /// The penalty of a margin violation, as for eval: linear (the default), squared, smooth:G, rennie, modified-huber,
    /// perceptron or soft-margin.
    #[arg(long, help_heading = "Loss")]
    penalty: Option<PenaltyName>,
    /// Label encoding of binary and squared. auto (the default): the first label other than 1 decides.
    #[arg(long, value_enum, help_heading = "Loss")]
    labels: Option<Labels>,
    /// Which predictions count as right. sign (the default): a single output predicts by its sign, several by the
    /// highest. keras: as in Keras's BinaryAccuracy(0.5), an output above 0.5 predicts 1 and any other 0; a label of -1
    /// is then never right.
    #[arg(long, value_parser = one_of(Accuracy::NAMES, |_| true), help_heading = "Loss")]
    accuracy: Option<Accuracy>,
}

/// A loss with all its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChosenLoss {
    pub(crate) name: LossName,
    k: usize,
    margin: f64,
    penalty: PenaltyName,
    labels: Labels,
    pub(crate) accuracy: Accuracy,
}

impl Default for ChosenLoss {
    fn default() -> Self {
        Self {
            name: LossName::Binary,
            k: 1,
            margin: 1.0,
            penalty: PenaltyName::Linear,
            labels: Labels::Auto,
            accuracy: Accuracy::Sign,
        }
    }
}

impl Objective {
    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--loss", self.loss.is_some()),
            ("--method", self.method.is_some()),
            ("--k", self.k.is_some()),
            ("--margin", self.margin.is_some()),
            ("--penalty", self.penalty.is_some()),
            ("--labels", self.labels.is_some()),
            ("--accuracy", self.accuracy.is_some()),
        ];
        all.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    /// The loss that the options ask for; what they leave open is as in `saved`.
    ///
    /// # Errors
    /// Usage: combinations without meaning.
    pub(crate) fn choose(&self, saved: ChosenLoss) -> Outcome<ChosenLoss> {
        let name = match (self.loss, self.method) {
            (Some(LossName::ByMethod) | None, Some(method)) => LossName::Multiclass(method),
            (Some(LossName::ByMethod), None) => LossName::Multiclass(Method::CrammerSinger),
            (Some(LossName::Multiclass(one)), Some(other)) if one == other => LossName::Multiclass(one),
            (Some(other), Some(_)) => {
                return Err(Failure::usage(format!("--method goes with --loss multiclass, got {}", other.text())));
            }
            (Some(name), None) => name,
            (None, None) => saved.name,
        };
        if self.k.is_some() && name != LossName::Multiclass(Method::TopK) {
            return Err(Failure::usage(format!("--k goes with --loss top-k, got {}", name.text())));
        }
        let is_same = name == saved.name;
        if name == LossName::Multiclass(Method::TopK) && self.k.is_none() && !is_same {
            return Err(Failure::usage("--loss top-k needs --k"));
        }
        let of_binary =
            [("--labels", self.labels.is_some()), ("--accuracy keras", self.accuracy == Some(Accuracy::Keras))];
        if let Some((option, _)) = of_binary.iter().find(|(_, is_given)| *is_given && !name.is_binary()) {
            return Err(Failure::usage(format!("{option} goes with --loss binary or squared, got {}", name.text())));
        }
        if self.penalty.is_some() && name == LossName::Embedding {
            return Err(Failure::usage("--penalty goes with every --loss but embedding"));
        }
        if let (LossName::Squared, Some(penalty)) = (name, self.penalty)
            && penalty != PenaltyName::Squared
        {
            let message =
                format!("--loss squared is binary with --penalty squared, but --penalty is {}", penalty.text());
            return Err(Failure::usage(message));
        }
        let of_name = if name == LossName::Squared { PenaltyName::Squared } else { PenaltyName::Linear };
        let penalty = self.penalty.unwrap_or(if is_same { saved.penalty } else { of_name });
        let margin = self.margin.unwrap_or(match is_same && self.penalty.is_none() {
            true => saved.margin,
            false => penalty.default_margin(),
        });
        penalty.check_margin(margin)?;
        Ok(ChosenLoss {
            name,
            k: self.k.unwrap_or(saved.k),
            margin,
            penalty,
            labels: self.labels.unwrap_or(saved.labels),
            accuracy: self.accuracy.unwrap_or(saved.accuracy),
        })
    }
}

impl ChosenLoss {
    /// Replaces the encoding `auto` by the one that the targets show.
    ///
    /// # Errors
    /// A label that fits no encoding.
    pub(crate) fn detect_labels(&mut self, targets: &[f64]) -> maxmargin::Result<()> {
        if self.name.is_binary() {
            self.labels = self.labels.encoding(targets.into(), None)?.into();
        }
        Ok(())
    }

    /// The library's loss.
    ///
    /// # Errors
    /// A label that fits no encoding, where the encoding is still `auto`.
    pub(crate) fn build(&self, targets: &[f64], kink: Kink, ties: Ties) -> maxmargin::Result<Box<dyn Loss>> {
        let (margin, penalty) = (self.margin, penalty_of(self.penalty));
        Ok(match self.name {
            LossName::Binary | LossName::Squared => {
                let labels = self.labels.encoding(targets.into(), None)?;
                Box::new(BinaryHinge::new().margin(margin).penalty(penalty).kink(kink).labels(labels))
            }
            LossName::Embedding => Box::new(EmbeddingHinge::new().margin(margin).kink(kink)),
            LossName::Multiclass(method) => with_method!(method, self.k, loss => {
                Box::new(loss.margin(margin).penalty(penalty).kink(kink).ties(ties))
            }),
            LossName::ByMethod => Box::new(maxmargin::MulticlassHinge::crammer_singer()),
        })
    }

    /// For the note of a weights file. `classes` are the names of the classes, where the targets were text.
    pub(crate) fn json(&self, classes: Option<&[String]>) -> String {
        let object = json!({
            "loss": self.name.text(),
            "k": self.k,
            "margin": self.margin,
            "penalty": self.penalty.text(),
            "labels": self.labels.text(),
            "accuracy": self.accuracy.to_string(),
            "classes": classes,
        });
        object.to_string()
    }

    /// What [`ChosenLoss::json`] wrote; `None` for any other text.
    pub(crate) fn from_json(text: &str) -> Option<(Self, Option<Vec<String>>)> {
        let object: Value = serde_json::from_str(text).ok()?;
        let text = |key: &str| object[key].as_str();
        let loss = Self {
            name: LossName::from_str(text("loss")?, false).ok()?,
            k: object["k"].as_u64()?.try_into().ok()?,
            margin: object["margin"].as_f64()?,
            penalty: text("penalty")?.parse().ok()?,
            labels: Labels::from_str(text("labels")?, false).ok()?,
            accuracy: text("accuracy")?.parse().ok()?,
        };
        let classes = object["classes"].as_array();
        let classes = classes.map(|names| names.iter().map(|name| name.as_str().map(String::from)).collect());
        match classes {
            Some(None) => None,
            Some(classes) => Some((loss, classes)),
            None => Some((loss, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_survives_the_note() {
        for name in LossName::value_variants().iter().copied().filter(|&name| name != LossName::ByMethod) {
            let penalty = if name == LossName::Squared { PenaltyName::Squared } else { PenaltyName::Smooth(0.5) };
            let loss = ChosenLoss { name, k: 3, margin: 0.25, penalty, ..ChosenLoss::default() };
            assert_eq!(ChosenLoss::from_json(&loss.json(None)), Some((loss, None)));
            let classes = vec!["cat".to_owned(), "dog".into()];
            assert_eq!(ChosenLoss::from_json(&loss.json(Some(&classes))), Some((loss, Some(classes))));
        }
        assert_eq!(ChosenLoss::from_json("{}"), None);
        assert_eq!(ChosenLoss::from_json("hinge"), None);
    }
}
