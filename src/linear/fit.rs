//! Fitting a model: the checks of the data, and one binary problem per class.

use std::time::Duration;

use super::OnGpu;
use super::certificate::Certificate;
use super::classifier::{LinearClassifier, check_weights};
use super::course::{FitEnd, FitProgress, OnProgress, Solution};
use super::joint::{self, JointProblem, Multiclass};
use super::lockstep::{side_by_side, solve_all};
use super::model::LinearModel;
use super::newton::Solver;
use super::problem::Problem;
use super::rows::Rows;
use super::space::{Intercept, Space};
use crate::data::labels::integers;
use crate::data::memory::{check_room, filled, reserved};
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
    /// Of the Newton steps, those that a GPU took.
    pub steps_on_gpu: u64,
    /// The multipliers, (outputs x rows), each from 0 to its cost. In one problem of all classes, the multiplier of class j
    /// and row i belongs to the violation of j in a row of another class; that of the own class is 0.
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
        check_classes(&classes)?;
        Ok(Self { rows: *rows, labels, classes, weights })
    }

    /// The number of decision values per row: 1 for two classes, otherwise one per class.
    pub(super) fn outputs(&self) -> usize {
        if self.classes.len() == 2 { 1 } else { self.classes.len() }
    }
}

/// Refuses a single class.
pub(super) fn check_classes(classes: &[i64]) -> Result<()> {
    if classes.len() < 2 {
        let got = classes.first().map_or("no rows".into(), |class| format!("only {class}"));
        return Err(Error::Labels { input: Input::Targets, expected: "at least two classes".into(), got });
    }
    Ok(())
}

/// The labels of finite rows.
pub(super) fn checked_labels(rows: &Rows<'_>, targets: Targets<'_>) -> Result<Vec<i64>> {
    rows.check()?;
    labels_of(rows, targets)
}

/// One label per row, whatever the rows hold.
pub(super) fn labels_of(rows: &Rows<'_>, targets: Targets<'_>) -> Result<Vec<i64>> {
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
        let [shift, scale] = classifier.scaling(&data.rows, kept)?;
        Ok(Self { classifier, data, kept, class_weights, shift, scale })
    }

    pub(super) fn classifier(&self) -> &LinearClassifier {
        self.classifier
    }

    pub(super) fn labels(&self) -> &[i64] {
        &self.data.labels
    }

    /// The number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.data.outputs()
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
            let expected = "at least two classes in rows with a weight above 0, for a free intercept".into();
            return Err(Error::Labels { input: Input::Targets, expected, got: "one".into() });
        }
        Ok(Sides { signs, weights })
    }

    pub(super) fn problem<'s>(&'s self, sides: &'s Sides, c: f64) -> Problem<'s> {
        let Sides { signs, weights } = sides;
        Problem { space: self.space(), signs, weights, c: c * self.share(), loss: self.classifier.loss }
    }

    /// Whether more than two classes are one problem.
    pub(super) fn is_joint(&self) -> bool {
        self.outputs() > 1 && self.classifier.multiclass != Multiclass::OneVsRest
    }

    /// How many times the problem of two classes costs what the binary one does: in one problem, each class has half of
    /// the binary problem's weights, and their penalty is half of its.
    pub(super) fn share(&self) -> f64 {
        if self.outputs() == 1 && self.classifier.multiclass != Multiclass::OneVsRest { 2.0 } else { 1.0 }
    }

    /// The certificate of what was asked for.
    pub(super) fn certificate(&self, of_binary: &Certificate) -> Certificate {
        let Certificate { primal, dual, gap, relative_gap } = *of_binary;
        let share = self.share();
        Certificate { primal: primal / share, dual: dual / share, gap: gap / share, relative_gap }
    }

    /// The classes and weights of rows, for one problem of all classes.
    pub(super) fn places(&self) -> Result<(Vec<u32>, Vec<f64>)> {
        let Labelled { rows, labels, classes, weights: of_rows } = self.data;
        let (mut own, mut weights) = (filled(0u32, rows.len())?, filled(0.0, rows.len())?);
        let mut totals = vec![0.0; classes.len()];
        for (row, label) in labels.iter().enumerate() {
            let place = classes.binary_search(label).unwrap_or(0);
            let is_kept = self.kept.is_none_or(|kept| kept[row]);
            let weight = self.class_weights[place] * of_rows.map_or(1.0, |weights| weights[row]);
            own[row] = place as u32;
            weights[row] = if is_kept { weight } else { 0.0 };
            totals[place] += weights[row] * self.classifier.c;
        }
        if totals.iter().all(|&total| total == 0.0) {
            return Err(Error::ZeroWeight { count: rows.len() as u64 });
        }
        if self.classifier.intercept == Intercept::Free && totals.contains(&0.0) {
            let expected = "rows of each class with a weight above 0, for a free intercept".into();
            return Err(Error::Labels { input: Input::Targets, expected, got: "a class without".into() });
        }
        Ok((own, weights))
    }

    pub(super) fn joint<'s>(&'s self, own: &'s [u32], weights: &'s [f64], c: f64) -> JointProblem<'s> {
        let bounds_sum = self.classifier.multiclass == Multiclass::CrammerSinger;
        JointProblem { space: self.space(), own, weights, c, classes: self.data.classes.len(), bounds_sum }
    }

    /// The model of solvers that have ended, one per output.
    pub(super) fn model_of(&self, solvers: &[Solver<'_>]) -> LinearModel {
        let mut model = self.empty_model();
        for solver in solvers {
            model.take(solver.best_weights(), &self.space());
            model.certificates.push(self.certificate(&solver.certificate()));
        }
        model
    }

    /// The model of the solution of all classes' problem.
    pub(super) fn joint_model_of(&self, solution: &Solution) -> LinearModel {
        let mut model = self.empty_model();
        let space = self.space();
        solution.w.chunks_exact(space.width()).for_each(|w| model.take(w, &space));
        model.certificates.push(solution.certificate);
        model
    }

    fn empty_model(&self) -> LinearModel {
        self.classifier.empty_model(&self.data.classes, &self.space())
    }
}

