//! Streaming metrics on the CPU and every adapter: any split into batches, merging, saving, errors.

use crate::harness::{Outcome, Test, near, on_adapter, on_cpu};
use libtest_mimic::Trial;
use maxmargin::gpu::AdapterDescription;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

use maxmargin::metric::{Metric, MetricCollection, MetricState};
use maxmargin::{
    Batch, BinaryHinge, Buffers, CategoricalHinge, Device, EmbeddingHinge, Error, Evaluation, LabelEncoding,
    MarginRanking, MulticlassHinge, Penalty, Reduction, Request, ScoreKind, WestonWatkins,
};

const N: usize = 10_007;

/// Scores between -3 and 3 with no short decimal form, labels and weights.
fn data() -> (Vec<f32>, Vec<u8>, Vec<f32>) {
    let wave = |i: usize, f: f64| ((i as f64 * f).sin() * 3.0) as f32;
    let scores = (0..N).map(|i| wave(i, 0.71)).collect();
    let labels = (0..N).map(|i| u8::from(wave(i, 1.3) > 0.5)).collect();
    let weights = (0..N).map(|i| wave(i, 0.11).abs()).collect();
    (scores, labels, weights)
}

fn same_counts(a: &Evaluation, b: &Evaluation) -> Outcome {
    let counts = |e: &Evaluation| (e.count, e.active, e.correct);
    if counts(a) == counts(b) { Ok(()) } else { Err(format!("{:?} instead of {:?}", counts(a), counts(b)).into()) }
}

/// 1e-12 on the CPU, where every loss is added in f64; 1e-6 on a GPU.
fn bound(device: &Device) -> f64 {
    if matches!(device, Device::Cpu) { 1e-12 } else { 1e-6 }
}

fn invariant_to_splits(device: &Device) -> Outcome {
    let (scores, labels, weights) = data();
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne).penalty(Penalty::Squared);
    let whole = Batch::new(&scores, &labels).sample_weights(&weights);
    let mut once = Metric::new(loss.clone());
    once.update(device, &whole)?;
    let expected = once.compute()?;
    for size in [1000, 333, N - 1] {
        let mut metric = Metric::new(loss.clone());
        for start in (0..N).step_by(size) {
            metric.update(device, &whole.slice(start..(start + size).min(N)).ok_or("no slice")?)?;
        }
        let got = metric.compute()?;
        near("value", got.value, expected.value, bound(device))?;
        near("weight sum", Some(got.weight_sum), Some(expected.weight_sum), bound(device))?;
        same_counts(&got, &expected)?;
        if metric.updates() != N.div_ceil(size) as u64 {
            return Err(format!("{} updates", metric.updates()).into());
        }
    }
    Ok(())
}

/// The parts of a batch, written to one piece of memory, equal the results of the whole batch.
fn parts_into_the_callers_memory(device: &Device) -> Outcome {
    let (scores, labels, weights) = data();
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne).penalty(Penalty::Squared);
    for kind in [ScoreKind::Raw, ScoreKind::Logit] {
        let whole = Batch::new(&scores, &labels).sample_weights(&weights).score_kind(kind);
        let expected = device.evaluate(&loss, &whole, &Request::new().gradient().losses())?;
        let (count, weight) = maxmargin::weigh(&loss, &whole)?;
        near("weight", Some(weight), Some(expected.weight_sum), 1e-6)?;
        if count != N as u64 {
            return Err(format!("{count} samples").into());
        }
        let (mut losses, mut gradient) = (vec![f32::NAN; N], vec![f32::NAN; N]);
        let mut metric = Metric::new(loss.clone());
        for start in (0..N).step_by(777) {
            let range = start..(start + 777).min(N);
            let buffers = Buffers::new().losses(&mut losses[range.clone()]).gradient(&mut gradient[range.clone()]);
            metric.update_into(device, &whole.slice(range).ok_or("no slice")?, weight, buffers)?;
        }
        near("value", metric.compute()?.value, expected.value, bound(device))?;
        for (what, got, expected) in [("loss", &losses, expected.losses), ("gradient", &gradient, expected.gradient)] {
            let expected = expected.ok_or("no output")?.to_f64()?;
            for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
                if (f64::from(got) - expected).abs() > 1e-6 * expected.abs() {
                    return Err(format!("{what} {i}: {got} instead of {expected}").into());
                }
            }
        }
        let mut short = vec![0f32; N - 1];
        let mut double = vec![0f64; N];
        let request = Request::new();
        let errors = [
            device.evaluate_into(&loss, &whole, &request, Buffers::new().gradient(&mut short)).err(),
            device.evaluate_into(&loss, &whole, &request, Buffers::new().losses(&mut double)).err(),
            device.evaluate(&loss, &whole, &request.gradient_of_part(0.0)).err(),
        ];
        if !matches!(errors, [Some(Error::Length { .. }), Some(Error::ElementType { .. }), Some(Error::Option { .. })])
        {
            return Err(format!("{errors:?}").into());
        }
    }
    Ok(())
}

