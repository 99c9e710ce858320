//! `maxmargin eval`: read, evaluate, write, report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use maxmargin::loss::{Loss, RowsLoss};
use maxmargin::{
    Batch, BinaryHinge, CrammerSinger, DEVICE_VARIABLE, Device, EmbeddingHinge, Error, Evaluation, Input, Kink,
    LabelEncoding, MulticlassHinge, OneVsAll, OverClasses, Penalty, Reduction, Request, Ties, WestonWatkins,
};
use serde_json::{Map, Value, json};

use crate::arguments::{
    Common, EvalArguments, Family, Inputs, KinkName, Labels, Method, Over, PenaltyName, ReductionName, TiesName,
};
use crate::failure::{Failure, Outcome};
use crate::file::{self, Array, PendingOutput};
use crate::report::{Report, print};

/// What came from files.
struct Loaded<'a> {
    inputs: &'a Inputs,
    class_weights_path: Option<&'a PathBuf>,
    scores: Array,
    targets: Array,
    sample_weights: Option<Array>,
    class_weights: Option<Vec<f64>>,
}

impl Loaded<'_> {
    /// The failure of an evaluation, with the file that it speaks of.
    fn explain(&self, error: Error) -> Failure {
        let path = match error.input() {
            Some(Input::Scores) => Some(&self.inputs.scores),
            Some(Input::Targets) => Some(&self.inputs.targets),
            Some(Input::SampleWeights) => self.inputs.sample_weights.as_ref(),
            Some(Input::ClassWeights) => self.class_weights_path,
            _ => None,
        };
        match (path, &error) {
            (Some(path), _) => Failure::file(path, error),
            (None, Error::Option { .. }) => Failure::usage(error),
            (None, Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
                let path = match (&error, &self.inputs.sample_weights) {
                    (Error::ZeroWeight { .. }, Some(weights)) => weights,
                    _ => &self.inputs.targets,
                };
                Failure::file(path, error)
            }
            (None, _) => Failure::data(error),
        }
    }
}

pub(crate) fn run(arguments: &EvalArguments) -> Outcome<()> {
    let started = Instant::now();
    let (inputs, common, class_weights_path) = match &arguments.family {
        Family::Binary { inputs, common, .. } | Family::Embedding { inputs, common } => (inputs, common, None),
        Family::Multiclass { inputs, common, class_weights, .. } => (inputs, common, class_weights.as_ref()),
    };
    check_usage(arguments, common)?;
    let mut gradient_out = common.grad_out.as_deref().map(PendingOutput::new).transpose()?;
    let mut losses_out = common.losses_out.as_deref().map(PendingOutput::new).transpose()?;
    let (device, device_note) = choose_device(common)?;
    let reading = Instant::now();
    let loaded = load(inputs, class_weights_path)?;
    let read_seconds = reading.elapsed().as_secs_f64();

    let computing = Instant::now();
    let (loss, options, evaluation) = evaluate(&arguments.family, &loaded, &device, request(arguments, common))?;
    let compute_seconds = (computing.elapsed() - evaluation.upload_time).as_secs_f64();

    let outputs = [
        (&mut gradient_out, &evaluation.gradient, &loaded.scores),
        (&mut losses_out, &evaluation.losses, &loaded.targets),
    ];
    for (pending, values, like) in outputs {
        if let (Some(pending), Some(values)) = (pending, values) {
            pending.write(values, &like.shape)?;
        }
    }
    // Both are complete before either gets its name.
    for pending in [gradient_out, losses_out].into_iter().flatten() {
        pending.publish()?;
    }
    let total_seconds = started.elapsed().as_secs_f64();
    let reduction = common.reduction.text();
    let report = Report {
        loss,
        options,
        reduction,
        evaluation,
        device,
        device_note,
        read_seconds,
        compute_seconds,
        total_seconds,
    };
    print(&match (common.json, common.quiet) {
        (true, _) => report.json(),
        (false, true) => report.plain_value(),
        (false, false) => report.text(),
    })
}

/// Combinations of options that mean nothing.
fn check_usage(arguments: &EvalArguments, common: &Common) -> Outcome<()> {
    if common.grad_out.is_some() && common.grad_out == common.losses_out {
        return Err(Failure::usage("--grad-out and --losses-out name the same file"));
    }
    if let Family::Multiclass { method, over_classes, per_class, .. } = &arguments.family {
        if *method == Method::CrammerSinger && *over_classes == Over::Mean {
            return Err(Failure::usage(
                "--over-classes mean: crammer-singer takes a maximum over the classes, not a sum",
            ));
        }
        if *per_class {
            if *method != Method::OneVsAll {
                return Err(Failure::usage(format!("--per-class needs --method one-vs-all, got {}", method.text())));
            }
            if common.reduction == ReductionName::None || common.grad_out.is_some() || *over_classes == Over::Mean {
                return Err(Failure::usage(
                    "--per-class goes with --reduction mean or sum, without --grad-out or --over-classes",
                ));
            }
        }
    }
    Ok(())
}

