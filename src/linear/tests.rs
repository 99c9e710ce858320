//! Certificates against an independent computation, and fits against a slow and simple solver.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::certificate::certify;
use super::problem::Problem;
use super::space::Space;
use super::sparse_tests::Entries;
use super::*;
use crate::cpu::linear::Elements;
use crate::{Device, Error, Input};

fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A binary problem with its own memory.
#[derive(Clone, Debug)]
pub(super) struct Small {
    x: Vec<f64>,
    columns: usize,
    y: Vec<i64>,
    weights: Vec<f64>,
    c: f64,
    loss: LinearLoss,
    intercept: Intercept,
}

impl Small {
    pub(super) fn random(random: &mut ChaCha8Rng) -> Self {
        let (rows, columns) = (random.random_range(2..40), random.random_range(1..8));
        // Features of different sizes, some of them constant, some columns equal.
        let scales: Vec<f64> = (0..columns).map(|_| 10f64.powi(random.random_range(-2..3))).collect();
        let mut x: Vec<f64> = (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
        x.chunks_exact_mut(columns).for_each(|row| row.iter_mut().zip(&scales).for_each(|(x, scale)| *x *= scale));
        if columns > 1 && random.random_bool(0.2) {
            let constant = f64::from(random.random_range(0..3));
            x.chunks_exact_mut(columns).for_each(|row| row[0] = constant);
        }
        if columns > 2 && random.random_bool(0.2) {
            x.chunks_exact_mut(columns).for_each(|row| row[1] = row[2]);
        }
        if random.random_bool(0.2) {
            let (first, rest) = x.split_at_mut(columns);
            rest.chunks_exact_mut(columns).step_by(2).for_each(|row| row.copy_from_slice(first));
        }
        let mut y: Vec<i64> = (0..rows).map(|_| if random.random_bool(0.5) { 1 } else { -1 }).collect();
        (y[0], y[1]) = (1, -1);
        y.shuffle(random);
        let weights = match random.random_bool(0.3) {
            true => (0..rows).map(|_| [0.0, 0.5, 1.0, 3.0][random.random_range(0..4)]).collect(),
            false => vec![1.0; rows],
        };
        let losses = [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.5)];
        let intercepts = [Intercept::None, Intercept::Penalized(1.0), Intercept::Penalized(10.0), Intercept::Free];
        Self {
            x,
            columns,
            y,
            weights,
            c: 10f64.powi(random.random_range(-3..3)),
            loss: losses[random.random_range(0..3)],
            intercept: intercepts[random.random_range(0..4)],
        }
    }

    /// Whether there is something to fit.
    pub(super) fn is_valid(&self) -> bool {
        let counts = |label: i64| self.y.iter().zip(&self.weights).any(|(&y, &weight)| y == label && weight > 0.0);
        self.weights.iter().any(|&weight| weight > 0.0)
            && (self.intercept != Intercept::Free || counts(1) && counts(-1))
    }

    fn classifier(&self, gap: f64) -> LinearClassifier {
        LinearClassifier::new(self.loss).c(self.c).intercept(self.intercept).gap(gap)
    }

    fn fit(&self, gap: f64) -> LinearFit {
        self.fit_on(Device::Cpu, gap)
    }

    pub(super) fn fit_on(&self, device: Device, gap: f64) -> LinearFit {
        let rows = Rows::new(&self.x, self.columns).unwrap();
        self.classifier(gap).device(device).fit_with(&rows, &self.y, Some(&self.weights), None, &mut |_| true).unwrap()
    }

    /// The same with more than half of the elements 0, solved as sparse rows.
    fn fit_sparse(&mut self, random: &mut ChaCha8Rng, gap: f64) -> LinearFit {
        self.x.iter_mut().filter(|_| random.random_bool(0.6)).for_each(|x| *x = 0.0);
        let entries = Entries::of(&self.x, self.columns);
        self.classifier(gap).fit_with(&entries.rows(), &self.y, Some(&self.weights), None, &mut |_| true).unwrap()
    }

