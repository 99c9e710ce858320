//! The CPU and every GPU compared with the peers' own numbers, which peers.py writes to tests/fixtures/peers.json.

use std::sync::Arc;

use crate::harness::{Outcome, label, open};
use libtest_mimic::{Failed, Trial};
use maxmargin::gpu::AdapterDescription;
use maxmargin::{
    Batch, BinaryHinge, CrammerSinger, Device, EmbeddingHinge, Evaluation, Floats, Kink, LabelEncoding,
    MulticlassHinge, OneVsAll, OverClasses, Penalty, Reduction, Request, Ties, WestonWatkins,
};
use serde_json::Value;

/// With fewer cases than this, the fixture has changed.
const CASES: usize = 47;

struct Case(Value);

impl Case {
    fn text<'a>(&'a self, option: &str, default: &'a str) -> &'a str {
        self.0["options"][option].as_str().unwrap_or(default)
    }

    fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        numbers(&self.0[name])
    }

    fn name(&self) -> String {
        format!("{} {}", self.0["peer"].as_str().unwrap_or("?"), self.0["call"].as_str().unwrap_or("?"))
    }

    fn reduction(&self) -> Result<Reduction, Failed> {
        match self.text("reduction", "") {
            "mean" => Ok(Reduction::Mean),
            "sum" => Ok(Reduction::Sum),
            "none" => Ok(Reduction::None),
            other => Err(format!("reduction {other:?}").into()),
        }
    }

    fn evaluate(&self, device: &Device, in_f64: bool) -> Result<Evaluation, Failed> {
        let scores = self.numbers("scores").ok_or("no scores")?;
        let single: Vec<f32> = scores.iter().map(|&s| s as f32).collect();
        let targets = self.numbers("targets").ok_or("no targets")?;
        let weights = numbers(&self.0["options"]["sample_weights"]);
        let floats = if in_f64 { Floats::from(&scores) } else { Floats::from(&single) };
        let mut batch = match self.0["family"].as_str() {
            Some("multiclass") => Batch::rows(floats, self.0["shape"][1].as_u64().unwrap_or(0) as usize, &targets),
            _ => Batch::new(floats, &targets),
        };
        if let Some(weights) = &weights {
            batch = batch.sample_weights(weights);
        }
        let per_class = self.0["options"]["per_class"].as_bool() == Some(true);
        let mut request = Request::new().reduction(self.reduction()?).losses();
        request = if per_class { request.per_class() } else { request.gradient() };

        let margin = self.0["options"]["margin"].as_f64().unwrap_or(1.0);
        let penalty = match self.text("penalty", "linear") {
            "linear" => Penalty::Linear,
            "squared" => Penalty::Squared,
            "modified-huber" => Penalty::MODIFIED_HUBER,
            "soft-margin" => Penalty::Softplus,
            other => return Err(format!("penalty {other:?}").into()),
        };
        let kink = match self.text("kink", "zero") {
            "half" => Kink::Half,
            "active" => Kink::Active,
            _ => Kink::Zero,
        };
        Ok(match self.0["family"].as_str() {
            Some("binary") => {
                let labels = match self.text("labels", "") {
                    "zero-one" => LabelEncoding::ZeroOne,
                    _ => LabelEncoding::PlusMinusOne,
                };
                let loss = BinaryHinge::new().margin(margin).penalty(penalty).kink(kink).labels(labels);
                device.evaluate(&loss, &batch, &request)?
            }
            Some("embedding") => device.evaluate(&EmbeddingHinge::new().margin(margin).kink(kink), &batch, &request)?,
            Some("multiclass") => {
                let terms = (margin, penalty, kink);
                match self.text("method", "") {
                    "crammer-singer" => device.evaluate(&self.multiclass(CrammerSinger, terms), &batch, &request)?,
                    "weston-watkins" => device.evaluate(&self.multiclass(WestonWatkins, terms), &batch, &request)?,
                    "one-vs-all" => device.evaluate(&self.multiclass(OneVsAll, terms), &batch, &request)?,
                    other => return Err(format!("method {other:?}").into()),
                }
            }
            other => return Err(format!("family {other:?}").into()),
        })
    }

    fn multiclass<M: maxmargin::loss::RowsLoss>(
        &self,
        method: M,
        (margin, penalty, kink): (f64, Penalty, Kink),
    ) -> MulticlassHinge<M> {
        let ties = if self.text("ties", "first") == "split" { Ties::Split } else { Ties::First };
        let over = if self.text("over_classes", "sum") == "mean" { OverClasses::Mean } else { OverClasses::Sum };
        let mut loss = MulticlassHinge::with_method(method)
            .margin(margin)
            .penalty(penalty)
            .kink(kink)
            .ties(ties)
            .over_classes(over);
        if let Some(weights) = numbers(&self.0["options"]["class_weights"]) {
            loss = loss.class_weights(weights);
        }
        match self.0["options"]["ignore_index"].as_i64() {
            Some(index) => loss.ignore_index(index),
            None => loss,
        }
    }

    /// Compares an evaluation with the peer's numbers, and returns how many numbers it compared.
    fn check(&self, got: &Evaluation, tolerance: f64) -> Result<usize, Failed> {
        let mut compared = 0;
        let mut compare = |what: &str, got: &[f64]| -> Outcome {
            let Some(expected) = self.numbers(what) else { return Ok(()) };
            if got.len() != expected.len() {
                return Err(format!("{what}: {} numbers, the peer has {}", got.len(), expected.len()).into());
            }
            for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
                // NaN fails this too.
                let within = (got - expected).abs() <= tolerance * (1.0 + expected.abs());
                if !within {
                    return Err(format!("{what}[{i}] = {got}, the peer has {expected}").into());
                }
            }
            compared += expected.len();
            Ok(())
        };
        let value = got.per_class.clone().unwrap_or_else(|| got.value.into_iter().collect());
        compare("value", &value)?;
        for (what, output) in [("losses", &got.losses), ("gradient", &got.gradient)] {
            if let Some(output) = output {
                compare(what, &output.to_f64()?)?;
            }
        }
        Ok(compared)
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

