//! The CPU and every GPU compared with the f64 reference, over the case table.

mod device;
mod ignored;
mod labels;
mod vectors;

use std::collections::BTreeSet;

use crate::cases::vectors::{VECTORS_KINDS, VectorsKind};
use crate::cases::{Case, KINDS, Kernels, Kind, Values, check, compare};
use crate::harness::{Outcome, Test, goes_through_all, on_adapter, on_cpu};
use half::{bf16, f16};
use libtest_mimic::Trial;
use maxmargin::gpu::AdapterDescription;
use maxmargin::loss::{Loss, SHADERS};
use maxmargin::reference::Options;
use maxmargin::{
    Batch, BinaryHinge, BitLabels, CosineEmbedding, Device, Error, Floats, Input, MulticlassHinge, Penalty, Reduction,
    Request, Targets, TripletMargin,
};

pub(crate) fn run(case: &Case, device: &Device) -> Result<(), String> {
    let name = || {
        format!(
            "{:?} {} x {} {:?} {:?} {:?}",
            case.kind,
            case.scores.len() / case.columns,
            case.columns,
            case.values,
            case.options,
            case.reduction
        )
    };
    match case.evaluate(device, &case.request()) {
        Ok(evaluation) => check(case, &evaluation, device).map_err(|error| format!("{}: {error}", name())),
        // A mean over nothing has its own tests.
        Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. })
            if case.reduction == Reduction::Mean && case.expect().weight_sum == 0.0
                || case.reduction == Reduction::MeanOverCount && case.expect().count == 0 =>
        {
            Ok(())
        }
        Err(error) => Err(format!("{}: {error}", name())),
    }
}

fn random_cases(device: &Device, values: Values, double: bool) -> Outcome {
    let mut failures = Vec::new();
    let mut seed = 0;
    for &kind in KINDS {
        let mut kernels = Kernels::default();
        for samples in [0, 1, 2, 3, 7, 63, 255, 256, 257, 1000] {
            for columns in [2, 3, 10, 33] {
                for _ in 0..3 {
                    seed += 1;
                    let samples = kind.samples(samples, columns);
                    let case = kernels.case(device, kind, (samples, columns), values, seed);
                    let case = Case { double, ..case };
                    failures.extend(run(&case, device).err());
                }
            }
        }
        for columns in [64, 257, 1025, 5000] {
            seed += 1;
            let size = (kind.samples(37, columns), columns);
            let case = Case { double, ..kernels.case(device, kind, size, values, seed) };
            failures.extend(run(&case, device).err());
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} cases fail, first: {}", failures.len(), failures[0]).into())
    }
}

/// Larger sizes: several jobs and workgroups, M >= 500.
fn large_cases(device: &Device) -> Outcome {
    for (seed, &kind) in (1000..).zip(KINDS) {
        for (samples, columns) in [(100_003, 10), (513, 1000), (20_000, 2)] {
            let samples = kind.samples(samples, columns);
            run(&Case::random(kind, samples, columns, Values::Plain, seed), device)?;
        }
    }
    Ok(())
}

/// Large scores cancel, so the result must not overflow.
fn categorical_cancels(device: &Device) -> Outcome {
    for (targets, expected) in [([-1i8, 1, 1, 1], 1.0), ([0, -1, 1, 1], f64::from(3e38f32))] {
        let scores = [3e38f32; 4];
        let batch = Batch::rows(&scores, 4, &targets);
        let value = device.evaluate(&maxmargin::CategoricalHinge::new(), &batch, &Request::new())?.value;
        if value != Some(expected) {
            return Err(format!("{targets:?}: {value:?} instead of {expected}").into());
        }
    }
    Ok(())
}

