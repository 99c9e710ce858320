//! `maxmargin train`: data, network and loss from the arguments, training, and the output files.

mod arguments;
mod data;
mod generated;
mod outputs;

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use maxmargin::compat::Peer;
use maxmargin::loss::Loss;
use maxmargin::nn::{Accuracy, Conventions, Dataset, Dense, End, Epoch, History, Initializer, Optimizer, Sequential};
use maxmargin::train::{Fit, Trainer};
use maxmargin::{BinaryHinge, EmbeddingHinge, Error, Input, Penalty};

use crate::choices::Labels;
use crate::failure::{Failure, Outcome};
use crate::method::{LossName, Method, with_method};
use crate::{file, interrupt, place};
use arguments::OptimizerName;
use data::Loaded;
use outputs::{Drawn, Outputs, Summary};

pub(crate) use arguments::TrainArguments;
pub(crate) use data::read_features;

/// Trains. The result is true where a signal stopped the training.
pub(crate) fn run(arguments: &TrainArguments) -> Outcome<bool> {
    let peer = arguments.preset;
    let (margin, kink) = (arguments.margin, peer.kink());
    if arguments.k.is_some() && arguments.loss != LossName::Multiclass(Method::TopK) {
        return Err(Failure::usage(format!("--k goes with --loss top-k, got {}", arguments.loss.text())));
    }
    let is_binary = matches!(arguments.loss, LossName::Binary | LossName::Squared);
    let of_binary =
        [("--labels", arguments.labels.is_some()), ("--accuracy keras", arguments.accuracy == Accuracy::Keras)];
    if let Some((option, _)) = of_binary.iter().find(|(_, is_given)| *is_given && !is_binary) {
        let loss = arguments.loss.text();
        return Err(Failure::usage(format!("{option} goes with --loss binary or squared, got {loss}")));
    }
    let Loaded { data, validation, headers, classes, feature_names } = data::load(arguments)?;
    let binary = |penalty| -> Outcome<BinaryHinge> {
        let labels = arguments.labels.unwrap_or(Labels::Auto).encoding(data.targets().into(), None);
        let labels = labels.map_err(|error| explain(arguments, error))?;
        Ok(BinaryHinge::new().margin(margin).penalty(penalty).kink(kink).labels(labels))
    };
    let penalty = if arguments.loss == LossName::Squared { Penalty::Squared } else { Penalty::Linear };
    let binary = match arguments.loss {
        LossName::Binary | LossName::Squared => Some(binary(penalty)?),
        _ => None,
    };
    let session = Session { arguments, data, validation, headers, classes, feature_names, peer };
    match arguments.loss {
        LossName::Binary | LossName::Squared => session.run(Box::new(binary.unwrap_or_default())),
        LossName::Embedding => session.run(Box::new(EmbeddingHinge::new().margin(margin).kink(kink))),
        LossName::Multiclass(method) => session.run(with_method!(method, arguments.k.unwrap_or(1), loss => {
            Box::new(loss.margin(margin).kink(kink).ties(peer.ties()))
        })),
    }
}

struct Session<'a> {
    arguments: &'a TrainArguments,
    /// All data, before the validation split.
    data: Dataset,
    /// Validation data from files of its own.
    validation: Option<Dataset>,
    headers: Vec<(&'static str, bool)>,
    classes: Option<Vec<String>>,
    feature_names: Vec<String>,
    peer: Peer,
}

