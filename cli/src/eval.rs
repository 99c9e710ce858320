//! `maxmargin eval`: read, evaluate, write, report.

use std::mem::discriminant;
use std::path::Path;
use std::time::Instant;

use maxmargin::plot::{Chart, Format};
use maxmargin::{Batch, Device, Error, Evaluation, Floats, Input, Targets};

use crate::arguments::{Common, EvalArguments, Family};
use crate::failure::{Failure, Outcome};
use crate::file::{self, Array, Data, PendingOutput};
use crate::place;
use crate::report::{Report, print};
use crate::task::{ClassNumbers, ErasedMetric, Layout, Setup};

pub(crate) fn run(arguments: &EvalArguments) -> Outcome<()> {
    let started = Instant::now();
    let family = &arguments.family;
    let common = family.common();
    let settings = family.settings()?;
    let mut gradient_out = common.grad_out.as_deref().map(PendingOutput::new).transpose()?;
    let mut losses_out = common.losses_out.as_deref().map(PendingOutput::new).transpose()?;
    let mut plot_out = common.plot_out.as_deref().map(PendingOutput::new).transpose()?;
    let (device, device_note) = choose_device(common)?;
    let reading = Instant::now();
    let loaded = Loaded::read(family)?;
    let read_seconds = reading.elapsed().as_secs_f64();

    let computing = Instant::now();
    let explain = |error| loaded.explain(error);
    let batch = loaded.batch()?.score_kind(settings.score_kind);
    let Setup { loss, options } = family.loss(&settings, loaded.targets()?, loaded.class_numbers()).map_err(explain)?;
    let (evaluation, batches) = match common.batch_size {
        None => (loss.evaluate(&device, &batch, &family.request(&settings)).map_err(explain)?, None),
        Some(size) => {
            let metric = loss.metric(settings.reduction, settings.per_class);
            let (evaluation, batches) = stream(metric, &device, &batch, size.get()).map_err(explain)?;
            (evaluation, Some(batches))
        }
    };
    let compute_seconds = (computing.elapsed() - evaluation.upload_time).as_secs_f64();

    let shape = &loaded.scores.shape;
    let losses_shape = match family.layout() {
        Layout::Element => shape,
        // One loss a row.
        Layout::Row | Layout::Vectors(_) => &shape[..1],
        // One list, or none of nothing.
        Layout::Whole => &[usize::from(!shape.contains(&0))][..],
    };
    let gradient_shape = match family.layout() {
        Layout::Vectors(inputs) => [&[inputs], &shape[..]].concat(),
        _ => shape.clone(),
    };
    let outputs = [
        (&mut gradient_out, &evaluation.gradient, &gradient_shape[..]),
        (&mut losses_out, &evaluation.losses, losses_shape),
    ];
    for (pending, values, shape) in outputs {
        if let (Some(pending), Some(values)) = (pending, values) {
            pending.write(values, shape)?;
        }
    }
    if let (Some(pending), Some(path), Some(batches)) = (&mut plot_out, &common.plot_out, &batches) {
        let drawn = Format::of(path).and_then(|format| chart(family, batches).render(format));
        pending.write_bytes(&drawn.map_err(|error| Failure::file(path, error))?)?;
    }
    // All are complete before any gets its name.
    for pending in [gradient_out, losses_out, plot_out].into_iter().flatten() {
        pending.publish()?;
    }
    let report = Report {
        loss: family.name(),
        options,
        reduction: settings.reduction_text(),
        evaluation,
        batches,
        device,
        device_note,
        read_seconds,
        compute_seconds,
        total_seconds: started.elapsed().as_secs_f64(),
    };
    print(&match (common.place.json, common.place.quiet) {
        (true, _) => report.json(),
        (false, true) => report.plain_value(),
        (false, false) => report.text(),
    })
}