impl LinearClassifier {
    /// A model without outputs.
    pub(super) fn empty_model(&self, classes: &[i64], space: &Space<'_>) -> LinearModel {
        LinearModel {
            columns: space.matrix.columns,
            weights: Vec::new(),
            bias: Vec::new(),
            classes: classes.to_vec(),
            certificates: Vec::new(),
            loss: self.loss,
            multiclass: self.multiclass,
            intercept: self.intercept,
            c: self.c,
            shift: space.shift.to_vec(),
            scale: space.scale.to_vec(),
        }
    }
}

impl LinearModel {
    /// Adds the weights of an output, in the units that they were solved for.
    pub(super) fn take(&mut self, w: &[f64], space: &Space<'_>) {
        let (weights, bias) = space.in_stored_units(w);
        self.weights.extend(weights);
        self.bias.push(bias);
    }

    /// The weights of an output, in the units of a space.
    pub(super) fn in_solved_units(&self, output: usize, space: &Space<'_>) -> Vec<f64> {
        let stored = &self.weights[output * self.columns..(output + 1) * self.columns];
        space.in_solved_units(stored, self.bias[output])
    }
}

/// Fits a model on checked data.
pub(super) fn fit(
    classifier: &LinearClassifier,
    data: &Labelled<'_>,
    start: Option<&LinearModel>,
    mut on_gpu: Option<&mut OnGpu>,
    on_progress: &mut OnProgress<'_>,
) -> Result<LinearFit> {
    let prepared = Prepared::new(classifier, data, None)?;
    if let Some(start) = start {
        check_start(start, data.rows.columns(), &data.classes)?;
    }
    let (outputs, rows) = (prepared.outputs(), data.rows.len());
    check_room(outputs.saturating_mul(data.rows.columns()).saturating_mul(size_of::<f64>()))?;
    let mut fit = LinearFit {
        model: prepared.empty_model(),
        end: FitEnd::Converged,
        progress: FitProgress::NONE,
        support_vectors: 0,
        certifying: Duration::ZERO,
        steps_on_gpu: 0,
        multipliers: filled(0.0, outputs.saturating_mul(rows))?,
    };
    let in_solved_units = |model: &LinearModel, output: usize| model.in_solved_units(output, &prepared.space());
    if prepared.is_joint() {
        if let Some(on_gpu) = on_gpu {
            return Err(on_gpu.refuse_joint());
        }
        let (own, weights) = prepared.places()?;
        let problem = prepared.joint(&own, &weights, classifier.c);
        let start = match start {
            None => joint::Start::Multipliers(None),
            Some(start) => {
                joint::Start::Weights((0..outputs).flat_map(|output| in_solved_units(start, output)).collect())
            }
        };
        let (solution, _) = joint::solve(&problem, start, classifier.limits(), on_progress)?;
        fit.model = prepared.joint_model_of(&solution);
        fit.take_joint(solution);
        return Ok(fit);
    }
    let steps_before = on_gpu.as_deref().map_or(0, OnGpu::steps);
    let all: Vec<usize> = (0..outputs).collect();
    for outputs in all.chunks(side_by_side(rows, data.rows.columns())) {
        let sides = outputs.iter().map(|&output| prepared.sides(output)).collect::<Result<Vec<Sides>>>()?;
        let problems: Vec<Problem<'_>> = sides.iter().map(|sides| prepared.problem(sides, classifier.c)).collect();
        let starts = start.map(|start| outputs.iter().map(|&output| in_solved_units(start, output)).collect());
        let before = fit.progress;
        let told = &mut |now: FitProgress| on_progress(now.after(before));
        let on_gpu = on_gpu.as_deref_mut();
        let solvers = solve_all(&problems, starts, classifier.limits(), on_gpu, told)?;
        for (&output, solution) in outputs.iter().zip(solvers.into_iter().map(Solver::solution)) {
            fit.take(output, solution, &prepared);
        }
    }
    fit.steps_on_gpu = on_gpu.as_deref().map_or(0, OnGpu::steps) - steps_before;
    fit.count_support_vectors();
    Ok(fit)
}

