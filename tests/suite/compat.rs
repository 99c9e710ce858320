//! `maxmargin::compat` compared with the peers' functions: tests/fixtures/compat.json, written by compat.py.
//!
//! `MAXMARGIN_COMPAT_FIXTURE` names another file, for fresh random inputs: `python compat.py SEED FILE`.

use std::sync::Arc;

use crate::harness::{Outcome, label, open};
use libtest_mimic::{Failed, Trial};
use maxmargin::compat::torchmetrics::{
    BinaryHingeLoss, HingeLoss, MulticlassHingeLoss, MulticlassMode, Options, binary_hinge_loss, multiclass_hinge_loss,
};
use maxmargin::compat::{keras, keras_rs, kornia, optax, sklearn, torch};
use maxmargin::gpu::AdapterDescription;
use maxmargin::{Batch, Device, Distance, Evaluation, Floats, Reduction, Request};
use serde_json::Value;

/// With fewer cases than this, the fixture has changed.
const CASES: usize = 249;

/// The arrays of a case or of one of its batches.
struct Arrays {
    columns: Option<usize>,
    scores: (Vec<f32>, Vec<f64>),
    second: Option<(Vec<f32>, Vec<f64>)>,
    third: Option<(Vec<f32>, Vec<f64>)>,
    targets: Vec<f64>,
    weights: Option<Vec<f64>>,
}

/// The numbers of a JSON array; null is NaN.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    Some(value.as_array()?.iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect())
}

impl Arrays {
    fn new(case: &Value) -> Result<Self, Failed> {
        let both = |x: Vec<f64>| (x.iter().map(|&x| x as f32).collect(), x);
        Ok(Self {
            columns: case["shape"][1].as_u64().map(|columns| columns as usize),
            scores: both(numbers(&case["scores"]).ok_or("no scores")?),
            second: numbers(&case["second"]).map(both),
            third: numbers(&case["third"]).map(both),
            targets: numbers(&case["targets"]).ok_or("no targets")?,
            weights: numbers(&case["sample_weights"]),
        })
    }

    /// A batch of rows, or of single scores whatever their shape.
    fn batch(&self, in_f64: bool, rows: bool) -> Result<Batch<'_>, Failed> {
        fn floats((single, double): &(Vec<f32>, Vec<f64>), in_f64: bool) -> Floats<'_> {
            if in_f64 { double.into() } else { single.into() }
        }
        let scores = floats(&self.scores, in_f64);
        let columns = self.columns.ok_or("no rows");
        let batch = match (&self.second, rows) {
            (Some(second), true) => {
                let second = floats(second, in_f64);
                match &self.third {
                    Some(third) => Batch::triplets(scores, second, floats(third, in_f64), columns?),
                    None => Batch::vector_pairs(scores, second, columns?, &self.targets),
                }
            }
            (Some(second), false) => Batch::pairs(scores, floats(second, in_f64), &self.targets),
            (None, true) => Batch::rows(scores, columns?, &self.targets),
            (None, false) => Batch::new(scores, &self.targets),
        };
        Ok(match &self.weights {
            Some(weights) => batch.sample_weights(weights),
            None => batch,
        })
    }
}

#[derive(Default)]
struct Got {
    value: Vec<f64>,
    losses: Option<Vec<f64>>,
    gradient: Option<Vec<f64>>,
}

impl Got {
    fn new(evaluation: &Evaluation) -> Result<Self, Failed> {
        let numbers = |output: &Option<maxmargin::Output>| output.as_ref().map(|x| x.to_f64()).transpose();
        Ok(Self {
            value: evaluation.per_class.clone().unwrap_or_else(|| evaluation.value.into_iter().collect()),
            losses: numbers(&evaluation.losses)?,
            gradient: numbers(&evaluation.gradient)?,
        })
    }
}

fn options(arguments: &Value) -> Options {
    Options { squared: arguments["squared"].as_bool() == Some(true), ignore_index: arguments["ignore_index"].as_i64() }
}

fn mode(arguments: &Value) -> MulticlassMode {
    match arguments["multiclass_mode"].as_str() {
        Some("one-vs-all") => MulticlassMode::OneVsAll,
        _ => MulticlassMode::CrammerSinger,
    }
}

