//! The outputs of a fit: model, multipliers, path, plot and report.

use std::fmt::Write;
use std::path::PathBuf;

use maxmargin::linear::{FitEnd, LinearFit, PathModel};
use maxmargin::plot::{Boundary, Chart, Figure, Format};
use serde_json::json;

use super::arguments::{FitArguments, Multiclass, intercept_text};
use super::auto::Chosen;
use super::data::{FileRows, Labels};
use super::pending_outputs;
use crate::failure::{Failure, Outcome, listed_paths};
use crate::file::PendingOutput;
use crate::report::{device_json, device_text, headers_json, inputs_text, number, print};
use crate::words::{counted, number_text};

/// Grid cells per axis in the plot of the decision boundary.
const MAP_CELLS: usize = 96;

/// The most points drawn over the decision boundary.
const MOST_POINTS: usize = 2000;

/// The output files, created before the fit, so that an unwritable place shows before any work is done.
pub(super) struct Outputs([Option<PendingOutput>; 4]);

impl Outputs {
    pub(super) fn new(arguments: &FitArguments) -> Outcome<Self> {
        pending_outputs(arguments).map(Self)
    }

    /// Writes the content of all files.
    pub(super) fn fill(
        self,
        summary: &Summary<'_>,
        features: &FileRows,
        targets: &Labels,
    ) -> Outcome<Vec<PendingOutput>> {
        let [mut model, mut dual, mut path, mut plot] = self.0;
        let fit = summary.fit;
        if let Some(file) = &mut model {
            let note = targets.names.as_ref().map(|names| json!(names).to_string());
            file.write_bytes(&fit.model.to_safetensors(note.as_deref()).map_err(Failure::data)?)?;
        }
        if let Some(file) = &mut dual {
            let outputs = fit.model.outputs();
            let shape = [outputs, summary.rows];
            file.begin::<f64>(if outputs == 1 { &shape[1..] } else { &shape })?;
            file.write_part(&fit.multipliers, 0)?;
        }
        if let Some(file) = &mut path {
            file.write_bytes(summary.csv().as_bytes())?;
        }
        if let (Some(file), Some(name)) = (&mut plot, &summary.arguments.plot_out) {
            let drawn = Format::of(name).and_then(|format| summary.figure(features, targets)?.render(format));
            file.write_bytes(&drawn.map_err(|error| Failure::file(name, error))?)?;
        }
        Ok([model, dual, path, plot].into_iter().flatten().collect())
    }
}

pub(super) struct Summary<'a> {
    pub(super) arguments: &'a FitArguments,
    /// The C of the model.
    pub(super) c: f64,
    pub(super) models: &'a [PathModel],
    pub(super) fit: &'a LinearFit,
    /// The mean loss and the accuracy on all rows.
    pub(super) score: (f64, f64),
    pub(super) rows: usize,
    /// Stored entries of sparse rows.
    pub(super) entries: Option<usize>,
    /// The texts that the labels stand for.
    pub(super) names: Option<&'a [String]>,
    /// Where the steps were taken.
    pub(super) chosen: &'a Chosen,
    pub(super) headers: Vec<(&'static str, bool)>,
    pub(super) written: Vec<PathBuf>,
    /// read, solve, certify, total
    pub(super) seconds: [f64; 4],
}

/// A C of a path with its models' mean, lowest and highest value.
struct Spread {
    c: f64,
    loss: [f64; 3],
    accuracy: [f64; 3],
    /// Its models, and those of them that did not reach the gap.
    models: usize,
    short: usize,
}

/// The mean, lowest and highest of one measure.
type Values = fn(&Spread) -> [f64; 3];