impl Session<'_> {
    fn run(self, loss: Box<dyn Loss>) -> Outcome<bool> {
        let arguments = self.arguments;
        let started = Instant::now();
        let optimizer = optimizer(arguments, self.peer)?;
        let network = self.network()?;
        let device = place::choose(&arguments.place)?;
        let trainer = Trainer::new(device.clone(), network, loss, optimizer).map_err(Failure::option)?;
        let mut trainer = trainer.accuracy(arguments.accuracy);
        if let Some(path) = &arguments.resume {
            trainer.resume(&file::read_bytes(path)?).map_err(|error| Failure::file(path, error))?;
            if let (Some(asked), Some(saved)) = (arguments.seed, trainer.seed())
                && asked != saved
            {
                return Err(Failure::usage(format!("--seed {asked}: the checkpoint began with seed {saved}")));
            }
        }
        let (data, validation) = match arguments.validation_split {
            Some(fraction) => {
                let (data, tail) = self.data.split_tail(fraction).map_err(Failure::option)?;
                (data, Some(tail))
            }
            None => (self.data, self.validation),
        };
        let outputs = Outputs::new(arguments, &trainer)?;

        let epochs = arguments.epochs.get();
        let epochs_before = arguments.resume.as_ref().map(|_| trainer.epochs_done());
        let mut fit = Fit::new()
            .epochs(epochs)
            .batch_size(arguments.batch_size.get())
            .shuffle(!arguments.no_shuffle)
            .seed(arguments.seed.unwrap_or(0))
            .scores()
            .stop(interrupt::stop_flag());
        if let Some(validation) = &validation {
            fit = fit.validation(validation);
        }
        if let Some(patience) = arguments.early_stopping {
            fit = fit.early_stopping(patience.get());
        }
        let bar = progress_bar(arguments, epochs, trainer.epochs_done());
        let mut rows: Vec<Epoch> = Vec::new();
        let result = trainer.fit(&data, &fit, |epoch| {
            bar.set_message(values(epoch));
            bar.inc(1);
            rows.push(epoch.clone());
        });
        bar.finish_and_clear();
        let drawn = Drawn {
            trainer: &trainer,
            rows: &rows,
            data: &data,
            feature_names: &self.feature_names,
            is_reversed: arguments.loss == LossName::Embedding,
        };
        let history = match result {
            Ok(history) => history,
            Err(error) => {
                // After a divergence the outputs are still written, with the last good weights.
                let (written, result) = match error {
                    Error::Diverged { .. } => outputs.write(&drawn),
                    _ => (Vec::new(), Ok(())),
                };
                return Err(explain(arguments, in_whole_data(arguments, error, &data)).after(&written, result));
            }
        };
        let (written, result) = outputs.write(&drawn);
        result.map_err(|failure| failure.after(&written, Ok(())))?;
        let History { end, seconds, training: Some(train), validation, .. } = history else {
            return Err(Failure::data("expected the scores of the training data, got none"));
        };
        Summary {
            arguments,
            headers: &self.headers,
            classes: self.classes.as_deref(),
            features: data.features(),
            rows: &rows,
            end,
            epochs_done: trainer.epochs_done(),
            epochs_before,
            train,
            validation,
            parameters: trainer.network().parameters().len(),
            device,
            fit_seconds: seconds,
            total_seconds: started.elapsed().as_secs_f64(),
        }
        .print()
        .map_err(|failure| failure.after(&written, Ok(())))?;
        if end == End::Stopped {
            use std::io::Write;
            // A failed write means that stderr is closed; there is no other place for the note.
            let _ = writeln!(std::io::stderr(), "{}", outputs::stopped_note(&written));
        }
        Ok(end == End::Stopped || interrupt::is_asked())
    }

    fn network(&self) -> Outcome<Sequential> {
        let arguments = self.arguments;
        let default = if self.peer == Peer::Keras { Initializer::GlorotUniform } else { Initializer::Torch };
        let initializer = |layer: usize| match arguments.init[..] {
            [] => Ok(default),
            [one] => Ok(one),
            ref each if each.len() == arguments.layers.len() => Ok(each[layer]),
            ref each => {
                let (layers, got) = (arguments.layers.len(), each.len());
                Err(Failure::usage(format!(
                    "--init: expected one initialiser, or one for each of {layers} layers, got {got}"
                )))
            }
        };
        let layers = arguments.layers.iter().enumerate();
        let layers: Vec<Dense> =
            layers.map(|(n, layer)| Ok(layer.initializer(initializer(n)?))).collect::<Outcome<_>>()?;
        let seed = arguments.seed.unwrap_or(0);
        let mut network = Sequential::new(self.data.columns(), &layers, seed).map_err(Failure::option)?;
        if let Some(path) = &arguments.weights_in {
            network.load_safetensors(&file::read_bytes(path)?).map_err(|error| Failure::file(path, error))?;
        }
        Ok(network)
    }
}

