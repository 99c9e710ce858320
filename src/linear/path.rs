//! Many models: a list of C, each fitted on parts of the data and judged on the rest.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::OnGpu;
use super::certificate::Certificate;
use super::classifier::{LinearClassifier, on_threads};
use super::course::{FitEnd, FitProgress, OnProgress};
use super::fit::{Labelled, LinearFit, Prepared, Sides, checked_labels, fit, sum_of};
use super::joint::{self, Multiclass};
use super::lockstep::{go_on_with, side_by_side, solve_all};
use super::model::LinearModel;
use super::problem::Problem;
use super::rows::Rows;
use crate::data::memory::filled;
use crate::data::tensor::Targets;
use crate::error::{Error, Result};

/// What models are judged by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Validation<'a> {
    /// The rows in this many parts, each of which is held out once. Every part has its share of each class; which rows it
    /// has follows from the seed.
    Folds {
        /// Number of parts, 2 at least.
        count: usize,
        /// Seed of the order in which rows are dealt to parts.
        seed: u64,
    },
    /// Rows and labels of their own.
    Rows(Rows<'a>, Targets<'a>),
}

/// One model of a path.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PathModel {
    /// Its C.
    pub c: f64,
    /// The part that was held out; `None` where rows of their own are the judge.
    pub fold: Option<usize>,
    /// The sums of its certificates, and their largest relative gap.
    pub certificate: Certificate,
    /// Why its fit ended.
    pub end: FitEnd,
    /// The mean loss of the rows that judge it: of several classes the sum over their problems.
    pub validation_loss: f64,
    /// The share of these rows with the right label.
    pub validation_accuracy: f64,
}

/// The models of all C, and the best C fitted again on all rows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinearPath {
    /// In the order of the parts, and for each in the order of C.
    pub models: Vec<PathModel>,
    /// The C with the highest mean accuracy; of equals the smallest.
    pub best_c: f64,
    /// The fit of the best C on all rows.
    pub fit: LinearFit,
}

impl LinearClassifier {
    /// Fits a model for each C and each part, the parts side by side, every one from the model of the C before it, and then
    /// the best C on all rows.
    /// Standardisation and balanced weights are those of the rows that a model is fitted on. Validation rows have weight 1.
    ///
    /// # Errors
    /// As [`LinearClassifier::fit_with`]; [`Error::Option`] for no C, fewer than two parts or more parts than the smallest
    /// class has rows.
    pub fn fit_path<'t>(
        &self,
        rows: &Rows<'_>,
        targets: impl Into<Targets<'t>>,
        sample_weights: Option<&[f64]>,
        cs: &[f64],
        validation: &Validation<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<LinearPath> {
        let targets = targets.into();
        on_threads(|| self.path(rows, targets, sample_weights, cs, validation, on_progress))
    }

    fn path(
        &self,
        rows: &Rows<'_>,
        targets: Targets<'_>,
        sample_weights: Option<&[f64]>,
        cs: &[f64],
        validation: &Validation<'_>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<LinearPath> {
        let mut cs = cs.to_vec();
        cs.sort_by(f64::total_cmp);
        cs.dedup();
        if cs.is_empty() {
            return Err(Error::Option { option: "c", expected: "at least one number".into(), got: "none".into() });
        }
        cs.iter().try_for_each(|&c| self.clone().c(c).check())?;
        let data = Labelled::new(rows, targets, sample_weights)?;
        let judge = match validation {
            Validation::Rows(rows, targets) => Some(Judge::new(rows, *targets, &data)?),
            Validation::Folds { .. } => None,
        };
        let folds = match *validation {
            Validation::Folds { count, seed } => Some(folds(&data, count, seed)?),
            Validation::Rows(..) => None,
        };
        let parts = folds.as_ref().map(|(_, parts)| parts.as_slice());
        let all: Vec<Option<usize>> = folds.as_ref().map_or(vec![None], |(count, _)| (0..*count).map(Some).collect());
        let outputs = data.outputs();
        let together = if outputs > 1 && self.multiclass != Multiclass::OneVsRest { outputs } else { 1 };
        let on_gpu = OnGpu::new(self, &data.rows)?;
        let (models, spent) = (Vec::new(), FitProgress::NONE);
        let mut path = Path { cs: &cs, parts, judge, on_gpu, models, spent, is_stopped: false };
        for folds in all.chunks((side_by_side(data.rows.len(), data.rows.columns()) / outputs / together).max(1)) {
            let kept = |fold: &Option<usize>| -> Option<Vec<bool>> {
                let (fold, parts) = fold.zip(parts)?;
                Some(parts.iter().map(|&part| part as usize != fold).collect())
            };
            let kept: Vec<Option<Vec<bool>>> = folds.iter().map(kept).collect();
            let prepared = kept.iter().map(|kept| Prepared::new(self, &data, kept.as_deref()));
            let prepared = prepared.collect::<Result<Vec<Prepared<'_, '_>>>>()?;
            if let (true, Some(on_gpu)) = (prepared[0].is_joint(), &path.on_gpu) {
                return Err(on_gpu.refuse_joint());
            }
            if prepared[0].is_joint() {
                for (&fold, prepared) in folds.iter().zip(&prepared) {
                    path.fit_joint(prepared, fold, on_progress)?;
                }
            } else {
                path.fit_side_by_side(&prepared, folds, on_progress)?;
            }
            if path.is_stopped {
                break;
            }
        }
        let Path { mut models, spent, mut on_gpu, .. } = path;
        // Solved side by side, told in the order of the parts.
        models.sort_by_key(|model| model.fold);
        let best_c = best(&models).unwrap_or(cs[0]);
        let told = &mut |now: FitProgress| on_progress(now.after(spent));
        let fit = fit(&self.clone().c(best_c), &data, None, on_gpu.as_mut(), told)?;
        Ok(LinearPath { models, best_c, fit })
    }
}