fn call(case: &Value, device: &Device, in_f64: bool) -> Result<Got, Failed> {
    let (function, arguments) = (case["function"].as_str().unwrap_or(""), &case["arguments"]);
    if case["batches"].is_array() {
        return stream(case, device, in_f64);
    }
    let arrays = Arrays::new(case)?;
    let batch = |rows| arrays.batch(in_f64, rows);
    let margin = arguments["margin"].as_f64().unwrap_or(f64::NAN);
    let reduction = match arguments["reduction"].as_str() {
        Some("mean") => Reduction::Mean,
        Some("sum") => Reduction::Sum,
        _ => Reduction::None,
    };
    let keras_reduction = match arguments["reduction"].as_str() {
        Some("sum_over_batch_size") => keras::KerasReduction::SumOverBatchSize,
        Some("mean_with_sample_weight") => keras::KerasReduction::MeanWithSampleWeight,
        Some("sum") => keras::KerasReduction::Sum,
        _ => keras::KerasReduction::None,
    };
    let none = Request::new().reduction(Reduction::None).gradient();
    let evaluation = match function {
        "torch.HingeEmbeddingLoss" => {
            torch::HingeEmbeddingLoss { margin, reduction }.forward_backward(device, &batch(false)?)
        }
        "torch.MarginRankingLoss" => {
            torch::MarginRankingLoss { margin, reduction }.forward_backward(device, &batch(false)?)
        }
        "torch.SoftMarginLoss" => torch::SoftMarginLoss { reduction }.forward_backward(device, &batch(false)?),
        "torch.MultiMarginLoss" => {
            let (p, weight) = (arguments["p"].as_u64().unwrap_or(0) as u32, numbers(&arguments["weight"]));
            torch::MultiMarginLoss { p, margin, weight, reduction }.forward_backward(device, &batch(true)?)
        }
        "torch.MultiLabelMarginLoss" => {
            torch::MultiLabelMarginLoss { reduction }.forward_backward(device, &batch(true)?)
        }
        "torch.TripletMarginLoss" => {
            let p = &arguments["p"];
            let p = p.as_f64().or(p.as_str().and_then(|p| p.parse().ok())).unwrap_or(f64::NAN);
            let (eps, swap) = (arguments["eps"].as_f64().unwrap_or(f64::NAN), arguments["swap"] == true);
            torch::TripletMarginLoss { margin, p, eps, swap, reduction }.forward_backward(device, &batch(true)?)
        }
        "torch.TripletMarginWithDistanceLoss" => {
            let swap = arguments["swap"] == true;
            let distance = match arguments["distance"].as_str() {
                Some("cosine") => Distance::Cosine,
                _ => Distance::EUCLIDEAN,
            };
            let loss = torch::TripletMarginWithDistanceLoss { distance, margin, swap, reduction };
            loss.forward_backward(device, &batch(true)?)
        }
        "torch.CosineEmbeddingLoss" => {
            torch::CosineEmbeddingLoss { margin, reduction }.forward_backward(device, &batch(true)?)
        }
        "keras_rs.PairwiseHingeLoss" => {
            keras_rs::PairwiseHingeLoss { reduction: keras_reduction }.call_with_gradient(device, &batch(true)?)
        }
        "kornia.lovasz_hinge_loss" => kornia::lovasz_hinge_loss(device, &batch(true)?, &Request::new().gradient()),
        "keras.CategoricalHinge" => {
            keras::CategoricalHinge { reduction: keras_reduction }.call_with_gradient(device, &batch(true)?)
        }
        "torchmetrics.binary_hinge_loss" => binary_hinge_loss(device, &batch(false)?, options(arguments)),
        "torchmetrics.multiclass_hinge_loss" => {
            multiclass_hinge_loss(device, &batch(true)?, mode(arguments), options(arguments))
        }
        "keras.Hinge" => keras::Hinge { reduction: keras_reduction }.call_with_gradient(device, &batch(false)?),
        "keras.SquaredHinge" => {
            keras::SquaredHinge { reduction: keras_reduction }.call_with_gradient(device, &batch(false)?)
        }
        "sklearn.hinge_loss" => sklearn::hinge_loss(device, &batch(arrays.columns.is_some())?),
        "optax.hinge_loss" => optax::hinge_loss(device, &batch(false)?, &none),
        "optax.perceptron_loss" => optax::perceptron_loss(device, &batch(false)?, &none),
        "optax.multiclass_hinge_loss" => optax::multiclass_hinge_loss(device, &batch(true)?, &none),
        other => return Err(format!("no function {other:?}").into()),
    }?;
    Got::new(&evaluation)
}

