//! Many models: a list of C, each fitted on parts of the data and judged on the rest.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::certificate::Certificate;
use super::classifier::{Labelled, LinearClassifier, LinearFit};
use super::model::LinearModel;
use super::newton::{FitEnd, FitProgress, OnProgress};
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
    /// Fits a model for each C and each part, every one from the model of the C before it, and then the best C on all rows.
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
        let mut cs = cs.to_vec();
        cs.sort_by(f64::total_cmp);
        cs.dedup();
        if cs.is_empty() {
            return Err(Error::Option { option: "c", expected: "at least one number".into(), got: "none".into() });
        }
        cs.iter().try_for_each(|&c| self.clone().c(c).check())?;
        let data = Labelled::new(rows, targets.into(), sample_weights)?;
        let judged = match validation {
            Validation::Rows(rows, targets) => Some(Judge::new(rows, *targets, &data)?),
            Validation::Folds { .. } => None,
        };
        let folds = match *validation {
            Validation::Folds { count, seed } => Some(folds(&data, count, seed)?),
            Validation::Rows(..) => None,
        };
        let mut models = Vec::new();
        let mut is_stopped = false;
        let mut spent = FitProgress { passes: 0.0, newton_steps: 0, gap: f64::INFINITY };
        for fold in 0..folds.as_ref().map_or(1, |(count, _)| *count) {
            let kept: Option<Vec<bool>> =
                folds.as_ref().map(|(_, parts)| parts.iter().map(|&part| part as usize != fold).collect());
            let mut before: Option<LinearModel> = None;
            for &c in &cs {
                if is_stopped {
                    break;
                }
                let told = &mut |now: FitProgress| {
                    let all = FitProgress {
                        passes: spent.passes + now.passes,
                        newton_steps: spent.newton_steps + now.newton_steps,
                        gap: now.gap,
                    };
                    is_stopped = !on_progress(all);
                    !is_stopped
                };
                let fit = self.clone().c(c).fit_kept(&data, kept.as_deref(), before.as_ref(), told)?;
                spent.passes += fit.progress.passes;
                spent.newton_steps += fit.progress.newton_steps;
                let (validation_loss, validation_accuracy) = match (&judged, &folds) {
                    (Some(judge), _) => judge.judge(&fit.model, |_| true)?,
                    (None, Some((_, parts))) => Judge { rows: data.rows, labels: &data.labels[..] }
                        .judge(&fit.model, |row| parts[row] as usize == fold)?,
                    (None, None) => (f64::NAN, f64::NAN),
                };
                models.push(PathModel {
                    c,
                    fold: folds.as_ref().map(|_| fold),
                    certificate: fit.certificate(),
                    end: fit.end,
                    validation_loss,
                    validation_accuracy,
                });
                before = Some(fit.model);
            }
        }
        let best_c = best(&models).unwrap_or(cs[0]);
        let fit = self.clone().c(best_c).fit_kept(&data, None, None, on_progress)?;
        Ok(LinearPath { models, best_c, fit })
    }
}

/// The C with the highest mean accuracy over the parts that have a model of it; of equals the smallest.
fn best(models: &[PathModel]) -> Option<f64> {
    let mut cs: Vec<f64> = models.iter().map(|model| model.c).collect();
    cs.sort_by(f64::total_cmp);
    cs.dedup();
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

/// Rows and labels that models are judged by.
struct Judge<'a, L> {
    rows: Rows<'a>,
    labels: L,
}

impl<'a> Judge<'a, Vec<i64>> {
    fn new(rows: &Rows<'a>, targets: Targets<'_>, data: &Labelled<'_>) -> Result<Self> {
        let labels = super::classifier::checked_labels(rows, targets).map_err(Error::of_validation)?;
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
            return Err(Error::EmptyMean { got: 0 });
        }
        Ok(Self { rows: *rows, labels })
    }
}

impl<L: AsRef<[i64]>> Judge<'_, L> {
    /// The mean loss, and the share of right labels, of the rows that count.
    fn judge(&self, model: &LinearModel, counts: impl Fn(usize) -> bool) -> Result<(f64, f64)> {
        let (values, labels) = (model.decision_values(&self.rows)?, self.labels.as_ref());
        let (mut loss, mut right, mut rows) = (0.0, 0u64, 0u64);
        for (row, values) in values.chunks_exact(model.outputs()).enumerate().filter(|(row, _)| counts(*row)) {
            rows += 1;
            right += u64::from(model.label_of(values) == labels[row]);
            loss += values
                .iter()
                .enumerate()
                .map(|(output, value)| {
                    let positive = if values.len() == 1 { 1 } else { output };
                    let sign = if labels[row] == model.classes()[positive] { 1.0 } else { -1.0 };
                    model.loss.value(1.0, 1.0 - sign * value)
                })
                .sum::<f64>();
        }
        Ok((loss / rows as f64, right as f64 / rows as f64))
    }
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