fn optimizer(arguments: &TrainArguments, peer: Peer) -> Outcome<Optimizer> {
    let is_sgd = arguments.optimizer == OptimizerName::Sgd;
    let of_sgd = [("--momentum", arguments.momentum.is_some()), ("--nesterov", arguments.nesterov)];
    let of_adam = [
        ("--beta1", arguments.beta1.is_some()),
        ("--beta2", arguments.beta2.is_some()),
        ("--epsilon", arguments.epsilon.is_some()),
    ];
    let foreign = if is_sgd { &of_adam[..] } else { &of_sgd[..] };
    if let Some((option, _)) = foreign.iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("{option} means nothing to --optimizer {}", arguments.optimizer.text())));
    }
    let rate = arguments.learning_rate.unwrap_or(if is_sgd { 0.01 } else { 0.001 });
    let mut optimizer = match arguments.optimizer {
        OptimizerName::Sgd => {
            Optimizer::sgd(rate).momentum(arguments.momentum.unwrap_or(0.0)).nesterov(arguments.nesterov)
        }
        OptimizerName::Adam => Optimizer::adam(rate),
        OptimizerName::Adamw => Optimizer::adamw(rate),
    };
    optimizer = optimizer.betas(arguments.beta1.unwrap_or(0.9), arguments.beta2.unwrap_or(0.999));
    if let Some(epsilon) = arguments.epsilon {
        optimizer = optimizer.epsilon(epsilon);
    }
    if let Some(decay) = arguments.weight_decay {
        optimizer = optimizer.weight_decay(decay);
    }
    let conventions = if peer == Peer::Keras { Conventions::Keras } else { Conventions::Torch };
    let optimizer = optimizer.conventions(conventions);
    optimizer.check().map_err(Failure::option)?;
    Ok(optimizer)
}

/// Visible only on a terminal: indicatif draws nothing elsewhere.
fn progress_bar(arguments: &TrainArguments, epochs: u64, done: u64) -> ProgressBar {
    if arguments.place.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(epochs).with_position(done);
    if let Ok(style) = ProgressStyle::with_template("epoch {pos}/{len} {bar:30} {msg} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn values(epoch: &Epoch) -> String {
    let mut text = format!("loss {:.4}", epoch.loss);
    let more = [("accuracy", epoch.accuracy), ("val_loss", epoch.val_loss), ("val_accuracy", epoch.val_accuracy)];
    for (name, value) in more {
        if let Some(value) = value {
            text += &format!(" {name} {value:.4}");
        }
    }
    text
}

/// Turns an error in split-off validation data into an error in the whole data.
fn in_whole_data(arguments: &TrainArguments, error: Error, data: &Dataset) -> Error {
    if arguments.validation_split.is_none() {
        return error;
    }
    match error {
        Error::Value { input: Input::ValidationTargets, index, value, expected } => {
            let index = index + data.targets().len() as u64;
            Error::Value { input: Input::Targets, index, value, expected }
        }
        other => other,
    }
}

/// The failure of training, with the file or the option that caused it.
fn explain(arguments: &TrainArguments, error: Error) -> Failure {
    let path = match error.input() {
        Some(Input::Targets) => arguments.targets.as_deref(),
        Some(Input::Features) => arguments.features.as_deref(),
        Some(Input::ValidationTargets) => arguments.validation_targets.as_deref(),
        Some(Input::ValidationFeatures) => arguments.validation_features.as_deref(),
        _ => None,
    };
    match (path, &error) {
        (Some(path), _) => Failure::file(path, error),
        (None, Error::Shape { input: Input::Scores, .. }) => {
            Failure::usage(format!("--layers: the outputs are {error}"))
        }
        (None, Error::Option { .. }) => Failure::option(error),
        (None, _) => Failure::data(error),
    }
}