fn rows_per_class(device: &Device) -> Outcome {
    let (scores, labels, _) = data();
    let (scores, labels) = (&scores[..9999], &labels[..3333]);
    let loss = MulticlassHinge::one_vs_all().ignore_index(0);
    let whole = Batch::rows(scores, 3, labels);
    let expected = device.evaluate(&loss, &whole, &maxmargin::Request::new().per_class())?;
    let mut metric = Metric::new(loss).per_class();
    for start in (0..3333).step_by(100) {
        metric.update(device, &whole.slice(start..(start + 100).min(3333)).ok_or("no slice")?)?;
    }
    let got = metric.compute()?;
    same_counts(&got, &expected)?;
    let (got, expected) = (got.per_class.unwrap_or_default(), expected.per_class.unwrap_or_default());
    if got.len() != 3 {
        return Err(format!("{} classes", got.len()).into());
    }
    for (got, expected) in got.iter().zip(&expected) {
        near("class", Some(*got), Some(*expected), bound(device))?;
    }
    match metric.update(device, &Batch::rows(&scores[..4], 2, &labels[..2])).and_then(|()| metric.compute()) {
        Err(Error::Option { option: "classes", .. }) => Ok(()),
        other => Err(format!("other classes: {other:?}").into()),
    }
}

fn forward_gives_both_values(device: &Device) -> Outcome {
    let mut metric = Metric::new(BinaryHinge::new());
    for (scores, batch, running) in [([0.5f32, 0.5], 0.5, 0.5), ([-1.0, -1.0], 2.0, 1.25)] {
        let step = metric.forward(device, &Batch::new(&scores, &[1i8, 1]))?;
        near("batch", step.batch.value, Some(batch), 0.0)?;
        near("running", step.running.value, Some(running), 0.0)?;
    }
    // A batch without samples has no mean of its own and does not change the metric.
    let step = metric.forward(device, &Batch::new(&[0f32; 0], &[0i8; 0]))?;
    if step.batch.value.is_some() {
        return Err(format!("an empty batch has the value {:?}", step.batch.value).into());
    }
    near("running", step.running.value, Some(1.25), 0.0)?;
    metric.reset();
    match metric.compute() {
        Err(Error::EmptyMean { got: 0 }) => Ok(()),
        other => Err(format!("after reset: {other:?}").into()),
    }
}

fn merges_equals_only(device: &Device) -> Outcome {
    let (scores, labels, _) = data();
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
    let batch = Batch::new(&scores, &labels);
    let parts = [batch.slice(0..4000).ok_or("no slice")?, batch.slice(4000..N).ok_or("no slice")?];
    let mut whole = Metric::new(loss.clone());
    whole.update(device, &batch)?;
    let [mut first, mut second] = [Metric::new(loss.clone()), Metric::new(loss.clone())];
    first.update(device, &parts[0])?;
    second.update(device, &parts[1])?;
    first.merge(&second)?;
    near("merged", first.compute()?.value, whole.compute()?.value, bound(device))?;
    same_counts(&first.compute()?, &whole.compute()?)?;
    let others = [
        Metric::new(loss.clone().penalty(Penalty::Squared)),
        Metric::new(loss.clone().margin(0.5)),
        Metric::new(loss.clone()).reduction(Reduction::Sum),
        Metric::new(BinaryHinge::new()),
    ];
    for other in &others {
        if !matches!(first.merge(other), Err(Error::Option { option: "merged metric", .. })) {
            return Err(format!("merged with {:?}", other.loss()).into());
        }
    }
    near("after refusals", first.compute()?.value, whole.compute()?.value, bound(device))
}