/// The fits of a path.
struct Path<'a> {
    cs: &'a [f64],
    /// The part of each row.
    parts: Option<&'a [u32]>,
    judge: Option<Judge<'a>>,
    on_gpu: Option<OnGpu>,
    models: Vec<PathModel>,
    spent: FitProgress,
    is_stopped: bool,
}

impl Path<'_> {
    /// Fits all C on the rows of several parts side by side.
    fn fit_side_by_side(
        &mut self,
        prepared: &[Prepared<'_, '_>],
        folds: &[Option<usize>],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let limits = prepared[0].classifier().limits();
        let outputs = prepared[0].outputs();
        let sides = prepared.iter().map(|prepared| (0..outputs).map(|output| prepared.sides(output)).collect());
        let sides = sides.collect::<Result<Vec<Vec<Sides>>>>()?;
        let problems: Vec<Problem<'_>> = prepared
            .iter()
            .zip(&sides)
            .flat_map(|(prepared, sides)| sides.iter().map(|sides| prepared.problem(sides, self.cs[0])))
            .collect();
        let mut solvers = Vec::new();
        for &c in self.cs {
            let (before, mut goes_on) = (self.spent, true);
            let mut told = |now: FitProgress| {
                goes_on = on_progress(now.after(before));
                goes_on
            };
            if solvers.is_empty() {
                solvers = solve_all(&problems, None, limits, self.on_gpu.as_mut(), &mut told)?;
            } else {
                let c = c * prepared[0].share();
                go_on_with(&mut solvers, c, limits, self.on_gpu.as_mut(), &mut told)?;
            }
            self.spent = solvers.iter().fold(before, |sum, solver| solver.course.progress.after(sum));
            for ((&fold, prepared), solvers) in folds.iter().zip(prepared).zip(solvers.chunks(outputs)) {
                let ends = solvers.iter().filter_map(|solver| solver.course.end);
                let end = ends.into_iter().find(|&end| end != FitEnd::Converged).unwrap_or(FitEnd::Converged);
                self.take(
                    (c, fold, end),
                    &prepared.model_of(solvers),
                    &|row, values| {
                        values.extend(solvers.iter().map(|solver| solver.decisions()[row]));
                    },
                    prepared.labels(),
                )?;
            }
            self.is_stopped = !goes_on;
            if self.is_stopped {
                break;
            }
        }
        Ok(())
    }

    /// Fits all C as one problem of all classes, on the rows of one part.
    fn fit_joint(
        &mut self,
        prepared: &Prepared<'_, '_>,
        fold: Option<usize>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<()> {
        let (own, weights) = prepared.places()?;
        let mut multipliers: Option<Vec<f64>> = None;
        let mut c_before = self.cs[0];
        for &c in self.cs {
            if self.is_stopped {
                break;
            }
            let (before, mut goes_on) = (self.spent, true);
            let mut told = |now: FitProgress| {
                goes_on = on_progress(now.after(before));
                goes_on
            };
            multipliers.iter_mut().flatten().for_each(|m| *m *= c / c_before);
            let (problem, start) = (prepared.joint(&own, &weights, c), joint::Start::Multipliers(multipliers.take()));
            let (solution, decisions) = joint::solve(&problem, start, prepared.classifier().limits(), &mut told)?;
            self.spent = solution.progress.after(before);
            let outputs = prepared.outputs();
            self.take(
                (c, fold, solution.end),
                &prepared.joint_model_of(&solution),
                &|row, values| {
                    values.extend_from_slice(&decisions[row * outputs..(row + 1) * outputs]);
                },
                prepared.labels(),
            )?;
            (multipliers, c_before) = (Some(solution.multipliers), c);
            self.is_stopped = !goes_on;
        }
        Ok(())
    }

    /// Takes a model, judged by rows of their own or by those of its part, whose decision values `values_of` appends.
    fn take(
        &mut self,
        (c, fold, end): (f64, Option<usize>, FitEnd),
        model: &LinearModel,
        values_of: &dyn Fn(usize, &mut Vec<f64>),
        labels: &[i64],
    ) -> Result<()> {
        let [validation_loss, validation_accuracy] = match (&self.judge, fold.zip(self.parts)) {
            (Some(judge), _) => judge.judge(model)?,
            (None, Some((fold, parts))) => {
                let held_out = (0..labels.len()).filter(|&row| parts[row] as usize == fold);
                mean_of(model, held_out, labels, values_of)
            }
            (None, None) => [f64::NAN; 2],
        };
        let certificate = sum_of(model.certificates());
        self.models.push(PathModel { c, fold, certificate, end, validation_loss, validation_accuracy });
        Ok(())
    }
}

