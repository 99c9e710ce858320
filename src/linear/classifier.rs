//! Fitting a linear model: the options, the checks of the data, and one binary problem per class.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::certificate::Certificate;
use super::descent::descend;
use super::loss::LinearLoss;
use super::model::LinearModel;
use super::newton::{FitEnd, FitProgress, Limits, OnProgress, Solution, Start, solve};
use super::problem::{Intercept, Problem};
use super::rows::Rows;
use crate::cpu::linear::Matrix;
use crate::data::labels::integers;
use crate::data::memory::{filled, reserved};
use crate::data::tensor::Targets;
use crate::error::{Error, Input, Result};

/// Weights of classes: factors of C for the rows of a class. With three classes or more, each class is held against the
/// rest: then its weight is that of its own rows, and the rest have 1, as in LIBLINEAR.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ClassWeights {
    /// 1 for every class.
    #[default]
    Equal,
    /// N / (K * rows of the class), as scikit-learn's `balanced`.
    Balanced,
    /// One per class, in ascending order of the labels.
    Given(Vec<f64>),
}

/// How to fit a linear model: minimises 1/2 ||w||^2 + C * the sum of weight times loss over the rows.
///
/// ```
/// use maxmargin::linear::{LinearClassifier, LinearLoss, Rows};
///
/// let features = [0.0f32, 1.0, 1.0, 3.0, 4.0, 1.0, 5.0, 3.0];
/// let rows = Rows::new(&features, 2)?;
/// let fit = LinearClassifier::new(LinearLoss::Hinge).c(10.0).gap(1e-6).fit(&rows, &[0i64, 0, 1, 1])?;
/// assert_eq!(fit.model.labels(&rows)?, [0, 0, 1, 1]);
/// assert!(fit.model.relative_gap() <= 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearClassifier {
    loss: LinearLoss,
    c: f64,
    intercept: Intercept,
    standardize: bool,
    class_weights: ClassWeights,
    gap: f64,
    max_passes: f64,
}

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

/// Rows in the first parts that a large problem is started on: each a sixty-fourth and an eighth of all.
const STARTS: [usize; 2] = [64, 8];

/// A part must have this many rows per column, and this many rows, to say anything about the whole.
const START_ROWS_PER_COLUMN: usize = 10;
const START_ROWS: usize = 500;

/// The relative gap at which a part has said what it can.
const START_GAP: f64 = 1e-2;

impl LinearClassifier {
    /// C = 1, an intercept that is penalised as a feature of value 1, no standardisation, equal weights of classes, a
    /// relative gap of 1e-4, and at most 1000 passes.
    pub fn new(loss: LinearLoss) -> Self {
        Self {
            loss,
            c: 1.0,
            intercept: Intercept::default(),
            standardize: false,
            class_weights: ClassWeights::Equal,
            gap: 1e-4,
            max_passes: 1000.0,
        }
    }

    /// The cost factor of the losses, as in scikit-learn's LinearSVC and SVC.
    pub fn c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// What the constant in the decision value costs.
    pub fn intercept(mut self, intercept: Intercept) -> Self {
        self.intercept = intercept;
        self
    }

    /// Whether features are solved for with mean 0 and standard deviation 1 (that of all rows, as scikit-learn's
    /// StandardScaler has it; constant columns stay). The model's weights are for the features as they were given.
    pub fn standardize(mut self, standardize: bool) -> Self {
        self.standardize = standardize;
        self
    }

