//! The outputs of a training: weights, checkpoint, history, plot and report.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use maxmargin::Device;
use maxmargin::nn::{Dataset, End, Epoch, Features, Score};
use maxmargin::plot::{Boundary, Chart, Figure, Format};
use maxmargin::train::Trainer;
use serde_json::{Value, json};

use super::arguments::TrainArguments;
use crate::failure::{Failure, Outcome, listed_paths, wrote};
use crate::file::{PendingOutput, pending, publish_each, refuse_same_file};
use crate::method::LossName;
use crate::report::{device_json, device_text, headers_json, inputs_text, number, print};
use crate::words::number_text;

/// Grid cells per axis in the plot of the decision boundary.
const MAP_CELLS: usize = 96;

/// The most points drawn over the decision boundary.
const MOST_POINTS: usize = 2000;

/// The output files. They are created before training, so that an unwritable place shows before any work is done.
pub(super) struct Outputs {
    weights: Option<PendingOutput>,
    checkpoint: Option<PendingOutput>,
    history: Option<PendingOutput>,
    plot: Option<(PendingOutput, Format)>,
    /// What the weights file says besides the weights.
    note: String,
}

impl Outputs {
    pub(super) fn new(arguments: &TrainArguments, trainer: &Trainer, note: String) -> Outcome<Self> {
        let outputs = [
            ("--weights-out", &arguments.weights_out),
            ("--checkpoint-out", &arguments.checkpoint_out),
            ("--history-out", &arguments.history_out),
            ("--plot-out", &arguments.plot_out),
        ];
        let inputs = [
            ("--features", &arguments.features),
            ("--targets", &arguments.targets),
            ("--validation-features", &arguments.validation_features),
            ("--validation-targets", &arguments.validation_targets),
            ("--weights-in", &arguments.weights_in),
            ("--resume", &arguments.resume),
        ];
        fn of<'a>((option, path): (&'a str, &'a Option<PathBuf>)) -> (&'a str, Option<&'a Path>) {
            (option, path.as_deref())
        }
        refuse_same_file(&inputs.map(of), &outputs.map(of))?;
        let tensors = [".safetensors"];
        let mut weights = pending("--weights-out", &arguments.weights_out, &tensors)?;
        let mut checkpoint = pending("--checkpoint-out", &arguments.checkpoint_out, &tensors)?;
        let history = pending("--history-out", &arguments.history_out, &[".csv"])?;
        let plot = pending("--plot-out", &arguments.plot_out, &[".svg", ".png"])?;
        let format = arguments.plot_out.as_deref().map(Format::of).transpose().map_err(Failure::usage)?;
        // Write files of the final size now, to detect a full disk before training.
        if let Some(pending) = &mut weights {
            let bytes = trainer.network().to_safetensors_with_note(&note);
            pending.write_bytes(&bytes.map_err(Failure::data)?)?;
        }
        if let Some(pending) = &mut checkpoint {
            pending.write_bytes(&trainer.checkpoint_with_note(&note).map_err(Failure::data)?)?;
        }
        Ok(Self { weights, checkpoint, history, plot: plot.zip(format), note })
    }

    /// Writes the content of all files, and gives them their names. A training took long: if one file fails, the others
    /// are kept all the same, and the failure names them.
    pub(super) fn write(self, drawn: &Drawn<'_>) -> (Vec<PathBuf>, Outcome<()>) {
        let Drawn { trainer, rows, .. } = *drawn;
        let filled = |pending: Option<PendingOutput>, bytes: &dyn Fn() -> maxmargin::Result<Vec<u8>>| {
            let Some(mut pending) = pending else { return Ok(None) };
            pending.write_bytes(&bytes().map_err(Failure::data)?)?;
            Ok(Some(pending))
        };
        let mut results = vec![
            filled(self.weights, &|| trainer.network().to_safetensors_with_note(&self.note)),
            filled(self.checkpoint, &|| trainer.checkpoint_with_note(&self.note)),
            filled(self.history, &|| Ok(csv(rows).into_bytes())),
        ];
        // Without epochs there is nothing to draw.
        if let Some((pending, format)) = self.plot.filter(|_| !rows.is_empty()) {
            results.push(filled(Some(pending), &|| drawn.figure()?.render(format)));
        }
        let (mut complete, mut failed) = (Vec::new(), None);
        for result in results {
            match result {
                Ok(pending) => complete.extend(pending),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        let (written, not_named) = publish_each(complete);
        (written, failed.or(not_named).map_or(Ok(()), Err))
    }
}

/// `epoch,loss,accuracy,val_loss,val_accuracy`; a value that an epoch does not have is empty.
fn csv(rows: &[Epoch]) -> String {
    let mut text = "epoch,loss,accuracy,val_loss,val_accuracy\n".to_owned();
    for row in rows {
        let cell = |value: Option<f64>| value.map(number_text).unwrap_or_default();
        let [accuracy, val_loss, val_accuracy] = [row.accuracy, row.val_loss, row.val_accuracy].map(cell);
        let _ = writeln!(text, "{},{},{accuracy},{val_loss},{val_accuracy}", row.epoch, number_text(row.loss));
    }
    text
}

/// A training, as its outputs show it.
#[derive(Clone, Copy)]
pub(super) struct Drawn<'a> {
    pub(super) trainer: &'a Trainer,
    pub(super) rows: &'a [Epoch],
    pub(super) data: &'a Dataset,
    pub(super) feature_names: &'a [String],
    /// Whether low outputs mean the positive class, as for the embedding loss.
    pub(super) is_reversed: bool,
}

