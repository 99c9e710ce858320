//! `maxmargin predict`: applies saved weights to rows of features.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use maxmargin::Precision;
use maxmargin::nn::{Dense, Sequential};
use maxmargin::train::predict;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::file::{self, PendingOutput, TextOptions, pending, publish_all, refuse_same_file};
use crate::place::{self, Where};
use crate::report::{device_json, headers_json, inputs_text, print};
use crate::train::read_features;

/// Apply saved weights to rows of features.
#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// The weights, as `maxmargin train --weights-out` or --checkpoint-out writes them, or as for its --weights-in.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights_in: PathBuf,
    /// The dense layers, as for `maxmargin train`, where the weights are of another program. Files of `train` say them.
    #[arg(long, value_delimiter = ',')]
    pub(crate) layers: Vec<Dense>,
    /// File with features, one row per sample. Further axes are flattened.
    #[arg(long)]
    pub(crate) features: PathBuf,
    /// Write the outputs (N, units of the last layer) to this file: .npy as f32, or .csv with a line for each row.
    #[arg(long, value_name = "P.npy|P.csv")]
    pub(crate) out: PathBuf,
    /// Write the predicted labels (N) to this .npy file: of one output 1 where it is positive and otherwise -1, of several
    /// the index of the highest.
    #[arg(long, value_name = "L.npy")]
    pub(crate) labels_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextOptions,
    #[command(flatten)]
    pub(crate) place: Where,
}

pub(crate) fn run(arguments: &PredictArguments) -> Outcome<()> {
    let started = Instant::now();
    let inputs = [("--weights-in", &arguments.weights_in), ("--features", &arguments.features)];
    refuse_same_file(
        &inputs.map(|(option, path)| (option, Some(path.as_path()))),
        &[("--out", Some(&arguments.out)), ("--labels-out", arguments.labels_out.as_deref())],
    )?;
    let mut pending_out = PendingOutput::new("--out", &arguments.out, &[".npy", ".csv"])?;
    let mut labels_out = pending("--labels-out", &arguments.labels_out, &[".npy"])?;
    let features = read_features(&arguments.features, arguments.text)?;
    let network = network(arguments, features.columns)?;
    let headers: Vec<_> = features.has_header.into_iter().map(|found| ("--features", found)).collect();
    let device = place::choose(&arguments.place)?;
    let outputs = predict(&device, &network, &features.values, Precision::F32).map_err(Failure::data)?;
    let shape = [outputs.len() / network.outputs(), network.outputs()];
    let outputs: Vec<f32> = outputs.into_iter().map(|x| x as f32).collect();
    if arguments.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
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
    let place = &arguments.place;
    let [rows, columns] = shape;
    let text = match (place.json, place.quiet) {
        (true, _) => {
            let seconds = json!({ "total": seconds });
            let mut object = json!({ "shape": shape, "device": device_json(&device), "seconds": seconds });
            if !headers.is_empty() {
                object["csv_header"] = headers_json(&headers);
            }
            object.to_string()
        }
        (false, true) => String::new(),
        (false, false) => {
            let out = arguments.out.display();
            let found = inputs_text(&headers, None, 8).replace('\n', "; ");
            format!("wrote {rows} x {columns} outputs to {out} ({found}{}, {seconds:.3} s)", device.name())
        }
    };
    if !text.is_empty() {
        print(&text)?;
    }
    publish_all([pending_out].into_iter().chain(labels_out))
}

/// The network that the weights say, or that --layers says.
fn network(arguments: &PredictArguments, columns: usize) -> Outcome<Sequential> {
    let bytes = file::read_bytes(&arguments.weights_in)?;
    let in_weights = |error| Failure::file(&arguments.weights_in, error);
    if arguments.layers.is_empty() {
        let network = Sequential::from_safetensors(&bytes).map_err(in_weights)?.ok_or_else(|| {
            Failure::file(&arguments.weights_in, "the file does not say its layers: name them with --layers")
        })?;
        if network.inputs() != columns {
            let inputs = network.inputs();
            let message = format!("features: expected shape (N, {inputs}), as the weights say, got (N, {columns})");
            return Err(Failure::file(&arguments.features, message));
        }
        return Ok(network);
    }
    let mut network = Sequential::new(columns, &arguments.layers, 0).map_err(Failure::option)?;
    network.load_safetensors(&bytes).map_err(in_weights)?;
    Ok(network)
}

/// A line of names, and a line for each row.
fn csv(outputs: &[f32], columns: usize) -> String {
    let line = |fields: Vec<String>| fields.join(",") + "\n";
    let header = line((0..columns).map(|column| format!("output{column}")).collect());
    let rows = outputs.chunks_exact(columns).map(|row| line(row.iter().map(f32::to_string).collect()));
    std::iter::once(header).chain(rows).collect()
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
