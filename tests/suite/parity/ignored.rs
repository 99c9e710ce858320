//! Ignored targets, every type of target, and the mean over active samples, on every device.

use half::{bf16, f16};
use libtest_mimic::Failed;
use maxmargin::loss::Loss;
use maxmargin::{
    Batch, BinaryHinge, CategoricalHinge, CosineEmbedding, Device, EmbeddingHinge, Error, Evaluation, Input,
    LabelEncoding, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, Reduction, Request,
    ScoreKind, Targets, TripletMargin,
};

use crate::cases::compare;
use crate::harness::Outcome;

const VOID: i64 = 255;

/// A name, a loss that ignores [`VOID`], and the same loss without that.
type Ignoring = (&'static str, Box<dyn Loss>, Box<dyn Loss>);

/// Numbers in [-2, 2) without a pattern that a loss could follow.
fn scores(count: usize) -> Vec<f32> {
    (0..count).map(|i| (7919 * i % 1009) as f32 / 252.25 - 2.0).collect()
}

fn numbers(output: Option<maxmargin::Output>) -> Result<Vec<f64>, Failed> {
    Ok(output.ok_or("no output")?.to_f64()?)
}

/// Compares value, counters, losses and gradient; `kept` are the rows that are not ignored, `parts` those of a gradient.
fn same(
    name: &str,
    got: Evaluation,
    expected: Evaluation,
    kept: &[usize],
    rows: usize,
    columns: usize,
    parts: usize,
) -> Outcome {
    let counters = |e: &Evaluation| (e.count, e.weight_sum, e.active, e.correct);
    if counters(&got) != counters(&expected) {
        return Err(format!("{name}: {:?} instead of {:?}", counters(&got), counters(&expected)).into());
    }
    let value = |e: &Evaluation| e.value.ok_or("no value");
    let (a, b) = (value(&got)?, value(&expected)?);
    compare(name, &[a], &[b], |_| 1e-6 * b.abs())?;
    let spread = |from: Vec<f64>, columns: usize, parts: usize| {
        let mut to = vec![0.0; parts * rows * columns];
        for part in 0..parts {
            for (place, row) in kept.iter().enumerate() {
                let from = &from[(part * kept.len() + place) * columns..][..columns];
                to[(part * rows + row) * columns..][..columns].copy_from_slice(from);
            }
        }
        to
    };
    let losses = spread(numbers(expected.losses)?, 1, 1);
    compare(name, &numbers(got.losses)?, &losses, |i| 1e-6 * losses[i].abs())?;
    let gradient = spread(numbers(expected.gradient)?, columns, parts);
    Ok(compare(name, &numbers(got.gradient)?, &gradient, |i| 1e-5 * gradient[i].abs())?)
}

/// Samples whose target is ignored, whatever their scores are: the rest is evaluated as if they were not there.
pub(crate) fn ignored_samples(device: &Device) -> Outcome {
    const ROWS: usize = 300;
    let request = Request::new().gradient().losses();
    let is_kept = |row: usize| row % 3 != 1 && row < 290;
    let kept: Vec<usize> = (0..ROWS).filter(|&row| is_kept(row)).collect();
    let weights: Vec<f32> = (0..ROWS).map(|row| (row % 5) as f32 / 2.0).collect();
    let kept_weights: Vec<f32> = kept.iter().map(|&row| weights[row]).collect();
    let all = |columns: usize| -> Vec<f32> {
        let mut all = scores(ROWS * columns);
        (0..ROWS).filter(|&row| !is_kept(row)).for_each(|row| all[row * columns] = f32::NAN);
        all
    };
    let pick = |all: &[f32], columns: usize| -> Vec<f32> {
        kept.iter().flat_map(|&row| &all[row * columns..][..columns]).copied().collect()
    };
    let targets = |usual: &dyn Fn(usize) -> i64| -> Vec<i64> {
        (0..ROWS).map(|row| if is_kept(row) { usual(row) } else { VOID }).collect()
    };
    let without = |all: &[i64]| -> Vec<i64> { kept.iter().map(|&row| all[row]).collect() };
    let signs = targets(&|row| if row % 2 == 0 { 1 } else { -1 });
    let kept_signs = without(&signs);
    let classes = targets(&|row| (row % 4) as i64);
    let kept_classes = without(&classes);

    let elementwise: [Ignoring; 2] = [
        ("binary", Box::new(BinaryHinge::new().ignore_index(VOID)), Box::new(BinaryHinge::new())),
        ("embedding", Box::new(EmbeddingHinge::new().ignore_index(VOID)), Box::new(EmbeddingHinge::new())),
    ];
    for (name, ignoring, plain) in &elementwise {
        let (x, k) = (all(1), pick(&all(1), 1));
        for kind in [ScoreKind::Raw, ScoreKind::Logit] {
            let batch = Batch::new(&x, &signs).sample_weights(&weights).score_kind(kind);
            let rest = Batch::new(&k, &kept_signs).sample_weights(&kept_weights).score_kind(kind);
            let (got, expected) =
                (device.evaluate(ignoring, &batch, &request)?, device.evaluate(plain, &rest, &request)?);
            same(name, got, expected, &kept, ROWS, 1, 1)?;
        }
    }
    let (x, y) = (all(1), scores(ROWS));
    let (kept_x, kept_y) = (pick(&x, 1), pick(&y, 1));
    let got = device.evaluate(&MarginRanking::new().ignore_index(VOID), &Batch::pairs(&x, &y, &signs), &request)?;
    let expected = device.evaluate(&MarginRanking::new(), &Batch::pairs(&kept_x, &kept_y, &kept_signs), &request)?;
    same("ranking", got, expected, &kept, ROWS, 1, 1)?;
    let (x, y) = (all(4), scores(4 * ROWS));
    let (kept_x, kept_y) = (pick(&x, 4), pick(&y, 4));
    let batch = Batch::vector_pairs(&x, &y, 4, &signs);
    let rest = Batch::vector_pairs(&kept_x, &kept_y, 4, &kept_signs);
    let got = device.evaluate(&CosineEmbedding::new().ignore_index(VOID), &batch, &request)?;
    same("cosine", got, device.evaluate(&CosineEmbedding::new(), &rest, &request)?, &kept, ROWS, 4, 2)?;
    let rows: [Ignoring; 2] = [
        ("categorical", Box::new(CategoricalHinge::new().ignore_index(VOID)), Box::new(CategoricalHinge::new())),
        (
            "multiclass",
            Box::new(MulticlassHinge::weston_watkins().ignore_index(VOID)),
            Box::new(MulticlassHinge::weston_watkins()),
        ),
    ];
    for (name, ignoring, plain) in &rows {
        let batch = Batch::rows(&x, 4, &classes).sample_weights(&weights);
        let rest = Batch::rows(&kept_x, 4, &kept_classes).sample_weights(&kept_weights);
        let (got, expected) = (device.evaluate(ignoring, &batch, &request)?, device.evaluate(plain, &rest, &request)?);
        same(name, got, expected, &kept, ROWS, 4, 1)?;
    }
    // The negative control: without the option the targets are bad; with another index too, and the error names the
    // sample in the whole batch.
    let batch = Batch::new(&y[..ROWS], &signs);
    for index in [None, Some(7)] {
        let loss = BinaryHinge::new();
        let loss = index.map_or(loss.clone(), |index| loss.ignore_index(index));
        let error = device.evaluate(&loss, &batch, &Request::new()).err();
        if !matches!(error, Some(Error::Value { input: Input::Targets, index: 1, .. })) {
            return Err(format!("{error:?}").into());
        }
    }
    let mut bad = signs.clone();
    bad[200] = 9;
    match device.evaluate(&BinaryHinge::new().ignore_index(VOID), &Batch::new(&y[..ROWS], &bad), &Request::new()) {
        Err(Error::Value { input: Input::Targets, index: 200, .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    // The mean of nothing.
    match device.evaluate(&BinaryHinge::new().ignore_index(1), &Batch::new(&[0.5f32], &[1i8]), &Request::new()) {
        Err(Error::EmptyMean { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Items of a list and labels of a row are left out of it, and the sample stays.
pub(crate) fn ignored_items(device: &Device) -> Outcome {
    const ITEMS: usize = 1500;
    let request = Request::new().gradient().losses();
    let is_kept = |item: usize| item % 4 != 2;
    let kept: Vec<usize> = (0..ITEMS).filter(|&item| is_kept(item)).collect();
    let mut x = scores(2 * ITEMS);
    (0..2 * ITEMS).filter(|&i| !is_kept(i % ITEMS)).for_each(|i| x[i] = f32::NAN);
    for labels in [LabelEncoding::ZeroOne, LabelEncoding::PlusMinusOne] {
        let other = if labels == LabelEncoding::ZeroOne { 0 } else { -1 };
        let label = |i: usize| if i % 7 < 3 { 1 } else { other };
        let targets: Vec<i64> = (0..2 * ITEMS).map(|i| if is_kept(i % ITEMS) { label(i) } else { VOID }).collect();
        let loss = LovaszHinge::new().labels(labels);
        let got = device.evaluate(&loss.clone().ignore_index(VOID), &Batch::rows(&x, ITEMS, &targets), &request)?;
        let (mut losses, mut gradient) = (Vec::new(), vec![0.0; 2 * ITEMS]);
        for list in 0..2 {
            let scores: Vec<f32> = kept.iter().map(|item| x[list * ITEMS + item]).collect();
            let targets: Vec<i64> = kept.iter().map(|item| targets[list * ITEMS + item]).collect();
            let one = device.evaluate(&loss, &Batch::rows(&scores, kept.len(), &targets), &request)?;
            losses.push(one.value.ok_or("no value")?);
            let slopes = numbers(one.gradient)?;
            kept.iter().zip(slopes).for_each(|(item, slope)| gradient[list * ITEMS + item] = slope / 2.0);
        }
        compare("losses", &numbers(got.losses)?, &losses, |i| 1e-6 * losses[i])?;
        compare("gradient", &numbers(got.gradient)?, &gradient, |i| 1e-5 * gradient[i].abs() + 1e-9)?;
        if got.count != 2 {
            return Err(format!("{} lists", got.count).into());
        }
    }
    let x = scores(12);
    let (ranked, padded) = ([3i64, 255, 1, 0, 2, 255], [3i64, -1, 1, 0, 2, -1]);
    let got = device.evaluate(&ListwiseHinge::new().ignore_index(VOID), &Batch::rows(&x[..6], 6, &ranked), &request)?;
    let expected = device.evaluate(&ListwiseHinge::new(), &Batch::rows(&x[..6], 6, &padded), &request)?;
    same("listwise", got, expected, &[0], 1, 6, 1)?;
    let (ranked, padded) =
        ([3i64, 255, 1, -1, 0, 0, 255, 255, 2, 4, -1, 0], [3i64, 1, -1, -1, -1, -1, 2, 4, -1, -1, -1, -1]);
    let loss = MultilabelMargin::new();
    let got = device.evaluate(&loss.clone().ignore_index(VOID), &Batch::rows(&x, 6, &ranked), &request)?;
    same("multilabel", got, device.evaluate(&loss, &Batch::rows(&x, 6, &padded), &request)?, &[0, 1], 2, 6, 1)
}

/// The same labels in every type that holds them.
pub(crate) fn types_of_targets(device: &Device) -> Outcome {
    let (count, x) = (5000, scores(5000));
    let labels: Vec<u8> = (0..count).map(|i| u8::from(i % 3 == 0)).collect();
    let losses: [(Box<dyn Loss>, usize, usize); 5] = [
        (Box::new(BinaryHinge::new().labels(LabelEncoding::ZeroOne)), 0, count),
        (Box::new(MulticlassHinge::crammer_singer()), 4, count / 4),
        (Box::new(CategoricalHinge::new()), 4, count / 4),
        (Box::new(LovaszHinge::new().labels(LabelEncoding::ZeroOne)), 1000, count),
        (Box::new(ListwiseHinge::new()), 50, count),
    ];
    for (loss, columns, width) in &losses {
        let value = |targets: Targets<'_>| {
            let batch = if *columns == 0 { Batch::new(&x, targets) } else { Batch::rows(&x, *columns, targets) };
            device.evaluate(loss, &batch, &Request::new()).map(|evaluation| evaluation.value)
        };
        let labels = &labels[..*width];
        let mut values = Vec::new();
        macro_rules! each {
            ($($t:ty),+) => {$(
                let typed: Vec<$t> = labels.iter().map(|&label| label.into()).collect();
                values.push((stringify!($t), value((&typed).into())?));
            )+};
        }
        each!(u8, i16, u16, i32, u32, i64, u64, f16, bf16, f32, f64);
        values.push(("i8", value((&labels.iter().map(|&label| label as i8).collect::<Vec<_>>()).into())?));
        values.push(("bool", value((&labels.iter().map(|&label| label == 1).collect::<Vec<_>>()).into())?));
        if values.iter().any(|(_, value)| value.is_none() || *value != values[0].1) {
            return Err(format!("{}: {values:?}", loss.name()).into());
        }
    }
    Ok(())
}

/// The sum divided by the number of samples with a violation, whatever their weights.
pub(crate) fn mean_over_active(device: &Device) -> Outcome {
    let request = Request::new().reduction(Reduction::MeanOverActive);
    let value = |loss: &dyn Loss, batch: &Batch<'_>| device.evaluate(&loss.boxed(), batch, &request).map(|e| e.value);
    let batch = Batch::new(&[0.5f32, 2.0, -1.0], &[1i8, 1, 1]);
    let weighted = batch.sample_weights(&[3.0f32, 1.0, 0.0]);
    let vectors = Batch::triplets(&[0.0f32, 0.0], &[0.0f32, 0.0], &[3.0f32, 4.0], 2);
    let far = TripletMargin::new().margin(0.5);
    let got = [value(&BinaryHinge::new(), &batch)?, value(&BinaryHinge::new(), &weighted)?, value(&far, &vectors)?];
    if got != [Some(1.25), Some(0.75), Some(0.0)] {
        return Err(format!("{got:?}").into());
    }
    match device.evaluate(&BinaryHinge::new(), &batch, &request.gradient()) {
        Err(Error::Option { option: "reduction", .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