/// The C with the highest mean accuracy over the parts that have a model of it; of equals the smallest.
fn best(models: &[PathModel]) -> Option<f64> {
    let mut cs: Vec<f64> = models.iter().map(|model| model.c).collect();
    cs.sort_by(f64::total_cmp);
    cs.dedup();
    // A path that was stopped has some C on fewer parts than others.
    let count = |c: f64| models.iter().filter(|model| model.c == c && model.end != FitEnd::Stopped).count();
    let most = cs.iter().map(|&c| count(c)).max()?;
    cs.retain(|&c| count(c) == most);
    let mean = |c: f64| {
        let of_c: Vec<f64> =
            models.iter().filter(|model| model.c == c).map(|model| model.validation_accuracy).collect();
        of_c.iter().sum::<f64>() / of_c.len() as f64
    };
    cs.into_iter()
        .fold(None, |best: Option<(f64, f64)>, c| match best {
            Some((_, highest)) if highest >= mean(c) => best,
            _ => Some((c, mean(c))),
        })
        .map(|(c, _)| c)
}

/// The part of every row, and the number of parts.
fn folds(data: &Labelled<'_>, count: usize, seed: u64) -> Result<(usize, Vec<u32>)> {
    let of_class = |class: i64| data.labels.iter().filter(|&&label| label == class).count();
    let smallest = data.classes.iter().map(|&class| of_class(class)).min().unwrap_or(0);
    if count < 2 || count > smallest {
        let expected = format!("2 to {smallest}, the rows of the smallest class");
        return Err(Error::Option { option: "folds", expected, got: count.to_string() });
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut parts = filled(0u32, data.labels.len())?;
    let mut next = 0;
    for &class in &data.classes {
        let mut rows: Vec<usize> = (0..data.labels.len()).filter(|&row| data.labels[row] == class).collect();
        rows.shuffle(&mut random);
        for row in rows {
            parts[row] = next;
            next = (next + 1) % count as u32;
        }
    }
    Ok((count, parts))
}

/// Rows and labels of their own, which models are judged by.
struct Judge<'a> {
    rows: Rows<'a>,
    labels: Vec<i64>,
}

impl<'a> Judge<'a> {
    fn new(rows: &Rows<'a>, targets: Targets<'_>, data: &Labelled<'_>) -> Result<Self> {
        let labels = checked_labels(rows, targets).map_err(Error::of_validation)?;
        if rows.columns() != data.rows.columns() {
            let (expected, got) = (data.rows.columns(), rows.columns());
            let (expected, got) = (format!("(N, {expected}), as the features"), format!("(N, {got})"));
            return Err(Error::Shape { input: crate::Input::ValidationFeatures, expected, got });
        }
        if let Some(index) = labels.iter().position(|label| data.classes.binary_search(label).is_err()) {
            return Err(Error::Value {
                input: crate::Input::ValidationTargets,
                index: index as u64,
                value: labels[index].to_string(),
                expected: "a label of the training data".into(),
            });
        }
        if rows.is_empty() {
            let expected = "at least one row to judge models by".into();
            return Err(Error::Shape { input: crate::Input::ValidationFeatures, expected, got: "none".into() });
        }
        Ok(Self { rows: *rows, labels })
    }

