//! Certificates against their definitions, and fits against a slow and simple solver.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::linear::sparse_tests::Entries;
use crate::linear::{FitEnd, Intercept, LinearClassifier, LinearFit, LinearLoss, Multiclass, Rows};

#[derive(Clone, Debug)]
struct Small {
    x: Vec<f64>,
    columns: usize,
    y: Vec<i64>,
    weights: Vec<f64>,
    c: f64,
    intercept: Intercept,
    multiclass: Multiclass,
}

impl Small {
    fn random(random: &mut ChaCha8Rng) -> Self {
        let (rows, columns) = (random.random_range(3..40), random.random_range(1..8));
        let classes = random.random_range(2..rows.min(6) as i64);
        // Whole numbers give ties and equal rows; scales of columns differ a lot in some problems.
        let whole = random.random_bool(0.3);
        let scales: Vec<f64> = (0..columns)
            .map(|_| if random.random_bool(0.2) { 10f64.powi(random.random_range(-2..3)) } else { 1.0 })
            .collect();
        let x = (0..rows * columns).map(|k| {
            let x: f64 = random.random_range(-2.0..2.0);
            scales[k % columns] * if whole { x.round() } else { x }
        });
        let x: Vec<f64> = x.collect();
        let guess = |row: &[f64]| (row[0].abs() * 3.0) as i64 % classes;
        let y = x.chunks_exact(columns).enumerate().map(|(n, row)| match n as i64 {
            n if n < classes => n,
            _ if random.random_bool(0.3) => random.random_range(0..classes),
            _ => guess(row),
        });
        let y = y.collect();
        let weights = match random.random_range(0..3) {
            0 => (0..rows).map(|_| random.random_range(0..3).into()).collect(),
            _ => vec![1.0; rows],
        };
        Self {
            x,
            columns,
            y,
            weights,
            c: 10f64.powi(random.random_range(-3..3)),
            intercept: match random.random_range(0..3) {
                0 => Intercept::None,
                1 => Intercept::Penalized(random.random_range(0.5..3.0)),
                _ => Intercept::Free,
            },
            multiclass: if random.random_bool(0.5) { Multiclass::CrammerSinger } else { Multiclass::WestonWatkins },
        }
    }

    fn classes(&self) -> usize {
        1 + *self.y.iter().max().unwrap() as usize
    }

    fn is_valid(&self) -> bool {
        let total =
            |class: usize| self.y.iter().zip(&self.weights).filter(|(y, _)| **y == class as i64).map(|y| y.1).sum();
        let totals: Vec<f64> = (0..self.classes()).map(total).collect();
        totals.iter().sum::<f64>() > 0.0
            && (self.intercept != Intercept::Free || totals.iter().all(|&total| total > 0.0))
    }

    fn classifier(&self, gap: f64) -> LinearClassifier {
        LinearClassifier::new(LinearLoss::Hinge)
            .multiclass(self.multiclass)
            .c(self.c)
            .intercept(self.intercept)
            .gap(gap)
            .max_passes(1e6)
    }

    fn fit(&self, gap: f64) -> LinearFit {
        let rows = Rows::new(&self.x, self.columns).unwrap();
        let classifier = self.classifier(gap);
        classifier.fit_with(&rows, &self.y, Some(&self.weights), None, &mut |_| true).unwrap()
    }

    /// The same with half of the elements 0, solved as sparse rows.
    fn fit_sparse(&mut self, random: &mut ChaCha8Rng, gap: f64) -> LinearFit {
        self.x.iter_mut().filter(|_| random.random_bool(0.5)).for_each(|x| *x = 0.0);
        let entries = Entries::of(&self.x, self.columns);
        let classifier = self.classifier(gap);
        classifier.fit_with(&entries.rows(), &self.y, Some(&self.weights), None, &mut |_| true).unwrap()
    }

    fn constant(&self) -> f64 {
        match self.intercept {
            Intercept::None => 0.0,
            Intercept::Penalized(scale) => scale,
            Intercept::Free => 1.0,
        }
    }

