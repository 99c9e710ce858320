//! The fit of rows in parts: what it asks, and when it ends.

use nalgebra::DMatrix;

use super::PartSummary;
use super::answer::{Asked, DISTANCES, Question, What, distance_of};
use crate::cpu::linear::{Elements, Matrix};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::linear::certificate::{Certificate, certificate_of_sums};
use crate::linear::classifier::{LinearClassifier, scaling_by};
use crate::linear::course::{Course, FitEnd, FitProgress, OnProgress};
use crate::linear::fit::{check_classes, check_start};
use crate::linear::joint::Multiclass;
use crate::linear::model::LinearModel;
use crate::linear::newton::kappa_where;
use crate::linear::problem::Problem;
use crate::linear::space::{Intercept, Space};
use crate::linear::steps::{Descent, Followed, Slopes, Steps};

/// The most columns, with the intercept's, of a matrix that every part sends: 67 MB. With few rows per column, conjugate gradients of
/// more took hundreds of questions.
const MOST_FACTORED: usize = 4096;

/// A fit of rows in parts. The multipliers stay with the parts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PartsFit {
    /// The model. Where the fit did not converge, it is the best one found.
    pub model: LinearModel,
    /// Why the fit ended: of several problems the first that did not converge.
    pub end: FitEnd,
    /// Passes and Newton steps of all problems.
    pub progress: FitProgress,
    /// Of each output, the rows with a multiplier above 0.
    pub support_vectors: Vec<u64>,
    /// Questions that were asked.
    pub questions: u64,
}

/// What gives the sum of all parts' answers.
type Ask<'a> = dyn FnMut(&Question) -> Result<Vec<f64>> + 'a;