/// Refuses a start with other features or classes.
pub(super) fn check_start(start: &LinearModel, columns: usize, classes: &[i64]) -> Result<()> {
    if start.columns != columns {
        let (expected, got) = (format!("(N, {}), as the model has them", start.columns), format!("(N, {columns})"));
        return Err(Error::Shape { input: Input::Features, expected, got });
    }
    if start.classes != classes {
        let words = |classes: &[i64]| {
            let first: Vec<String> = classes.iter().take(10).map(i64::to_string).collect();
            first.join(", ") + if classes.len() > 10 { ", ..." } else { "" }
        };
        let expected = format!("the labels {}, as the model has them", words(&start.classes));
        return Err(Error::Labels { input: Input::Targets, expected, got: words(classes) });
    }
    Ok(())
}

impl LinearFit {
    /// Adds the solution of an output's problem.
    fn take(&mut self, output: usize, solution: Solution, prepared: &Prepared<'_, '_>) {
        self.certifying += solution.certifying;
        self.model.take(&solution.w, &prepared.space());
        self.model.certificates.push(prepared.certificate(&solution.certificate));
        let multipliers = &mut self.multipliers[output * solution.multipliers.len()..];
        multipliers.iter_mut().zip(solution.multipliers).for_each(|(to, a)| *to = a / prepared.share());
        self.progress = solution.progress.after(self.progress);
        self.progress.gap = self.model.relative_gap();
        if self.end == FitEnd::Converged {
            self.end = solution.end;
        }
    }

    /// Takes the multipliers of the problem of all classes, and how it went.
    fn take_joint(&mut self, solution: Solution) {
        let (classes, rows) = (self.model.outputs(), solution.multipliers.len() / self.model.outputs());
        for (row, multipliers) in solution.multipliers.chunks_exact(classes).enumerate() {
            for (class, &m) in multipliers.iter().enumerate() {
                self.multipliers[class * rows + row] = m;
            }
        }
        (self.progress, self.end, self.certifying) = (solution.progress, solution.end, solution.certifying);
        self.progress.gap = self.model.relative_gap();
        self.count_support_vectors();
    }

    fn count_support_vectors(&mut self) {
        let rows = self.multipliers.len() / self.model.outputs().max(1);
        let is_one = |row: usize| self.multipliers[row..].iter().step_by(rows.max(1)).any(|&a| a > 0.0);
        self.support_vectors = (0..rows).filter(|&row| is_one(row)).count() as u64;
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