    /// The weights of the classes.
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.class_weights = weights;
        self
    }

    /// The relative gap to reach: the fit ends where (primal - dual) / primal is certified to be this or less.
    pub fn gap(mut self, gap: f64) -> Self {
        self.gap = gap;
        self
    }

    /// The most reads of all features, for each problem.
    pub fn max_passes(mut self, passes: f64) -> Self {
        self.max_passes = passes;
        self
    }

    /// Checks the options alone.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn check(&self) -> Result<()> {
        let positive = |option, x: f64| {
            let expected = "a positive, finite number".into();
            if x > 0.0 && x.is_finite() { Ok(()) } else { Err(Error::Option { option, expected, got: x.to_string() }) }
        };
        positive("c", self.c)?;
        positive("gap", self.gap)?;
        positive("max_passes", self.max_passes)?;
        if let LinearLoss::SmoothHinge(gamma) = self.loss {
            positive("gamma", gamma)?;
        }
        if let Intercept::Penalized(scale) = self.intercept {
            positive("intercept", scale)?;
        }
        Ok(())
    }

    /// Fits a model. Labels are any whole numbers; each that occurs is a class.
    ///
    /// # Errors
    /// As [`LinearClassifier::fit_with`].
    pub fn fit<'t>(&self, rows: &Rows<'_>, targets: impl Into<Targets<'t>>) -> Result<LinearFit> {
        self.fit_with(rows, targets, None, None, &mut |_| true)
    }

    /// Fits a model with one weight per row, from the weights of an earlier model, and with a function that is told
    /// where the solver stands and ends the fit by returning false.
    ///
    /// # Errors
    /// [`Error::Option`] for options without meaning; [`Error::Length`], [`Error::Shape`] for inputs that do not match;
    /// [`Error::Value`] for a feature that is not finite, a label with a fraction, a weight that is negative or not
    /// finite; [`Error::Shape`] for labels of one class only; [`Error::ZeroWeight`] where all weights are 0; [`Error::OutOfMemory`]. A fit that does not converge is no
    /// error: its [`LinearFit::end`] and certificate say so.
    pub fn fit_with<'t>(
        &self,
        rows: &Rows<'_>,
        targets: impl Into<Targets<'t>>,
        sample_weights: Option<&[f64]>,
        start: Option<&LinearModel>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<LinearFit> {
        self.check()?;
        let data = Labelled::new(rows, targets.into(), sample_weights)?;
        self.fit_kept(&data, None, start, on_progress)
    }

    /// As [`LinearClassifier::fit_with`], for checked data, on the rows that are kept.
    pub(super) fn fit_kept(
        &self,
        data: &Labelled<'_>,
        kept: Option<&[bool]>,
        start: Option<&LinearModel>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<LinearFit> {
        let Labelled { rows, labels, classes, .. } = data;
        let class_weights = self.weights_of(classes, labels, kept)?;
        if let Some(start) = start {
            check_start(start, rows, classes)?;
        }
        let [shift, scale] = self.scaling(rows, kept);
        let outputs = if classes.len() == 2 { 1 } else { classes.len() };
        let mut fit = LinearFit {
            model: LinearModel {
                columns: rows.columns(),
                weights: Vec::new(),
                bias: Vec::new(),
                classes: classes.clone(),
                certificates: Vec::new(),
                loss: self.loss,
                intercept: self.intercept,
                c: self.c,
                shift: shift.clone(),
                scale: scale.clone(),
            },
            end: FitEnd::Converged,
            progress: FitProgress { passes: 0.0, newton_steps: 0, gap: f64::INFINITY },
            support_vectors: 0,
            certifying: Duration::ZERO,
            multipliers: filled(0.0, outputs.saturating_mul(rows.len()))?,
        };
        let task = Task {
            classifier: self,
            data,
            kept,
            class_weights: &class_weights,
            scaling: [&shift, &scale],
            start,
            outputs,
        };
        for (output, solved) in task.solve_all(on_progress)?.into_iter().enumerate() {
            fit.take(output, solved);
        }
        let count = |row: usize| (0..outputs).any(|output| fit.multipliers[output * rows.len() + row] > 0.0);
        fit.support_vectors = (0..rows.len()).filter(|&row| count(row)).count() as u64;
        Ok(fit)
    }

    fn weights_of(&self, classes: &[i64], labels: &[i64], kept: Option<&[bool]>) -> Result<Vec<f64>> {
        match &self.class_weights {
            ClassWeights::Equal => Ok(vec![1.0; classes.len()]),
            ClassWeights::Balanced => {
                let mut counts = vec![0u64; classes.len()];
                for (row, label) in labels.iter().enumerate() {
                    if let Ok(place) = classes.binary_search(label)
                        && kept.is_none_or(|kept| kept[row])
                    {
                        counts[place] += 1;
                    }
                }
                let (rows, classes) = (counts.iter().sum::<u64>() as f64, classes.len() as f64);
                Ok(counts.into_iter().map(|count| rows / (classes * count.max(1) as f64)).collect())
            }
            ClassWeights::Given(weights) => {
                if weights.len() != classes.len() {
                    let (expected, got) = (classes.len(), weights.len());
                    return Err(Error::Length { input: Input::ClassWeights, expected, got, unit: "class" });
                }
                check_weights(Input::ClassWeights, weights)?;
                Ok(weights.clone())
            }
        }
    }

    /// What is taken from each column, and what the rest is multiplied by.
    fn scaling(&self, rows: &Rows<'_>, kept: Option<&[bool]>) -> [Vec<f64>; 2] {
        let columns = rows.columns();
        if !self.standardize {
            return [vec![0.0; columns], vec![1.0; columns]];
        }
        let count = kept.map_or(rows.len(), |kept| kept.iter().filter(|&&kept| kept).count()).max(1) as f64;
        let [sums, _] = rows.0.moments(&vec![0.0; columns], kept);
        let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let [_, squares] = rows.0.moments(&mean, kept);
        let scale = squares.iter().zip(&mean).map(|(square, mean)| {
            let deviation = (square / count).sqrt();
            // What rounding leaves of a constant column is no deviation.
            if deviation > 1e-14 * mean.abs() { 1.0 / deviation } else { 1.0 }
        });
        [mean.clone(), scale.collect()]
    }
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

fn check_weights(input: Input, weights: &[f64]) -> Result<()> {
    match weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
        None => Ok(()),
        Some(index) => Err(Error::Value {
            input,
            index: index as u64,
            value: weights[index].to_string(),
            expected: "a finite weight, 0 or more".into(),
        }),
    }
}