impl Drawn<'_> {
    /// Loss and accuracy by epoch, and the decision boundary where there is one.
    fn figure(&self) -> maxmargin::Result<Figure> {
        let line = |value: fn(&Epoch) -> Option<f64>| -> Vec<f64> {
            self.rows.iter().map(|row| value(row).unwrap_or(f64::NAN)).collect()
        };
        let chart = |title: &str, train: Vec<f64>, validation: Option<Vec<f64>>| {
            let chart = Chart::new(title).x_label("epoch").y_label(title.to_lowercase()).line("train", &train);
            match validation {
                Some(validation) => chart.line("validation", &validation),
                None => chart,
            }
        };
        let is_validated = self.rows.iter().any(|row| row.val_loss.is_some());
        let validation = is_validated.then(|| line(|row| row.val_loss));
        let mut figure = Figure::new().chart(chart("Loss", line(|row| Some(row.loss)), validation));
        if self.rows.iter().any(|row| row.accuracy.is_some()) {
            let validation = is_validated.then(|| line(|row| row.val_accuracy));
            figure = figure.chart(chart("Accuracy", line(|row| row.accuracy), validation));
        }
        if self.data.columns() == 2 && self.trainer.network().outputs() == 1 {
            figure = figure.boundary(self.boundary()?);
        }
        Ok(figure)
    }

    fn boundary(&self) -> maxmargin::Result<Boundary> {
        let points: Vec<(f64, f64, bool)> = self
            .data
            .features()
            .to_f64()
            .chunks_exact(2)
            .zip(self.data.targets())
            .take(MOST_POINTS)
            .map(|(point, &target)| (point[0], point[1], target > 0.0))
            .collect();
        let boundary = Boundary::of("Decision boundary", &points, MAP_CELLS, |cells| {
            let features: Vec<f32> = cells.iter().flat_map(|&(x, y)| [x as f32, y as f32]).collect();
            let mut scores = self.trainer.predict(&features.into())?;
            if self.is_reversed {
                scores.iter_mut().for_each(|score| *score = -*score);
            }
            Ok(scores)
        })?;
        let has_zero = self.data.targets().contains(&0.0);
        let boundary = boundary.classes("target 1", if has_zero { "target 0" } else { "target -1" });
        Ok(match self.feature_names {
            [x, y] => boundary.x_label(x).y_label(y),
            _ => boundary,
        })
    }
}

