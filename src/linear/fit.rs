//! Fitting a model: the checks of the data, and one binary problem per class.

use std::time::Duration;

use super::certificate::Certificate;
use super::classifier::{LinearClassifier, check_weights};
use super::course::{FitEnd, FitProgress, OnProgress, Solution};
use super::lockstep::{side_by_side, solve_all};
use super::model::LinearModel;
use super::newton::Solver;
use super::problem::Problem;
use super::rows::Rows;
use super::space::{Intercept, Space};
use crate::data::labels::integers;
use crate::data::memory::{filled, reserved};
use crate::data::tensor::Targets;
use crate::error::{Error, Input, Result};

/// A fitted model, and how its fit went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinearFit {
    /// The model. Where the fit did not converge, it is the best one found.
    pub model: LinearModel,
    /// Why the fit ended: of several problems the first that did not converge.
    pub end: FitEnd,
    /// Passes and Newton steps of all problems.
    pub progress: FitProgress,
    /// Rows with a multiplier above 0 in at least one problem.
    pub support_vectors: u64,
    /// Time that the certificates took, of the whole fit.
    pub certifying: Duration,
    /// The multipliers, (outputs x rows), each from 0 to its cost.
    pub multipliers: Vec<f64>,
}

/// Rows and their labels, checked.
pub(super) struct Labelled<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) labels: Vec<i64>,
    /// In ascending order, two at least.
    pub(super) classes: Vec<i64>,
    pub(super) weights: Option<&'a [f64]>,
}

impl<'a> Labelled<'a> {
    pub(super) fn new(rows: &Rows<'a>, targets: Targets<'_>, weights: Option<&'a [f64]>) -> Result<Self> {
        let labels = checked_labels(rows, targets)?;
        if let Some(weights) = weights {
            if weights.len() != rows.len() {
                let (input, expected, got) = (Input::SampleWeights, rows.len(), weights.len());
                return Err(Error::Length { input, expected, got, unit: "row of features" });
            }
            check_weights(Input::SampleWeights, weights)?;
        }
        let mut classes = reserved(labels.len())?;
        classes.extend_from_slice(&labels);
        classes.sort_unstable();
        classes.dedup();
        if classes.len() < 2 {
            let got = classes.first().map_or("no rows".into(), |class| format!("only {class}"));
            return Err(Error::Shape { input: Input::Targets, expected: "labels of at least two classes".into(), got });
        }
        Ok(Self { rows: *rows, labels, classes, weights })
    }
}

/// The labels of finite rows.
pub(super) fn checked_labels(rows: &Rows<'_>, targets: Targets<'_>) -> Result<Vec<i64>> {
    rows.check()?;
    let labels = integers(targets)?;
    if labels.len() != rows.len() {
        let (input, expected, got) = (Input::Targets, rows.len(), labels.len());
        return Err(Error::Length { input, expected, got, unit: "row of features" });
    }
    Ok(labels)
}

/// What the outputs of a fit are solved from: the labels and weights of each, on the rows that are kept, and the units.
pub(super) struct Prepared<'a, 'd> {
    classifier: &'a LinearClassifier,
    data: &'a Labelled<'d>,
    kept: Option<&'a [bool]>,
    class_weights: Vec<f64>,
    shift: Vec<f64>,
    scale: Vec<f64>,
}

/// The labels of an output as -1 and +1, and the weights of its rows.
pub(super) struct Sides {
    signs: Vec<i8>,
    weights: Vec<f64>,
}

impl<'a, 'd> Prepared<'a, 'd> {
    pub(super) fn new(
        classifier: &'a LinearClassifier,
        data: &'a Labelled<'d>,
        kept: Option<&'a [bool]>,
    ) -> Result<Self> {
        let class_weights = classifier.weights_of(&data.classes, &data.labels, kept)?;
        let [shift, scale] = classifier.scaling(&data.rows, kept);
        Ok(Self { classifier, data, kept, class_weights, shift, scale })
    }

    /// The number of outputs.
    pub(super) fn outputs(&self) -> usize {
        if self.data.classes.len() == 2 { 1 } else { self.data.classes.len() }
    }

    pub(super) fn space(&self) -> Space<'_> {
        let intercept = self.classifier.intercept;
        Space { matrix: self.data.rows.0, intercept, shift: &self.shift, scale: &self.scale }
    }

    /// What an output holds against what.
    pub(super) fn sides(&self, output: usize) -> Result<Sides> {
        let Labelled { rows, labels, classes, weights: of_rows } = self.data;
        let (mut signs, mut weights) = (filled(0i8, rows.len())?, filled(0.0, rows.len())?);
        let positive = if self.outputs() == 1 { 1 } else { output };
        for (row, label) in labels.iter().enumerate() {
            let is_positive = *label == classes[positive];
            signs[row] = if is_positive { 1 } else { -1 };
            let of_class = match (is_positive, self.outputs()) {
                (true, _) => self.class_weights[positive],
                (false, 1) => self.class_weights[0],
                // The rest.
                (false, _) => 1.0,
            };
            let is_kept = self.kept.is_none_or(|kept| kept[row]);
            weights[row] = if is_kept { of_class * of_rows.map_or(1.0, |weights| weights[row]) } else { 0.0 };
        }
        if weights.iter().all(|&weight| weight * self.classifier.c == 0.0) {
            return Err(Error::ZeroWeight { count: rows.len() as u64 });
        }
        let counts = |sign: i8| signs.iter().zip(&weights).any(|(&of_row, &weight)| of_row == sign && weight > 0.0);
        if self.classifier.intercept == Intercept::Free && !(counts(1) && counts(-1)) {
            // Nothing would bound the intercept.
            let expected = "labels of at least two classes in rows with a weight above 0, for a free intercept".into();
            return Err(Error::Shape { input: Input::Targets, expected, got: "one".into() });
        }
        Ok(Sides { signs, weights })
    }

    pub(super) fn problem<'s>(&'s self, sides: &'s Sides, c: f64) -> Problem<'s> {
        let Sides { signs, weights } = sides;
        Problem { space: self.space(), signs, weights, c, loss: self.classifier.loss }
    }

    /// The model of solvers that have ended, one per output; without them one that says how to take decision values.
    pub(super) fn model_of(&self, solvers: &[Solver<'_>]) -> LinearModel {
        let space = self.space();
        let outputs = solvers.iter().map(|solver| space.in_stored_units(solver.best_weights()));
        let (weights, bias): (Vec<Vec<f64>>, Vec<f64>) = outputs.unzip();
        LinearModel {
            columns: self.data.rows.columns(),
            weights: weights.concat(),
            bias,
            classes: self.data.classes.clone(),
            certificates: solvers.iter().map(Solver::certificate).collect(),
            loss: self.classifier.loss,
            intercept: self.classifier.intercept,
            c: self.classifier.c,
            shift: self.shift.clone(),
            scale: self.scale.clone(),
        }
    }
}

