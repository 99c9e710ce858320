//! `maxmargin predict`: applies saved weights to rows of features.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use maxmargin::nn::{Dataset, Dense, Optimizer, Score, Sequential};
use maxmargin::train::{Trainer, predict};
use maxmargin::{Device, Kink, Precision, Ties};
use serde_json::json;

use crate::choices::parsed;
use crate::failure::{Failure, Outcome};
use crate::file::sparse::Base;
use crate::file::{self, PendingOutput, TextOptions, is_csv, pending, publish_all, refuse_same_file};
use crate::fit::{Asked, predict as predict_linear};
use crate::objective::{ChosenLoss, Objective};
use crate::place::{self, Where};
use crate::report::{device_json, device_text, headers_json, inputs_text, number, print};
use crate::train::{Loaded, Reading, read_features};
use crate::words::{counted, number_text};
use crate::{failure, progress};

/// Apply saved weights or a linear model to rows of features.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, after_help = EXAMPLES)]
pub(crate) struct PredictArguments {
    /// The weights, as `maxmargin train --weights-out` or --checkpoint-out writes them, or as for its --weights-in.
    #[arg(long, value_name = "W.safetensors", required_unless_present = "model")]
    pub(crate) weights_in: Option<PathBuf>,
    /// A linear model, as `maxmargin fit --model-out` writes it, in place of weights.
    #[arg(long, value_name = "M.safetensors", conflicts_with_all = ["weights_in", "layers"])]
    pub(crate) model: Option<PathBuf>,
    /// The dense layers, as for `maxmargin train`, where the weights are of another program. Files of `train` say them.
    #[arg(long, value_delimiter = ',', value_parser = parsed::<Dense>)]
    pub(crate) layers: Vec<Dense>,
    /// File with features, one row per sample. Further axes are flattened. With --model also sparse rows, as for fit: columns
    /// that svmlight text lacks are 0, an index beyond those of the model is an error.
    #[arg(long)]
    pub(crate) features: PathBuf,
    /// File with targets, one per row. The loss and the accuracy are then reported. With --model they are also those of svmlight
    /// text, where the model has all of them.
    #[arg(long)]
    pub(crate) targets: Option<PathBuf>,
    /// Write the outputs (N, units of the last layer) to this file: .npy as f32, or .csv with a line for each row. Of a linear
    /// model these are its decision values (N, K), in f64, K = 1 for two classes.
    #[arg(long, value_name = "P.npy|P.csv")]
    pub(crate) out: PathBuf,
    /// Write the predicted labels (N) to this .npy file: of one output 1 where it is positive and otherwise -1, of several
    /// the index of the highest; of a linear model its own labels.
    #[arg(long, value_name = "L.npy")]
    pub(crate) labels_out: Option<PathBuf>,
    /// With --model: write 1 for each label that every optimum of the model's problem shares, else 0, to this file.
    #[arg(long, value_name = "F.npy", requires = "model")]
    pub(crate) certain_out: Option<PathBuf>,
    /// The loss of --targets. A file of `train --weights-out` says it; these options change it.
    #[command(flatten)]
    pub(crate) objective: Objective,
    /// The number of the first column in svmlight text, 1 or 0.
    #[arg(long, value_name = "1|0", default_value = "1", hide_default_value = true, help_heading = "Files of text")]
    pub(crate) svmlight_base: Base,
    #[command(flatten)]
    pub(crate) text: TextOptions,
    #[command(flatten)]
    pub(crate) place: Where,
}

const EXAMPLES: &str = "\
Examples:
  maxmargin predict --weights-in weights.safetensors --features features.npy --out outputs.npy
  maxmargin predict --weights-in weights.safetensors --features features.npy --targets labels.npy \\
      --out outputs.csv --labels-out predicted.npy";