/// Lists and vectors with numbers that are lost in rounding, overflow, underflow or have another type.
fn edges(device: &Device) -> Outcome {
    use maxmargin::{Distance, ListwiseHinge, LovaszHinge, Penalty, TripletMargin};
    let sum = Request::new().reduction(Reduction::Sum);
    // One item of high relevance with score `high` and many of low: few enough for pair by pair, or enough for sorting.
    let lists = [
        (Penalty::Squared, 0.5f32, 31, -1e9f32, 0.0f32),
        (Penalty::Linear, 1e20, 31, 1e20, 1e20),
        (Penalty::Linear, 0.5, 31, -1e30, 0.0),
        (Penalty::Squared, 1e8, 31, 1e8, 1e8),
        (Penalty::Squared, 0.125, 31, -1e6, 0.0),
        (Penalty::smooth(0.5), 0.125, 40, -1e6, 0.5),
        (Penalty::Linear, -0.5, 40, 1e6, 0.0),
    ];
    for (times, (penalty, low, few, other, high)) in [1, 3].iter().flat_map(|times| lists.map(|list| (times, list))) {
        let times = times * few;
        let mut scores = vec![low; times];
        scores.extend([other, high]);
        let targets: Vec<i32> = (0..scores.len()).map(|i| i32::from(i + 1 == scores.len())).collect();
        let (row, relevances): (Vec<f64>, Vec<f64>) =
            scores.iter().zip(&targets).map(|(&s, &t)| (f64::from(s), f64::from(t))).unzip();
        let options = maxmargin::reference::Options { penalty, ..Default::default() };
        let expected = maxmargin::reference::listwise::sample(&row, &relevances, &options);
        let batch = Batch::rows(&scores, scores.len(), &targets);
        let got = device.evaluate(&ListwiseHinge::new().penalty(penalty), &batch, &sum.gradient())?;
        let what = format!("{penalty:?} {low} {other} {high}");
        compare(&what, &[got.value.unwrap_or(0.0)], &[expected.loss], |_| 1e-6 * expected.loss)?;
        let gradient = got.gradient.ok_or("no gradient")?.to_f64()?;
        compare(&what, &gradient, &expected.gradient, |i| 1e-5 * expected.gradient[i].abs())?;
    }
    // The mean is finite, but the sum is not.
    let batch = Batch::rows(&[0.0f32, 3e38, 3e38], 3, &[0i32]);
    let value = device.evaluate(&MulticlassHinge::top_k(2), &batch, &sum)?.value;
    compare("top-k", &[value.unwrap_or(0.0)], &[3e38], |_| 1e32)?;
    // Two equal infinities make a list undefined, even if another workgroup of the list has only padding.
    let (mut scores, mut targets) = (vec![0.5f32; 512], vec![-1i32; 512]);
    (scores[0], scores[1], targets[0], targets[1]) = (f32::INFINITY, f32::INFINITY, 2, 1);
    let batch = Batch::rows(&scores, 512, &targets);
    let got = device.evaluate(&ListwiseHinge::new(), &batch, &sum.gradient())?;
    compare("undefined", &got.gradient.ok_or("no gradient")?.to_f64()?, &[f64::NAN; 512], |_| 0.0)?;
    // Losses and counters of lists that take several workgroups.
    let case = Case { reduction: Reduction::None, ..Case::random(Kind::Listwise, 3, 700, Values::Plain, 8) };
    run(&case, device)?;
    // A divisor whose inverse is not a normal number.
    let batch = Batch::new(&[0.5f32], &[1i8]).sample_weights(&[2e38f32]);
    let got = device.evaluate(&BinaryHinge::new(), &batch, &Request::new().gradient())?;
    compare("large weight", &got.gradient.ok_or("no gradient")?.to_f64()?, &[-1.0], |_| 1e-6)?;
    // Differences far below 1.
    let (anchor, other, zero) = ([1e-25f32, 0.0], [0.0f32; 2], [0.0f32; 2]);
    for p in [1.0, 2.0, 3.0, f64::INFINITY] {
        let loss = TripletMargin::new().distance(Distance::Norm { p, epsilon: 0.0 });
        let got = device.evaluate(&loss, &Batch::triplets(&anchor, &other, &zero, 2), &sum.gradient())?;
        // The slopes of both distances cancel in the anchor.
        let gradient = got.gradient.ok_or("no gradient")?.to_f64()?;
        compare(&format!("p = {p}"), &gradient, &[0.0, 0.0, -1.0, 0.0, 1.0, 0.0], |_| 1e-6)?;
    }
    // One list of one item, and none.
    let one = device.evaluate(&LovaszHinge::new(), &Batch::rows(&[0.5f32], 1, &[1i8]), &sum)?.value;
    compare("one item", &[one.unwrap_or(0.0)], &[0.5], |_| 0.0)?;
    let none = device.evaluate(&LovaszHinge::new(), &Batch::rows(&[0f32; 0], 1, &[0i8; 0]), &sum)?.value;
    compare("no list", &[none.unwrap_or(1.0)], &[0.0], |_| 0.0)?;
    let half = [f16::ONE; 2];
    match device.evaluate(&TripletMargin::new(), &Batch::triplets(&anchor, &half, &half, 2), &sum) {
        Err(Error::ElementType { input: Input::SecondScores, .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    if let Device::Gpu(gpu) = device {
        // Integers of a caller's own tensor are compared as f32, like integers from the host.
        let targets = [16_777_217i32, 16_777_216];
        for targets in [Targets::from(&targets), (&gpu.upload_i32(&targets)?).into()] {
            let batch = Batch::rows(&[0.0f32, 0.0], 2, targets);
            let value = device.evaluate(&ListwiseHinge::new(), &batch, &sum)?.value;
            compare("large relevances", &[value.unwrap_or(1.0)], &[0.0], |_| 0.0)?;
        }
    }
    Ok(())
}

fn per_class(device: &Device) -> Outcome {
    for seed in 0..40 {
        let values = [Values::Plain, Values::Dyadic, Values::Spicy][seed as usize % 3];
        // Rows for one lane up to several subgroups; most begin within four words.
        let columns = [2, 9, 16, 23, 30, 33, 40, 129, 301, 513][seed as usize % 10];
        let samples = if columns > 40 { 100 } else { 500 } + seed as usize;
        let mut case = Case::random(Kind::OneVsAll, samples, columns, values, seed);
        case.options.over_classes = maxmargin::OverClasses::Sum;
        case.reduction = if seed % 2 == 0 { Reduction::Mean } else { Reduction::Sum };
        let got = case.evaluate(device, &Request::new().reduction(case.reduction).per_class().losses())?;
        let e = case.expect();
        let expected: Vec<f64> = e.per_class.iter().map(|x| x / e.divisor).collect();
        let bound = if values == Values::Dyadic { 0.0 } else { 1e-6 * e.scale / e.divisor };
        compare("per class", got.per_class.as_deref().unwrap_or(&[]), &expected, |i| {
            if expected[i].is_finite() && !bound.is_finite() { 1e-6 * expected[i].abs() + 1e-4 } else { bound }
        })?;
        if got.value.is_some() {
            return Err("a value beside per-class values".into());
        }
    }
    Ok(())
}

fn deterministic(device: &Device) -> Outcome {
    for &kind in KINDS {
        let case = Case::random(kind, 70_001, 7, Values::Plain, 5);
        let bits = || -> Result<_, Error> {
            let e = case.evaluate(device, &case.request())?;
            let all = [e.losses.as_ref().map(|x| x.to_f64()), e.gradient.as_ref().map(|x| x.to_f64())];
            Ok((
                e.value.map(f64::to_bits),
                all.map(|x| x.and_then(Result::ok).map(|x| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>())),
            ))
        };
        let first = bits()?;
        for _ in 0..3 {
            if bits()? != first {
                return Err(format!("{kind:?} differs between runs").into());
            }
        }
    }
    Ok(())
}

fn ignored_rows_hold_anything(device: &Device) -> Outcome {
    for &kind in KINDS.iter().filter(|kind| kind.is_multiclass()) {
        let mut case = Case::random(kind, 300, 5, Values::Dyadic, 77);
        case.ignore_index = Some(-100);
        case.reduction = Reduction::Sum;
        for n in 0..300 {
            if n % 3 == 0 {
                case.targets[n] = -100.0;
                case.scores[n * 5 + n % 5] = [f32::NAN, f32::INFINITY, 3e38][n / 3 % 3];
            } else if case.targets[n] < 0.0 {
                case.targets[n] = 1.0;
            }
        }
        run(&case, device)?;
        let value = case.evaluate(device, &case.request())?.value;
        if !value.is_some_and(f64::is_finite) {
            return Err(format!("{kind:?}: {value:?}").into());
        }
    }
    Ok(())
}

fn errors(device: &Device) -> Outcome {
    let expect = |result: Result<maxmargin::Evaluation, Error>, text: &str| match result {
        Err(error) if error.to_string().contains(text) => Ok(()),
        Err(error) => Err(format!("expected {text:?}, got {error}")),
        Ok(_) => Err(format!("expected {text:?}, got a value")),
    };
    let n = 5000;
    let scores = vec![0.5f32; n];
    let mut labels = vec![1i32; n];
    let binary = BinaryHinge::new();
    let request = Request::new().gradient();
    (labels[4321], labels[4700]) = (0, 7);
    expect(
        device.evaluate(&binary, &Batch::new(&scores, &labels), &request),
        "targets[4321]: expected a label of -1 or 1, got 0",
    )?;
    labels[4321] = 1;
    expect(device.evaluate(&binary, &Batch::new(&scores, &labels), &request), "targets[4700]")?;
    labels[4700] = -1;
    let mut weights = vec![1.0f32; n];
    for bad in [-0.5, f32::NAN, f32::INFINITY] {
        weights[2048] = bad;
        expect(
            device.evaluate(&binary, &Batch::new(&scores, &labels).sample_weights(&weights), &request),
            "sample weights[2048]",
        )?;
    }
    expect(
        device.evaluate(&binary, &Batch::new(&scores, &labels).sample_weights(&vec![0.0f32; n]), &request),
        "positive sum of weights",
    )?;
    expect(device.evaluate(&binary, &Batch::new(&scores, &labels[1..]), &request), "expected 5000 elements")?;
    expect(device.evaluate(&binary, &Batch::new(&[0f32; 0], &[0i32; 0]), &request), "mean over no samples")?;
    let empty =
        device.evaluate(&binary, &Batch::new(&[0f32; 0], &[0i32; 0]), &Request::new().reduction(Reduction::Sum))?;
    if empty.value != Some(0.0) {
        return Err(format!("empty sum {:?}", empty.value).into());
    }
    let rows = MulticlassHinge::crammer_singer();
    let class = [0i64, 1, (1 << 33) + 1];
    expect(
        device.evaluate(&rows, &Batch::rows(&scores[..6], 2, &class), &request),
        "targets[2]: expected a class index in [0, 2), got 8589934593",
    )?;
    expect(device.evaluate(&rows, &Batch::rows(&scores[..6], 1, &[0i64; 6]), &request), "at least 2 classes")?;
    let too_long = Batch::rows(&scores[..0], 1 << 31, &class[..0]);
    expect(device.evaluate(&rows, &too_long, &request), "more than an index of 32 bits reaches (2147483647)")?;
    let all_ignored = rows.clone().ignore_index(-100);
    expect(
        device.evaluate(&all_ignored, &Batch::rows(&scores[..6], 2, &[-100i64; 3]), &request),
        "mean over no samples",
    )?;
    expect(device.evaluate(&binary.margin(f64::NAN), &Batch::new(&scores, &labels), &request), "option margin")?;
    Ok(())
}

/// Half-precision scores and narrow labels, from the host and (on a GPU) resident, each starting within a word.
fn narrow_types(device: &Device) -> Outcome {
    // Twice over all kinds, with other options the second time.
    let times = if matches!(device, Device::Cpu) || goes_through_all() { 2 } else { 1 };
    for (seed, &kind) in (900..).zip(KINDS.iter().cycle().take(times * KINDS.len())) {
        let values = [Values::Plain, Values::Spicy, Values::Dyadic][seed as usize % 3];
        for bfloat in [false, true] {
            let mut case = Case::random(kind, 1001, 6, values, seed);
            let round = |x: &mut f32| *x = if bfloat { bf16::from_f32(*x).into() } else { f16::from_f32(*x).into() };
            case.scores.iter_mut().chain(&mut case.second).for_each(round);
            let half = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
            let brain = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>();
            let (f16s, bf16s) = ([half(&case.scores), half(&case.second)], [brain(&case.scores), brain(&case.second)]);
            let [scores, second]: [Floats<'_>; 2] =
                if bfloat { [0, 1].map(|i| (&bf16s[i]).into()) } else { [0, 1].map(|i| (&f16s[i]).into()) };
            let bytes: Vec<i8> = case.targets.iter().map(|&t| t as i8).collect();
            let unsigned: Vec<u8> = case.targets.iter().map(|&t| t as u8).collect();
            let flags: Vec<bool> = case.targets.iter().map(|&t| t == 1.0).collect();
            let mut words = vec![0u32; flags.len().div_ceil(32)];
            flags.iter().enumerate().for_each(|(i, &flag)| words[i / 32] |= u32::from(flag) << (i % 32));
            let is_integral = case.targets.iter().all(|t| t.fract() == 0.0);
            let mut labels: Vec<(&str, Targets<'_>)> = vec![];
            if is_integral {
                labels.push(("i8", (&bytes).into()));
            }
            if case.targets.iter().all(|&t| t >= 0.0) && is_integral {
                labels.push(("u8", (&unsigned).into()));
            }
            if kind.is_zero_one() {
                labels.push(("bool", (&flags).into()));
                labels.push(("bits", BitLabels::new(&words, flags.len())?.into()));
            }
            if labels.is_empty() {
                labels.push(("f32", (&case.targets).into()));
            }
            for (name, labels) in labels {
                let weights = case.sample_weights.as_ref();
                let explain = |what: &str, error| format!("{kind:?}, {name} labels, {values:?}, {what}: {error}");
                let batch = case.batch(scores, second, labels, weights);
                let run = |what: &str, case: &Case, batch: &Batch<'_>| match case.evaluate_batch(
                    device,
                    batch,
                    &case.request(),
                ) {
                    Ok(evaluation) => check(case, &evaluation, device).map_err(|error| explain(what, error)),
                    Err(error) => Err(explain(what, error.to_string())),
                };
                run("host", &case, &batch)?;
                let mut rest = case.clone();
                let width = case.targets.len() / 1001;
                rest.scores.drain(..3 * case.columns);
                rest.targets.drain(..3 * width);
                rest.second.drain(..3.min(rest.second.len()));
                rest.sample_weights = rest.sample_weights.map(|w| w[3..].to_vec());
                run("part", &rest, &batch.slice(3..1001).ok_or("no slice")?)?;
                if let (Device::Gpu(gpu), false) = (device, name == "f32") {
                    let (scores, second) = (gpu.upload_floats(scores)?, gpu.upload_floats(second)?);
                    let labels = gpu.upload_labels(labels)?;
                    let weights = weights.map(|w| gpu.upload_f32(w)).transpose()?;
                    run("resident", &case, &case.batch(&scores, &second, &labels, weights.as_ref()))?;
                }
            }
        }
    }
    Ok(())
}

/// Each kind of comparison must notice a perturbed result.
fn negative_controls(device: &Device) -> Outcome {
    let case = Case::random(Kind::WestonWatkins, 300, 6, Values::Plain, 3);
    let case = Case { reduction: Reduction::Mean, ..case };
    let good = case.evaluate(device, &case.request())?;
    check(&case, &good, device)?;
    let perturbed = |change: &dyn Fn(&mut maxmargin::Evaluation)| {
        let mut bad = good.clone();
        change(&mut bad);
        check(&case, &bad, device).is_err()
    };
    // Leaves other kinds of outputs unchanged, so that the check below finds them unperturbed and fails.
    let nudge = |output: &mut Option<maxmargin::Output>| {
        if let Some(maxmargin::Output::F32(x)) = output {
            let i = (0..x.len()).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap_or(0);
            x[i] *= 1.0001;
        }
    };
    let noticed = [
        perturbed(&|e| e.value = e.value.map(|v| v * 1.00002)),
        perturbed(&|e| e.active += 1),
        perturbed(&|e| e.correct = e.correct.map(|c| c + 1)),
        perturbed(&|e| e.weight_sum *= 1.0001),
        perturbed(&|e| nudge(&mut e.losses)),
        perturbed(&|e| nudge(&mut e.gradient)),
        perturbed(&|e| e.gradient = Some(maxmargin::Output::F32(vec![0.0; 3]))),
        perturbed(&|e| e.value = Some(f64::NAN)),
    ];
    if noticed == [true; 8] { Ok(()) } else { Err(format!("unnoticed: {noticed:?}").into()) }
}

/// Compares a gradient with central differences of `value`, away from the kink.
fn agrees_with_differences(
    case: &Case,
    scores: &[f64],
    gradient: &[f64],
    value: impl Fn(&[f64]) -> Result<f64, Error>,
) -> Outcome {
    let name = format!("{:?} {:?}", case.kind, case.options);
    if gradient.len() != scores.len() {
        return Err(format!("{name}: {} elements in the gradient", gradient.len()).into());
    }
    let step = 1e-6;
    for (i, &slope) in gradient.iter().enumerate() {
        let at = |delta: f64| {
            let mut moved = scores.to_vec();
            moved[i] += delta;
            value(&moved)
        };
        let difference = (at(step)? - at(-step)?) / (2.0 * step);
        let is_close = |slope: f64| (difference - slope).abs() <= 1e-6 * (1.0 + difference.abs());
        // The comparison must notice an error of one per cent.
        if !is_close(slope) || (slope.abs() > 1e-2 && is_close(1.01 * slope)) {
            return Err(format!("{name}: gradient[{i}] = {slope}, difference {difference}").into());
        }
    }
    Ok(())
}

/// Every loss with many options, in f64, if its mean is defined; with the scores.
fn differentiable_cases() -> impl Iterator<Item = (Case, Vec<f64>)> {
    let cases = (200..).zip(KINDS.iter().cycle().take(140)).map(|(seed, &kind)| {
        let reduction = if seed % 2 == 0 { Reduction::Mean } else { Reduction::Sum };
        Case { double: true, reduction, ..Case::random(kind, 9, 4, Values::Plain, seed) }
    });
    let cases = cases.filter(|case| case.expect().weight_sum != 0.0);
    cases.map(|case| {
        let scores = case.scores.iter().map(|&s| s.into()).collect();
        (case, scores)
    })
}

/// The CPU's gradient in f64.
fn cpu_differences() -> Outcome {
    for (case, scores) in differentiable_cases() {
        let request = Request::new().reduction(case.reduction);
        let evaluate = |scores: &[f64], request: &Request| case.evaluate_f64(&Device::cpu(), scores, request);
        let gradient = evaluate(&scores, &request.gradient())?.gradient.ok_or("no gradient")?.to_f64()?;
        let value = |scores: &[f64]| evaluate(scores, &request).map(|e| e.value.unwrap_or(f64::NAN));
        agrees_with_differences(&case, &scores, &gradient, value)?;
    }
    Ok(())
}

/// The reference's gradient, by its own sums.
fn reference_differences() -> Outcome {
    for (case, scores) in differentiable_cases() {
        let value = |scores: &[f64]| {
            let expected = case.expect_at(scores);
            Ok(expected.sum / expected.divisor)
        };
        agrees_with_differences(&case, &scores, &case.expect_at(&scores).gradient, value)?;
    }
    Ok(())
}

/// A score that loses by far does not affect the value, so it must not hide an error in the value.
fn bounds_see_what_counts() -> Outcome {
    for kind in [Kind::CrammerSinger, Kind::TopK] {
        let mut case = Case::random(kind, 1, 3, Values::Plain, 1);
        (case.scores, case.targets, case.k) = (vec![1.0, 2.0, -1e20], vec![0.0], 1);
        (case.margin_matrix, case.class_weights, case.sample_weights) = (None, None, None);
        case.options = Options { margin: 1.0, penalty: Penalty::Linear, ..case.options };
        let bound = case.expect().loss_bounds[0];
        if bound != 4.0 {
            return Err(format!("{kind:?}: a bound of {bound}, expected margin 1 and scores 1 and 2").into());
        }
    }
    Ok(())
}

fn every_loss_has_its_cases() -> Outcome {
    let of_scores = KINDS.iter().map(|&kind| Case::random(kind, 1, 2, Values::Plain, 1).loss().name());
    let of_vectors = VECTORS_KINDS.iter().map(|kind| match kind {
        VectorsKind::Triplet { .. } => TripletMargin::new().name(),
        VectorsKind::Cosine => CosineEmbedding::new().name(),
    });
    let cases: BTreeSet<&str> = of_scores.chain(of_vectors).collect();
    let shaders: BTreeSet<&str> = SHADERS.iter().map(|shader| shader.name).collect();
    if cases != shaders {
        return Err(format!("cases of {cases:?}, shaders of {shaders:?}").into());
    }
    Ok(())
}

const TESTS: &[Test] = &[
    ("plain values", |d| random_cases(d, Values::Plain, false)),
    ("dyadic values are exact", |d| random_cases(d, Values::Dyadic, false)),
    ("spicy values", |d| random_cases(d, Values::Spicy, false)),
    ("large values", |d| random_cases(d, Values::Large, false)),
    ("half precision and narrow labels", narrow_types),
    ("large sizes", large_cases),
    ("categorical sums cancel", categorical_cancels),
    ("many labels", labels::many_labels),
    ("sorted lists", labels::sorted_lists),
    ("bad targets far in", labels::bad_targets_far_in),
    ("lists and vectors at the edges", edges),
    ("vectors", |d| vectors::vectors(d, false)),
    ("vectors of other types and places", vectors::vectors_elsewhere),
    ("vectors far apart", vectors::vectors_far_apart),
    ("vectors, negative controls", vectors::vectors_negative_controls),
    ("per-class values", per_class),
    ("bit-identical from run to run", deterministic),
    ("ignored rows hold anything", ignored_rows_hold_anything),
    ("ignored samples", ignored::ignored_samples),
    ("ignored items", ignored::ignored_items),
    ("types of targets", ignored::types_of_targets),
    ("mean over active samples", ignored::mean_over_active),
    ("errors name index and value", errors),
    ("negative controls", negative_controls),
];

const GPU_TESTS: &[Test] = &[("labels on the device", labels::labels_on_the_device)];

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("[reference] gradients agree with finite differences", reference_differences),
        Trial::test("[reference] bounds see the scores that count", bounds_see_what_counts),
        Trial::test("[cpu] gradients in f64 agree with finite differences", cpu_differences),
        Trial::test("every loss has its cases", every_loss_has_its_cases),
    ];
    trials.push(Trial::test(
        "[cpu] gradients of vectors in f64 agree with finite differences",
        vectors::vectors_finite_differences,
    ));
    trials.push(Trial::test("[cpu] vectors in f64", || vectors::vectors(&Device::cpu(), true)));
    trials.extend(on_cpu(TESTS));
    for values in [Values::Plain, Values::Dyadic, Values::Spicy, Values::Large] {
        let name = format!("[cpu] {values:?} values in f64");
        trials.push(Trial::test(name, move || random_cases(&Device::cpu(), values, true)));
    }
    for adapter in adapters {
        trials.extend(on_adapter(adapter, TESTS));
        trials.extend(on_adapter(adapter, GPU_TESTS));
        trials.extend(device::trials(adapter));
    }
    trials
}
