//! Rows of targets: many labels, many rows, and errors far into a batch.

use libtest_mimic::Failed;
use maxmargin::loss::Loss;
use maxmargin::{
    Batch, CategoricalHinge, Device, Error, Input, LabelEncoding, ListwiseHinge, LovaszHinge, MultilabelMargin,
    Request, Targets,
};

use super::run;
use crate::cases::{Case, Kind, Values, compare};
use crate::harness::Outcome;

/// A row's labels. All differ, since 7919 is prime to these numbers of columns; only the last repeats the first.
fn label_rows(targets: &mut [f32], columns: usize, labels: usize) {
    for row in targets.chunks_exact_mut(columns) {
        row.iter_mut().enumerate().for_each(|(k, t)| *t = (7919 * k % columns) as f32);
        row[labels - 1] = row[0];
        row[labels] = -1.0;
    }
}

pub(crate) fn many_labels(device: &Device) -> Outcome {
    let shapes = [(200, 300, 150), (2, 4000, 2000), (1, 8000, 4000), (2, 40_000, 7), (1, 100_000, 2)];
    for (seed, (rows, columns, labels)) in (2000..).zip(shapes) {
        let mut case = Case::random(Kind::Multilabel, rows, columns, Values::Plain, seed);
        label_rows(&mut case.targets, columns, labels);
        run(&case, device)?;
    }
    let mut case = Case::random(Kind::Multilabel, 1, 20_000, Values::Plain, 1);
    label_rows(&mut case.targets, 20_000, 10_000);
    match case.evaluate(device, &case.request()) {
        // Refused on a driver that cuts long loops short.
        Err(Error::DeviceLimit { got: 10_000, .. }) if !matches!(device, Device::Cpu) => Ok(()),
        _ => Ok(run(&case, device)?),
    }
}

/// So many rows that each lane of a GPU takes several alone, with few labels and with all but one.
pub(crate) fn labels_on_the_device(device: &Device) -> Outcome {
    const COLUMNS: usize = 128;
    let Device::Gpu(gpu) = device else { return Err("expected a GPU".into()) };
    for (rows, labels) in [(50_000, 2), (17_000, COLUMNS - 1)] {
        let scores: Vec<f32> = (0..rows * COLUMNS).map(|i| (7919 * i % 1000) as f32 / 400.0 - 1.0).collect();
        let label = |i: usize| if i % COLUMNS < labels { ((i + i / COLUMNS) % COLUMNS) as i32 } else { -1 };
        let targets: Vec<i32> = (0..rows * COLUMNS).map(label).collect();
        let request = Request::new().gradient();
        let loss = MultilabelMargin::new();
        let expected = Device::cpu().evaluate(&loss, &Batch::rows(&scores, COLUMNS, &targets), &request)?;
        let (scores, targets) = (gpu.upload_f32(&scores)?, gpu.upload_i32(&targets)?);
        let got = device.evaluate(&loss, &Batch::rows(&scores, COLUMNS, &targets), &request)?;
        let value = |x: Option<f64>| x.ok_or("no value");
        let (got_value, expected_value) = (value(got.value)?, value(expected.value)?);
        compare("value", &[got_value], &[expected_value], |_| 1e-6 * expected_value)?;
        let gradient = expected.gradient.ok_or("no gradient")?.to_f64()?;
        let got = got.gradient.ok_or("no gradient")?.to_f64()?;
        compare("gradient", &got, &gradient, |i| 1e-5 * gradient[i].abs())?;
    }
    Ok(())
}

/// Sorted lists: of one workgroup's length, one shorter and one longer, and of many such parts. Scores are all equal,
/// in ascending or in descending order, or include one score far from the beginning that makes all undefined.
pub(crate) fn sorted_lists(device: &Device) -> Outcome {
    for (seed, items) in (40..).zip([1023, 1024, 1025, 2047, 2048, 2049, 3072, 4097, 5120, 20_011]) {
        for values in [Values::Plain, Values::Dyadic, Values::Spicy, Values::Large] {
            for labels in [LabelEncoding::PlusMinusOne, LabelEncoding::ZeroOne] {
                run(&Case::random(Kind::Lovasz(labels), 1 + seed as usize % 3, items, values, seed), device)?;
            }
        }
        let ordered = Case::random(Kind::Lovasz(LabelEncoding::PlusMinusOne), 2, items, Values::Dyadic, seed);
        let rising = |i: usize| (i % items) as f32 / 4096.0 - 2.0;
        let scores: [&dyn Fn(usize) -> f32; 4] = [&|_| 0.25, &rising, &|i| -rising(i), &|i| {
            if i == 2 * items - 2 { f32::NAN } else { rising(i) }
        }];
        for score in scores {
            let case = Case { scores: (0..2 * items).map(score).collect(), ..ordered.clone() };
            run(&case, device)?;
        }
    }
    Ok(())
}

/// A bad target is reported with its index in the whole batch, in any block of any job.
pub(crate) fn bad_targets_far_in(device: &Device) -> Outcome {
    const COLUMNS: usize = 10;
    const ROWS: usize = 5000;
    let scores = vec![0.5f32; ROWS * COLUMNS];
    fn index_of(device: &Device, loss: &impl Loss, scores: &[f32], targets: Targets<'_>) -> Result<u64, Failed> {
        match device.evaluate(loss, &Batch::rows(scores, COLUMNS, targets), &Request::new()) {
            Err(Error::Value { input: Input::Targets, index, .. }) => Ok(index),
            other => Err(format!("{other:?}").into()),
        }
    }
    let with = |len: usize, usual: i32, place: usize, bad: i32| {
        let mut targets = vec![usual; len];
        targets[place] = bad;
        targets
    };
    let labels = with(ROWS * COLUMNS, -1, 43_217, COLUMNS as i32);
    let classes = with(ROWS, 3, 4321, -1);
    let categories = with(ROWS * COLUMNS, 1, 43_217, 2);
    let mut relevances = vec![1.0f32; ROWS * COLUMNS];
    relevances[43_217] = f32::NAN;
    let found = [
        index_of(device, &MultilabelMargin::new(), &scores, (&labels).into())?,
        index_of(device, &CategoricalHinge::new(), &scores, (&classes).into())?,
        index_of(device, &CategoricalHinge::new(), &scores, (&categories).into())?,
        index_of(device, &ListwiseHinge::new(), &scores, (&relevances).into())?,
        index_of(device, &LovaszHinge::new(), &scores, (&categories).into())?,
    ];
    if found != [43_217, 4321, 43_217, 43_217, 43_217] {
        return Err(format!("{found:?}").into());
    }
    // The same in lists that take several workgroups.
    let batch = Batch::rows(&scores, ROWS * COLUMNS / 2, &categories);
    match device.evaluate(&LovaszHinge::new(), &batch, &Request::new()) {
        Err(Error::Value { input: Input::Targets, index: 43_217, .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
