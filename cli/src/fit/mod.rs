//! `maxmargin fit`: a linear model with a certificate, and `predict --model`.

mod arguments;
mod auto;
mod data;
mod outputs;
mod predict;

use std::path::Path;
use std::time::Instant;

use maxmargin::linear::{
    ClassWeights, FitEnd, FitProgress, LinearClassifier, LinearFit, Multiclass, PathModel, Validation,
};
use maxmargin::{Error, Input};

pub(crate) use self::arguments::FitArguments;
use self::arguments::loss_text;
use self::auto::Task;
use self::data::{FileRows, Labels};
use self::outputs::{Outputs, Summary};
pub(crate) use self::predict::{Asked, predict};
use crate::failure::{Failure, Outcome};
use crate::file::sparse::{self, Wanted};
use crate::file::{self, pending, refuse_same_file};
use crate::words::number_text;
use crate::{interrupt, progress};

/// Fits a model. The result is true where a signal ended the fit.
pub(crate) fn run(arguments: &FitArguments) -> Outcome<bool> {
    let started = Instant::now();
    progress::set_quiet(arguments.place.quiet);
    if arguments.c.len() > 1 && arguments.folds.is_none() && arguments.validation_features.is_none() {
        return Err(Failure::usage("--c with several numbers needs --folds or --validation-features to judge them"));
    }
    if arguments.model_in.is_some() && (arguments.folds.is_some() || arguments.validation_features.is_some()) {
        let message =
            "--model-in starts one fit, got --folds or --validation-features, whose fits start from each other";
        return Err(Failure::usage(message));
    }
    refuse_same_file(&arguments.inputs(), &arguments.outputs())?;
    let outputs = Outputs::new(arguments)?;
    let start = arguments.model_in.as_deref().map(data::model).transpose()?;
    let columns = start.as_ref().map(|(model, _)| model.columns());
    let labels = ("--targets", arguments.targets.as_deref());
    let (features, targets) = labelled(arguments, ("--features", &arguments.features), labels, columns, &[])?;
    let rows = features.rows()?;
    targets.check_shape(rows.len())?;
    let weights = arguments.sample_weights.as_deref();
    let weights = weights.map(|path| data::numbers(path, arguments.text, "sample weights", rows.len())).transpose()?;
    let validation = match &arguments.validation_features {
        Some(path) => {
            let known = targets.names.as_deref().unwrap_or_default();
            let labels = ("--validation-targets", arguments.validation_targets.as_deref());
            let columns = Some(rows.columns());
            let (features, labels) = labelled(arguments, ("--validation-features", path), labels, columns, known)?;
            labels.check_kind(targets.names.as_deref(), "--targets")?;
            Some((features, labels))
        }
        None => None,
    };
    if let Some((_, names)) = &start {
        targets.check_kind(names.as_deref(), "--model-in")?;
    }
    if arguments.plot_out.is_some() && arguments.c.len() == 1 && !(rows.columns() == 2 && targets.are_two()?) {
        let message = "--plot-out: there is nothing to draw: expected several --c, or two features and two labels";
        return Err(Failure::usage(message));
    }
    let class_weights = match arguments.class_weights.as_deref() {
        None => ClassWeights::Equal,
        Some(path) if path.as_os_str() == "balanced" => ClassWeights::Balanced,
        Some(path) => ClassWeights::Given(file::read(path, arguments.text)?.data.to_f64()?),
    };
    let read_seconds = started.elapsed().as_secs_f64();
    let classifier = LinearClassifier::new(arguments.loss)
        .multiclass(arguments.multiclass.of_library())
        .intercept(arguments.intercept)
        .standardize(arguments.standardize)
        .class_weights(class_weights)
        .gap(arguments.gap)
        .max_passes(arguments.max_passes);
    let labels = targets.data.targets().ok_or_else(|| targets.fail("expected whole numbers or text"))?;
    let is_joint = arguments.multiclass.of_library() != Multiclass::OneVsRest && !targets.are_two()?;
    let task = Task { classifier: &classifier, rows: &rows, targets: labels, bytes: features.dense_bytes(), is_joint };
    let mut chosen = auto::choose(&arguments.place, &task)?;
    let classifier = classifier.device(chosen.device.clone());
    let solving = Instant::now();
    let line = progress::stage("fitting");
    let stop = interrupt::stop_flag();
    let mut on_progress = |now: FitProgress| {
        let gap = if now.gap.is_finite() { format!(" gap {:.1e}", now.gap) } else { String::new() };
        line.say(format!("fitting: {:.1} passes, {} Newton steps{gap}", now.passes, now.newton_steps));
        !stop.load(std::sync::atomic::Ordering::Relaxed)
    };
    let explain = |error| explain(arguments, rows.columns(), &targets, error);
    let judge = match (&validation, arguments.folds) {
        (Some((features, labels)), _) => {
            let targets = labels.data.targets().ok_or_else(|| labels.fail("expected whole numbers or text"))?;
            let rows = features.rows()?;
            labels.check_shape(rows.len())?;
            Some(Validation::Rows(rows, targets))
        }
        (None, Some(count)) => Some(Validation::Folds { count, seed: arguments.seed }),
        (None, None) => None,
    };
    let mut solve = |classifier: LinearClassifier| -> maxmargin::Result<(f64, Vec<PathModel>, LinearFit)> {
        let weights = weights.as_deref();
        if let Some(validation) = &judge {
            let path = classifier.fit_path(&rows, labels, weights, &arguments.c, validation, &mut on_progress)?;
            return Ok((path.best_c, path.models, path.fit));
        }
        let (c, start) = (arguments.c[0], start.as_ref().map(|start| &start.0));
        Ok((c, Vec::new(), classifier.c(c).fit_with(&rows, labels, weights, start, &mut on_progress)?))
    };
    let solved = match solve(classifier.clone()) {
        // A device that was not asked for by name may be too small for all rows.
        Err(error @ (Error::OutOfMemory { .. } | Error::DeviceLimit { .. } | Error::DeviceLost { .. }))
            if chosen.may_change() =>
        {
            chosen.cpu_after(error);
            solve(classifier.device(maxmargin::Device::Cpu))
        }
        solved => solved,
    };
    let (c, models, fit) = solved.map_err(explain)?;
    drop(line);
    let solve_seconds = solving.elapsed().as_secs_f64() - fit.certifying.as_secs_f64();
    let score = data::score(&fit.model, &rows, &targets)?;
    let mut headers = Vec::new();
    headers.extend(features.has_header.map(|found| ("--features", found)));
    headers.extend(targets.has_header.map(|found| ("--targets", found)));
    let mut summary = Summary {
        arguments,
        c,
        models: &models,
        fit: &fit,
        score,
        rows: rows.len(),
        entries: features.entries(),
        names: targets.names.as_deref(),
        chosen: &chosen,
        headers,
        written: Vec::new(),
        seconds: [read_seconds, solve_seconds, fit.certifying.as_secs_f64(), 0.0],
    };
    let files = outputs.fill(&summary, &features, &targets)?;
    summary.written = arguments.outputs().iter().filter_map(|(_, path)| path.map(Into::into)).collect();
    summary.seconds[3] = started.elapsed().as_secs_f64();
    summary.print()?;
    file::publish_all(files)?;
    let gap = number_text(fit.model.relative_gap());
    let written = &summary.written;
    match fit.end {
        FitEnd::Converged => Ok(false),
        FitEnd::Stopped => {
            let failure = Failure::data(format!("stopped by a signal at the relative gap {gap}"));
            // A note: what was asked for is there, but for the gap.
            failure.after(written, Ok(())).note();
            Ok(true)
        }
        end => {
            let why = match end {
                FitEnd::Passes => format!("--max-passes {} is used up", number_text(arguments.max_passes)),
                _ if arguments.standardize => "rounding allows no less".into(),
                _ => "rounding allows no less: --standardize may help".into(),
            };
            let message = format!("--gap {}: the relative gap is {gap}; {why}", number_text(arguments.gap));
            Err(Failure::data(message).after(written, Ok(())))
        }
    }
}

