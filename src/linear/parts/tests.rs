//! Fits in parts against fits of all rows in one process.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::cpu::linear::{Elements, Matrix};
use crate::linear::space::Space;
use crate::linear::{ClassWeights, FitEnd, Intercept, LinearClassifier, LinearLoss, LinearModel, Multiclass, Rows};
use crate::{Error, Result};

/// Rows with labels and weights, and where parts begin and end.
struct Data {
    x: Vec<f32>,
    y: Vec<i64>,
    weights: Vec<f64>,
    columns: usize,
    ends: Vec<usize>,
}

impl Data {
    fn random(rows: usize, columns: usize, classes: i64, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let planes: Vec<f64> = (0..classes as usize * columns).map(|_| random.random_range(-1.0..1.0)).collect();
        let x: Vec<f32> = (0..rows * columns).map(|_| random.random_range(-1.0..2.0)).collect();
        let y = x.chunks_exact(columns).map(|row| {
            let score = |plane: &[f64], noise: f64| {
                row.iter().zip(plane).map(|(&x, w)| (f64::from(x) - 0.5) * w).sum::<f64>() + noise
            };
            let scores: Vec<f64> =
                planes.chunks_exact(columns).map(|plane| score(plane, random.random_range(-0.6..0.6))).collect();
            (0..classes).max_by(|&i, &j| scores[i as usize].total_cmp(&scores[j as usize])).unwrap()
        });
        let y: Vec<i64> = y.collect();
        let weights = (0..rows).map(|_| random.random_range(0.0..2.0)).collect();
        // Parts of several sizes, one of them empty.
        let ends = vec![0, 1, 1, rows / 3, rows / 2, rows];
        Self { x, y, weights, columns, ends }
    }

    fn parts(&self) -> impl Iterator<Item = RowPart<'_>> {
        self.ends.windows(2).map(|ends| {
            let range = ends[0]..ends[1];
            let rows = Rows::new(&self.x[range.start * self.columns..range.end * self.columns], self.columns).unwrap();
            RowPart::new(rows, &self.y[range.clone()], Some(&self.weights[range])).unwrap()
        })
    }

    fn summary(&self) -> PartSummary {
        let mut summaries = self.parts().map(|part| part.summary().unwrap());
        let mut all = summaries.next().unwrap();
        summaries.for_each(|other| all.merge(&other).unwrap());
        all
    }

    /// A fit in parts; `fault` may change the sums of a part.
    fn fit_with(
        &self,
        classifier: &LinearClassifier,
        start: Option<&LinearModel>,
        fault: &dyn Fn(usize, &mut Vec<f64>),
    ) -> Result<PartsFit> {
        let parts: Vec<RowPart<'_>> = self.parts().collect();
        let mut states = vec![Vec::new(); parts.len()];
        let mut ask = |question: &Question| {
            // As text, which is how it travels.
            let question: Question = serde_json::from_str(&serde_json::to_string(question).unwrap()).unwrap();
            let mut sums = Vec::new();
            for (n, (part, state)) in parts.iter().zip(&mut states).enumerate() {
                let Answer { sums: mut of_part, state: new } = part.answer(&question, state)?;
                if let Some(new) = new {
                    *state = new;
                }
                fault(n, &mut of_part);
                sums.resize(of_part.len(), 0.0);
                sums.iter_mut().zip(of_part).for_each(|(sum, x): (&mut f64, f64)| *sum += x);
            }
            Ok(sums)
        };
        classifier.fit_parts(&self.summary(), start, &mut ask, &mut |_| true)
    }

    fn fit(&self, classifier: &LinearClassifier, start: Option<&LinearModel>) -> PartsFit {
        self.fit_with(classifier, start, &|_, _| ()).unwrap()
    }

    fn whole(&self, classifier: &LinearClassifier) -> crate::linear::LinearFit {
        let rows = Rows::new(&self.x, self.columns).unwrap();
        classifier.fit_with(&rows, &self.y, Some(&self.weights), None, &mut |_| true).unwrap()
    }

    /// Fails unless both fits have the optimum of one problem between their bounds, for each output.
    fn agrees(&self, classifier: &LinearClassifier, fit: &PartsFit) {
        let (at, ended) = (&fit.progress, fit.end);
        assert_eq!(ended, FitEnd::Converged, "{classifier:?}: {at:?}, {} questions", fit.questions);
        let whole = self.whole(classifier);
        assert_eq!(fit.model.outputs(), whole.model.outputs());
        for (a, b) in fit.model.certificates().iter().zip(whole.model.certificates()) {
            assert!(a.relative_gap <= classifier.gap, "{classifier:?}: {a:?}");
            let slack = 1e-12 * a.primal;
            assert!(a.dual <= b.primal + slack && b.dual <= a.primal + slack, "{classifier:?}: {a:?} {b:?}");
        }
        if classifier.class_weights == ClassWeights::Equal {
            for (output, certificate) in fit.model.certificates().iter().enumerate() {
                let objective = self.objective(classifier, &fit.model, output);
                assert!((objective - certificate.primal).abs() <= 1e-9 * objective, "{objective} {certificate:?}");
            }
        }
    }

    /// The objective of an output of a model, by its definition.
    fn objective(&self, classifier: &LinearClassifier, model: &LinearModel, output: usize) -> f64 {
        let matrix = Matrix { elements: Elements::F64(&[]), columns: self.columns, rows: 0 };
        let space = Space { matrix, intercept: classifier.intercept, shift: &model.shift, scale: &model.scale };
        let values = model.decision_values(&Rows::new(&self.x, self.columns).unwrap()).unwrap();
        let positive = model.classes()[if model.outputs() == 1 { 1 } else { output }];
        let losses = values[output..].iter().step_by(model.outputs()).zip(&self.y).zip(&self.weights);
        let losses = losses.map(|((value, &label), weight)| {
            let sign = if label == positive { 1.0 } else { -1.0 };
            classifier.loss.value(classifier.c * weight, 1.0 - sign * value)
        });
        space.penalty(&model.in_solved_units(output, &space)) + losses.sum::<f64>()
    }
}