fn request(arguments: &EvalArguments, common: &Common) -> Request {
    let mut request = Request::new().reduction(match common.reduction {
        ReductionName::Mean => Reduction::Mean,
        ReductionName::Sum => Reduction::Sum,
        ReductionName::None => Reduction::None,
    });
    if common.grad_out.is_some() {
        request = request.gradient();
    }
    if common.losses_out.is_some() {
        request = request.losses();
    }
    if matches!(arguments.family, Family::Multiclass { per_class: true, .. }) {
        request = request.per_class();
    }
    request
}

/// `--device`, or the environment, or auto: files start on the host, where one pass over them is bound by memory and
/// an upload would cost more than the evaluation.
fn choose_device(common: &Common) -> Outcome<(Device, Option<&'static str>)> {
    let selection = match &common.device {
        Some(selection) => selection.clone(),
        None => std::env::var(DEVICE_VARIABLE).unwrap_or_default(),
    };
    if selection.is_empty() || selection.eq_ignore_ascii_case("auto") {
        return Ok((Device::cpu(), Some("auto: data from files is read once, an upload would cost more")));
    }
    let device = Device::select(&selection).map_err(Failure::data)?;
    if let (Device::Gpu(gpu), "gpu", false) = (&device, selection.to_lowercase().as_str(), common.quiet)
        && gpu.description().is_software()
    {
        use std::io::Write;
        // The note is a courtesy; without a stderr there is nobody to be courteous to.
        let _ = writeln!(std::io::stderr(), "note: {} is a software adapter", gpu.name());
    }
    Ok((device, None))
}

fn load<'a>(inputs: &'a Inputs, class_weights_path: Option<&'a PathBuf>) -> Outcome<Loaded<'a>> {
    let scores = file::read(&inputs.scores)?;
    let scores = match scores.data {
        // A .csv column of whole numbers is still a column of scores.
        file::Data::I64(x) if inputs.scores.to_string_lossy().contains(".csv:") => {
            Array { data: file::Data::F64(x.into_iter().map(|x| x as f64).collect()), ..scores }
        }
        _ => scores,
    };
    if scores.data.floats().is_none() {
        return Err(Failure::file(&inputs.scores, "scores: expected f16, bf16, f32 or f64 elements, got integers"));
    }
    let weights = |path: &Path| -> Outcome<Array> {
        let array = file::read(path)?;
        Ok(Array { data: file::Data::F64(to_floats(&array)), ..array })
    };
    let class_weights = class_weights_path.map(|path| file::read(path).map(|array| to_floats(&array))).transpose()?;
    Ok(Loaded {
        inputs,
        class_weights_path,
        scores,
        targets: file::read(&inputs.targets)?,
        sample_weights: inputs.sample_weights.as_deref().map(weights).transpose()?,
        class_weights,
    })
}

/// Weights may be of any type.
fn to_floats(array: &Array) -> Vec<f64> {
    match &array.data {
        file::Data::Bool(x) => x.iter().map(|&x| f64::from(u8::from(x))).collect(),
        file::Data::I8(x) => x.iter().map(|&x| x.into()).collect(),
        file::Data::U8(x) => x.iter().map(|&x| x.into()).collect(),
        file::Data::I32(x) => x.iter().map(|&x| x.into()).collect(),
        file::Data::I64(x) => x.iter().map(|&x| x as f64).collect(),
        file::Data::U64(x) => x.iter().map(|&x| x as f64).collect(),
        file::Data::F32(x) => x.iter().map(|&x| x.into()).collect(),
        file::Data::F64(x) => x.clone(),
    }
}