/// Streams a metric: the value of each batch, and the value of all.
fn stream(case: &Value, device: &Device, in_f64: bool) -> Result<Got, Failed> {
    let arguments = &case["arguments"];
    let binary = arguments["task"] == "binary";
    let classes = arguments["num_classes"].as_u64().unwrap_or(0) as usize;
    let (options, mode) = (options(arguments), mode(arguments));
    let mut metric = match (case["function"].as_str(), binary) {
        (Some("torchmetrics.HingeLoss"), true) => HingeLoss::binary(options),
        (Some("torchmetrics.HingeLoss"), false) => HingeLoss::multiclass(classes, mode, options),
        (Some("torchmetrics.BinaryHingeLoss"), _) => HingeLoss::Binary(BinaryHingeLoss::new(options)),
        _ => HingeLoss::Multiclass(MulticlassHingeLoss::new(classes, mode, options)),
    };
    for (number, batch) in case["batches"].as_array().into_iter().flatten().enumerate() {
        let arrays = Arrays::new(batch)?;
        let step = metric.forward(device, &arrays.batch(in_f64, !binary)?)?;
        let expected = numbers(&batch["value"]).ok_or("no value")?;
        compare(&format!("batch {number}"), &Got::new(&step.batch)?.value, &expected, tolerance(in_f64))?;
    }
    // An update is a forward without a value. Merging two equal halves gives the value of either.
    let mut merged = metric.clone();
    merged.reset();
    for batch in case["batches"].as_array().into_iter().flatten() {
        merged.update(device, &Arrays::new(batch)?.batch(in_f64, !binary)?)?;
    }
    merged.merge(&metric)?;
    let (whole, merged) = (metric.compute()?, merged.compute()?);
    compare("merged", &Got::new(&merged)?.value, &Got::new(&whole)?.value, tolerance(in_f64))?;
    Got::new(&whole)
}

fn compare(what: &str, got: &[f64], expected: &[f64], tolerance: f64) -> Outcome {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} numbers, the peer has {}", got.len(), expected.len()).into());
    }
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let same = got.is_nan() && expected.is_nan() || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
        if !same {
            return Err(format!("{what}[{i}] = {got}, the peer has {expected}").into());
        }
    }
    Ok(())
}

/// The error that the arithmetic allows, relative to a number of size 1: some 16 roundings.
fn tolerance(in_f64: bool) -> f64 {
    if in_f64 { 16.0 * f64::EPSILON } else { 16.0 * f64::from(f32::EPSILON) }
}

fn check(case: &Value, got: &Got, tolerance: f64) -> Outcome {
    let mut compared = 0;
    for (what, got) in
        [("value", Some(&got.value)), ("losses", got.losses.as_ref()), ("gradient", got.gradient.as_ref())]
    {
        let Some(expected) = numbers(&case[what]) else { continue };
        compare(what, got.ok_or_else(|| format!("no {what}"))?, &expected, tolerance)?;
        compared += 1;
    }
    if compared == 0 { Err("nothing was compared".into()) } else { Ok(()) }
}

fn agree(cases: &[Value], device: &Device, in_f64: bool) -> Outcome {
    if cases.len() < CASES {
        return Err(format!("{} cases, expected at least {CASES}", cases.len()).into());
    }
    for case in cases {
        // Keras divides in f32 whatever the dtype.
        let exact = in_f64 && !case["function"].as_str().is_some_and(|name| name.starts_with("keras"));
        let outcome = call(case, device, in_f64).and_then(|got| check(case, &got, tolerance(exact)));
        let explain = |error: Failed| {
            format!("{} {}: {}", case["function"], case["arguments"], error.message().unwrap_or_default())
        };
        outcome.map_err(explain)?;
    }
    Ok(())
}

/// The comparison must notice a peer that gives another answer.
fn negative_control(cases: &[Value]) -> Outcome {
    for case in cases {
        let got = call(case, &Device::cpu(), true)?;
        for what in ["value", "losses", "gradient"] {
            let Some(mut expected) = numbers(&case[what]).filter(|x| !x.is_empty()) else { continue };
            expected[0] = if expected[0].is_nan() { 0.0 } else { expected[0] + 1e-4 * (1.0 + expected[0].abs()) };
            let mut other = case.clone();
            other[what] = expected.into();
            if check(&other, &got, tolerance(false)).is_ok() {
                return Err(format!("{}: a wrong {what} went unnoticed", case["function"]).into());
            }
        }
    }
    Ok(())
}