/// 200 orders and trees of merges of 64 blocks: one state, to the bit. Of a half, the sums are still on the device.
fn any_order_of_merges_gives_the_same_bits(device: &Device) -> Outcome {
    let (scores, labels, weights) = data();
    let loss = MulticlassHinge::one_vs_all().penalty(Penalty::Squared);
    let batch = Batch::rows(&scores[..9999], 3, &labels[..3333]).sample_weights(&weights[..3333]);
    let mut blocks = Vec::new();
    for block in 0..64 {
        // Of 1 to 103 samples.
        let (start, end) = (block * block * 3333 / 4096, (block + 1) * (block + 1) * 3333 / 4096);
        let mut metric = Metric::new(loss.clone()).reduction(Reduction::Sum).per_class();
        metric.update(device, &batch.slice(start..end.max(start + 1)).ok_or("no slice")?)?;
        blocks.push(metric);
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut states, mut plain) = (Vec::new(), HashSet::new());
    for _ in 0..200 {
        blocks.shuffle(&mut random);
        let mut parts = blocks.clone();
        for part in &mut parts[..32] {
            part.state()?;
        }
        let mut sum = 0.0;
        for block in &mut blocks.clone() {
            sum += block.compute()?.per_class.ok_or("no classes")?[0];
        }
        plain.insert(f64::to_bits(sum));
        while parts.len() > 1 {
            let other = parts.swap_remove(random.random_range(0..parts.len()));
            let place = random.random_range(0..parts.len());
            parts[place].merge(&other)?;
        }
        states.push(parts[0].state()?.clone());
    }
    if let Some(other) = states.iter().find(|state| **state != states[0]) {
        return Err(format!("{other:?}, but {:?}", states[0]).into());
    }
    // The negative control: plain sums of the same numbers depend on the order.
    if plain.len() < 2 { Err("plain sums agree".into()) } else { Ok(()) }
}