    fn cost(&self, row: usize) -> f64 {
        self.c * self.weights[row]
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.x[row * self.columns..(row + 1) * self.columns]
    }

    fn constant(&self) -> f64 {
        match self.intercept {
            Intercept::None => 0.0,
            Intercept::Penalized(scale) => scale,
            Intercept::Free => 1.0,
        }
    }

    fn decision(&self, row: usize, w: &[f64], bias: f64) -> f64 {
        self.row(row).iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + bias
    }

    /// The objective, from its definition.
    fn primal(&self, w: &[f64], bias: f64) -> f64 {
        let loss = |row: usize| {
            let z = (1.0 - self.y[row] as f64 * self.decision(row, w, bias)).max(0.0);
            self.cost(row)
                * match self.loss {
                    LinearLoss::Hinge => z,
                    LinearLoss::SquaredHinge => z * z,
                    LinearLoss::SmoothHinge(gamma) if z < gamma => z * z / (2.0 * gamma),
                    LinearLoss::SmoothHinge(gamma) => z - gamma / 2.0,
                }
        };
        let penalised = match self.intercept {
            Intercept::Penalized(scale) => (bias / scale) * (bias / scale),
            _ => 0.0,
        };
        0.5 * (w.iter().map(|w| w * w).sum::<f64>() + penalised) + (0..self.y.len()).map(loss).sum::<f64>()
    }

    /// The dual value, from its definition.
    fn dual(&self, a: &[f64]) -> f64 {
        let mut v = vec![0.0; self.columns + 1];
        let mut value = 0.0;
        for (row, &a) in a.iter().enumerate() {
            let (y, cost) = (self.y[row] as f64, self.cost(row));
            self.row(row).iter().zip(&mut v).for_each(|(x, v)| *v += a * y * x);
            v[self.columns] += a * y * self.constant();
            value += a;
            if cost > 0.0 {
                value -= match self.loss {
                    LinearLoss::Hinge => 0.0,
                    LinearLoss::SquaredHinge => a * a / (4.0 * cost),
                    LinearLoss::SmoothHinge(gamma) => gamma * a * a / (2.0 * cost),
                };
            }
        }
        if self.intercept == Intercept::Free {
            v.pop();
        }
        value - 0.5 * v.iter().map(|v| v * v).sum::<f64>()
    }

    /// Fails unless a fit converged, and its certificate is that of its model and multipliers. Returns the objective.
    pub(super) fn assert_certified(&self, fit: &LinearFit, number: usize) -> f64 {
        let certificate = fit.certificate();
        assert_eq!(fit.end, FitEnd::Converged, "{number}: {certificate:?} {self:?}");
        let primal = self.primal(fit.model.weights(), fit.model.bias()[0]);
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * primal.abs() + 1e-12;
        assert!(close(primal, certificate.primal), "{number}: {primal} {certificate:?}");
        let dual = self.dual(&fit.multipliers);
        match self.intercept {
            // The bound for what the multipliers leave lies below.
            Intercept::Free => assert!(certificate.dual <= dual + 1e-9 * primal, "{number}: {dual} {certificate:?}"),
            // So does the bound for rounding.
            _ => {
                let below = dual - certificate.dual;
                assert!(below >= -1e-9 * primal && below <= 1e-7 * primal + 1e-12, "{number}: {dual} {certificate:?}");
            }
        }
        primal
    }

