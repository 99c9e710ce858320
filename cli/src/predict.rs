//! `maxmargin predict`: applies saved weights to rows of features.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use maxmargin::Precision;
use maxmargin::nn::{Dense, Sequential};
use maxmargin::train::predict;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::file::{self, PendingOutput, refuse_same_file};
use crate::place::{self, Where};
use crate::report::{device_json, print};
use crate::train::read_features;

/// Apply saved weights to rows of features.
#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// The weights, as `maxmargin train --weights-out` writes them.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights_in: PathBuf,
    /// The dense layers, as for `maxmargin train`.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) layers: Vec<Dense>,
    /// File with features, one row per sample. Further axes are flattened.
    #[arg(long)]
    pub(crate) features: PathBuf,
    /// Write the outputs (N, units of the last layer) to this .npy file, as f32.
    #[arg(long, value_name = "P.npy")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) place: Where,
}

pub(crate) fn run(arguments: &PredictArguments) -> Outcome<()> {
    let started = Instant::now();
    let inputs = [("--weights-in", &arguments.weights_in), ("--features", &arguments.features)];
    refuse_same_file(&inputs.map(|(option, path)| (option, Some(path.as_path()))), &[("--out", Some(&arguments.out))])?;
    let mut pending = PendingOutput::new(&arguments.out)?;
    let (features, columns) = read_features(&arguments.features)?;
    let mut network = Sequential::new(columns, &arguments.layers, 0).map_err(Failure::option)?;
    let bytes = file::read_bytes(&arguments.weights_in)?;
    network.load_safetensors(&bytes).map_err(|error| Failure::file(&arguments.weights_in, error))?;
    let device = place::choose(&arguments.place)?;
    let outputs = predict(&device, &network, &features, Precision::F32).map_err(Failure::data)?;
    let shape = [outputs.len() / network.outputs(), network.outputs()];
    pending.begin::<f32>(&shape)?;
    pending.write_part(&outputs.into_iter().map(|x| x as f32).collect::<Vec<_>>(), 0)?;
    pending.publish()?;
    let seconds = started.elapsed().as_secs_f64();
    let place = &arguments.place;
    if place.json {
        let object = json!({ "shape": shape, "device": device_json(&device), "seconds": { "total": seconds } });
        return print(&object.to_string());
    }
    if place.quiet {
        return Ok(());
    }
    let [rows, columns] = shape;
    let out = arguments.out.display();
    print(&format!("wrote {rows} x {columns} outputs to {out} ({}, {seconds:.3} s)", device.name()))
}
