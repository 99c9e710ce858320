//! Fits with their rows on every adapter against those on the CPU. Another test covers machines without an adapter.

use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::Small;
use super::*;
use crate::Device;
use crate::gpu::{Gpu, GpuOptions, adapters};

/// Every adapter, with these options.
fn devices(options: &GpuOptions) -> Vec<Device> {
    let open = |index: usize| pollster::block_on(Gpu::open_async(&format!("gpu:{index}"), options.clone())).unwrap();
    adapters().iter().map(|adapter| open(adapter.index).into()).collect()
}

fn poisoned() -> GpuOptions {
    GpuOptions { poison_outputs: true, ..GpuOptions::default() }
}

/// Rows about a plane, with noise, and their labels.
fn noisy_rows(rows: usize, columns: usize, seed: u64) -> (Vec<f64>, Vec<i64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let plane: Vec<f64> = (0..columns).map(|_| random.random_range(-1.0..1.0)).collect();
    // Halves of whole numbers, so that every type holds them.
    let x: Vec<f64> = (0..rows * columns).map(|_| f64::from(random.random_range(0..9)) * 0.5).collect();
    let label = |row: &[f64], noise: f64| {
        let distance: f64 = row.iter().zip(&plane).map(|(x, w)| (x - 2.0) * w).sum();
        i64::from(distance + noise * (columns as f64).sqrt() > 0.0)
    };
    let y = x.chunks_exact(columns).map(|row| label(row, random.random_range(-1.0..1.0))).collect();
    (x, y)
}

const LOSSES: [LinearLoss; 3] = [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.5)];
const INTERCEPTS: [Intercept; 4] =
    [Intercept::None, Intercept::Penalized(1.0), Intercept::Penalized(10.0), Intercept::Free];

/// Fails unless both certificates can be those of one optimum.
fn assert_same_optimum(one: &LinearFit, other: &LinearFit, what: &str) {
    let (a, b) = (one.certificate(), other.certificate());
    assert_eq!((one.end, other.end), (FitEnd::Converged, FitEnd::Converged), "{what}: {a:?} {b:?}");
    assert!(can_be_one(&a, &b), "{what}: {a:?} {b:?}");
}

fn can_be_one(a: &Certificate, b: &Certificate) -> bool {
    let slack = 1e-12 * a.primal;
    a.dual <= b.primal + slack && b.dual <= a.primal + slack
}

/// The Newton steps of a fit that the CPU took after the device's.
fn steps_left(fit: &LinearFit) -> u64 {
    fit.progress.newton_steps - fit.steps_on_gpu
}

#[test]
fn a_gpu_reaches_the_optimum_of_the_cpu_for_every_loss_and_intercept() {
    for device in devices(&poisoned()) {
        let (x, y) = noisy_rows(3000, 12, 1);
        let rows = Rows::new(&x, 12).unwrap();
        for (loss, intercept) in LOSSES.into_iter().flat_map(|loss| INTERCEPTS.map(|intercept| (loss, intercept))) {
            for (c, standardize) in [(0.001, false), (1.0, true)] {
                let on_cpu = LinearClassifier::new(loss).intercept(intercept).c(c).standardize(standardize).gap(1e-5);
                let cpu = on_cpu.fit(&rows, &y).unwrap();
                let gpu = on_cpu.clone().device(device.clone()).fit(&rows, &y).unwrap();
                let what = format!("{loss:?} {intercept:?} {c} {standardize}");
                assert_same_optimum(&cpu, &gpu, &what);
                assert!(gpu.steps_on_gpu > 0 && cpu.steps_on_gpu == 0, "{what}");
                // The device's own work is nearly all of it. A start of no use would leave it to the CPU.
                assert!(steps_left(&gpu) <= 3, "{what}: {} steps on the CPU", steps_left(&gpu));
            }
        }
    }
}