/// Features and their labels, which svmlight text holds itself. Both come with their options.
fn labelled(
    arguments: &FitArguments,
    (features_option, path): (&str, &Path),
    (targets_option, targets): (&str, Option<&Path>),
    columns: Option<usize>,
    known: &[String],
) -> Outcome<(FileRows, Labels)> {
    let wanted = Wanted { base: arguments.svmlight_base, labels: targets.is_none(), columns };
    let read = || FileRows::read(path, arguments.text, wanted);
    if let Some(targets) = targets {
        return Ok((read()?, Labels::read(targets, arguments.text, known)?));
    }
    // Looked at before a file that may be large is read.
    let mut features = if sparse::has_labels(path) { Some(read()?) } else { None };
    let labels = features.as_mut().and_then(FileRows::labels);
    features.zip(labels).ok_or_else(|| {
        Failure::usage(format!(
            "{targets_option} is needed: only svmlight text (.svm, .libsvm, .svmlight) holds labels, got {features_option} {}",
            path.display()
        ))
    })
}

/// The failure of a fit, with the file or the option that caused it.
fn explain(arguments: &FitArguments, columns: usize, targets: &Labels, error: Error) -> Failure {
    let path = match error.input() {
        Some(Input::Features) => Some(&arguments.features),
        Some(Input::Targets) => arguments.targets.as_ref().or(Some(&arguments.features)),
        Some(Input::SampleWeights) => arguments.sample_weights.as_ref(),
        Some(Input::ClassWeights) => arguments.class_weights.as_ref(),
        Some(Input::ValidationFeatures) => arguments.validation_features.as_ref(),
        Some(Input::ValidationTargets) => {
            arguments.validation_targets.as_ref().or(arguments.validation_features.as_ref())
        }
        _ => None,
    };
    let features = [Input::Features, Input::ValidationFeatures];
    match (error, path) {
        (error, Some(path)) if error.input().is_some_and(|input| features.contains(&input)) => {
            in_features(path, columns, error)
        }
        (error, Some(path)) => {
            let failure = Failure::file(path, error);
            if targets.names.is_some() {
                failure.hint("labels are numbered in the order of their texts")
            } else {
                failure
            }
        }
        (Error::ZeroWeight { .. }, None) => {
            let path = arguments.sample_weights.as_ref().or(arguments.class_weights.as_ref());
            Failure::file(path.unwrap_or(&arguments.features), "all weights are 0: there is nothing to fit")
        }
        (error @ Error::Option { .. }, None) => Failure::option(error),
        (error, None) => Failure::data(error),
    }
}