/// The value of all batches, and each batch's values: one, or one a class; none for the mean of nothing.
fn stream(
    mut metric: Box<dyn ErasedMetric>,
    device: &Device,
    whole: &Batch<'_>,
    size: usize,
) -> Result<(Evaluation, Vec<Vec<f64>>), Error> {
    let mut batches = Vec::new();
    let shape = metric.check_batch(whole).map_err(without_update)?;
    for start in (0..shape.samples).step_by(size) {
        let end = (start + size).min(shape.samples);
        // A batch that was checked and came from files has slices.
        let batch = whole.slice(start..end).unwrap_or(*whole);
        let step = metric.forward(device, &batch);
        let step = step.map_err(|error| without_update(shape.whole_index(error, start)))?;
        batches.push(step.batch.per_class.unwrap_or_else(|| step.batch.value.into_iter().collect()));
    }
    Ok((metric.compute()?, batches))
}

/// An index in the file says more than the number of a batch.
fn without_update(error: Error) -> Error {
    match error {
        Error::Update { source, .. } => *source,
        other => other,
    }
}

/// The curve of the batches' values, one line or one a class.
fn chart(family: &Family, batches: &[Vec<f64>]) -> Chart {
    let chart = Chart::new(format!("{} loss by batch", family.name())).x_label("batch").y_label("loss");
    let lines = batches.iter().map(Vec::len).max().unwrap_or(0);
    let line = |n: usize| batches.iter().map(|batch| batch.get(n).copied().unwrap_or(f64::NAN)).collect::<Vec<_>>();
    (0..lines).fold(chart, |chart, n| chart.line(format!("class {n}"), &line(n)))
}

/// Files start on the host, where one pass over them is bound by memory and an upload would cost more than the
/// evaluation.
fn choose_device(common: &Common) -> Outcome<(Device, Option<&'static str>)> {
    let (device, is_auto) = place::choose(&common.place, || Ok(Device::cpu()))?;
    Ok((device, is_auto.then_some("auto: data from files is read once, an upload would cost more")))
}

/// What came from files.
struct Loaded<'a> {
    family: &'a Family,
    scores: Array,
    /// Of pairs and triplets.
    other_scores: [Option<Array>; 2],
    targets: Option<Array>,
    sample_weights: Option<Array>,
    class_weights: Option<Vec<f64>>,
    margin_matrix: Option<Vec<f64>>,
}

impl<'a> Loaded<'a> {
    fn read(family: &'a Family) -> Outcome<Self> {
        let (scores_path, [second_path, third_path]) = family.score_paths();
        let mut scores = read_scores(scores_path)?;
        let mut other_scores = [second_path.map(read_scores).transpose()?, third_path.map(read_scores).transpose()?];
        // Scores of several types meet in the widest one.
        let mut all: Vec<&mut Array> = other_scores.iter_mut().flatten().chain([&mut scores]).collect();
        if all.windows(2).any(|pair| discriminant(&pair[0].data) != discriminant(&pair[1].data)) {
            let is_double = all.iter().any(|array| matches!(array.data, Data::F64(_)));
            for array in &mut all {
                if is_double {
                    array.data = Data::F64(array.data.to_f64());
                } else {
                    array.data.widen();
                }
            }
        }
        let weights = |path: &Path| -> Outcome<Array> {
            let array = file::read(path)?;
            Ok(Array { data: Data::F64(array.data.to_f64()), ..array })
        };
        let numbers = |path: &Path| file::read(path).map(|array| array.data.to_f64());
        let (class_weights, margin_matrix) = family.class_paths();
        let inputs = family.inputs();
        let mut targets = family.targets_path().map(file::read).transpose()?;
        if let Some(targets) = &mut targets {
            targets.data.widen();
        }
        Ok(Self {
            family,
            scores,
            other_scores,
            targets,
            sample_weights: inputs.sample_weights.as_deref().map(weights).transpose()?,
            class_weights: class_weights.map(numbers).transpose()?,
            margin_matrix: margin_matrix.map(numbers).transpose()?,
        })
    }