#[test]
fn random_problems_on_a_gpu_converge_and_their_certificates_are_true() {
    for device in devices(&poisoned()) {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let (mut solved, mut steps, mut left) = (0, 0, 0);
        while solved < 200 {
            let problem = Small::random(&mut random);
            if problem.is_valid() {
                let fit = problem.fit_on(device.clone(), 1e-6);
                problem.assert_certified(&fit, solved);
                (steps, left) = (steps + fit.steps_on_gpu, left + steps_left(&fit));
                solved += 1;
            }
        }
        assert!(left * 5 < steps, "{steps} steps on the device, {left} on the CPU");
    }
}

#[test]
fn rows_of_every_type_in_one_part_or_many_have_one_optimum_and_the_same_bits_each_time() {
    let (x, y) = noisy_rows(3000, 12, 2);
    let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let half: Vec<f16> = x.iter().map(|&x| f16::from_f64(x)).collect();
    let brain: Vec<bf16> = x.iter().map(|&x| bf16::from_f64(x)).collect();
    let bytes: Vec<u8> = x.iter().map(|&x| (2.0 * x) as u8).collect();
    let classifier = LinearClassifier::new(LinearLoss::Hinge).c(0.01).gap(1e-5);
    // Half a feature of bytes costs what a feature does where C is a quarter and the intercept's feature twice as large.
    let of_bytes = classifier.clone().c(0.0025).intercept(Intercept::Penalized(2.0));
    let primal = classifier.fit(&Rows::new(&x, 12).unwrap(), &y).unwrap().certificate().primal;
    let types: [(&str, RowElements<'_>, &LinearClassifier, f64); 5] = [
        ("f64", (&x).into(), &classifier, 1.0),
        ("f32", (&narrow).into(), &classifier, 1.0),
        ("f16", (&half).into(), &classifier, 1.0),
        ("bf16", (&brain).into(), &classifier, 1.0),
        ("u8", (&bytes).into(), &of_bytes, 0.25),
    ];
    // Few rows to a binding, and a dispatch of few workgroups in each dimension.
    let small = GpuOptions { max_binding_bytes: Some(16 << 10), max_workgroups: Some(3), ..poisoned() };
    for (options, is_small) in [(poisoned(), false), (small, true)] {
        for device in devices(&options) {
            for (name, elements, classifier, share) in types {
                let (rows, classifier) = (Rows::new(elements, 12).unwrap(), classifier.clone().device(device.clone()));
                let (fit, again) = (classifier.fit(&rows, &y).unwrap(), classifier.fit(&rows, &y).unwrap());
                let certificate = fit.certificate();
                assert_eq!((fit.end, &fit.model), (FitEnd::Converged, &again.model), "{name} {is_small}");
                let off = (certificate.primal / share - primal).abs();
                assert!(off <= 2e-5 * primal, "{name} {is_small}: {certificate:?}, {primal} on the CPU");
                assert!(steps_left(&fit) <= 3, "{name} {is_small}: {}", steps_left(&fit));
                // A negative control: half of C has another optimum.
                let other = classifier.clone().c(0.5 * classifier.c).fit(&rows, &y).unwrap().certificate();
                assert!((other.primal / share - primal).abs() > 1e-2 * primal, "{name}");
            }
        }
    }
}

#[test]
fn a_gpu_solves_wide_rows_classes_paths_and_starts_from_models() {
    for device in devices(&poisoned()) {
        // Matrices of many columns, and more columns than a matrix is kept of: conjugate gradients.
        for (rows, columns, loss, intercept) in [
            (1500, 1100, LinearLoss::SquaredHinge, Intercept::Free),
            (400, 2100, LinearLoss::Hinge, Intercept::Free),
            (200, 70, LinearLoss::Hinge, Intercept::None),
        ] {
            let (x, y) = noisy_rows(rows, columns, 3);
            let rows = Rows::new(&x, columns).unwrap();
            let on_cpu = LinearClassifier::new(loss).c(1e-2).intercept(intercept);
            let gpu = on_cpu.clone().device(device.clone()).fit(&rows, &y).unwrap();
            assert_same_optimum(&on_cpu.fit(&rows, &y).unwrap(), &gpu, &format!("{columns} columns"));
            assert!(gpu.steps_on_gpu > 0);
        }
        let (x, _) = noisy_rows(3000, 12, 4);
        let y: Vec<i64> =
            x.chunks_exact(12).map(|row| if row[0] > 3.0 { 7 } else { i64::from(row[1] > row[2]) }).collect();
        let rows = Rows::new(&x, 12).unwrap();
        let on_cpu = LinearClassifier::new(LinearLoss::Hinge).c(0.1).standardize(true);
        let on_gpu = on_cpu.clone().device(device.clone());
        let (cpu, gpu) = (on_cpu.fit(&rows, &y).unwrap(), on_gpu.fit(&rows, &y).unwrap());
        assert_same_optimum(&cpu, &gpu, "three classes");
        let again = on_gpu.fit_with(&rows, &y, None, Some(&gpu.model), &mut |_| true).unwrap();
        assert_same_optimum(&cpu, &again, "from a model");
        assert!(again.progress.newton_steps < gpu.progress.newton_steps, "{:?} {:?}", again.progress, gpu.progress);
        let path = |classifier: &LinearClassifier| {
            let validation = Validation::Folds { count: 3, seed: 1 };
            classifier.fit_path(&rows, &y, None, &[0.01, 0.1, 1.0], &validation, &mut |_| true).unwrap()
        };
        let (cpu, gpu) = (path(&on_cpu), path(&on_gpu));
        assert_eq!((cpu.models.len(), cpu.best_c), (gpu.models.len(), gpu.best_c));
        for (cpu, gpu) in cpu.models.iter().zip(&gpu.models) {
            let (a, b) = (cpu.certificate, gpu.certificate);
            assert_eq!((cpu.c, cpu.fold), (gpu.c, gpu.fold));
            assert!(can_be_one(&a, &b), "{cpu:?} {gpu:?}");
        }
        assert!(gpu.fit.steps_on_gpu > 0);
    }
}

#[test]
fn what_only_the_cpu_solves_is_refused_and_what_f32_cannot_hold_is_solved_by_it() {
    for device in devices(&poisoned()) {
        let (x, _) = noisy_rows(60, 3, 5);
        let y: Vec<i64> = (0..60).map(|row| row % 3).collect();
        let rows = Rows::new(&x, 3).unwrap();
        let refused = |result: crate::Result<LinearFit>| {
            let error = result.unwrap_err();
            assert!(matches!(error, crate::Error::Option { option: "device", .. }), "{error}");
        };
        let classifier = LinearClassifier::new(LinearLoss::Hinge).device(device.clone());
        for multiclass in [Multiclass::CrammerSinger, Multiclass::WestonWatkins] {
            refused(classifier.clone().multiclass(multiclass).fit(&rows, &y));
        }
        let sparse = Rows::sparse(&[0, 1, 2], &[0, 2], &[1.0f32, 2.0], 3).unwrap();
        refused(classifier.fit(&sparse, &[0i64, 1]));
        // Beyond f32: the device gives up, and the CPU starts anew.
        let y: Vec<i64> = (0..60).map(|row| row % 2).collect();
        let huge: Vec<f64> = x.iter().map(|x| x * 1e60).collect();
        let rows = Rows::new(&huge, 3).unwrap();
        let fit = classifier.clone().c(1e-110).intercept(Intercept::None).fit(&rows, &y).unwrap();
        assert_eq!((fit.end, fit.steps_on_gpu), (FitEnd::Converged, 0), "{:?}", fit.certificate());
        // A stop ends both.
        let stopped = classifier.gap(1e-9).fit_with(&rows, &y, None, None, &mut |_| false).unwrap();
        assert_eq!(stopped.end, FitEnd::Stopped);
    }
}
