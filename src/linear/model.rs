//! A fitted model: weights, decision values, labels, and what its certificate says about them.

use super::certificate::Certificate;
use super::joint::Multiclass;
use super::loss::LinearLoss;
use super::rows::Rows;
use super::space::Intercept;
use crate::data::memory::filled;
use crate::error::{Error, Input, Result};

/// A linear model of two or more classes.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel {
    pub(super) columns: usize,
    /// Outputs x columns, in the units of the features as they were given.
    pub(super) weights: Vec<f64>,
    pub(super) bias: Vec<f64>,
    pub(super) classes: Vec<i64>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) loss: LinearLoss,
    pub(super) multiclass: Multiclass,
    pub(super) intercept: Intercept,
    /// C, as the model was fitted with it.
    pub(super) c: f64,
    /// The features were solved for as (x - shift) * scale.
    pub(super) shift: Vec<f64>,
    pub(super) scale: Vec<f64>,
}

impl LinearModel {
    /// The loss that it was fitted with.
    pub fn loss(&self) -> LinearLoss {
        self.loss
    }

    /// How its classes were solved.
    pub fn multiclass(&self) -> Multiclass {
        self.multiclass
    }

    /// The number of decision values per row: 1 for two classes, otherwise one per class.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// The number of features.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The weights, (outputs x columns), row-major, in the units of the features as they were given.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The constant of each output.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The labels in ascending order. Of two, the larger is the positive one.
    pub fn classes(&self) -> &[i64] {
        &self.classes
    }

    /// The certificate of each output's problem, or of the one problem of all classes (Crammer-Singer, Weston-Watkins), in the units in which it was solved (those of standardised features,
    /// where these were asked for).
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The largest relative gap of the outputs.
    pub fn relative_gap(&self) -> f64 {
        self.certificates.iter().map(|certificate| certificate.relative_gap).fold(0.0, f64::max)
    }

    fn check_columns(&self, rows: &Rows<'_>) -> Result<()> {
        if rows.columns() == self.columns {
            return Ok(());
        }
        let (expected, got) =
            (format!("(N, {}), as the model has them", self.columns), format!("(N, {})", rows.columns()));
        Err(Error::Shape { input: Input::Features, expected, got })
    }

    /// The decision values, row-major (rows x outputs).
    ///
    /// # Errors
    /// [`Error::Shape`] for rows with another number of columns, [`Error::OutOfMemory`].
    pub fn decision_values(&self, rows: &Rows<'_>) -> Result<Vec<f64>> {
        self.check_columns(rows)?;
        let outputs = self.outputs();
        let mut values = filled(0.0, rows.len().saturating_mul(outputs))?;
        let vectors: Vec<&[f64]> = self.weights.chunks_exact(self.columns).collect();
        rows.0.products_by_row(&vectors, &mut values, &|_, values| {
            values.iter_mut().zip(&self.bias).for_each(|(value, bias)| *value += bias);
        });
        Ok(values)
    }

    /// The label of each row: of two the larger where the decision value is positive, of several that of the highest
    /// decision value, the first of equals.
    ///
    /// # Errors
    /// As [`LinearModel::decision_values`].
    pub fn labels(&self, rows: &Rows<'_>) -> Result<Vec<i64>> {
        let values = self.decision_values(rows)?;
        Ok(values.chunks_exact(self.outputs()).map(|values| self.label_of(values)).collect())
    }

    /// The label that a row's decision values give.
    pub fn label_of(&self, values: &[f64]) -> i64 {
        self.classes[self.class_of(values)]
    }

    /// The loss of a row with these decision values and this label, with C = 1: of several classes the sum over their
    /// problems, or the loss of their one problem.
    pub(super) fn loss_of(&self, values: &[f64], label: i64) -> f64 {
        if let [value] = values {
            let sign = if label == self.classes[1] { 1.0 } else { -1.0 };
            return self.loss.value(1.0, 1.0 - sign * value);
        }
        let Ok(own) = self.classes.binary_search(&label) else { return f64::NAN };
        let others = || (0..values.len()).filter(|&class| class != own);
        let violation = |class: usize| (1.0 + values[class] - values[own]).max(0.0);
        match self.multiclass {
            Multiclass::OneVsRest => {
                let rest: f64 = others().map(|class| self.loss.value(1.0, 1.0 + values[class])).sum();
                rest + self.loss.value(1.0, 1.0 - values[own])
            }
            Multiclass::CrammerSinger => others().map(violation).fold(0.0, f64::max),
            Multiclass::WestonWatkins => others().map(violation).sum(),
        }
    }

    /// The place of a row's class.
    fn class_of(&self, values: &[f64]) -> usize {
        match values {
            &[value] => usize::from(value > 0.0),
            values => {
                let last = values.len().min(self.classes.len());
                (1..last).fold(0, |best, class| if values[class] > values[best] { class } else { best })
            }
        }
    }

    /// Whether each row's label is certain: whether every optimum of the problem gives it the same label, however much
    /// this model falls short of it. A weight vector with the gap G lies within sqrt(2 G) of the optimum, so a decision
    /// value is off by that times the norm of its row at most.
    ///
    /// # Errors
    /// [`Error::Option`] for a model with a free intercept, which the gap does not bound; as
    /// [`LinearModel::decision_values`].
    pub fn certain(&self, rows: &Rows<'_>) -> Result<Vec<bool>> {
        let constant = match self.intercept {
            Intercept::None => 0.0,
            Intercept::Penalized(scale) => scale,
            Intercept::Free => {
                let (expected, got) = ("none or penalized, which the gap bounds".into(), "free".into());
                return Err(Error::Option { option: "intercept", expected, got });
            }
        };
        let values = self.decision_values(rows)?;
        // The gap of one problem of all classes is shared: the weights of two of them move apart by sqrt(2) times the distance
        // of all at most, and half of that is each one's.
        let share = match (self.multiclass, self.outputs()) {
            (Multiclass::OneVsRest, _) => 2.0,
            (_, 1) => 4.0,
            _ => 1.0,
        };
        let of_output = |output: usize| self.certificates.get(output).or(self.certificates.first());
        let radius = |output: usize| of_output(output).map_or(f64::INFINITY, |of| (share * of.gap).sqrt());
        let radii: Vec<f64> = (0..self.outputs()).map(radius).collect();
        let norms = rows.0.all_norms([&self.shift, &self.scale]);
        // Sums of this many terms in f64 are off by less than this share of the sum of their sizes.
        let rounding = f64::EPSILON * (self.columns + 4) as f64;
        let sizes: Vec<f64> = self
            .weights
            .chunks_exact(self.columns)
            .zip(&self.bias)
            .map(|(weights, bias)| weights.iter().map(|w| w * w).sum::<f64>().sqrt() + bias.abs())
            .collect();
        let raw_norms = rows.0.all_norms([&vec![0.0; self.columns], &vec![1.0; self.columns]]);
        let is_certain = |(row, values): (usize, &[f64])| {
            let norm = (norms[row] + constant * constant).sqrt();
            let slack = |output: usize| radii[output] * norm + rounding * sizes[output] * (1.0 + raw_norms[row].sqrt());
            match values {
                &[value] => value.abs() > slack(0),
                values => {
                    let best = self.class_of(values);
                    (0..values.len())
                        .all(|other| other == best || values[best] - values[other] > slack(best) + slack(other))
                }
            }
        };
        Ok(values.chunks_exact(self.outputs()).enumerate().map(is_certain).collect())
    }
}