pub(super) struct Summary<'a> {
    pub(super) arguments: &'a TrainArguments,
    pub(super) loss: LossName,
    pub(super) headers: &'a [(&'static str, bool)],
    pub(super) classes: Option<&'a [String]>,
    pub(super) features: &'a Features,
    pub(super) rows: &'a [Epoch],
    pub(super) end: End,
    /// Including the epochs before a resume.
    pub(super) epochs_done: u64,
    /// The epochs before a resume.
    pub(super) epochs_before: Option<u64>,
    pub(super) train: Score,
    pub(super) validation: Option<Score>,
    pub(super) parameters: usize,
    pub(super) device: Device,
    /// The files that were written.
    pub(super) written: &'a [PathBuf],
    pub(super) read_seconds: f64,
    pub(super) fit_seconds: f64,
    pub(super) total_seconds: f64,
}

impl Summary<'_> {
    pub(super) fn print(&self) -> Outcome<()> {
        print(&match (self.arguments.place.json, self.arguments.place.quiet) {
            (true, _) => self.json(),
            (false, true) => number_text(self.train.loss),
            (false, false) => self.text(),
        })
    }

    /// What the bytes of features stand for.
    fn scale(&self) -> Option<&'static str> {
        matches!(self.features, Features::U8(_)).then_some("bytes / 255")
    }

    fn layers(&self) -> String {
        self.arguments.layers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn end(&self) -> &'static str {
        match self.end {
            End::EarlyStopping => "early-stopping",
            End::Stopped => "stopped",
            _ => "finished",
        }
    }

    fn json(&self) -> String {
        let score = |score: Score| json!({ "loss": number(score.loss), "accuracy": score.accuracy });
        let row = |row: &Epoch| {
            json!({
                "epoch": row.epoch,
                "loss": number(row.loss),
                "accuracy": row.accuracy,
                "val_loss": row.val_loss.map(number),
                "val_accuracy": row.val_accuracy,
                "seconds": row.seconds,
            })
        };
        let mut object = json!({
            "loss": self.loss.text(),
            "layers": self.layers(),
            "parameters": self.parameters,
            "end": self.end(),
            "epochs": self.epochs_done,
            "epochs_before": self.epochs_before,
            "train": score(self.train),
            "validation": self.validation.map(score),
            "history": self.rows.iter().map(row).collect::<Vec<Value>>(),
            "device": device_json(&self.device),
            "written": self.written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "seconds": { "read": self.read_seconds, "fit": self.fit_seconds, "total": self.total_seconds },
        });
        if !self.headers.is_empty() {
            object["csv_header"] = headers_json(self.headers);
        }
        if let Some(classes) = self.classes {
            object["classes"] = json!(classes);
        }
        if let Some(scale) = self.scale() {
            object["feature_scale"] = scale.into();
        }
        object.to_string()
    }

    fn text(&self) -> String {
        let score = |score: Score| {
            let accuracy = score.accuracy.map(|accuracy| format!(", accuracy {accuracy:.4}")).unwrap_or_default();
            let loss = if score.loss < 1e9 { format!("{:.6}", score.loss) } else { number_text(score.loss) };
            format!("loss {loss}{accuracy}")
        };
        let epochs = match self.epochs_before {
            Some(before) => format!("{}, of which {before} before the resume", self.epochs_done),
            None => self.epochs_done.to_string(),
        };
        let mut text = format!(
            "{:<12}{} ({} weights), {} loss\n{:<12}{epochs} ({})\n{:<12}{}\n",
            "network",
            self.layers(),
            self.parameters,
            self.loss.text(),
            "epochs",
            self.end(),
            "train",
            score(self.train)
        );
        if let Some(validation) = self.validation {
            text += &format!("{:<12}{}\n", "validation", score(validation));
        }
        text += &inputs_text(self.headers, self.classes, 12);
        if let Some(scale) = self.scale() {
            text += &format!("{:<12}{scale}\n", "features");
        }
        if !self.written.is_empty() {
            text += &format!("{:<12}{}\n", "wrote", listed_paths(self.written));
        }
        text += &format!("{:<12}{}\n", "device", device_text(&self.device));
        let [read, fit, total] = [self.read_seconds, self.fit_seconds, self.total_seconds];
        text + &format!("{:<12}read {read:.3}, fit {fit:.3}, total {total:.3}", "seconds")
    }
}

/// The note for a training that a signal stopped.
pub(super) fn stopped_note(written: &[PathBuf]) -> String {
    let written = if written.is_empty() { "no output was asked for".into() } else { wrote(written) };
    format!("note: stopped by a signal; {written}")
}
