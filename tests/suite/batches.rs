//! Valid and invalid batches on the CPU and every adapter: shapes, weights, and which fault an error names first.

use crate::harness::{Outcome, Test, near, on_adapter, on_cpu};
use libtest_mimic::Trial;
use maxmargin::gpu::AdapterDescription;

use maxmargin::loss::Loss;
use maxmargin::metric::{Metric, MetricState};
use maxmargin::{
    Batch, BinaryHinge, CategoricalHinge, Device, Error, Floats, ListwiseHinge, MarginRanking, MulticlassHinge,
    MultilabelMargin, Request, ScoreKind, TripletMargin,
};

/// A batch of single scores has no rows, whatever the shape of its array.
fn single_scores_in_rows(device: &Device) -> Outcome {
    let (scores, labels) = ([2.0f32, -0.5, 1.5, 0.25, -3.0, 0.5], [1i8, 1, -1, 1, -1, -1]);
    for kind in [ScoreKind::Raw, ScoreKind::Logit, ScoreKind::Guessed] {
        let expected =
            device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels).score_kind(kind), &Request::new());
        let expected = expected?.value;
        for columns in [1, 3, 4] {
            let batch = Batch::rows(&scores, columns, &labels).score_kind(kind);
            let mut metric = Metric::new(BinaryHinge::new());
            metric.update(device, &batch)?;
            near("value", metric.compute()?.value, expected, 1e-6)?;
            let saved = serde_json::to_string(metric.state()?)?;
            let state: MetricState<BinaryHinge> = serde_json::from_str(&saved)?;
            near("restored", Metric::from_state(state).compute()?.value, expected, 1e-6)?;
        }
    }
    Ok(())
}