/// Fits a model on checked data.
pub(super) fn fit(
    classifier: &LinearClassifier,
    data: &Labelled<'_>,
    start: Option<&LinearModel>,
    on_progress: &mut OnProgress<'_>,
) -> Result<LinearFit> {
    let prepared = Prepared::new(classifier, data, None)?;
    if let Some(start) = start {
        check_start(start, &data.rows, &data.classes)?;
    }
    let (outputs, rows) = (prepared.outputs(), data.rows.len());
    let mut fit = LinearFit {
        model: prepared.model_of(&[]),
        end: FitEnd::Converged,
        progress: FitProgress::NONE,
        support_vectors: 0,
        certifying: Duration::ZERO,
        multipliers: filled(0.0, outputs.saturating_mul(rows))?,
    };
    let all: Vec<usize> = (0..outputs).collect();
    for outputs in all.chunks(side_by_side(rows)) {
        let sides = outputs.iter().map(|&output| prepared.sides(output)).collect::<Result<Vec<Sides>>>()?;
        let problems: Vec<Problem<'_>> = sides.iter().map(|sides| prepared.problem(sides, classifier.c)).collect();
        let starts = start.map(|start| {
            let stored = |output: usize| &start.weights[output * start.columns..(output + 1) * start.columns];
            let solved = |&output: &usize| prepared.space().in_solved_units(stored(output), start.bias[output]);
            outputs.iter().map(solved).collect()
        });
        let before = fit.progress;
        let solvers = solve_all(&problems, starts, classifier.limits(), &mut |now| on_progress(now.after(before)))?;
        for (&output, solution) in outputs.iter().zip(solvers.into_iter().map(Solver::solution)) {
            fit.take(output, solution, &prepared.space());
        }
    }
    let count = |row: usize| (0..outputs).any(|output| fit.multipliers[output * rows + row] > 0.0);
    fit.support_vectors = (0..rows).filter(|&row| count(row)).count() as u64;
    Ok(fit)
}

/// Refuses a start with other features or classes.
fn check_start(start: &LinearModel, rows: &Rows<'_>, classes: &[i64]) -> Result<()> {
    if start.columns != rows.columns() {
        let (expected, got) = (format!("(N, {}), as the model has them", start.columns), rows.columns());
        return Err(Error::Shape { input: Input::Features, expected, got: format!("(N, {got})") });
    }
    if start.classes != classes {
        let words = |classes: &[i64]| {
            let first: Vec<String> = classes.iter().take(10).map(i64::to_string).collect();
            first.join(", ") + if classes.len() > 10 { ", ..." } else { "" }
        };
        let expected = format!("the labels {}, as the model has them", words(&start.classes));
        return Err(Error::Shape { input: Input::Targets, expected, got: words(classes) });
    }
    Ok(())
}

impl LinearFit {
    /// Adds the solution of an output's problem.
    fn take(&mut self, output: usize, solution: Solution, space: &Space<'_>) {
        let (weights, bias) = space.in_stored_units(&solution.w);
        self.certifying += solution.certifying;
        self.model.weights.extend(weights);
        self.model.bias.push(bias);
        self.model.certificates.push(solution.certificate);
        let multipliers = solution.multipliers;
        self.multipliers[output * multipliers.len()..][..multipliers.len()].copy_from_slice(&multipliers);
        self.progress = solution.progress.after(self.progress);
        self.progress.gap = self.model.relative_gap();
        if self.end == FitEnd::Converged {
            self.end = solution.end;
        }
    }

    /// The sums of the certificates of all outputs, and the largest relative gap.
    pub fn certificate(&self) -> Certificate {
        sum_of(&self.model.certificates)
    }
}

/// The sums of certificates, and the largest relative gap.
pub(super) fn sum_of(certificates: &[Certificate]) -> Certificate {
    let sum = |of: fn(&Certificate) -> f64| certificates.iter().map(of).sum();
    Certificate {
        primal: sum(|c| c.primal),
        dual: sum(|c| c.dual),
        gap: sum(|c| c.gap),
        relative_gap: certificates.iter().map(|c| c.relative_gap).fold(0.0, f64::max),
    }
}
