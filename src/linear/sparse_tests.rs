//! Sparse rows against dense ones of the same data.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Error;

/// The entries of a matrix that are not 0.
pub(super) struct Entries {
    pub(super) starts: Vec<usize>,
    pub(super) indices: Vec<u32>,
    pub(super) values: Vec<f64>,
    columns: usize,
}

impl Entries {
    pub(super) fn of(x: &[f64], columns: usize) -> Self {
        let (mut indices, mut values, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for row in x.chunks_exact(columns) {
            for (column, &x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                indices.push(column as u32);
                values.push(x);
            }
            starts.push(values.len());
        }
        Self { starts, indices, values, columns }
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows::sparse(&self.starts, &self.indices, &self.values, self.columns).unwrap()
    }
}

/// Rows of which some elements, or all, are 0, and labels of so many classes that depend on them.
fn data(random: &mut ChaCha8Rng, rows: usize, columns: usize, classes: i64) -> (Vec<f64>, Vec<i64>) {
    let x: Vec<f64> = (0..rows * columns)
        .map(|_| if random.random_bool(0.1) { random.random_range(-2.0..2.0) } else { 0.0 })
        .collect();
    let label = |(n, row): (usize, &[f64])| {
        let best = |class: i64| row[class as usize] + random.random_range(-0.5..0.5);
        let scores: Vec<f64> = (0..classes).map(best).collect();
        let place = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
        if (n as i64) < classes { n as i64 } else { place as i64 }
    };
    let y = x.chunks_exact(columns).enumerate().map(label).collect();
    (x, y)
}

const INTERCEPTS: [Intercept; 3] = [Intercept::None, Intercept::Penalized(2.0), Intercept::Free];

#[test]
fn sparse_and_dense_rows_have_one_optimum() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    // The last has more columns than a Gram matrix of sparse rows: conjugate gradients.
    for (rows, columns) in [(300, 20), (60, 90), (400, 260)] {
        for classes in [2, 4] {
            let (x, y) = data(&mut random, rows, columns, classes);
            let entries = Entries::of(&x, columns);
            let (dense, sparse) = (Rows::new(&x, columns).unwrap(), entries.rows());
            let losses = [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.5)];
            let joint = [Multiclass::CrammerSinger, Multiclass::WestonWatkins].map(|joint| (LinearLoss::Hinge, joint));
            for (loss, multiclass) in losses.map(|loss| (loss, Multiclass::OneVsRest)).into_iter().chain(joint) {
                for intercept in INTERCEPTS {
                    let what = format!("({rows}, {columns}), {classes} classes, {loss:?} {multiclass:?} {intercept:?}");
                    let classifier =
                        LinearClassifier::new(loss).multiclass(multiclass).intercept(intercept).c(0.5).gap(1e-6);
                    let classifier = classifier.max_passes(1e5);
                    let fits = [&dense, &sparse].map(|rows| classifier.fit(rows, &y).unwrap());
                    let [a, b] = fits.each_ref().map(|fit| fit.certificate());
                    assert!(fits.iter().all(|fit| fit.end == FitEnd::Converged), "{what}: {a:?} {b:?}");
                    let slack = 1e-12 * a.primal;
                    assert!(a.primal >= b.dual - slack && b.primal >= a.dual - slack, "{what}: {a:?} {b:?}");
                    // One model gives the same values for both.
                    let model = &fits[1].model;
                    let values = [&dense, &sparse].map(|rows| model.decision_values(rows).unwrap());
                    let off = values[0].iter().zip(&values[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(values[0].len() == values[1].len() && off < 1e-12, "{what}: {off}");
                    if intercept != Intercept::Free {
                        assert_eq!(model.certain(&dense).unwrap(), model.certain(&sparse).unwrap(), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn sparse_rows_are_scaled_but_not_shifted() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (x, y) = data(&mut random, 200, 12, 3);
    let columns = 12;
    // What the classifier should solve for: columns by their standard deviation about the mean.
    let mut scaled = x.clone();
    for column in 0..columns {
        let of_column = || x.iter().skip(column).step_by(columns);
        let mean = of_column().sum::<f64>() / 200.0;
        let deviation = (of_column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 200.0).sqrt();
        scaled.iter_mut().skip(column).step_by(columns).for_each(|x| *x /= deviation);
    }
    for multiclass in [Multiclass::OneVsRest, Multiclass::CrammerSinger] {
        let classifier = LinearClassifier::new(LinearLoss::Hinge).multiclass(multiclass).gap(1e-8).max_passes(1e5);
        let entries = Entries::of(&x, columns);
        let ours = classifier.clone().standardize(true).fit(&entries.rows(), &y).unwrap();
        let plain = classifier.fit(&Rows::new(&scaled, columns).unwrap(), &y).unwrap();
        let [a, b] = [ours.certificate(), plain.certificate()];
        assert!(a.primal >= b.dual * (1.0 - 1e-12) && b.primal >= a.dual * (1.0 - 1e-12), "{a:?} {b:?}");
        let values = ours.model.decision_values(&entries.rows()).unwrap();
        let expected = plain.model.decision_values(&Rows::new(&scaled, columns).unwrap()).unwrap();
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-2));
    }
}

#[test]
fn rare_columns_that_are_scaled_are_certified() {
    // Every column has one entry, whose size is that of its standard deviation: scales differ as much as the entries.
    let (rows, per_row) = (200, 500);
    let columns = rows * per_row;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let starts: Vec<usize> = (0..=rows).map(|row| row * per_row).collect();
    let indices: Vec<u32> = (0..columns as u32).collect();
    let values: Vec<f32> = (0..columns).map(|_| 10f32.powf(random.random_range(-6.0..0.0))).collect();
    let rows = Rows::sparse(&starts, &indices, &values, columns).unwrap();
    let y: Vec<i64> = (0..rows.len() as i64).map(|n| n % 2).collect();
    let classifier = LinearClassifier::new(LinearLoss::Hinge).standardize(true).gap(1e-6);
    let fit = classifier.fit(&rows, &y).unwrap();
    assert_eq!(fit.end, FitEnd::Converged, "{:?}", fit.certificate());
}

#[test]
fn the_number_of_threads_changes_no_bit_of_sparse_fits() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (x, y) = data(&mut random, 20_000, 30, 3);
    let entries = Entries::of(&x, 30);
    let pool = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for multiclass in [Multiclass::OneVsRest, Multiclass::CrammerSinger] {
        let classifier = LinearClassifier::new(LinearLoss::Hinge).multiclass(multiclass).gap(1e-5);
        let [one, three] = [1, 3].map(|threads| pool(threads).install(|| classifier.fit(&entries.rows(), &y).unwrap()));
        assert_eq!(one.model, three.model);
        assert_eq!(one.multipliers, three.multipliers);
    }
}

#[test]
fn folds_and_lists_of_c_of_sparse_rows_are_those_of_dense_ones() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (x, y) = data(&mut random, 400, 15, 2);
    let entries = Entries::of(&x, 15);
    let classifier = LinearClassifier::new(LinearLoss::SquaredHinge).gap(1e-7);
    let validation = Validation::Folds { count: 3, seed: 1 };
    let paths = [Rows::new(&x, 15).unwrap(), entries.rows()]
        .map(|rows| classifier.fit_path(&rows, &y, None, &[0.01, 0.1, 1.0], &validation, &mut |_| true).unwrap());
    assert_eq!(paths[0].models.len(), 9);
    for (a, b) in paths[0].models.iter().zip(&paths[1].models) {
        assert_eq!((a.c, a.fold), (b.c, b.fold));
        assert!((a.validation_loss - b.validation_loss).abs() < 1e-3, "{a:?} {b:?}");
    }
}

#[test]
fn entries_that_are_no_rows_are_refused() {
    let values = [1.0f32, 2.0, 3.0];
    let message = |starts: &[usize], indices: &[u32], values: &[f32], columns: usize| {
        Rows::sparse(starts, indices, values, columns).unwrap_err().to_string()
    };
    for (got, part) in [
        (message(&[], &[0, 1, 2], &values, 3), "from 0 to 3"),
        (message(&[0, 2], &[0, 1, 2], &values, 3), "from 0 to 3"),
        (message(&[1, 3], &[0, 1, 2], &values, 3), "from 0 to 3"),
        (message(&[0, 9, 3], &[0, 1, 2], &values, 3), "at least 9 after row 1"),
        (message(&[0, 3], &[0, 1], &values, 3), "2 columns"),
        (message(&[0, 3], &[0, 1, 3], &values, 3), "row 0: a column from 2 to 2"),
        (message(&[0, 1, 3], &[0, 1, 1], &values, 3), "row 1: a column from 2 to 2"),
        (message(&[0, 1, 3], &[0, 2, 1], &values, 4), "row 1: a column from 3 to 3"),
        (message(&[0], &[], &[], 0), "at least one column"),
    ] {
        assert!(got.contains(part), "{got}");
    }
    let bad = [1.0, f64::NAN, 3.0];
    let rows = Rows::sparse(&[0, 1, 1, 3], &[0, 1, 2], &bad, 4).unwrap();
    // Row 2, column 1.
    assert!(matches!(rows.check(), Err(Error::Value { index: 9, .. })));
}