/// The weight of a batch is the divisor of its mean: for every pattern, with and without weights.
fn batches_are_weighed(device: &Device) -> Outcome {
    fn weighs(device: &Device, loss: &dyn Loss, batch: &Batch<'_>) -> Outcome {
        let half = [half::f16::from_f32(0.5), half::f16::from_f32(2.0)];
        let weights: [Floats<'_>; 2] = [Floats::F32(&[0.5, 2.0]), Floats::F16(&half)];
        let weighted = weights.map(|weights| batch.sample_weights(weights));
        for batch in [batch, &weighted[0], &weighted[1]] {
            let evaluation = device.evaluate(loss, batch, &Request::new())?;
            let expected = (evaluation.count, evaluation.weight_sum);
            if maxmargin::weigh(loss, batch)? != expected || evaluation.count != 2 {
                return Err(
                    format!("{}: {:?} instead of {expected:?}", loss.name(), maxmargin::weigh(loss, batch)).into()
                );
            }
        }
        let long = batch.sample_weights(&[1.0f32; 3]);
        match maxmargin::weigh(loss, &long) {
            Err(Error::Length { .. }) => Ok(()),
            other => Err(format!("{}: {other:?}", loss.name()).into()),
        }
    }
    let x = [0.5f32, 0.25, 1.0, -0.5, 0.75, 2.0];
    weighs(device, &BinaryHinge::new(), &Batch::new(&x[..2], &[1i8, -1]))?;
    weighs(device, &MulticlassHinge::crammer_singer(), &Batch::rows(&x, 3, &[2i64, 0]))?;
    weighs(device, &MultilabelMargin::new(), &Batch::rows(&x, 3, &[1i64, -1, 0, 2, 1, -1]))?;
    weighs(device, &CategoricalHinge::new(), &Batch::rows(&x, 3, &[2i64, 0]))?;
    weighs(device, &CategoricalHinge::new(), &Batch::rows(&x, 3, &[0i64, 1, 0, 1, 0, 0]))?;
    weighs(device, &ListwiseHinge::new(), &Batch::rows(&x, 3, &[2.0f32, 0.0, 1.0, 0.0, 0.0, 3.0]))?;
    weighs(device, &TripletMargin::new(), &Batch::triplets(&x, &x, &x, 3))?;
    let none = Floats::F32(&[]);
    // Without scores, if another input tells the number of samples.
    let short = Batch::rows(none, 3, &[0i64, 1]).sample_weights(&[1.0f32]);
    let untold = Batch::rows(none, 3, &[0i64, 1, 1]);
    match (
        maxmargin::weigh(&MulticlassHinge::crammer_singer(), &short),
        maxmargin::weigh(&ListwiseHinge::new(), &untold),
    ) {
        (Err(Error::Length { .. }), Err(Error::Shape { .. })) => {}
        other => return Err(format!("{other:?}").into()),
    }
    let told = untold.sample_weights(&[0.25f32]);
    match maxmargin::weigh(&ListwiseHinge::new(), &told)? {
        (1, 0.25) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// An error names a bad target before a bad weight, whatever outputs are requested.
fn bad_targets_come_first(device: &Device) -> Outcome {
    let (mut labels, mut weights) = (vec![1i8; 50_000], vec![1f32; 50_000]);
    (labels[40_000], weights[5]) = (3, -1.0);
    let scores = vec![0.5f32; 50_000];
    let batch = Batch::new(&scores, &labels).sample_weights(&weights);
    for request in [Request::new(), Request::new().gradient(), Request::new().losses()] {
        match device.evaluate(&BinaryHinge::new(), &batch, &request) {
            Err(error) if error.to_string() == "targets[40000]: expected a label of -1 or 1, got 3" => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

/// A divisor outside the precision's range is an error, not a gradient of zeros or NaN.
fn divisors_out_of_range(device: &Device) -> Outcome {
    let heavy = Batch::new(&[0.0f32, 0.0], &[1i8, 1]).sample_weights(&[3e38f32, 3e38]);
    near("value", device.evaluate(&BinaryHinge::new(), &heavy, &Request::new())?.value, Some(1.0), 1e-6)?;
    let batch = Batch::new(&[0.0f32, 0.0], &[1i8, 1]);
    let part = |divisor| device.evaluate(&BinaryHinge::new(), &batch, &Request::new().gradient_of_part(divisor));
    part(1e-30)?;
    for refused in [device.evaluate(&BinaryHinge::new(), &heavy, &Request::new().gradient()), part(1e-40), part(1e39)] {
        let options = ["divisor", "sum of the sample weights"];
        if !matches!(&refused, Err(Error::Option { option, .. }) if options.contains(option)) {
            return Err(format!("{refused:?}").into());
        }
    }
    Ok(())
}

/// Scores that a loss would ignore are refused.
fn scores_beside_those_that_are_seen(device: &Device) -> Outcome {
    let x = [0.5f32, 0.25, 1.0, -0.5];
    let refused = [
        device.evaluate(
            &MulticlassHinge::crammer_singer(),
            &Batch::vector_pairs(&x, &x, 2, &[0i64, 1]),
            &Request::new(),
        ),
        device.evaluate(&MultilabelMargin::new(), &Batch::vector_pairs(&x, &x, 2, &[0i64, -1, 1, -1]), &Request::new()),
        device.evaluate(&BinaryHinge::new(), &Batch::pairs(&x, &x, &[1i8; 4]), &Request::new()),
        device.evaluate(&MarginRanking::new(), &Batch::new(&x, &[1i8; 4]), &Request::new()),
    ];
    for refused in refused {
        if !matches!(refused, Err(Error::Shape { .. })) {
            return Err(format!("{refused:?}").into());
        }
    }
    let mixed = Batch::pairs(&x, &[1.0f64; 4], &[1i8; 4]).score_kind(ScoreKind::Logit);
    match device.evaluate(&MarginRanking::new(), &mixed, &Request::new()) {
        Err(Error::ElementType { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

const TESTS: &[Test] = &[
    ("single scores in rows", single_scores_in_rows),
    ("batches are weighed", batches_are_weighed),
    ("bad targets come first", bad_targets_come_first),
    ("divisors out of range", divisors_out_of_range),
    ("scores beside those that are seen", scores_beside_those_that_are_seen),
];

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    let mut trials = on_cpu(TESTS);
    trials.extend(adapters.iter().flat_map(|adapter| on_adapter(adapter, TESTS)));
    trials
}