    /// The optimum by dual coordinate ascent, one multiplier after the other, for problems without a free intercept.
    fn slow_optimum(&self) -> f64 {
        let rows = self.y.len();
        let (mut a, mut v) = (vec![0.0; rows], vec![0.0; self.columns + 1]);
        let extended = |row: usize| {
            let mut x = self.row(row).to_vec();
            x.push(self.constant());
            x
        };
        for _ in 0..200_000 {
            let mut moved = 0.0f64;
            for (row, a) in a.iter_mut().enumerate() {
                let (x, y, cost) = (extended(row), self.y[row] as f64, self.cost(row));
                if cost == 0.0 {
                    continue;
                }
                let (curvature, cap) = match self.loss {
                    LinearLoss::Hinge => (0.0, cost),
                    LinearLoss::SquaredHinge => (0.5 / cost, f64::INFINITY),
                    LinearLoss::SmoothHinge(gamma) => (gamma / cost, cost),
                };
                let z = 1.0 - y * x.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>();
                let norm: f64 = x.iter().map(|x| x * x).sum();
                if norm + curvature == 0.0 {
                    *a = cap;
                    continue;
                }
                let new = (*a + (z - curvature * *a) / (norm + curvature)).clamp(0.0, cap);
                x.iter().zip(&mut v).for_each(|(x, v)| *v += (new - *a) * y * x);
                moved = moved.max((new - *a).abs() / cost);
                *a = new;
            }
            if moved < 1e-13 {
                break;
            }
        }
        self.dual(&a)
    }
}

#[test]
fn fits_lie_at_the_optimum_of_a_slow_solver_and_the_gap_is_never_below_the_true_one() {
    let mut random = generator(1);
    let mut compared = 0;
    while compared < 60 {
        let problem = Small { c: 10f64.powi(random.random_range(-3..1)), ..Small::random(&mut random) };
        if problem.intercept == Intercept::Free || problem.weights.iter().all(|&weight| weight == 0.0) {
            continue;
        }
        // The slow solver needs columns of one size.
        let problem = Small { x: problem.x.iter().map(|x| x.clamp(-2.0, 2.0)).collect(), ..problem };
        let optimum = problem.slow_optimum();
        let fit = problem.fit(1e-3);
        let certificate = fit.certificate();
        assert_eq!(fit.end, FitEnd::Converged, "{problem:?}");
        let slack = 1e-9 * certificate.primal;
        assert!(
            certificate.dual <= optimum + slack && optimum <= certificate.primal + slack,
            "{certificate:?} {optimum}"
        );
        assert!(certificate.gap >= certificate.primal - optimum - slack, "{certificate:?} {optimum}");
        compared += 1;
    }
}

#[test]
fn random_problems_converge_and_their_certificates_are_true() {
    let mut random = generator(2);
    for number in 0..4000 {
        let mut problem = Small::random(&mut random);
        if !problem.is_valid() {
            continue;
        }
        let fit = if number < 2000 { problem.fit(1e-6) } else { problem.fit_sparse(&mut random, 1e-6) };
        let primal = problem.assert_certified(&fit, number);
        let (w, bias, certificate) = (fit.model.weights(), fit.model.bias()[0], fit.certificate());
        // No weights are better than the dual value says.
        for _ in 0..5 {
            let near: Vec<f64> = w.iter().map(|w| w * random.random_range(0.9..1.1)).collect();
            let shifted = if problem.constant() == 0.0 { 0.0 } else { bias + random.random_range(-0.1..0.1) };
            assert!(problem.primal(&near, shifted) >= certificate.dual - 1e-9 * primal, "{number}");
        }
    }
}

#[test]
fn means_far_from_zero_do_no_harm_to_wide_rows_with_a_free_intercept() {
    let (mut random, columns) = (generator(12), 1100);
    let x: Vec<f64> = (0..1500 * columns).map(|_| random.random_range(2.0..6.0)).collect();
    let plane: Vec<f64> = (0..columns).map(|_| random.random_range(-1.0..1.0)).collect();
    let distance = |row: &[f64]| row.iter().zip(&plane).map(|(x, w)| (x - 4.0) * w).sum::<f64>();
    let y: Vec<i64> =
        x.chunks_exact(columns).map(|row| i64::from(distance(row) > 20.0 * random.random_range(-1.0..1.0))).collect();
    let classifier = LinearClassifier::new(LinearLoss::SquaredHinge).c(0.01).intercept(Intercept::Free);
    let fit = classifier.fit(&Rows::new(&x, columns).unwrap(), &y).unwrap();
    assert_eq!(fit.end, FitEnd::Converged, "{:?} {:?}", fit.progress, fit.certificate());
}