impl LinearClassifier {
    /// Fits a model to rows in parts, one class against the rest, to the certified gap that [`LinearClassifier::gap`] asks for.
    /// `summary` is that of all parts, merged. `ask` sends a question to all of them and returns the sum of their answers, element by
    /// element. `start` has weights to start from, such as those of a fit of some rows with a C that is as many times as large; it saves steps.
    ///
    /// # Errors
    /// [`Error::Option`] for what cannot be fitted in parts: a free intercept, several classes in one problem, a GPU; the errors
    /// of [`LinearClassifier::fit_with`], those of `ask`, and [`Error::Option`] for a sum of another length.
    pub fn fit_parts(
        &self,
        summary: &PartSummary,
        start: Option<&LinearModel>,
        ask: &mut Ask<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<PartsFit> {
        self.check()?;
        let classes = summary.classes();
        self.check_parts(&classes)?;
        let columns = summary.columns;
        if let Some(start) = start {
            check_start(start, columns, &classes)?;
        }
        let counts: Vec<u64> = summary.labels.values().map(|(count, _)| *count).collect();
        let class_weights = self.weights_by_counts(&counts)?;
        let mut questions = 0;
        let mut ask = |question: &Question| {
            questions += 1;
            ask(question)
        };
        let constant = if let Intercept::Penalized(scale) = self.intercept { scale } else { 0.0 };
        let mut asked = Asked {
            loss: self.loss,
            c: self.c,
            constant,
            shift: Vec::new(),
            scale: Vec::new(),
            positive: (0, 1.0),
            rest: 1.0,
        };
        let mut units = [vec![0.0; columns], vec![1.0; columns]];
        if self.is_standardized() {
            let count = summary.rows.max(1) as f64;
            units = scaling_by(count, &summary.first, summary.is_sparse, &mut |about| {
                let question = Question { problem: asked.clone(), what: What::Moments(about.to_vec()) };
                let mut sums = checked(ask(&question)?, 2 * columns)?;
                let squares = sums.split_off(columns);
                Ok([sums, squares])
            })?;
            [asked.shift, asked.scale] = units.clone();
        }
        let [shift, scale] = &units;
        let matrix = Matrix { elements: Elements::F64(&[]), columns, rows: 0 };
        let space = Space { matrix, intercept: self.intercept, shift, scale };
        let mut fit = PartsFit {
            model: self.empty_model(&classes, &space),
            end: FitEnd::Converged,
            progress: FitProgress::NONE,
            support_vectors: Vec::new(),
            questions: 0,
        };
        let outputs = if classes.len() == 2 { 1 } else { classes.len() };
        for output in 0..outputs {
            let place = if outputs == 1 { 1 } else { output };
            asked.positive = (classes[place], class_weights[place]);
            asked.rest = if outputs == 1 { class_weights[0] } else { 1.0 };
            let weight_of = |label: &i64| if *label == asked.positive.0 { asked.positive.1 } else { asked.rest };
            if summary.labels.iter().all(|(label, (_, sum))| sum * weight_of(label) * self.c == 0.0) {
                return Err(Error::ZeroWeight { count: summary.rows });
            }
            let problem = Problem { space, signs: &[], weights: &[], c: self.c, loss: self.loss };
            let start = start.map(|start| start.in_solved_units(output, &space));
            let mut parts = Parts { asked: &asked, ask: &mut ask, kappa: f64::NAN, keeps: false, width: columns + 1 };
            let before = fit.progress;
            let mut told = |now: FitProgress| on_progress(now.after(before));
            let solved = self.solve(&problem, summary.rows, start, &mut parts, &mut told)?;
            fit.progress = solved.progress.after(fit.progress);
            fit.model.take(&solved.w, &space);
            fit.model.certificates.push(solved.certificate);
            fit.support_vectors.push(solved.support_vectors);
            if fit.end == FitEnd::Converged {
                fit.end = solved.end;
            }
        }
        fit.progress.gap = fit.model.relative_gap();
        fit.questions = questions;
        Ok(fit)
    }

    /// Refuses what cannot be fitted in parts.
    fn check_parts(&self, classes: &[i64]) -> Result<()> {
        let refuse = |option, expected: &str, got: &str| {
            Err(Error::Option { option, expected: format!("{expected}, for rows in parts"), got: got.into() })
        };
        check_classes(classes)?;
        if self.intercept == Intercept::Free {
            return refuse("intercept", "none or a penalized one", "free");
        }
        if self.multiclass != Multiclass::OneVsRest {
            return refuse("multiclass", "one-vs-rest", "one problem of all classes");
        }
        if self.device != Device::Cpu {
            return refuse("device", "the CPU", self.device.name());
        }
        Ok(())
    }

    fn solve(
        &self,
        problem: &Problem<'_>,
        rows: u64,
        start: Option<Vec<f64>>,
        parts: &mut Parts<'_, '_>,
        on_progress: &mut dyn FnMut(FitProgress) -> bool,
    ) -> Result<Solved> {
        let (rows, width) = (rows.max(1) as f64, problem.space.width());
        let slope = problem.loss.slope();
        let is_half = start.is_some() && slope.is_none();
        let w = start.unwrap_or_else(|| vec![0.0; width]);
        let mut course = Course::new(self.limits(), FitProgress::NONE);
        let kappa = match slope {
            Some(slope) => slope,
            None if is_half => {
                course.progress.passes += 1.0;
                parts.kappa_at(&w, rows, problem.space.matrix.columns)?
            }
            None => 1.0,
        };
        let followed = parts.begin(&w, kappa, is_half)?;
        course.progress.passes += 1.0;
        let (best_w, has_multipliers) = (None, false);
        let mut descent = Descent { problem, rows, w, kappa, followed, course, best_w, has_multipliers };
        loop {
            descent.run(parts, &mut |course| {
                if !on_progress(course.progress) {
                    course.end = Some(FitEnd::Stopped);
                }
                true
            })?;
            // It also ends where numbers allow no further step.
            let is_due = descent.course.is_due();
            let w = descent.best_w.clone().unwrap_or_else(|| descent.w.clone());
            let (certificate, support_vectors) = parts.certify(problem, &w)?;
            descent.course.progress.passes += 1.0;
            descent.course.takes(&certificate);
            if !is_due {
                descent.course.end = descent.course.end.or(Some(FitEnd::Precision));
            }
            if let Some(end) = descent.course.end {
                let progress = FitProgress { gap: certificate.relative_gap, ..descent.course.progress };
                return Ok(Solved { w, certificate, end, progress, support_vectors });
            }
            descent.followed = parts.measure(&descent.w, descent.kappa)?;
            descent.course.progress.passes += 1.0;
        }
    }
}

/// A solved problem.
struct Solved {
    w: Vec<f64>,
    certificate: Certificate,
    end: FitEnd,
    progress: FitProgress,
    support_vectors: u64,
}

/// The parts as a solver sees them.
struct Parts<'a, 'f> {
    asked: &'a Asked,
    ask: &'a mut (dyn FnMut(&Question) -> Result<Vec<f64>> + 'f),
    /// That of the multipliers that the parts have.
    kappa: f64,
    /// Whether these are to be kept, which the next question says that replaces them.
    keeps: bool,
    width: usize,
}