/// An output's weights as the problem has them.
fn in_problem_units(problem: &Problem<'_>, model: &LinearModel, output: usize) -> Vec<f64> {
    let stored = &model.weights[output * model.columns..(output + 1) * model.columns];
    let mut w: Vec<f64> = stored.iter().zip(problem.scale).map(|(w, scale)| w / scale).collect();
    let shifted: f64 = stored.iter().zip(problem.shift).map(|(w, shift)| w * shift).sum();
    let constant = problem.constant();
    w.push(if constant > 0.0 { (model.bias[output] + shifted) / constant } else { 0.0 });
    w
}

/// Solves a problem from the given weights, or from those that parts of its rows lead to.
fn solve_from_parts(
    problem: &Problem<'_>,
    start: Option<Vec<f64>>,
    before: FitProgress,
    limits: &mut Limits<'_>,
) -> Result<(Solution, FitProgress)> {
    if let Some(w) = start {
        return solve(problem, Start::Weights(w), before, limits);
    }
    if problem.rows() < START_ROWS_PER_COLUMN * problem.matrix.columns {
        let (max_passes, mut is_stopped) = (limits.max_passes, false);
        let mut on_look = |passes: f64, gap: f64| {
            let now = FitProgress { passes: before.passes + passes, newton_steps: before.newton_steps, gap };
            is_stopped = !(limits.on_progress)(now);
            !is_stopped && now.passes < max_passes
        };
        let (multipliers, passes) = descend(problem, limits.gap, &mut on_look)?;
        let progress = FitProgress { passes: before.passes + passes, ..before };
        return solve(problem, Start::Multipliers(multipliers), progress, limits);
    }
    let (mut start, mut progress) = (Start::Zero, before);
    for part in STARTS {
        let rows = problem.rows() / part;
        if rows < START_ROWS_PER_COLUMN * problem.matrix.columns || rows < START_ROWS {
            continue;
        }
        // One row of every `part`, at a place that varies.
        let list: Vec<u32> = (0..rows).map(|row| (row * part + row * 7919 % part) as u32).collect();
        let signs: Vec<i8> = list.iter().map(|&row| problem.signs[row as usize]).collect();
        let costs: Vec<f64> = list.iter().map(|&row| problem.costs[row as usize] * part as f64).collect();
        if !(signs.contains(&1) && signs.contains(&-1)) || costs.iter().all(|&cost| cost == 0.0) {
            continue;
        }
        let copied = problem.matrix.copied(&list)?;
        let matrix = Matrix { elements: copied.elements(), rows, ..problem.matrix };
        let part_problem = Problem { matrix, signs: &signs, costs: &costs, ..*problem };
        let (max_passes, mut is_stopped) = (limits.max_passes, false);
        let on_progress = &mut |now: FitProgress| {
            is_stopped = !(limits.on_progress)(FitProgress { gap: f64::INFINITY, ..now });
            !is_stopped
        };
        let mut of_part = Limits { gap: START_GAP.max(limits.gap), max_passes, on_progress };
        let (solution, after) = solve(&part_problem, start, progress, &mut of_part)?;
        // A pass over a part is that part of a pass.
        progress.passes += (after.passes - progress.passes) / part as f64;
        progress.newton_steps = after.newton_steps;
        start = Start::Weights(solution.w);
        if is_stopped {
            break;
        }
    }
    solve(problem, start, progress, limits)
}