impl Summary<'_> {
    fn spreads(&self) -> Vec<Spread> {
        let mut cs: Vec<f64> = self.models.iter().map(|model| model.c).collect();
        cs.sort_by(f64::total_cmp);
        cs.dedup();
        let of = |c: f64, value: fn(&PathModel) -> f64| {
            let values: Vec<f64> = self.models.iter().filter(|model| model.c == c).map(value).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            [mean, lowest, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
        };
        let spread = |c: f64| {
            let of_c = || self.models.iter().filter(move |model| model.c == c);
            let short = of_c().filter(|model| model.end != FitEnd::Converged).count();
            let (loss, accuracy) = (of(c, |m| m.validation_loss), of(c, |m| m.validation_accuracy));
            Spread { c, loss, accuracy, models: of_c().count(), short }
        };
        cs.into_iter().map(spread).collect()
    }

    /// One line per model; the last is the model of all rows, without validation.
    fn csv(&self) -> String {
        let mut text = "c,fold,primal,dual,gap,validation_loss,validation_accuracy\n".to_owned();
        for model in self.models {
            let fold = model.fold.map(|fold| fold.to_string()).unwrap_or_default();
            let numbers = [
                model.certificate.primal,
                model.certificate.dual,
                model.certificate.relative_gap,
                model.validation_loss,
                model.validation_accuracy,
            ];
            let numbers = numbers.map(number_text).join(",");
            let _ = writeln!(text, "{},{fold},{numbers}", number_text(model.c));
        }
        let certificate = self.fit.certificate();
        let numbers = [self.c, certificate.primal, certificate.dual, certificate.relative_gap].map(number_text);
        let [c, primal, dual, gap] = numbers;
        let _ = writeln!(text, "{c},,{primal},{dual},{gap},,");
        text
    }

    fn figure(&self, features: &FileRows, targets: &Labels) -> maxmargin::Result<Figure> {
        let mut figure = Figure::new();
        let spreads = self.spreads();
        if !spreads.is_empty() {
            let cs: Vec<String> = spreads.iter().map(|spread| number_text(spread.c)).collect();
            let charts: [(&str, Values); 2] =
                [("Validation loss", |spread| spread.loss), ("Validation accuracy", |spread| spread.accuracy)];
            for (title, of) in charts {
                let line = |place: usize| spreads.iter().map(|spread| of(spread)[place]).collect::<Vec<f64>>();
                let mut chart = Chart::new(title)
                    .x_label("C")
                    .step_names(cs.clone())
                    .y_label(title.to_lowercase())
                    .line("mean", &line(0));
                if self.models.iter().any(|model| model.fold.is_some()) {
                    chart = chart.line("lowest fold", &line(1)).line("highest fold", &line(2));
                }
                figure = figure.chart(chart);
            }
        }
        let model = &self.fit.model;
        if model.columns() == 2 && model.outputs() == 1 {
            let failed = |failure: Failure| maxmargin::Error::Plot { message: failure.line() };
            let labels = targets.data.to_f64().map_err(failed)?;
            let points = features.points(MOST_POINTS).map_err(failed)?;
            let positive = model.classes()[1] as f64;
            let points: Vec<(f64, f64, bool)> =
                points.into_iter().zip(&labels).map(|((x, y), &label)| (x, y, label == positive)).collect();
            let boundary = Boundary::of("Decision boundary", &points, MAP_CELLS, |cells| {
                let (weights, bias) = (model.weights(), model.bias()[0]);
                Ok(cells.iter().map(|&(x, y)| weights[0] * x + weights[1] * y + bias).collect())
            })?;
            let name = |place: usize| match self.names {
                Some(names) => names[place].clone(),
                None => format!("label {}", model.classes()[place]),
            };
            let weights = [model.weights()[0], model.weights()[1]];
            let support = self.fit.multipliers.iter().take(points.len()).map(|&a| a > 0.0).collect();
            let boundary = boundary.classes(name(1), name(0)).margins(weights, model.bias()[0]).marked(support);
            figure = figure.boundary(match &features.names[..] {
                [x, y] => boundary.x_label(x).y_label(y),
                _ => boundary,
            });
        } else if spreads.is_empty() {
            let message = "there is nothing to draw: several C, or two features and two classes".into();
            return Err(maxmargin::Error::Plot { message });
        }
        Ok(figure)
    }

    pub(super) fn print(&self) -> Outcome<()> {
        let place = &self.arguments.place;
        print(&match (place.json, place.quiet) {
            (true, _) => self.json(),
            (false, true) => number_text(self.fit.certificate().primal),
            (false, false) => self.text(),
        })
    }

    fn is_certified(&self) -> bool {
        self.fit.end == FitEnd::Converged
    }

    fn classes_json(&self) -> serde_json::Value {
        match self.names {
            Some(names) => json!(names),
            None => json!(self.fit.model.classes()),
        }
    }

    fn json(&self) -> String {
        let certificate = self.fit.certificate();
        let model = |model: &PathModel| {
            json!({
                "c": model.c,
                "fold": model.fold,
                "primal": number(model.certificate.primal),
                "dual": number(model.certificate.dual),
                "gap": number(model.certificate.relative_gap),
                "certified": model.end == FitEnd::Converged,
                "validation_loss": number(model.validation_loss),
                "validation_accuracy": number(model.validation_accuracy),
            })
        };
        let [read, solve, certify, total] = self.seconds;
        let mut object = json!({
            "primal": number(certificate.primal),
            "dual": number(certificate.dual),
            "gap": number(certificate.relative_gap),
            "certified": self.is_certified(),
            "passes": self.fit.progress.passes,
            "newton_steps": self.fit.progress.newton_steps,
            "support_vectors": self.fit.support_vectors,
            "loss": number(self.score.0),
            "accuracy": number(self.score.1),
            "classes": self.classes_json(),
            "c": self.c,
            "models": self.models.iter().map(model).collect::<Vec<_>>(),
            "options": {
                "loss": self.arguments.loss_text(),
                "multiclass": self.arguments.multiclass.text(),
                "intercept": intercept_text(self.arguments.intercept),
                "standardize": self.arguments.standardize,
                "gap": self.arguments.gap,
                "max_passes": self.arguments.max_passes,
            },
            "written": self.written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "device": device_json(&self.chosen.device),
            "steps_on_gpu": self.fit.steps_on_gpu,
            "precision": "f64",
            "seconds": { "read": read, "solve": solve, "certify": certify, "total": total },
        });
        if self.chosen.seconds > 0.0 {
            object["seconds"]["choose"] = json!(self.chosen.seconds);
        }
        if let Some(why) = &self.chosen.why {
            object["device"]["note"] = json!(why);
        }
        if let Some(entries) = self.entries {
            object["columns"] = json!(self.fit.model.columns());
            object["entries"] = json!(entries);
        }
        if !self.headers.is_empty() {
            object["csv_header"] = headers_json(&self.headers);
        }
        object.to_string()
    }

    fn text(&self) -> String {
        let (fit, certificate) = (self.fit, self.fit.certificate());
        let target = number_text(self.arguments.gap);
        let confirmed = if self.is_certified() {
            format!("certified, {target} was asked for")
        } else {
            format!("not the {target} that was asked for")
        };
        let standardized = if self.arguments.standardize { ", standardized" } else { "" };
        let multiclass = match self.arguments.multiclass {
            Multiclass::OneVsRest => String::new(),
            joint => format!(", {}", joint.text()),
        };
        let mut text = format!(
            "{:<10}{}  (C {}, intercept {}{standardized}, {} classes{multiclass})\n{:<10}{}, at least {} at the optimum\n{:<10}{:.2e}  ({confirmed})\n",
            "loss",
            self.arguments.loss_text(),
            number_text(self.c),
            intercept_text(self.arguments.intercept),
            fit.model.classes().len(),
            "primal",
            number_text(certificate.primal),
            number_text(certificate.dual),
            "gap",
            certificate.relative_gap,
        );
        text += &format!(
            "{:<10}{:.1}, {}\n{:<10}{} of {}\n{:<10}loss {}, accuracy {}\n",
            "passes",
            fit.progress.passes,
            counted(fit.progress.newton_steps as usize, "Newton step"),
            "support",
            fit.support_vectors,
            counted(self.rows, "row"),
            "rows",
            number_text(self.score.0),
            number_text(self.score.1),
        );
        if let Some(entries) = self.entries {
            let columns = counted(fit.model.columns(), "column");
            text += &format!("{:<10}{columns}, {entries} elements stored\n", "sparse");
        }
        let spreads = self.spreads();
        let most = spreads.iter().map(|spread| spread.models).max().unwrap_or(0);
        for Spread { c, loss, accuracy, models, short } in spreads {
            let mut best = if c == self.c { ", the best" } else { "" }.to_owned();
            if models < most {
                best += &format!("; {models} of {most} folds");
            }
            if short > 0 {
                best += &format!("; {short} of {} not to the gap", counted(models, "model"));
            }
            let [loss, accuracy] = [loss[0], accuracy[0]].map(|mean| format!("{mean:.6}"));
            text +=
                &format!("{:<9} validation loss {loss}, accuracy {accuracy}{best}\n", format!("C {}", number_text(c)));
        }
        text += &inputs_text(&self.headers, self.names, 10);
        if !self.written.is_empty() {
            text += &format!("{:<10}{}\n", "wrote", listed_paths(&self.written));
        }
        text += &format!("{:<10}{}", "device", device_text(&self.chosen.device));
        text += &match self.chosen.device {
            maxmargin::Device::Cpu => ", sums in f64".to_owned(),
            _ if fit.steps_on_gpu == 0 && matches!(fit.end, FitEnd::Converged | FitEnd::Precision) => {
                " for none of the steps: f32 cannot hold these numbers, or got no further".into()
            }
            _ => format!(" for {} of the steps in f32; ended and certified on the CPU in f64", fit.steps_on_gpu),
        };
        text += &self.chosen.why.as_ref().map_or("\n".into(), |why| format!(" ({why})\n"));
        let [read, solve, certify, total] = self.seconds;
        let choose = self.chosen.seconds;
        let choose = if choose < 0.01 { String::new() } else { format!("choose {choose:.4}, ") };
        text + &format!(
            "{:<10}read {read:.4}, {choose}solve {solve:.4}, certify {certify:.4}, total {total:.4}",
            "seconds"
        )
    }
}
