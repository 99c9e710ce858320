//! `maxmargin train`: data, network and loss from the arguments, training, and the output files.

mod arguments;
mod data;
mod generated;
mod outputs;

use std::path::PathBuf;
use std::time::Instant;

use maxmargin::compat::Peer;
use maxmargin::nn::{Conventions, Dataset, Dense, End, Epoch, History, Initializer, Optimizer, Sequential};
use maxmargin::train::{Fit, Trainer};
use maxmargin::{Error, Input};

use crate::failure::{Failure, Outcome};
use crate::method::LossName;
use crate::objective::ChosenLoss;
use crate::progress::{self, Rows};
use crate::words::counted;
use crate::{file, interrupt, place};
use arguments::OptimizerName;
use outputs::{Drawn, Outputs, Summary};

pub(crate) use arguments::TrainArguments;
pub(crate) use data::{Loaded, Reading, read_features};

/// Trains. The result is true where a signal stopped the training.
pub(crate) fn run(arguments: &TrainArguments) -> Outcome<bool> {
    let started = Instant::now();
    progress::set_quiet(arguments.place.quiet);
    let mut loss = arguments.objective.choose(ChosenLoss::default())?;
    let Loaded { data, validation, headers, classes, feature_names } = data::load(arguments, loss.name)?;
    let read_seconds = started.elapsed().as_secs_f64();
    loss.detect_labels(data.targets()).map_err(|error| explain(arguments, error))?;
    let outputs = arguments.layers.last().map_or(0, |layer| layer.units());
    let width = data.targets().len().checked_div(data.len()).unwrap_or(outputs);
    if !loss.name.has_classes() && width != outputs {
        let (loss, outputs, targets) = (loss.name.text(), counted(outputs, "output"), counted(width, "target"));
        let message =
            format!("--layers: the loss {loss} needs one output for each target of a row, got {outputs} for {targets}");
        return Err(Failure::usage(message));
    }
    let peer = arguments.preset;
    Session { arguments, loss, data, validation, headers, classes, feature_names, peer, started, read_seconds }.run()
}

struct Session<'a> {
    arguments: &'a TrainArguments,
    loss: ChosenLoss,
    /// All data, before the validation split.
    data: Dataset,
    /// Validation data from files of its own.
    validation: Option<Dataset>,
    headers: Vec<(&'static str, bool)>,
    classes: Option<Vec<String>>,
    feature_names: Vec<String>,
    peer: Peer,
    started: Instant,
    read_seconds: f64,
}