    /// The weights of every class, with that of the constant feature. Of two classes the model has the difference.
    fn weights_of(&self, fit: &LinearFit) -> Vec<Vec<f64>> {
        let of = |output: usize, sign: f64| {
            let mut w: Vec<f64> = fit.model.weights()[output * self.columns..(output + 1) * self.columns]
                .iter()
                .map(|w| w * sign)
                .collect();
            let bias = if self.constant() > 0.0 { fit.model.bias()[output] / self.constant() } else { 0.0 };
            w.push(sign * bias);
            w
        };
        match fit.model.outputs() {
            1 => vec![of(0, -0.5), of(0, 0.5)],
            outputs => (0..outputs).map(|output| of(output, 1.0)).collect(),
        }
    }

    fn row(&self, n: usize) -> Vec<f64> {
        let mut row = self.x[n * self.columns..(n + 1) * self.columns].to_vec();
        row.push(self.constant());
        row
    }

    fn penalty(&self, w: &[Vec<f64>]) -> f64 {
        let penalised = if self.intercept == Intercept::Free { self.columns } else { self.columns + 1 };
        0.5 * w.iter().flat_map(|w| &w[..penalised]).map(|w| w * w).sum::<f64>()
    }

    /// The violations of the other classes.
    fn violations(&self, w: &[Vec<f64>], n: usize) -> Vec<(usize, f64)> {
        let (x, own) = (self.row(n), self.y[n] as usize);
        let score = |class: usize| w[class].iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
        (0..w.len()).filter(|&class| class != own).map(|class| (class, 1.0 + score(class) - score(own))).collect()
    }

    fn primal(&self, w: &[Vec<f64>]) -> f64 {
        let losses = (0..self.y.len()).map(|n| {
            let violations = self.violations(w, n).into_iter().map(|(_, u)| u.max(0.0));
            let loss: f64 = match self.multiclass {
                Multiclass::CrammerSinger => violations.fold(0.0, f64::max),
                _ => violations.sum(),
            };
            self.c * self.weights[n] * loss
        });
        self.penalty(w) + losses.sum::<f64>()
    }

    /// V of multipliers, (rows x classes).
    fn image(&self, m: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut image = vec![vec![0.0; self.columns + 1]; self.classes()];
        for (n, m) in m.iter().enumerate() {
            for (class, &m) in m.iter().enumerate() {
                for (k, x) in self.row(n).into_iter().enumerate() {
                    image[class][k] -= m * x;
                    image[self.y[n] as usize][k] += m * x;
                }
            }
        }
        image
    }

    fn dual(&self, m: &[Vec<f64>]) -> f64 {
        m.iter().flatten().sum::<f64>() - self.penalty(&self.image(m))
    }

    /// A fit's multipliers, (rows x classes).
    fn multipliers(&self, fit: &LinearFit) -> Vec<Vec<f64>> {
        let rows = self.y.len();
        let of = |n: usize, class: usize| match fit.model.outputs() {
            1 if class as i64 != self.y[n] => fit.multipliers[n],
            1 => 0.0,
            _ => fit.multipliers[class * rows + n],
        };
        (0..rows).map(|n| (0..self.classes()).map(|class| of(n, class)).collect()).collect()
    }

    /// The optimum, by steps of gradient ascent and projection on the multipliers' bounds.
    fn slow_optimum(&self) -> f64 {
        let mut m = vec![vec![0.0; self.classes()]; self.y.len()];
        let size: f64 = (0..self.y.len()).map(|n| self.row(n).iter().map(|x| x * x).sum::<f64>()).sum();
        for _ in 0..20_000 {
            let w = self.image(&m);
            for (n, m) in m.iter_mut().enumerate() {
                let cost = self.c * self.weights[n];
                for (class, u) in self.violations(&w, n) {
                    m[class] = (m[class] + u / (2.0 * size)).max(0.0);
                }
                match self.multiclass {
                    // Bisection finds what must be taken from all.
                    Multiclass::CrammerSinger if m.iter().sum::<f64>() > cost => {
                        let (mut low, mut high) = (0.0, m.iter().copied().fold(0.0, f64::max));
                        for _ in 0..60 {
                            let middle = 0.5 * (low + high);
                            let sum: f64 = m.iter().map(|m| (m - middle).max(0.0)).sum();
                            if sum > cost { low = middle } else { high = middle }
                        }
                        m.iter_mut().for_each(|m| *m = (*m - high).max(0.0));
                    }
                    Multiclass::CrammerSinger => {}
                    _ => m.iter_mut().for_each(|m| *m = m.min(cost)),
                }
            }
        }
        self.dual(&m)
    }
}