/// The error that the arithmetic allows, relative to a number of size 1: some 16 roundings.
fn tolerance(in_f64: bool) -> f64 {
    if in_f64 { 16.0 * f64::EPSILON } else { 16.0 * f64::from(f32::EPSILON) }
}

fn agree(cases: &[Case], device: &Device, in_f64: bool) -> Outcome {
    if cases.len() < CASES {
        return Err(format!("{} cases, expected at least {CASES}", cases.len()).into());
    }
    for case in cases {
        let explain = |error: Failed| format!("{}: {}", case.name(), error.message().unwrap_or_default());
        let evaluation = case.evaluate(device, in_f64).map_err(explain)?;
        let compared = case.check(&evaluation, tolerance(in_f64)).map_err(explain)?;
        if compared == 0 {
            return Err(format!("{}: nothing was compared", case.name()).into());
        }
    }
    Ok(())
}

/// The comparison must notice a peer that gives another answer.
fn negative_control(cases: &[Case]) -> Outcome {
    for case in cases {
        let evaluation = case.evaluate(&Device::cpu(), true)?;
        for what in ["value", "losses", "gradient"] {
            let Some(mut numbers) = case.numbers(what) else { continue };
            numbers[0] += 1e-4 * (1.0 + numbers[0].abs());
            let mut other = Case(case.0.clone());
            other.0[what] = numbers.into();
            if other.check(&evaluation, tolerance(false)).is_ok() {
                return Err(format!("{}: a wrong {what} went unnoticed", case.name()).into());
            }
        }
    }
    Ok(())
}

type Test = Box<dyn Fn(&[Case]) -> Outcome + Send>;

fn load() -> Result<Vec<Case>, Failed> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/peers.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let cases = document["cases"].as_array().ok_or("no cases")?;
    Ok(cases.iter().cloned().map(Case).collect())
}

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    // A fixture that cannot be read must fail a trial, not hide them all.
    let (cases, mut trials) = match load() {
        Ok(cases) => (Arc::new(cases), vec![]),
        Err(error) => (Arc::default(), vec![Trial::test("peers.json is read", move || Err(error))]),
    };
    let mut trial = |name: String, test: Test| {
        let cases: Arc<Vec<Case>> = cases.clone();
        trials.push(Trial::test(name, move || test(&cases)));
    };
    trial("[cpu] negative control".into(), Box::new(negative_control));
    for in_f64 in [false, true] {
        let name = format!("[cpu] peers' numbers in {}", if in_f64 { "f64" } else { "f32" });
        trial(name, Box::new(move |cases| agree(cases, &Device::cpu(), in_f64)));
    }
    for adapter in adapters {
        let index = adapter.index;
        let name = format!("[{}] peers' numbers", label(adapter));
        trial(name, Box::new(move |cases| agree(cases, &open(index, |_| {})?, false)));
    }
    trials
}