#[test]
fn wrong_multipliers_and_dropped_rows_are_seen_by_the_certificate() {
    let mut random = generator(3);
    let mut seen = 0;
    while seen < 30 {
        let problem = Small { weights: vec![], ..Small::random(&mut random) };
        let problem = Small { weights: vec![1.0; problem.y.len()], ..problem };
        let fit = problem.fit(1e-6);
        let order = |&a: &usize, &b: &usize| fit.multipliers[a].total_cmp(&fit.multipliers[b]);
        let row = (0..problem.y.len()).max_by(order).unwrap();
        let signs: Vec<i8> = problem.y.iter().map(|&y| y as i8).collect();
        let weights = vec![1.0; problem.y.len()];
        let (shift, scale) = (vec![0.0; problem.columns], vec![1.0; problem.columns]);
        let matrix = Rows::new(&problem.x, problem.columns).unwrap().0;
        let space = Space { matrix, intercept: problem.intercept, shift: &shift, scale: &scale };
        let own = Problem { space, signs: &signs, weights: &weights, c: problem.c, loss: problem.loss };
        let mut w = fit.model.weights().to_vec();
        w.push(if problem.constant() > 0.0 { fit.model.bias()[0] / problem.constant() } else { 0.0 });
        assert!(certify(&own, &w, &fit.multipliers).relative_gap <= 1.01e-6);
        // Half of every multiplier: the gap is then a quarter of the optimum at least, for each of the losses.
        let wrong: Vec<f64> = fit.multipliers.iter().map(|a| 0.5 * a).collect();
        assert!(certify(&own, &w, &wrong).relative_gap > 0.05, "{problem:?}");
        // A support vector that the solver did not see.
        let kept: Vec<f64> = problem
            .x
            .chunks_exact(problem.columns)
            .enumerate()
            .filter(|(n, _)| *n != row)
            .flat_map(|(_, x)| x.to_vec())
            .collect();
        let y: Vec<i64> = (0..signs.len()).filter(|&n| n != row).map(|n| problem.y[n]).collect();
        if y.contains(&1) && y.contains(&-1) && matches!(matrix.elements, Elements::F64(_)) {
            let without = Small { x: kept, y, weights: vec![1.0; signs.len() - 1], ..problem.clone() }.fit(1e-11);
            let mut w = without.model.weights().to_vec();
            w.push(if problem.constant() > 0.0 { without.model.bias()[0] / problem.constant() } else { 0.0 });
            let mut a = without.multipliers.clone();
            a.insert(row, 0.0);
            assert!(certify(&own, &w, &a).relative_gap > 1e-9, "{problem:?}");
        }
        seen += 1;
    }
}

#[test]
fn labels_called_certain_are_those_of_the_optimum() {
    let mut random = generator(4);
    let (mut certain, mut uncertain) = (0, 0);
    while certain + uncertain < 4000 {
        let mut problem = Small::random(&mut random);
        if problem.intercept == Intercept::Free || problem.weights.iter().all(|&weight| weight == 0.0) {
            continue;
        }
        // Three classes in half of the problems.
        if random.random_bool(0.5) && problem.y.len() > 3 {
            problem.y.iter_mut().enumerate().for_each(|(n, y)| *y = (n % 3) as i64);
        }
        let (rough, fine) = (problem.fit(0.2), problem.fit(1e-10));
        let rows = Rows::new(&problem.x, problem.columns).unwrap();
        let (labels, truth) = (rough.model.labels(&rows).unwrap(), fine.model.labels(&rows).unwrap());
        for (row, is_certain) in rough.model.certain(&rows).unwrap().into_iter().enumerate() {
            if is_certain {
                assert_eq!(labels[row], truth[row], "{problem:?}");
                certain += 1;
            } else {
                uncertain += 1;
            }
        }
    }
    assert!(certain > 100 && uncertain > 100, "{certain} {uncertain}");
}