    /// The mean loss of a model, and its share of right labels.
    fn judge(&self, model: &LinearModel) -> Result<[f64; 2]> {
        let (all, outputs) = (model.decision_values(&self.rows)?, model.outputs());
        Ok(mean_of(model, 0..self.rows.len(), &self.labels, &|row, values| {
            values.extend_from_slice(&all[row * outputs..(row + 1) * outputs]);
        }))
    }
}

/// The mean loss, and the share of right labels, of rows whose decision values `values_of` appends to its list.
fn mean_of(
    model: &LinearModel,
    rows: impl Iterator<Item = usize>,
    labels: &[i64],
    values_of: &dyn Fn(usize, &mut Vec<f64>),
) -> [f64; 2] {
    let (mut loss, mut right, mut count, mut values) = (0.0, 0u64, 0u64, Vec::new());
    for row in rows {
        values.clear();
        values_of(row, &mut values);
        count += 1;
        right += u64::from(model.label_of(&values) == labels[row]);
        loss += model.loss_of(&values, labels[row]);
    }
    [loss / count as f64, right as f64 / count as f64]
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::linear::LinearLoss;

    #[test]
    fn a_path_judges_each_c_on_rows_that_its_model_has_not_seen() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (rows, columns) = (300, 4);
        let x: Vec<f32> = (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
        let noisy = |row: &[f32], noise: f32| row[0] + 0.5 * row[1] + noise > 0.0;
        let y: Vec<i64> =
            x.chunks_exact(columns).map(|row| i64::from(noisy(row, random.random_range(-0.7..0.7)))).collect();
        let features = Rows::new(&x, columns).unwrap();
        let classifier = LinearClassifier::new(LinearLoss::Hinge).gap(1e-6).standardize(true);
        let cs = [1.0, 0.001, 0.1];
        let validation = Validation::Folds { count: 5, seed: 3 };
        let path = classifier.fit_path(&features, &y, None, &cs, &validation, &mut |_| true).unwrap();
        assert_eq!(path.models.len(), 15);
        assert!(path.models.windows(2).all(|two| two[0].c < two[1].c || two[0].fold < two[1].fold));
        // Each model against one fitted on a copy of its rows alone.
        let data = Labelled::new(&features, (&y).into(), None).unwrap();
        let (_, parts) = folds(&data, 5, 3).unwrap();
        for model in &path.models {
            let of_part = |is_held_out: bool| -> (Vec<f32>, Vec<i64>) {
                let rows = (0..rows).filter(|&row| (Some(parts[row] as usize) == model.fold) == is_held_out);
                let rows: Vec<usize> = rows.collect();
                (
                    rows.iter().flat_map(|&row| x[row * columns..(row + 1) * columns].to_vec()).collect(),
                    rows.iter().map(|&row| y[row]).collect(),
                )
            };
            let ((x, y), (held_x, held_y)) = (of_part(false), of_part(true));
            assert!(held_y.len() == 60 && held_y.contains(&0) && held_y.contains(&1));
            let alone = classifier.clone().c(model.c).fit(&Rows::new(&x, columns).unwrap(), &y).unwrap();
            let primal = alone.certificate().primal;
            assert!((primal - model.certificate.primal).abs() <= 3e-6 * primal, "{primal} {model:?}");
            let labels = alone.model.labels(&Rows::new(&held_x, columns).unwrap()).unwrap();
            let right = labels.iter().zip(&held_y).filter(|(a, b)| a == b).count() as f64 / 60.0;
            assert!((right - model.validation_accuracy).abs() < 0.02, "{right} {model:?}");
        }
        let again = classifier.clone().c(path.best_c).fit(&features, &y).unwrap();
        assert_eq!(again.model, path.fit.model);
        // Rows of their own as the judge.
        let own = Validation::Rows(features, (&y).into());
        let path = classifier.fit_path(&features, &y, None, &cs, &own, &mut |_| true).unwrap();
        assert!(path.models.len() == 3 && path.models.iter().all(|model| model.fold.is_none()));
        for count in [0, 1, 1000] {
            let wrong = Validation::Folds { count, seed: 0 };
            assert!(classifier.fit_path(&features, &y, None, &cs, &wrong, &mut |_| true).is_err());
        }
    }
}