/// The failure of an error in features, with the row and column of an element.
fn in_features(path: &std::path::Path, columns: usize, error: Error) -> Failure {
    match error {
        Error::Value { input, index, value, expected } => {
            let (row, column) = (index / columns as u64, index % columns as u64);
            Failure::file(path, format!("{input}: row {row}, column {column}: expected {expected}, got {value}"))
        }
        error => Failure::file(path, error),
    }
}

impl FitArguments {
    fn inputs(&self) -> [(&'static str, Option<&std::path::Path>); 7] {
        let weights = self.class_weights.as_deref().filter(|path| path.as_os_str() != "balanced");
        [
            ("--features", Some(&self.features)),
            ("--targets", self.targets.as_deref()),
            ("--sample-weights", self.sample_weights.as_deref()),
            ("--class-weights", weights),
            ("--validation-features", self.validation_features.as_deref()),
            ("--validation-targets", self.validation_targets.as_deref()),
            ("--model-in", self.model_in.as_deref()),
        ]
    }

    fn outputs(&self) -> [(&'static str, Option<&std::path::Path>); 4] {
        [
            ("--model-out", self.model_out.as_deref()),
            ("--dual-out", self.dual_out.as_deref()),
            ("--path-out", self.path_out.as_deref()),
            ("--plot-out", self.plot_out.as_deref()),
        ]
    }

    /// The loss as it was typed.
    fn loss_text(&self) -> String {
        loss_text(self.loss)
    }
}

/// The files that a fit writes.
fn pending_outputs(arguments: &FitArguments) -> Outcome<[Option<file::PendingOutput>; 4]> {
    Ok([
        pending("--model-out", &arguments.model_out, &[".safetensors"])?,
        pending("--dual-out", &arguments.dual_out, &[".npy"])?,
        pending("--path-out", &arguments.path_out, &[".csv"])?,
        pending("--plot-out", &arguments.plot_out, &[".svg", ".png"])?,
    ])
}