#[test]
fn every_stored_type_and_a_subsample_lead_to_the_same_optimum() {
    let mut random = generator(5);
    let (rows, columns) = (40_000, 6);
    let bytes: Vec<u8> = (0..rows * columns).map(|_| random.random_range(0..8)).collect();
    let y: Vec<i64> = bytes
        .chunks_exact(columns)
        .map(|row| if f64::from(row[0]) - f64::from(row[1]) + random.random_range(-3.0..3.0) > 0.0 { 7 } else { 3 })
        .collect();
    let f32s: Vec<f32> = bytes.iter().map(|&x| x.into()).collect();
    let f64s: Vec<f64> = bytes.iter().map(|&x| x.into()).collect();
    let f16s: Vec<half::f16> = f32s.iter().map(|&x| half::f16::from_f32(x)).collect();
    let bf16s: Vec<half::bf16> = f32s.iter().map(|&x| half::bf16::from_f32(x)).collect();
    for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(1.0)] {
        for intercept in [Intercept::Penalized(1.0), Intercept::Free] {
            let classifier = LinearClassifier::new(loss).c(0.01).gap(1e-7).intercept(intercept);
            let fits = [
                classifier.fit(&Rows::new(&bytes, columns).unwrap(), &y),
                classifier.fit(&Rows::new(&f32s, columns).unwrap(), &y),
                classifier.fit(&Rows::new(&f64s, columns).unwrap(), &y),
                classifier.fit(&Rows::new(&f16s, columns).unwrap(), &y),
                classifier.fit(&Rows::new(&bf16s, columns).unwrap(), &y),
                classifier.clone().standardize(true).fit(&Rows::new(&f32s, columns).unwrap(), &y),
            ];
            let fits = fits.map(Result::unwrap);
            let primal = fits[0].certificate().primal;
            for fit in &fits {
                assert_eq!(fit.end, FitEnd::Converged);
                assert_eq!(fit.model.classes(), [3, 7]);
            }
            for fit in &fits[1..5] {
                assert!((fit.certificate().primal - primal).abs() <= 2e-7 * primal);
            }
            // Another problem, but as good a model.
            let rows = Rows::new(&f32s, columns).unwrap();
            let right =
                |fit: &LinearFit| fit.model.labels(&rows).unwrap().iter().zip(&y).filter(|(a, b)| a == b).count();
            assert!(right(&fits[5]).abs_diff(right(&fits[0])) < rows.len() / 100);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_and_a_warm_start_is_short() {
    let mut random = generator(6);
    let (rows, columns) = (30_000, 20);
    let x: Vec<f32> = (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
    let y: Vec<i8> = x
        .chunks_exact(columns)
        .map(|row| if row[0] + row[1] > random.random_range(-0.5..0.5) { 1 } else { 0 })
        .collect();
    let features = Rows::new(&x, columns).unwrap();
    let classifier = LinearClassifier::new(LinearLoss::Hinge).gap(1e-5);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| classifier.fit(&features, &y).unwrap())
    };
    let one = with(1);
    let three = with(3);
    assert_eq!((&one.model, &one.multipliers), (&three.model, &three.multipliers));
    let again = classifier.fit_with(&features, &y, None, Some(&one.model), &mut |_| true).unwrap();
    assert!(again.progress.passes < one.progress.passes && again.end == FitEnd::Converged);
    // A caller that has seen enough gets the best model so far.
    let mut calls = 0;
    let stopped = classifier
        .fit_with(&features, &y, None, None, &mut |_| {
            calls += 1;
            calls < 3
        })
        .unwrap();
    assert_eq!(stopped.end, FitEnd::Stopped);
    assert!(stopped.certificate().gap.is_finite());
    let short = classifier.clone().max_passes(1.0).fit(&features, &y).unwrap();
    assert_eq!(short.end, FitEnd::Passes);
    assert!(short.certificate().relative_gap > 1e-5);
}

#[test]
fn wide_data_and_edges() {
    let mut random = generator(7);
    // Wider than the matrix of Newton's equations may be, with fewer rows than columns: separable.
    let (rows, columns) = (60, 1500);
    let x: Vec<f32> = (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
    let y: Vec<i64> = (0..rows).map(|n| (n % 2) as i64).collect();
    for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge] {
        for intercept in [Intercept::None, Intercept::Penalized(1.0), Intercept::Free] {
            let fit = LinearClassifier::new(loss)
                .intercept(intercept)
                .gap(1e-6)
                .fit(&Rows::new(&x, columns).unwrap(), &y)
                .unwrap();
            assert_eq!(fit.end, FitEnd::Converged, "{loss:?} {intercept:?} {:?}", fit.certificate());
        }
    }
    // Two rows; a column of zeros; equal rows with different labels.
    for (x, columns, y) in [
        (vec![1.0, -1.0], 1, vec![5, 2]),
        (vec![0.0, 0.0, 0.0], 1, vec![0, 1, 1]),
        (vec![1.0, 0.0, 1.0, 0.0, 2.0, 0.0], 2, vec![0, 1, 1]),
    ] {
        for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(2.0)] {
            for intercept in [Intercept::None, Intercept::Penalized(1.0), Intercept::Free] {
                for standardize in [false, true] {
                    let classifier =
                        LinearClassifier::new(loss).intercept(intercept).gap(1e-8).standardize(standardize);
                    let fit = classifier.fit(&Rows::new(&x, columns).unwrap(), &y).unwrap();
                    assert_eq!(fit.end, FitEnd::Converged, "{loss:?} {intercept:?} {x:?} {:?}", fit.certificate());
                }
            }
        }
    }
}