/// What all outputs of a fit share.
struct Task<'a, 'd> {
    classifier: &'a LinearClassifier,
    data: &'a Labelled<'d>,
    kept: Option<&'a [bool]>,
    class_weights: &'a [f64],
    scaling: [&'a [f64]; 2],
    start: Option<&'a LinearModel>,
    outputs: usize,
}

/// An output's solution in the units of the features as they were given.
struct Solved {
    weights: Vec<f64>,
    bias: f64,
    solution: Solution,
    progress: FitProgress,
}

impl Task<'_, '_> {
    /// Solves all outputs: one after the other on all threads, or where there are enough of them one per thread, which saves
    /// the threads from waiting for each other. The bits are the same either way.
    fn solve_all(&self, on_progress: &mut OnProgress<'_>) -> Result<Vec<Solved>> {
        let threads = rayon::current_num_threads();
        let none = FitProgress { passes: 0.0, newton_steps: 0, gap: f64::INFINITY };
        let told = Mutex::new((vec![none; self.outputs], on_progress));
        let tell = |output: usize, now: FitProgress| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let (all, on_progress) = &mut *told;
            all[output] = now;
            on_progress(FitProgress {
                passes: all.iter().map(|of| of.passes).sum(),
                newton_steps: all.iter().map(|of| of.newton_steps).sum(),
                gap: now.gap,
            })
        };
        if threads == 1 || self.outputs < threads {
            return (0..self.outputs).map(|output| self.solve(output, &mut |now| tell(output, now))).collect();
        }
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let output = next.fetch_add(1, Ordering::Relaxed);
                if output >= self.outputs {
                    return;
                }
                let solved = self.solve(output, &mut |now| tell(output, now));
                results.lock().unwrap_or_else(PoisonError::into_inner).push((output, solved));
            }
        };
        std::thread::scope(|scope| {
            let worker = || match rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
                Ok(pool) => pool.install(work),
                // Only slower.
                Err(_) => work(),
            };
            // This thread has a pool of its own, in which it would wait for others: it works only where the system gives no
            // thread.
            let spawn = || std::thread::Builder::new().spawn_scoped(scope, worker).ok();
            if (0..threads).map_while(|_| spawn()).count() == 0 {
                work();
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(output, _)| *output);
        let mut all = results.into_iter().map(|(_, solved)| solved).collect::<Result<Vec<Solved>>>()?;
        all.iter_mut().for_each(|solved| solved.solution.certifying /= threads as u32);
        Ok(all)
    }

    fn solve(&self, output: usize, on_progress: &mut OnProgress<'_>) -> Result<Solved> {
        let Labelled { rows, labels, classes, weights } = self.data;
        let (mut signs, mut costs) = (filled(0i8, rows.len())?, filled(0.0, rows.len())?);
        let positive = if self.outputs == 1 { 1 } else { output };
        for (row, label) in labels.iter().enumerate() {
            let is_positive = *label == classes[positive];
            signs[row] = if is_positive { 1 } else { -1 };
            let of_class = match (is_positive, self.outputs) {
                (true, _) => self.class_weights[positive],
                (false, 1) => self.class_weights[0],
                // The rest.
                (false, _) => 1.0,
            };
            let of_row = weights.map_or(1.0, |weights| weights[row]);
            let is_kept = self.kept.is_none_or(|kept| kept[row]);
            costs[row] = if is_kept { self.classifier.c * of_class * of_row } else { 0.0 };
        }
        if costs.iter().all(|&cost| cost == 0.0) {
            return Err(Error::ZeroWeight { count: rows.len() as u64 });
        }
        let counts = |sign: i8| signs.iter().zip(&costs).any(|(&of_row, &cost)| of_row == sign && cost > 0.0);
        if self.classifier.intercept == Intercept::Free && !(counts(1) && counts(-1)) {
            // Nothing would bound the intercept.
            let expected = "labels of at least two classes in rows with a weight above 0, for a free intercept".into();
            return Err(Error::Shape { input: Input::Targets, expected, got: "one".into() });
        }
        let problem = Problem {
            matrix: rows.0,
            signs: &signs,
            costs: &costs,
            loss: self.classifier.loss,
            intercept: self.classifier.intercept,
            shift: self.scaling[0],
            scale: self.scaling[1],
        };
        let start = self.start.map(|model| in_problem_units(&problem, model, output));
        let before = FitProgress { passes: 0.0, newton_steps: 0, gap: f64::INFINITY };
        let mut limits = Limits { gap: self.classifier.gap, max_passes: self.classifier.max_passes, on_progress };
        let (solution, progress) = solve_from_parts(&problem, start, before, &mut limits)?;
        let (weights, bias) = problem.in_stored_units(&solution.w);
        Ok(Solved { weights, bias, solution, progress })
    }
}

impl LinearFit {
    /// Adds the solution of an output's problem.
    fn take(&mut self, output: usize, solved: Solved) {
        let Solved { weights, bias, solution, progress } = solved;
        let Solution { multipliers, certificate, end, certifying, .. } = solution;
        self.certifying += certifying;
        self.model.weights.extend(weights);
        self.model.bias.push(bias);
        self.model.certificates.push(certificate);
        self.multipliers[output * multipliers.len()..][..multipliers.len()].copy_from_slice(&multipliers);
        self.progress.passes += progress.passes;
        self.progress.newton_steps += progress.newton_steps;
        self.progress.gap = self.model.relative_gap();
        if self.end == FitEnd::Converged {
            self.end = end;
        }
    }

    /// The sums of the certificates of all outputs, and the largest relative gap.
    pub fn certificate(&self) -> Certificate {
        let sum = |of: fn(&Certificate) -> f64| self.model.certificates.iter().map(of).sum();
        Certificate {
            primal: sum(|c| c.primal),
            dual: sum(|c| c.dual),
            gap: sum(|c| c.gap),
            relative_gap: self.model.relative_gap(),
        }
    }
}