fn evaluate(
    family: &Family,
    loaded: &Loaded<'_>,
    device: &Device,
    request: Request,
) -> Outcome<(&'static str, Map<String, Value>, Evaluation)> {
    let mut options = Map::new();
    options.insert("margin".into(), json!(loaded.inputs.margin));
    options.insert("sample_weights".into(), json!(loaded.inputs.sample_weights));
    let margin = loaded.inputs.margin;
    let targets = loaded.targets.data.targets();
    let floats = || loaded.scores.data.floats().ok_or_else(|| Failure::file(&loaded.inputs.scores, "expected floats"));
    let run = |loss: &dyn ErasedLoss, columns: Option<usize>| -> Outcome<Evaluation> {
        let mut batch = match columns {
            Some(columns) => Batch::rows(floats()?, columns, targets),
            None => Batch::new(floats()?, targets),
        };
        if let Some(weights) = loaded.sample_weights.as_ref().and_then(|w| w.data.floats()) {
            batch = batch.sample_weights(weights);
        }
        loss.evaluate(device, &batch, &request).map_err(|error| loaded.explain(error))
    };
    match family {
        Family::Binary { labels, penalty, common, .. } => {
            let encoding = match labels {
                Labels::PlusMinusOne => LabelEncoding::PlusMinusOne,
                Labels::ZeroOne => LabelEncoding::ZeroOne,
                Labels::Auto => LabelEncoding::detect(targets).map_err(|error| loaded.explain(error))?,
            };
            let found = match encoding {
                LabelEncoding::PlusMinusOne => Labels::PlusMinusOne,
                LabelEncoding::ZeroOne => Labels::ZeroOne,
            };
            options.insert("labels".into(), found.text().into());
            options.insert("penalty".into(), penalty.text().into());
            options.insert("kink".into(), common.kink.text().into());
            let loss = BinaryHinge::new()
                .margin(margin)
                .penalty(penalty_of(*penalty))
                .kink(kink_of(common.kink))
                .labels(encoding);
            Ok(("binary", options, run(&loss, None)?))
        }
        Family::Embedding { common, .. } => {
            options.insert("kink".into(), common.kink.text().into());
            Ok(("embedding", options, run(&EmbeddingHinge::new().margin(margin).kink(kink_of(common.kink)), None)?))
        }
        Family::Multiclass { method, penalty, over_classes, ignore_index, common, .. } => {
            for (name, text) in [
                ("method", method.text()),
                ("penalty", penalty.text()),
                ("over_classes", over_classes.text()),
                ("kink", common.kink.text()),
                ("ties", common.ties.text()),
            ] {
                options.insert(name.into(), text.into());
            }
            options.insert("class_weights".into(), json!(loaded.class_weights_path));
            options.insert("ignore_index".into(), json!(ignore_index));
            let columns = match loaded.scores.shape[..] {
                [_, columns] => Some(columns),
                _ => {
                    let message = format!("scores: expected shape (N, C), got {:?}", loaded.scores.shape);
                    return Err(Failure::file(&loaded.inputs.scores, message));
                }
            };
            let options_of =
                Multiclass { loaded, margin, penalty: *penalty, over: *over_classes, ignore: *ignore_index, common };
            let evaluation = match method {
                Method::CrammerSinger => run(&options_of.with(CrammerSinger), columns),
                Method::WestonWatkins => run(&options_of.with(WestonWatkins), columns),
                Method::OneVsAll => run(&options_of.with(OneVsAll), columns),
            }?;
            Ok(("multiclass", options, evaluation))
        }
    }
}

struct Multiclass<'a> {
    loaded: &'a Loaded<'a>,
    margin: f64,
    penalty: PenaltyName,
    over: Over,
    ignore: Option<i64>,
    common: &'a Common,
}

impl Multiclass<'_> {
    fn with<M: RowsLoss>(&self, method: M) -> MulticlassHinge<M> {
        let mut loss = MulticlassHinge::with_method(method)
            .margin(self.margin)
            .penalty(penalty_of(self.penalty))
            .kink(kink_of(self.common.kink))
            .ties(match self.common.ties {
                TiesName::First => Ties::First,
                TiesName::Split => Ties::Split,
            })
            .over_classes(match self.over {
                Over::Sum => OverClasses::Sum,
                Over::Mean => OverClasses::Mean,
            });
        if let Some(weights) = &self.loaded.class_weights {
            loss = loss.class_weights(weights.clone());
        }
        if let Some(index) = self.ignore {
            loss = loss.ignore_index(index);
        }
        loss
    }
}

/// Losses of different types behind one call.
trait ErasedLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation, Error>;
}

impl<L: Loss> ErasedLoss for L {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation, Error> {
        device.evaluate(self, batch, request)
    }
}

fn penalty_of(name: PenaltyName) -> Penalty {
    match name {
        PenaltyName::Linear => Penalty::Linear,
        PenaltyName::Squared => Penalty::Squared,
    }
}

fn kink_of(name: KinkName) -> Kink {
    match name {
        KinkName::Zero => Kink::Zero,
        KinkName::Half => Kink::Half,
        KinkName::Active => Kink::Active,
    }
}