    fn class_numbers(&self) -> ClassNumbers<'_> {
        ClassNumbers { weights: self.class_weights.as_deref(), margins: self.margin_matrix.as_deref() }
    }

    fn targets(&self) -> Outcome<Targets<'_>> {
        let (Some(targets), Some(path)) = (&self.targets, self.family.targets_path()) else {
            return Ok(Targets::I8(&[]));
        };
        targets.data.targets().ok_or_else(|| Failure::file(path, "expected f32, f64, integers or booleans"))
    }

    fn batch(&self) -> Outcome<Batch<'_>> {
        let (path, other_paths) = self.family.score_paths();
        let (scores, targets) = (floats_of(&self.scores, path)?, self.targets()?);
        let other = |n: usize| match (&self.other_scores[n], other_paths[n]) {
            (Some(array), Some(path))
                if matches!(self.family.layout(), Layout::Vectors(_)) && array.shape != self.scores.shape =>
            {
                let (expected, got) = (&self.scores.shape, &array.shape);
                Err(Failure::file(path, format!("vectors: expected the first ones' shape {expected:?}, got {got:?}")))
            }
            (Some(array), Some(path)) => floats_of(array, path).map(Some),
            _ => Ok(None),
        };
        let rows = |dimension: &str| match self.scores.shape[..] {
            [_, columns] => Ok(columns),
            _ => {
                let message = format!("scores: expected shape ({dimension}), got {:?}", self.scores.shape);
                Err(Failure::file(path, message))
            }
        };
        let batch = match (self.family.layout(), other(0)?, other(1)?) {
            (Layout::Row, ..) => Batch::rows(scores, rows("N, C")?, targets),
            (Layout::Whole, ..) => Batch::rows(scores, scores.len().max(1), targets),
            (Layout::Vectors(_), Some(second), Some(third)) => Batch::triplets(scores, second, third, rows("N, D")?),
            (Layout::Vectors(_), Some(second), None) => Batch::vector_pairs(scores, second, rows("N, D")?, targets),
            (_, Some(second), _) => Batch::pairs(scores, second, targets),
            _ => Batch::new(scores, targets),
        };
        Ok(match self.sample_weights.as_ref().and_then(|w| w.data.floats()) {
            Some(weights) => batch.sample_weights(weights),
            None => batch,
        })
    }

    /// The failure of an evaluation, with the file that it speaks of.
    fn explain(&self, error: Error) -> Failure {
        let inputs = self.family.inputs();
        let (scores, [second, third]) = self.family.score_paths();
        let path = match error.input() {
            Some(Input::Scores) => Some(scores),
            Some(Input::SecondScores) => second,
            Some(Input::ThirdScores) => third,
            Some(Input::Targets) => self.family.targets_path(),
            Some(Input::SampleWeights) => inputs.sample_weights.as_deref(),
            Some(Input::ClassWeights) => self.family.class_paths().0,
            Some(Input::MarginMatrix) => self.family.class_paths().1,
            _ => None,
        };
        match (path, &error) {
            (Some(path), _) => Failure::file(path, error),
            (None, Error::Option { .. }) => Failure::usage(error),
            (None, Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
                let path = match (&error, &inputs.sample_weights) {
                    (Error::ZeroWeight { .. }, Some(weights)) => weights,
                    _ => self.family.targets_path().unwrap_or(scores),
                };
                Failure::file(path, error)
            }
            (None, _) => Failure::data(error),
        }
    }
}

fn read_scores(path: &Path) -> Outcome<Array> {
    let array = file::read(path)?;
    let array = match array.data {
        // A .csv column of whole numbers is still a column of scores.
        Data::I64(x) if path.to_string_lossy().contains(".csv:") => {
            Array { data: Data::F64(x.into_iter().map(|x| x as f64).collect()), ..array }
        }
        _ => array,
    };
    if array.data.floats().is_none() {
        return Err(Failure::file(path, "scores: expected f16, bf16, f32 or f64 elements, got integers"));
    }
    Ok(array)
}

fn floats_of<'a>(array: &'a Array, path: &Path) -> Outcome<Floats<'a>> {
    array.data.floats().ok_or_else(|| Failure::file(path, "expected floats"))
}