/// Gives an error where a peer gives a wrong answer silently.
fn differs_on_purpose(_: &[Value]) -> Outcome {
    let cpu = Device::cpu();
    let expect = |what: &str, result: Result<Evaluation, maxmargin::Error>, words: &str| match result {
        Err(error) if error.to_string().contains(words) => Ok(()),
        other => Err(format!("{what}: {other:?}")),
    };
    let rows = Batch::rows(&[1.0, 2.0, 3.0], 3, &[3i64]);
    expect("optax, label out of range", optax::multiclass_hinge_loss(&cpu, &rows, &Request::new()), "targets[0]")?;
    let mixed = Batch::new(&[1.0, 2.0, 3.0], &[1i8, 0, -1]);
    expect("Keras, 0 among signs", keras::Hinge::default().call(&cpu, &mixed), "targets[1]")?;
    expect("torch, p = 3", torch::MultiMarginLoss { p: 3, ..Default::default() }.forward(&cpu, &rows), "1 or 2")?;
    // scikit-learn gives 3.0.
    let value = sklearn::hinge_loss(&cpu, &Batch::new(&[2.0, 2.0], &[1i8, 1]))?.value;
    compare("one class", &[value.unwrap_or(f64::NAN)], &[0.0], 0.0)?;
    let far = Batch::new(&[-200.0f32], &[1i8]);
    let soft = torch::SoftMarginLoss::default().forward_backward(&cpu, &far)?;
    compare("soft margin far out", &Got::new(&soft)?.value, &[200.0], 0.0)?;
    compare("its gradient", &Got::new(&soft)?.gradient.unwrap_or_default(), &[-1.0], 0.0)?;
    let nan = torch::MultiMarginLoss::default().forward(&cpu, &Batch::rows(&[f32::NAN, 1.0], 2, &[1i64]))?;
    compare("NaN", &Got::new(&nan)?.value, &[f64::NAN], 0.0)?;
    let mut metric = BinaryHingeLoss::new(Options::default());
    let squared = BinaryHingeLoss::new(Options { squared: true, ..Options::default() });
    match metric.merge(&squared) {
        Err(_) => Ok(()),
        Ok(()) => Err("merged plain with squared".into()),
    }
}

/// torchmetrics has no weights. An ignored sample's weight is ignored too.
fn ignored_weights(_: &[Value]) -> Outcome {
    let (cpu, options) = (Device::cpu(), Options { ignore_index: Some(-1), ..Options::default() });
    let batch = Batch::new(&[0.5f32, 0.25, 0.75], &[1i8, -1, 0]);
    let value = |batch: &Batch<'_>| Ok::<_, Failed>(binary_hinge_loss(&cpu, batch, options)?.value.unwrap_or(f64::NAN));
    // Losses 1 - 0.5 and 1 + 0.75.
    compare("weights", &[value(&batch.sample_weights(&[3.0f32, 100.0, 1.0]))?], &[3.25 / 4.0], 1e-12)?;
    compare("no weights", &[value(&batch)?], &[2.25 / 2.0], 1e-12)?;
    // The index counts in the whole batch, including the ignored sample before it.
    match binary_hinge_loss(&cpu, &batch.sample_weights(&[1.0f32, 1.0, -1.0]), options) {
        Err(error) if error.to_string().contains("sample weights[2]") => Ok(()),
        other => Err(format!("a bad weight: {other:?}").into()),
    }
}

type Test = Box<dyn Fn(&[Value]) -> Outcome + Send>;

fn load() -> Result<Vec<Value>, Failed> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/compat.json");
    let path = std::env::var("MAXMARGIN_COMPAT_FIXTURE").unwrap_or_else(|_| own.into());
    let mut document: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    match document["cases"].take() {
        Value::Array(cases) => Ok(cases),
        _ => Err("no cases".into()),
    }
}

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    // A fixture that cannot be read must fail a trial, not hide them all.
    let (cases, mut trials) = match load() {
        Ok(cases) => (Arc::new(cases), vec![]),
        Err(error) => (Arc::default(), vec![Trial::test("compat.json is read", move || Err(error))]),
    };
    let mut trial = |name: String, test: Test| {
        let cases: Arc<Vec<Value>> = cases.clone();
        trials.push(Trial::test(name, move || test(&cases)));
    };
    trial("[cpu] negative control".into(), Box::new(negative_control));
    trial("[cpu] differs on purpose".into(), Box::new(differs_on_purpose));
    trial("[cpu] weights of ignored samples".into(), Box::new(ignored_weights));
    for in_f64 in [false, true] {
        let name = format!("[cpu] peers' functions in {}", if in_f64 { "f64" } else { "f32" });
        trial(name, Box::new(move |cases| agree(cases, &Device::cpu(), in_f64)));
    }
    for adapter in adapters {
        let index = adapter.index;
        let name = format!("[{}] peers' functions", label(adapter));
        trial(name, Box::new(move |cases| agree(cases, &open(index, |_| {})?, false)));
    }
    trials
}