#[test]
fn random_problems_converge_and_their_certificates_are_true() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut fits, mut longest) = (0, 0.0f64);
    for number in 0..2500 {
        let mut problem = Small::random(&mut random);
        if !problem.is_valid() {
            continue;
        }
        let fit = if number < 1500 { problem.fit(1e-6) } else { problem.fit_sparse(&mut random, 1e-6) };
        let certificate = fit.certificate();
        assert_eq!(fit.end, FitEnd::Converged, "{number}: {certificate:?} {:?} {problem:?}", fit.progress);
        let (w, m) = (problem.weights_of(&fit), problem.multipliers(&fit));
        let (primal, dual) = (problem.primal(&w), problem.dual(&m));
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * primal.abs() + 1e-12;
        assert!(close(primal, certificate.primal), "{number}: {primal} {certificate:?} {problem:?}");
        match problem.intercept {
            // The bound for what the multipliers leave lies below.
            Intercept::Free => assert!(certificate.dual <= dual + 1e-9 * primal, "{number}: {dual} {certificate:?}"),
            _ => assert!(close(dual, certificate.dual), "{number}: {dual} {certificate:?} {problem:?}"),
        }
        for (n, m) in m.iter().enumerate() {
            let (cost, sum) = (problem.c * problem.weights[n], m.iter().sum::<f64>());
            let most = m.iter().copied().fold(0.0, f64::max);
            let bounded = if problem.multiclass == Multiclass::CrammerSinger { sum } else { most };
            assert!(m.iter().all(|&m| m >= 0.0) && bounded <= cost * (1.0 + 1e-12), "{number}: {m:?} {cost}");
            assert_eq!(m[problem.y[n] as usize], 0.0);
        }
        // No weights are better than the dual value says.
        for _ in 0..5 {
            let near: Vec<Vec<f64>> =
                w.iter().map(|w| w.iter().map(|w| w * random.random_range(0.9..1.1)).collect()).collect();
            assert!(problem.primal(&near) >= certificate.dual - 1e-9 * primal, "{number}");
        }
        longest = longest.max(fit.progress.passes);
        fits += 1;
    }
    assert!(fits > 1000);
    println!("{fits} fits, {longest} passes at most");
}

#[test]
fn fits_lie_at_the_optimum_of_a_slow_solver() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut compared = 0;
    while compared < 30 {
        let problem = Small { c: 10f64.powi(random.random_range(-3..1)), ..Small::random(&mut random) };
        if problem.intercept == Intercept::Free || !problem.is_valid() || problem.y.len() > 20 {
            continue;
        }
        let problem = Small { x: problem.x.iter().map(|x| x.clamp(-2.0, 2.0)).collect(), ..problem };
        let (optimum, certificate) = (problem.slow_optimum(), problem.fit(1e-6).certificate());
        // The slow solver comes from below.
        assert!(optimum <= certificate.primal * (1.0 + 1e-9), "{certificate:?} {optimum} {problem:?}");
        assert!(optimum >= certificate.dual * (1.0 - 1e-3), "{certificate:?} {optimum} {problem:?}");
        compared += 1;
    }
}