impl Parts<'_, '_> {
    fn sums(&mut self, what: What, expected: usize) -> Result<Vec<f64>> {
        checked((self.ask)(&Question { problem: self.asked.clone(), what })?, expected)
    }

    fn followed(&mut self, what: What, kappa: f64) -> Result<Followed> {
        let sums = self.sums(what, 5 + self.width)?;
        (self.kappa, self.keeps) = (kappa, false);
        let (&[losses, duals, moved, inside, above], image) = sums.split_first_chunk().unwrap_or((&[0.0; 5], &[]));
        Ok(Followed { sums: [losses, duals, moved], inside, above, image: image.to_vec() })
    }

    fn begin(&mut self, w: &[f64], kappa: f64, is_half: bool) -> Result<Followed> {
        self.followed(What::Begin { w: w.to_vec(), kappa, is_half }, kappa)
    }

    fn measure(&mut self, w: &[f64], kappa: f64) -> Result<Followed> {
        let keeps = self.keeps.then_some(self.kappa);
        self.followed(What::Measure { w: w.to_vec(), kappa, keeps }, kappa)
    }

    /// The first kappa of the hinge from these weights.
    fn kappa_at(&mut self, w: &[f64], rows: f64, columns: usize) -> Result<f64> {
        let counts = self.sums(What::Distances(w.to_vec()), DISTANCES)?;
        Ok(kappa_where(rows, columns, |wanted| {
            let mut below = 0.0;
            let reached = counts.iter().position(|count| {
                below += count;
                below >= wanted
            });
            distance_of(reached.unwrap_or(DISTANCES - 1))
        }))
    }

    fn certify(&mut self, problem: &Problem<'_>, w: &[f64]) -> Result<(Certificate, u64)> {
        let keeps = self.keeps.then_some(self.kappa);
        let sums = self.sums(What::Certify { w: w.to_vec(), keeps }, 3 + self.width)?;
        self.keeps = false;
        let certificate = certificate_of_sums(problem, w, &sums);
        let certificate = certificate.unwrap_or(Certificate::new(f64::MAX, f64::MAX));
        Ok((certificate, sums.last().copied().unwrap_or(0.0) as u64))
    }
}

impl Steps for Parts<'_, '_> {
    fn follow(&mut self, step: f64, kappa: f64, hardens: bool) -> Result<Followed> {
        self.followed(What::Follow { step, before: self.kappa, kappa, hardens, keeps: self.keeps }, kappa)
    }

    fn slopes(&mut self, direction: Option<&[f64]>, kappa: f64, steps: [f64; 4]) -> Result<Slopes> {
        let sums = self.sums(What::Slopes { direction: direction.map(<[f64]>::to_vec), kappa, steps }, 8)?;
        Ok(std::array::from_fn(|place| [sums[2 * place], sums[2 * place + 1]]))
    }

    fn gram(&mut self, is_exact: bool) -> Result<DMatrix<f64>> {
        let (width, kappa) = (self.width, self.kappa);
        let mut sums = self.sums(What::Gram { kappa, is_exact }, width * (width + 1) / 2)?.into_iter();
        let mut lower = DMatrix::zeros(width, width);
        for row in 0..width {
            for (column, x) in sums.by_ref().take(row + 1).enumerate() {
                lower[(row, column)] = x;
            }
        }
        Ok(lower)
    }

    fn most_factored(&self) -> usize {
        MOST_FACTORED
    }

    fn is_f64(&self) -> bool {
        true
    }

    fn product(&mut self, vector: &[f64]) -> Result<Vec<f64>> {
        let (width, kappa) = (self.width, self.kappa);
        self.sums(What::Product { kappa, vector: vector.to_vec() }, width)
    }

    fn keep(&mut self) -> Result<()> {
        self.keeps = true;
        Ok(())
    }
}

/// The sums, if they are so many.
fn checked(sums: Vec<f64>, expected: usize) -> Result<Vec<f64>> {
    if sums.len() == expected {
        return Ok(sums);
    }
    let (expected, got) = (format!("{expected} numbers"), sums.len().to_string());
    Err(Error::Option { option: "sum of answers", expected, got })
}