#[test]
fn numbers_that_overflow_certify_nothing() {
    let small: Vec<f64> = (0..60).map(|n| f64::from((n * 7) % 13 - 6)).collect();
    let [x, large] = [1e200, 1e120].map(|factor| small.iter().map(|x| x * factor).collect::<Vec<f64>>());
    let y: Vec<i64> = (0..30).map(|n| n % 2).collect();
    let rows = Rows::new(&x, 2).unwrap();
    for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(1.0)] {
        for intercept in [Intercept::None, Intercept::Penalized(1.0), Intercept::Free] {
            let classifier = LinearClassifier::new(loss).intercept(intercept).max_passes(50.0);
            let fit = classifier.fit(&rows, &y).unwrap();
            let gap = fit.model.relative_gap();
            assert!(fit.end != FitEnd::Converged && gap > 1e-4, "{loss:?} {intercept:?} {:?}", fit.certificate());
            // No weights are certified where the costs overflow either.
            let fit = classifier.clone().c(1e308).fit(&Rows::new(&small, 2).unwrap(), &y).unwrap();
            assert!(fit.end != FitEnd::Converged && fit.model.relative_gap() > 1e-4, "{:?}", fit.certificate());
            // Variances that overflow cannot be scaled; others of any size can.
            let standardized = classifier.standardize(true).max_passes(1000.0);
            assert!(matches!(standardized.fit(&rows, &y), Err(Error::Shape { input: Input::Features, .. })));
            let scaled = standardized.fit(&Rows::new(&large, 2).unwrap(), &y).unwrap();
            assert_eq!(scaled.end, FitEnd::Converged, "{loss:?} {intercept:?} {:?}", scaled.certificate());
        }
    }
}