fn saved_and_restored(device: &Device) -> Outcome {
    let (scores, labels, _) = data();
    let loss = MulticlassHinge::weston_watkins().margin(0.1).class_weights([0.1, 1.0 / 3.0, 0.7]);
    let whole = Batch::rows(&scores[..9999], 3, &labels[..3333]);
    let mut metric = Metric::new(loss);
    metric.update(device, &whole.slice(0..1111).ok_or("no slice")?)?;
    let text = serde_json::to_string(metric.state()?)?;
    let state: MetricState<MulticlassHinge<WestonWatkins>> = serde_json::from_str(&text)?;
    if state != *metric.state()? {
        return Err(format!("{state:?} was read from {text}").into());
    }
    let mut restored = Metric::from_state(state);
    for metric in [&mut metric, &mut restored] {
        metric.update(device, &whole.slice(1111..3333).ok_or("no slice")?)?;
    }
    if restored.compute()?.value != metric.compute()?.value || restored.merge(&metric).is_err() {
        return Err("restored differs".into());
    }
    // NaN survives the text. Another loss's state and an impossible state are refused.
    let mut nan = Metric::new(MarginRanking::new());
    nan.update(device, &Batch::pairs(&[f32::NAN], &[0.0f32], &[1i8]))?;
    let text = serde_json::to_string(nan.state()?)?;
    let read: MetricState<MarginRanking> = serde_json::from_str(&text)?;
    if !Metric::from_state(read).compute()?.value.is_some_and(f64::is_nan) {
        return Err("NaN is lost".into());
    }
    for bad in [text.clone(), text.replace("\"count\":1", "\"count\":9").replace("ranking", "embedding")] {
        if serde_json::from_str::<MetricState<EmbeddingHinge>>(&bad).is_ok() {
            return Err(format!("read as an embedding hinge's: {bad}").into());
        }
    }
    for (good, bad) in [
        (r#""weight_sum":{"numbers":["1"]"#, r#""weight_sum":{"numbers":["NaN"]"#),
        (r#""weight_sum":{"numbers":["1"]"#, r#""weight_sum":{"numbers":["-1"]"#),
        (r#""version":1"#, r#""version":2"#),
        (r#""version":1,"#, ""),
        (r#""count":1"#, r#""count":2"#),
        (r#""per_class":false"#, r#""per_class":true"#),
    ] {
        let bad = text.replacen(good, bad, 1);
        if bad == text || serde_json::from_str::<MetricState<MarginRanking>>(&bad).is_ok() {
            return Err(format!("read: {bad}").into());
        }
    }
    Ok(())
}

fn bad_updates_change_nothing(device: &Device) -> Outcome {
    let mut metric = Metric::new(BinaryHinge::new());
    metric.update(device, &Batch::new(&[0.5f32], &[1i8]))?;
    match metric.update(device, &Batch::new(&[0.5f32, 0.5], &[1i8, 7])) {
        Err(error @ Error::Update { update: 1, .. }) if error.to_string().contains("targets[1]") => {}
        other => return Err(format!("{other:?}").into()),
    }
    near("value", metric.compute()?.value, Some(0.5), 0.0)?;
    let mut none = Metric::new(BinaryHinge::new()).reduction(Reduction::None);
    match none.update(device, &Batch::new(&[0.5f32], &[1i8])) {
        Err(Error::Option { option: "reduction", .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn collection_is_one_update(device: &Device) -> Outcome {
    let scores: Vec<f32> = (0..500_000).map(|i| (i % 33) as f32 / 8.0 - 2.0).collect();
    let mut labels: Vec<i8> = (0..500_000).map(|i| if i % 3 == 0 { 1 } else { -1 }).collect();
    let mut collection = MetricCollection::new();
    collection.add("hinge", Metric::new(BinaryHinge::new()))?;
    collection.add("squared", Metric::new(BinaryHinge::new().penalty(Penalty::Squared)))?;
    collection.add("embedding", Metric::new(EmbeddingHinge::new()))?;
    if collection.add("hinge", Metric::new(BinaryHinge::new())).is_ok() {
        return Err("a name was given twice".into());
    }
    collection.update(device, &Batch::new(&scores, &labels))?;
    let before = collection.compute()?;
    for (name, got) in &before {
        let batch = Batch::new(&scores, &labels);
        let request = maxmargin::Request::new();
        let alone = match name.as_str() {
            "hinge" => device.evaluate(&BinaryHinge::new(), &batch, &request)?,
            "squared" => device.evaluate(&BinaryHinge::new().penalty(Penalty::Squared), &batch, &request)?,
            _ => device.evaluate(&EmbeddingHinge::new(), &batch, &request)?,
        };
        near(name, got.value, alone.value, bound(device))?;
        same_counts(got, &alone)?;
    }
    // The embedding hinge would accept this label, the others do not. None must have counted it.
    labels[400_000] = 3;
    match collection.update(device, &Batch::new(&scores, &labels)) {
        Err(error @ Error::Update { update: 1, .. }) if error.to_string().contains("targets[400000]") => {}
        other => return Err(format!("{other:?}").into()),
    }
    for ((name, got), (_, before)) in collection.compute()?.iter().zip(&before) {
        near(name, got.value, before.value, 0.0)?;
        same_counts(got, before)?;
    }
    Ok(())
}

/// Properties of the whole batch that a collection's blocks could hide from the losses.
fn collection_sees_the_whole_batch(device: &Device) -> Outcome {
    const ROWS: usize = 70_000;
    let scores: Vec<f32> = (0..4 * ROWS).map(|i| (i % 7) as f32 / 8.0).collect();
    let mut targets = vec![1i32; 4 * ROWS];
    let mut collection = MetricCollection::new();
    collection.add("categorical", Metric::new(CategoricalHinge::new()))?;
    let mut refused = |batch: Batch<'_>, words: &str| match collection.update(device, &batch) {
        Err(error @ Error::Update { .. }) if error.to_string().contains(words) => Ok(()),
        other => Err(format!("{words}: {other:?}")),
    };
    refused(Batch::rows(&scores[1..], 4, &targets), "not a multiple of 4")?;
    refused(Batch::rows(&scores, 4, &targets[..4 * ROWS - 4]), "expected 280000 elements")?;
    refused(Batch::rows(&scores, 4, &targets).sample_weights(&vec![1f32; ROWS + 1]), "expected 70000 elements")?;
    refused(Batch::rows(&[0f32; 0], 4, &targets[..2]), "expected 0 elements")?;
    refused(Batch::rows(&scores, 4, &targets).sample_weights(&vec![-1f32; ROWS]), "sample weights[0]")?;
    targets[4 * 60_000 + 2] = 9;
    refused(Batch::rows(&scores, 4, &targets), "targets[240002]")?;

    // One probability above 1, in the last block, turns all scores into logits.
    let mut scores = vec![0.25f32; 300_000];
    scores[299_999] = 2.0;
    let labels = vec![1i8; 300_000];
    let batch = Batch::new(&scores, &labels).score_kind(ScoreKind::Guessed);
    let mut collection = MetricCollection::new();
    collection.add("hinge", Metric::new(BinaryHinge::new()))?;
    collection.update(device, &batch)?;
    let whole = device.evaluate(&BinaryHinge::new(), &batch, &maxmargin::Request::new())?;
    near("guessed", collection.compute()?[0].1.value, whole.value, bound(device))
}

fn classes_stay_as_many(device: &Device) -> Outcome {
    let mut metric = Metric::new(MulticlassHinge::one_vs_all()).per_class();
    let three = Batch::rows(&[0.5f32, 0.25, 1.0], 3, &[2i32]);
    let two = Batch::rows(&[0.5f32, 0.25], 2, &[1i32]);
    let mut other = metric.clone();
    other.update(device, &two)?;
    metric.update(device, &three)?;
    // On a GPU no update has been folded yet. Refused calls change nothing.
    for refused in [metric.merge(&other), metric.update(device, &two), metric.forward(device, &two).map(drop)] {
        if !matches!(refused, Err(Error::Option { option: "classes", .. })) {
            return Err(format!("{refused:?}").into());
        }
    }
    metric.update(device, &three)?;
    match (metric.updates(), metric.compute()?.per_class) {
        (2, Some(classes)) if classes == [1.5, 1.25, 0.0] => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// On the device no call waits, and an error shows when the metric is read.
fn resident_errors_name_the_update(device: &Device) -> Outcome {
    let Device::Gpu(gpu) = device else { return Err("not a GPU".into()) };
    let scores = gpu.upload_f32(&[0.5; 5])?;
    let good = gpu.upload_i32(&[1, -1, 1, 1, -1])?;
    let bad = gpu.upload_i32(&[1, -1, 1, 5, 0])?;
    let mut metric = Metric::new(BinaryHinge::new());
    metric.update(device, &Batch::new(&scores, &good))?;
    metric.update(device, &Batch::new(&scores, &bad))?;
    metric.update(device, &Batch::new(&scores, &good))?;
    for _ in 0..2 {
        match metric.compute() {
            Err(error) if error.to_string() == "update 1: targets[3]: expected a label of -1 or 1, got 5" => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    metric.reset();
    metric.update(device, &Batch::new(&scores, &good))?;
    near("after reset", metric.compute()?.value, Some(0.9), 1e-6)
}

/// The comparisons must notice small errors.
fn negative_control(device: &Device) -> Outcome {
    let evaluation =
        device.evaluate(&BinaryHinge::new(), &Batch::new(&[0.1f32], &[1i8]), &maxmargin::Request::new())?;
    let value = evaluation.value.map(|value| value * (1.0 + 3.0 * bound(device)));
    let mut other = evaluation.clone();
    other.active += 1;
    let nan = Some(f64::NAN);
    if near("", value, evaluation.value, bound(device)).is_ok()
        || near("", None, None, 1.0).is_ok()
        || near("", nan, nan, 1.0).is_ok()
        || same_counts(&other, &evaluation).is_ok()
    {
        return Err("a difference went unnoticed".into());
    }
    Ok(())
}

const TESTS: &[Test] = &[
    ("negative control", negative_control),
    ("invariant to splits", invariant_to_splits),
    ("parts into the caller's memory", parts_into_the_callers_memory),
    ("rows, per class", rows_per_class),
    ("forward gives both values", forward_gives_both_values),
    ("merges equals only", merges_equals_only),
    ("any order of merges gives the same bits", any_order_of_merges_gives_the_same_bits),
    ("saved and restored", saved_and_restored),
    ("bad updates change nothing", bad_updates_change_nothing),
    ("collection is one update", collection_is_one_update),
    ("collection sees the whole batch", collection_sees_the_whole_batch),
    ("classes stay as many", classes_stay_as_many),
];

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    let mut trials = on_cpu(TESTS);
    for adapter in adapters {
        trials.extend(on_adapter(adapter, TESTS));
        trials.extend(on_adapter(adapter, &[("resident errors name the update", resident_errors_name_the_update)]));
    }
    trials
}