impl Session<'_> {
    fn run(self) -> Outcome<bool> {
        let arguments = self.arguments;
        let optimizer = optimizer(arguments, self.peer)?;
        let network = self.network()?;
        let loss = self.loss.build(self.data.targets(), self.peer.kink(), self.peer.ties());
        let loss = loss.map_err(|error| explain(arguments, error))?;
        let device = place::choose(&arguments.place)?;
        let trainer = Trainer::new(device.clone(), network, loss, optimizer).map_err(Failure::option)?;
        let mut trainer = trainer.accuracy(self.loss.accuracy);
        if let Some(path) = &arguments.resume {
            let bytes = file::read_bytes(path)?;
            self.check_width(&bytes)?;
            let resumed = trainer.resume(&bytes);
            resumed.map_err(|error| match error {
                Error::Option { .. } => Failure::option(error),
                error => Failure::file(path, error),
            })?;
            let (asked, done) = (arguments.epochs.get(), trainer.epochs_done());
            if asked < done {
                return Err(Failure::usage(format!("--epochs {asked}: the checkpoint has {done} already")));
            }
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
        let outputs = Outputs::new(arguments, &trainer, self.loss.json(self.classes.as_deref()))?;

        let epochs = arguments.epochs.get();
        let epochs_before = arguments.resume.as_ref().map(|_| trainer.epochs_done());
        let rows_of = |data: Option<&Dataset>| data.map_or(0, Dataset::len) as u64;
        let of_epoch = rows_of(Some(&data)) + rows_of(validation.as_ref());
        let epochs_left = epochs.saturating_sub(trainer.epochs_done());
        // At the end, the training data is evaluated once more.
        let total = of_epoch.saturating_mul(epochs_left).saturating_add(rows_of(Some(&data)));
        let bar = Rows::new(total, format!("epoch {}/{epochs}", trainer.epochs_done() + 1));
        let mut fit = Fit::new()
            .epochs(epochs)
            .batch_size(arguments.batch_size.get())
            .shuffle(!arguments.no_shuffle)
            .seed(arguments.seed.unwrap_or(0))
            .scores()
            .progress(&bar.done)
            .stop(interrupt::stop_flag());
        if let Some(validation) = &validation {
            fit = fit.validation(validation);
        }
        if let Some(patience) = arguments.early_stopping {
            fit = fit.early_stopping(patience.get());
        }
        let mut rows: Vec<Epoch> = Vec::new();
        let result = trainer.fit(&data, &fit, |epoch| {
            let now = match epoch.epoch + 2 {
                next if next > epochs => "scoring".into(),
                next => format!("epoch {next}/{epochs}"),
            };
            bar.say(format!("{now} {}", values(epoch)));
            rows.push(epoch.clone());
        });
        drop(bar);
        let drawn = Drawn {
            trainer: &trainer,
            rows: &rows,
            data: &data,
            feature_names: &self.feature_names,
            is_reversed: self.loss.name == LossName::Embedding,
        };
        let history = match result {
            Ok(history) => history,
            Err(error) => {
                // After a divergence the outputs are still written, with the last good weights.
                let (written, result) = match error {
                    Error::Diverged { .. } => {
                        let (written, result) = outputs.write(&drawn);
                        let not_drawn = arguments.plot_out.as_ref().filter(|_| rows.is_empty());
                        let message = |path: &PathBuf| format!("{} is not drawn: no epoch ended", path.display());
                        (written, result.and(not_drawn.map_or(Ok(()), |path| Err(Failure::data(message(path))))))
                    }
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
            loss: self.loss.name,
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
            written: &written,
            read_seconds: self.read_seconds,
            fit_seconds: seconds,
            total_seconds: self.started.elapsed().as_secs_f64(),
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
            let bytes = file::read_bytes(path)?;
            self.check_width(&bytes)?;
            network.load_safetensors(&bytes).map_err(|error| Failure::file(path, error))?;
        }
        Ok(network)
    }

    /// Refuses features of another width than saved weights say. Other faults of the weights are told later.
    fn check_width(&self, weights: &[u8]) -> Outcome<()> {
        let Ok(Some(saved)) = Sequential::from_safetensors(weights) else { return Ok(()) };
        let (inputs, columns) = (saved.inputs(), self.data.columns());
        if inputs == columns {
            return Ok(());
        }
        let message = format!("features: expected shape (N, {inputs}), as the weights say, got (N, {columns})");
        Err(match &self.arguments.features {
            Some(path) => Failure::file(path, message),
            None => Failure::usage(format!("--data: {message}")),
        })
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
        (None, Error::EmptyMean { .. }) => match &arguments.features {
            Some(path) => Failure::file(path, "features: no rows to train on or to validate with"),
            None => Failure::usage("--data: n: expected at least one row to train on and to validate with"),
        },
        (None, Error::Shape { input: Input::Scores, expected, got }) => {
            Failure::usage(format!("--layers: expected outputs of shape {expected}, got {got}"))
        }
        (None, Error::Option { .. }) => Failure::option(error),
        (None, Error::DeviceLimit { limit, got, .. }) if *got == arguments.batch_size.get() as u64 => Failure::usage(
            format!("--batch-size {got}: this device takes at most {limit}; --device cpu has no such limit"),
        ),
        (None, Error::DeviceLimit { .. }) => Failure::device(error).about("--layers and columns of --features"),
        (None, _) => Failure::device(error),
    }
}