pub(crate) fn run(arguments: &PredictArguments) -> Outcome<()> {
    let started = Instant::now();
    progress::set_quiet(arguments.place.quiet);
    let inputs = [
        ("--weights-in", arguments.weights_in.as_deref()),
        ("--model", arguments.model.as_deref()),
        ("--features", Some(&arguments.features)),
        ("--targets", arguments.targets.as_deref()),
    ];
    let outputs = [
        ("--out", Some(arguments.out.as_path())),
        ("--labels-out", arguments.labels_out.as_deref()),
        ("--certain-out", arguments.certain_out.as_deref()),
    ];
    refuse_same_file(&inputs, &outputs)?;
    if let Some(model) = &arguments.model {
        if let Some(option) = arguments.objective.given() {
            return Err(Failure::usage(format!("{option} goes with --weights-in: a linear model says its loss")));
        }
        return predict_linear(&Asked {
            model,
            features: &arguments.features,
            targets: arguments.targets.as_deref(),
            out: &arguments.out,
            labels_out: &arguments.labels_out,
            certain_out: &arguments.certain_out,
            text: arguments.text,
            svmlight_base: arguments.svmlight_base,
            place: &arguments.place,
        });
    }
    let weights_in = arguments.weights_in.as_deref().unwrap_or(Path::new(""));
    if let (None, Some(option)) = (&arguments.targets, arguments.objective.given()) {
        return Err(Failure::usage(format!("{option} goes with --targets")));
    }
    let mut pending_out = PendingOutput::new("--out", &arguments.out, &[".npy", ".csv"])?;
    let mut labels_out = pending("--labels-out", &arguments.labels_out, &[".npy"])?;
    let bytes = file::read_bytes(weights_in)?;
    let (data, loss, headers) = read(arguments, &bytes)?;
    let network = network(arguments, &bytes, data.columns())?;
    let device = place::choose(&arguments.place)?;
    let outputs = {
        let _stage = progress::stage(format!("predicting {}", counted(data.len(), "row")));
        predict(&device, &network, data.features(), Precision::F32).map_err(Failure::device)?
    };
    let shape = [outputs.len() / network.outputs(), network.outputs()];
    let score = loss.map(|loss| score(arguments, &device, &network, &data, loss)).transpose()?;
    let outputs: Vec<f32> = outputs.into_iter().map(|x| x as f32).collect();
    if is_csv(&arguments.out) {
        pending_out.write_bytes(csv(&outputs, network.outputs()).as_bytes())?;
    } else {
        pending_out.begin::<f32>(&shape)?;
        pending_out.write_part(&outputs, 0)?;
    }
    if let Some(labels_out) = &mut labels_out {
        labels_out.begin::<i64>(&shape[..1])?;
        labels_out.write_part(&labels(&outputs, network.outputs()), 0)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let text = report(arguments, shape, score, &headers, &device, seconds);
    if !text.is_empty() {
        print(&text)?;
    }
    publish_all([pending_out].into_iter().chain(labels_out))
}

/// The rows; with targets also the loss that scores them.
type Read = (Dataset, Option<ChosenLoss>, Vec<(&'static str, bool)>);

fn read(arguments: &PredictArguments, weights: &[u8]) -> Outcome<Read> {
    let Some(targets) = &arguments.targets else {
        let features = read_features(&arguments.features, arguments.text)?;
        let headers = features.has_header.into_iter().map(|found| ("--features", found)).collect();
        let rows = features.values.len() / features.columns;
        let data = Dataset::new(features.values, features.columns, vec![0.0; rows]);
        return Ok((data.map_err(|error| Failure::file(&arguments.features, error))?, None, headers));
    };
    let (saved, classes) = match saved_loss(weights) {
        Some((loss, classes)) => (Some(loss), classes),
        None => (None, None),
    };
    if saved.is_none() && arguments.objective.given().is_none() {
        let message = "the file does not say its loss: name it with --loss, or leave out --targets";
        return Err(Failure::file(arguments.weights_in.as_deref().unwrap_or(Path::new("")), message));
    }
    let mut loss = arguments.objective.choose(saved.unwrap_or_default())?;
    let layers = match Sequential::from_safetensors(weights) {
        Ok(Some(network)) => network.outputs(),
        _ => arguments.layers.last().map_or(0, |layer| layer.units()),
    };
    let reading = Reading { has_classes: loss.name.has_classes(), outputs: layers, text: arguments.text };
    let files = [("--features", arguments.features.as_path()), ("--targets", targets.as_path())];
    let Loaded { data, headers, .. } = reading.read(files, classes.as_deref())?;
    loss.detect_labels(data.targets()).map_err(|error| Failure::file(targets, error))?;
    Ok((data, Some(loss), headers))
}

/// The loss and the classes that the note of a file from `train` says.
fn saved_loss(weights: &[u8]) -> Option<(ChosenLoss, Option<Vec<String>>)> {
    ChosenLoss::from_json(&Sequential::note_in_safetensors(weights).ok()??)
}

fn score(
    arguments: &PredictArguments,
    device: &Device,
    network: &Sequential,
    data: &Dataset,
    loss: ChosenLoss,
) -> Outcome<(ChosenLoss, Score)> {
    let explain = |error: maxmargin::Error| match (error.input(), &arguments.targets) {
        (Some(maxmargin::Input::Targets), Some(path)) => Failure::file(path, error),
        (Some(maxmargin::Input::Scores), _) => {
            Failure::usage(format!("--loss {}: the network's outputs are {error}", loss.name.text()))
        }
        _ => match error {
            maxmargin::Error::Option { .. } => Failure::option(error),
            error => Failure::device(error),
        },
    };
    let built = loss.build(data.targets(), Kink::default(), Ties::default()).map_err(explain)?;
    let trainer = Trainer::new(device.clone(), network.clone(), built, Optimizer::sgd(0.0)).map_err(explain)?;
    let _stage = progress::stage("evaluating the loss");
    let score = trainer.accuracy(loss.accuracy).evaluate(data).map_err(explain)?;
    Ok((loss, score))
}

fn report(
    arguments: &PredictArguments,
    [rows, columns]: [usize; 2],
    score: Option<(ChosenLoss, Score)>,
    headers: &[(&'static str, bool)],
    device: &Device,
    seconds: f64,
) -> String {
    let written: Vec<PathBuf> =
        [Some(&arguments.out), arguments.labels_out.as_ref()].into_iter().flatten().cloned().collect();
    if arguments.place.json {
        let mut object = json!({
            "shape": [rows, columns],
            "written": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "device": device_json(device),
            "seconds": { "total": seconds },
        });
        if let Some((loss, score)) = score {
            object["loss"] = json!({ "name": loss.name.text(), "value": number(score.loss) });
            object["accuracy"] = json!(score.accuracy);
        }
        if !headers.is_empty() {
            object["csv_header"] = headers_json(headers);
        }
        return object.to_string();
    }
    if arguments.place.quiet {
        return score.map(|(_, score)| number_text(score.loss)).unwrap_or_default();
    }
    let mut text = format!("{:<10}{} of {}\n", "outputs", counted(rows, "row"), counted(columns, "number"));
    if let Some((loss, score)) = score {
        text += &format!("{:<10}{} {}\n", "loss", loss.name.text(), number_text(score.loss));
        if let Some(accuracy) = score.accuracy {
            text += &format!("{:<10}{accuracy}\n", "accuracy");
        }
    }
    text += &inputs_text(headers, None, 10);
    text += &format!("{:<10}{}\n", "wrote", failure::listed_paths(&written));
    text += &format!("{:<10}{}\n", "device", device_text(device));
    text + &format!("{:<10}total {seconds:.4}", "seconds")
}

/// The network that the weights say, or that --layers says.
fn network(arguments: &PredictArguments, bytes: &[u8], columns: usize) -> Outcome<Sequential> {
    let weights_in = arguments.weights_in.as_deref().unwrap_or(Path::new(""));
    let in_weights = |error| Failure::file(weights_in, error);
    if arguments.layers.is_empty() {
        let network = Sequential::from_safetensors(bytes)
            .map_err(in_weights)?
            .ok_or_else(|| Failure::file(weights_in, "the file does not say its layers: name them with --layers"))?;
        if network.inputs() != columns {
            let inputs = network.inputs();
            let message = format!("features: expected shape (N, {inputs}), as the weights say, got (N, {columns})");
            return Err(Failure::file(&arguments.features, message));
        }
        return Ok(network);
    }
    let mut network = Sequential::new(columns, &arguments.layers, 0).map_err(Failure::option)?;
    network.load_safetensors(bytes).map_err(in_weights)?;
    Ok(network)
}

/// A line of names, and a line for each row.
fn csv(outputs: &[f32], columns: usize) -> String {
    let line = |fields: Vec<String>| fields.join(",") + "\n";
    let header = line((0..columns).map(|column| format!("output{column}")).collect());
    let rows = outputs.chunks_exact(columns).map(|row| line(row.iter().map(|x| shortest(*x)).collect()));
    std::iter::once(header).chain(rows).collect()
}

/// The shortest text that reads as the same f32, with an exponent where digits would be many.
fn shortest(x: f32) -> String {
    let is_short = x == 0.0 || !x.is_finite() || (1e-5..1e9).contains(&x.abs());
    if is_short { x.to_string() } else { format!("{x:e}") }
}

/// The label of each row. A NaN is not higher than anything.
fn labels(outputs: &[f32], columns: usize) -> Vec<i64> {
    let label = |row: &[f32]| match row {
        &[score] => {
            if score > 0.0 {
                1
            } else {
                -1
            }
        }
        row => (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as i64,
    };
    outputs.chunks_exact(columns).map(label).collect()
}
