//! `maxmargin predict --model`: decision values, labels and certain labels of a linear model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use maxmargin::linear::LinearModel;
use serde_json::json;

use super::data::{FileRows, Labels, model, score};
use super::in_features;
use crate::failure::{Failure, Outcome, listed_paths};
use crate::file::sparse::{Base, Wanted};
use crate::file::{PendingOutput, TextOptions, is_csv, pending, publish_all};
use crate::place::{self, Place, Where};
use crate::progress;
use crate::report::{device_json, headers_json, inputs_text, number, print};
use crate::words::{counted, number_text};

/// What is asked of a model.
pub(crate) struct Asked<'a> {
    pub(crate) model: &'a Path,
    pub(crate) features: &'a Path,
    pub(crate) targets: Option<&'a Path>,
    pub(crate) out: &'a Path,
    pub(crate) labels_out: &'a Option<PathBuf>,
    pub(crate) certain_out: &'a Option<PathBuf>,
    pub(crate) text: TextOptions,
    pub(crate) svmlight_base: Base,
    pub(crate) place: &'a Where,
}

pub(crate) fn predict(asked: &Asked<'_>) -> Outcome<()> {
    let started = Instant::now();
    check_device(asked.place)?;
    let mut out = PendingOutput::new("--out", asked.out, &[".npy", ".csv"])?;
    let mut labels_out = pending("--labels-out", asked.labels_out, &[".npy"])?;
    let mut certain_out = pending("--certain-out", asked.certain_out, &[".npy"])?;
    let (linear, names) = model(asked.model)?;
    let wanted = Wanted { base: asked.svmlight_base, labels: false, columns: Some(linear.columns()) };
    let mut features = FileRows::read(asked.features, asked.text, wanted)?;
    let own_labels = features.labels();
    let rows = features.rows()?;
    let in_features = |error| in_features(asked.features, rows.columns(), error);
    rows.check().map_err(in_features)?;
    let values = linear.decision_values(&rows).map_err(in_features)?;
    let outputs = linear.outputs();
    if is_csv(asked.out) {
        out.write_bytes(csv(&linear, names.as_deref(), &values).as_bytes())?;
    } else {
        out.begin::<f64>(&[rows.len(), outputs])?;
        out.write_part(&values, 0)?;
    }
    if let Some(file) = &mut labels_out {
        let labels: Vec<i64> = values.chunks_exact(outputs).map(|values| linear.label_of(values)).collect();
        file.begin::<i64>(&[rows.len()])?;
        file.write_part(&labels, 0)?;
    }
    let mut certain = None;
    if let Some(file) = &mut certain_out {
        let flags = linear.certain(&rows).map_err(|error| match error {
            maxmargin::Error::Option { .. } => Failure::usage(
                "--certain-out: a model with a free intercept has no certain labels: its gap does not bound it",
            ),
            error => in_features(error),
        })?;
        certain = Some(flags.iter().filter(|&&flag| flag).count());
        file.begin::<u8>(&[rows.len()])?;
        file.write_part(&flags.into_iter().map(u8::from).collect::<Vec<_>>(), 0)?;
    }
    let mut headers: Vec<_> = features.has_header.map(|found| ("--features", found)).into_iter().collect();
    let mut unscored = None;
    let scored = match asked.targets {
        Some(path) => {
            let targets = Labels::read(path, asked.text, names.as_deref().unwrap_or_default())?;
            targets.check_shape(rows.len())?;
            targets.check_kind(names.as_deref(), "the model")?;
            headers.extend(targets.has_header.map(|found| ("--targets", found)));
            Some(score(&linear, &rows, &targets)?)
        }
        // Where svmlight text is to be labelled, what stands in front of its lines need not be a label of the model.
        None => match own_labels {
            Some(labels) if !rows.is_empty() => match labels.stranger_to(&linear, names.as_deref())? {
                None => Some(score(&linear, &rows, &labels)?),
                Some(why) => {
                    unscored = Some(why);
                    None
                }
            },
            _ => None,
        },
    };
    let written: Vec<PathBuf> = [Some(&asked.out.to_path_buf()), asked.labels_out.as_ref(), asked.certain_out.as_ref()]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let seconds = started.elapsed().as_secs_f64();
    let device = maxmargin::Device::cpu();
    let text = if asked.place.json {
        let mut object = json!({
            "shape": [rows.len(), outputs],
            "certain": certain,
            "written": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "device": device_json(&device),
            "seconds": { "total": seconds },
        });
        if let Some(why) = unscored {
            object["no_loss"] = json!(why);
        }
        if let Some((loss, accuracy)) = scored {
            object["loss"] = number(loss);
            object["accuracy"] = number(accuracy);
        }
        if !headers.is_empty() {
            object["csv_header"] = headers_json(&headers);
        }
        object.to_string()
    } else if asked.place.quiet {
        scored.map(|(loss, _)| number_text(loss)).unwrap_or_default()
    } else {
        let mut text = format!("{:<10}{} of {}\n", "outputs", counted(rows.len(), "row"), counted(outputs, "number"));
        if let Some((loss, accuracy)) = scored {
            text += &format!("{:<10}{}\n{:<10}{}\n", "loss", number_text(loss), "accuracy", number_text(accuracy));
        }
        if let Some(why) = unscored {
            text += &format!("{:<10}none: {why}\n", "loss");
        }
        if let Some(certain) = certain {
            text += &format!("{:<10}{certain} of {}\n", "certain", counted(rows.len(), "label"));
        }
        text += &inputs_text(&headers, names.as_deref(), 10);
        text += &format!("{:<10}{}\n{:<10}{}\n", "wrote", listed_paths(&written), "device", device.name());
        text + &format!("{:<10}total {seconds:.4}", "seconds")
    };
    if !text.is_empty() {
        print(&text)?;
    }
    publish_all([Some(out), labels_out, certain_out].into_iter().flatten())
}

/// Only the CPU computes with linear models: another device is refused where it was asked for, not where it is the
/// environment's default.
fn check_device(place: &Where) -> Outcome<()> {
    progress::set_quiet(place.quiet);
    if place.device.is_none() {
        return Ok(());
    }
    match place::of(place)? {
        Place::Named(maxmargin::Device::Cpu) | Place::Auto(None) => Ok(()),
        _ => Err(Failure::usage("--device: predict --model runs on the CPU, got a GPU")),
    }
}

/// A line of names, and a line for each row.
fn csv(model: &LinearModel, names: Option<&[String]>, values: &[f64]) -> String {
    let outputs = model.outputs();
    let name = |output: usize| {
        let place = if outputs == 1 { 1 } else { output };
        let name = names.map_or_else(|| model.classes()[place].to_string(), |names| names[place].clone());
        // As CSV quotes what has a comma, a quote or a line of its own.
        if name.contains([',', '"', '\n', '\r']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
    };
    let header = (0..outputs).map(name).collect::<Vec<_>>().join(",") + "\n";
    let row = |row: &[f64]| row.iter().map(|&x| number_text(x)).collect::<Vec<_>>().join(",") + "\n";
    std::iter::once(header).chain(values.chunks_exact(outputs).map(row)).collect()
}