#[test]
fn tiny_optima_and_far_columns_are_certified_by_what_is_true() {
    // Separable, with an optimum that is tiny beside the objective at weights of 0.
    let x = [4.0f64, 2.0, -2.0, -5.0].map(|x| x * 1e6);
    let rows = Rows::new(&x, 1).unwrap();
    for c in [1.0, 1e4] {
        let fit = LinearClassifier::new(LinearLoss::Hinge).c(c).intercept(Intercept::None).fit(&rows, &[1i64, 1, 0, 0]);
        let (fit, optimum) = (fit.unwrap(), 0.5 / 2e6f64.powi(2));
        let off = fit.certificate().primal / optimum - 1.0;
        assert!(off <= fit.model.relative_gap() * 1.001, "{off} {:?}", fit.certificate());
        assert!(fit.end != FitEnd::Converged || off <= 1e-4, "{:?}", fit.certificate());
    }
    // A column far from 0, in whose products most digits are lost: the gap includes them.
    let mut random = generator(8);
    for (offset, most) in [(0.0, 1e-10), (1e6, 1e-6), (1e12, f64::INFINITY)] {
        let near: Vec<f64> = (0..120).map(|_| random.random_range(-1.0..1.0)).collect();
        let x: Vec<f64> = near.iter().map(|x| x + offset).collect();
        let y: Vec<i64> = near.chunks_exact(3).map(|x| i64::from(x[0] + 0.5 * x[1] > 0.1)).collect();
        let fit = LinearClassifier::new(LinearLoss::Hinge).standardize(true).gap(1e-12);
        let fit = fit.fit(&Rows::new(&x, 3).unwrap(), &y).unwrap();
        let gap = fit.model.relative_gap();
        assert!(gap <= most && (gap > 1e-4 || offset < 1e12), "{offset} {:?}", fit.certificate());
        // A column that is constant far from 0 stays as it is.
        let x: Vec<f64> = near.iter().enumerate().map(|(n, x)| if n % 3 == 2 { 1e15 } else { *x }).collect();
        let classifier = LinearClassifier::new(LinearLoss::Hinge).standardize(true);
        assert_eq!(classifier.scaling(&Rows::new(&x, 3).unwrap(), None).unwrap()[1][2], 1.0);
    }
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let rows = Rows::new(&[0.0f32, 1.0, 2.0, 3.0], 2).unwrap();
    let classifier = LinearClassifier::new(LinearLoss::Hinge);
    assert!(matches!(Rows::new(&[1.0f32], 0), Err(Error::Shape { input: Input::Features, .. })));
    assert!(matches!(Rows::new(&[1.0f32, 2.0, 3.0], 2), Err(Error::Shape { .. })));
    let input = |result: crate::Result<LinearFit>| result.unwrap_err().input();
    assert_eq!(input(classifier.fit(&rows, &[1i64, 1])), Some(Input::Targets));
    assert_eq!(input(classifier.fit(&rows, &[1i64])), Some(Input::Targets));
    assert_eq!(input(classifier.fit(&rows, &[1.5f32, 0.0])), Some(Input::Targets));
    let nan = Rows::new(&[0.0f32, 1.0, f32::NAN, 3.0], 2).unwrap();
    assert!(matches!(classifier.fit(&nan, &[0i64, 1]), Err(Error::Value { input: Input::Features, index: 2, .. })));
    for weights in [[1.0, -1.0], [1.0, f64::NAN], [f64::INFINITY, 1.0]] {
        let fit = classifier.fit_with(&rows, &[0i64, 1], Some(&weights), None, &mut |_| true);
        assert_eq!(input(fit), Some(Input::SampleWeights));
    }
    let fit = classifier.fit_with(&rows, &[0i64, 1], Some(&[0.0, 0.0]), None, &mut |_| true);
    assert!(matches!(fit, Err(Error::ZeroWeight { .. })));
    let free = classifier.clone().intercept(Intercept::Free);
    assert_eq!(input(free.fit_with(&rows, &[0i64, 1], Some(&[0.0, 1.0]), None, &mut |_| true)), Some(Input::Targets));
    let weights = ClassWeights::Given(vec![1.0]);
    assert_eq!(input(classifier.clone().class_weights(weights).fit(&rows, &[0i64, 1])), Some(Input::ClassWeights));
    for (wrong, name) in [
        (classifier.clone().c(0.0), "c"),
        (classifier.clone().c(f64::NAN), "c"),
        (classifier.clone().gap(0.0), "gap"),
        (classifier.clone().intercept(Intercept::Penalized(0.0)), "intercept"),
        (LinearClassifier::new(LinearLoss::SmoothHinge(-1.0)), "gamma"),
    ] {
        assert!(matches!(wrong.fit(&rows, &[0i64, 1]), Err(Error::Option { option, .. }) if option == name));
    }
    let model = classifier.fit(&rows, &[0i64, 1]).unwrap().model;
    assert!(model.labels(&Rows::new(&[0.0f32; 3], 3).unwrap()).is_err());
    let free = classifier.intercept(Intercept::Free).fit(&rows, &[0i64, 1]).unwrap().model;
    assert!(free.certain(&rows).is_err());
}