const LOSSES: [LinearLoss; 3] = [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.5)];

#[test]
fn parts_reach_the_certified_optimum_of_all_rows() {
    let data = Data::random(700, 9, 2, 1);
    for loss in LOSSES {
        for intercept in [Intercept::None, Intercept::Penalized(1.0), Intercept::Penalized(10.0)] {
            for c in [0.01, 1.0, 30.0, 1e9] {
                let classifier = LinearClassifier::new(loss).intercept(intercept).c(c).gap(1e-6);
                let fit = data.fit(&classifier, None);
                data.agrees(&classifier, &fit);
                let support = data.whole(&classifier.clone().gap(1e-9)).support_vectors;
                assert!(
                    c > 100.0 || fit.support_vectors[0].abs_diff(support) <= 30,
                    "{} {support}",
                    fit.support_vectors[0]
                );
            }
        }
    }
}

#[test]
fn parts_know_standard_units_class_weights_and_several_classes() {
    let data = Data::random(900, 7, 4, 2);
    let classifier = LinearClassifier::new(LinearLoss::Hinge).gap(1e-5);
    for classifier in [
        classifier.clone(),
        classifier.clone().standardize(true),
        classifier.clone().class_weights(ClassWeights::Balanced).standardize(true),
        classifier.class_weights(ClassWeights::Given(vec![0.5, 1.0, 3.0, 0.0])),
    ] {
        // A class without weight is no error: its problem has the other rows alone.
        data.agrees(&classifier, &data.fit(&classifier, None));
    }
}

#[test]
fn a_start_saves_steps() {
    let data = Data::random(4000, 20, 2, 3);
    let classifier = LinearClassifier::new(LinearLoss::Hinge).c(0.1).gap(1e-6);
    let cold = data.fit(&classifier, None);
    let warm = data.fit(&classifier, Some(&cold.model));
    data.agrees(&classifier, &cold);
    data.agrees(&classifier, &warm);
    assert!(warm.questions < cold.questions, "{} {}", warm.questions, cold.questions);
}

#[test]
fn wide_rows_are_fitted_too() {
    let data = Data::random(200, 600, 2, 4);
    for loss in LOSSES {
        let classifier = LinearClassifier::new(loss).gap(1e-5);
        data.agrees(&classifier, &data.fit(&classifier, None));
    }
}