#[test]
fn labels_called_certain_are_those_of_the_optimum() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut certain, mut uncertain) = (0, 0);
    while certain + uncertain < 3000 {
        let problem = Small::random(&mut random);
        if problem.intercept == Intercept::Free || !problem.is_valid() {
            continue;
        }
        let rows = Rows::new(&problem.x, problem.columns).unwrap();
        // Stopped early: the descent alone would come too close.
        let classifier = problem.classifier(1e-10).max_passes(2.0);
        let rough = classifier.fit_with(&rows, &problem.y, Some(&problem.weights), None, &mut |_| true).unwrap();
        let fine = problem.fit(1e-10);
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

/// 3000 rows of 5 classes that overlap.
fn overlapping() -> (Vec<f32>, Vec<i64>) {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let y: Vec<i64> = (0..3000).map(|_| random.random_range(0..5)).collect();
    let x = y.iter().flat_map(|&y| (0..6).map(move |k| if k == y { 1.0 } else { 0.0 })).collect::<Vec<f32>>();
    (x.into_iter().map(|x| x + random.random_range(-1.0..1.0)).collect(), y)
}

#[test]
fn the_number_of_threads_changes_no_bit_and_starts_lead_to_the_same_optimum() {
    let (x, y) = overlapping();
    let rows = Rows::new(&x, 6).unwrap();
    for multiclass in [Multiclass::CrammerSinger, Multiclass::WestonWatkins] {
        let classifier = LinearClassifier::new(LinearLoss::Hinge).multiclass(multiclass).c(0.1).gap(1e-7);
        let fit_on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| classifier.fit(&rows, &y).unwrap())
        };
        let (one, three) = (fit_on(1), fit_on(3));
        assert_eq!((&one.model, &one.multipliers), (&three.model, &three.multipliers));
        assert!(one.support_vectors > 100 && one.support_vectors < 3000);
        // From the model of another C, and from the multipliers of the C before on a path.
        let other = classifier.clone().c(0.05).fit(&rows, &y).unwrap();
        let warm = classifier.fit_with(&rows, &y, None, Some(&other.model), &mut |_| true).unwrap();
        let own = crate::linear::Validation::Rows(rows, (&y).into());
        let path = classifier.fit_path(&rows, &y, None, &[0.05, 0.1], &own, &mut |_| true).unwrap();
        let primal = one.certificate().primal;
        for other in [warm.certificate().primal, path.models[1].certificate.primal] {
            assert!((other - primal).abs() <= 1e-7 * primal, "{other} {primal}");
        }
        assert_eq!((warm.end, path.models[1].end), (FitEnd::Converged, FitEnd::Converged));
        // What a path judges by is the loss of the rows and their share of right labels.
        let labels = warm.model.labels(&rows).unwrap();
        let right = labels.iter().zip(&y).filter(|(a, b)| a == b).count() as f64 / 3000.0;
        assert!((right - path.models[1].validation_accuracy).abs() < 1e-3);
        let bytes = one.model.to_safetensors(None).unwrap();
        assert_eq!(crate::linear::LinearModel::from_safetensors(&bytes).unwrap().0, one.model);
    }
}

#[test]
fn wrong_multipliers_are_seen_by_the_certificate() {
    let (x, y) = overlapping();
    let rows = Rows::new(&x, 6).unwrap();
    let (shift, scale) = (vec![0.0; 6], vec![1.0; 6]);
    let space = crate::linear::space::Space {
        matrix: rows.0,
        intercept: Intercept::Penalized(1.0),
        shift: &shift,
        scale: &scale,
    };
    let own: Vec<u32> = y.iter().map(|&y| y as u32).collect();
    let weights = vec![1.0; 3000];
    for bounds_sum in [true, false] {
        let problem = super::JointProblem { space, own: &own, weights: &weights, c: 0.1, classes: 5, bounds_sum };
        let limits = crate::linear::course::Limits { gap: 1e-6, max_passes: 1e4 };
        let (solution, _) = super::solve(&problem, super::Start::Multipliers(None), limits, &mut |_| true).unwrap();
        let gap = |multipliers: &[f64]| problem.certify(&solution.w, multipliers).unwrap().0.relative_gap;
        assert!(gap(&solution.multipliers) <= 1.01e-6);
        let wrong: Vec<f64> = solution.multipliers.iter().map(|m| 0.5 * m).collect();
        assert!(gap(&wrong) > 0.05, "{}", gap(&wrong));
        // One support vector that the certificate is not told of.
        let mut dropped = solution.multipliers.clone();
        let row = (0..3000).find(|row| dropped[row * 5..row * 5 + 5].iter().any(|&m| m > 0.05)).unwrap();
        dropped[row * 5..row * 5 + 5].fill(0.0);
        assert!(gap(&dropped) > 1e-5, "{}", gap(&dropped));
    }
}