#[test]
fn products_are_those_of_the_matrix() {
    let data = Data::random(300, 9, 2, 4);
    let part = data.parts().last().unwrap();
    let classifier = LinearClassifier::new(LinearLoss::Hinge).max_passes(3.0);
    let (mut states, mut last) = (Vec::new(), None);
    let _ = classifier.fit_parts(
        &data.summary(),
        None,
        &mut |question| {
            let answer = part.answer(question, &states)?;
            if let Some(new) = answer.state {
                states = new;
            }
            if let answer::What::Gram { kappa, .. } = question.what {
                let vector: Vec<f64> = (0..10).map(|k| 1.0 - 0.3 * k as f64).collect();
                let what = answer::What::Product { kappa, vector: vector.clone() };
                let product = part.answer(&Question { what, ..question.clone() }, &states)?.sums;
                let at = |row: usize, column: usize| {
                    answer.sums[row.max(column) * (row.max(column) + 1) / 2 + row.min(column)]
                };
                let expected: Vec<f64> = (0..10).map(|row| (0..10).map(|k| at(row, k) * vector[k]).sum()).collect();
                last = Some((product, expected));
            }
            Ok(answer.sums)
        },
        &mut |_| true,
    );
    let (product, expected) = last.unwrap();
    for (x, y) in product.iter().zip(&expected) {
        assert!((x - y).abs() < 1e-4 * (1.0 + y.abs()), "{product:?} {expected:?}");
    }
}

#[test]
fn a_part_that_answers_wrongly_is_noticed() {
    let data = Data::random(700, 9, 2, 1);
    let classifier = LinearClassifier::new(LinearLoss::Hinge).gap(1e-6).max_passes(200.0);
    let whole = data.whole(&classifier).certificate();
    // Its rows count twice, or not at all: a problem of other rows, with an optimum of its own.
    for times in [0.0, 2.0] {
        let fault =
            |n: usize, sums: &mut Vec<f64>| sums.iter_mut().for_each(|x| *x *= if n == 4 { times } else { 1.0 });
        let fit = data.fit_with(&classifier, None, &fault).unwrap();
        let of_parts = fit.model.certificates()[0];
        assert!(of_parts.dual > whole.primal || of_parts.primal < whole.dual, "{times}: {of_parts:?} {whole:?}");
    }
    // One number less.
    let fault = |_: usize, sums: &mut Vec<f64>| sums.truncate(sums.len() - 1);
    let error = data.fit_with(&classifier, None, &fault).unwrap_err();
    assert!(matches!(error, Error::Option { option: "sum of answers", .. }), "{error}");
}

#[test]
fn what_cannot_be_fitted_in_parts_is_said() {
    let (data, two) = (Data::random(50, 3, 3, 5), Data::random(50, 3, 2, 5));
    let hinge = LinearClassifier::new(LinearLoss::Hinge);
    for (data, classifier, words) in [
        (
            &data,
            hinge.clone().intercept(Intercept::Free),
            "intercept: expected none or a penalized one, for rows in parts",
        ),
        (
            &data,
            hinge.clone().multiclass(Multiclass::CrammerSinger),
            "multiclass: expected one-vs-rest, for rows in parts",
        ),
        (&two, hinge.clone().class_weights(ClassWeights::Given(vec![0.0, 0.0])), "weights"),
    ] {
        let error = data.fit_with(&classifier, None, &|_, _| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let part = two.parts().last().unwrap();
    let classifier = hinge.clone();
    let mut other_columns = two.summary();
    assert!(other_columns.merge(&Data::random(5, 4, 2, 1).summary()).is_err());
    // A state of other rows, and a question about other columns.
    let asked = std::cell::RefCell::new(Vec::new());
    let _ = classifier.fit_parts(
        &two.summary(),
        None,
        &mut |question| {
            asked.borrow_mut().push(question.clone());
            part.answer(question, &[]).map(|answer| answer.sums)
        },
        &mut |_| true,
    );
    let asked = asked.into_inner();
    assert!(part.answer(&asked[1], &[0.0; 5]).is_err());
    let four = Data::random(5, 4, 2, 1);
    assert!(four.parts().last().unwrap().answer(&asked[0], &[]).is_err());
}
