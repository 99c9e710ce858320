//! Questions, and the answers of a part.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::PartSummary;
use super::summary::overflows;
use crate::data::memory::{filled, reserved};
use crate::data::tensor::Targets;
use crate::error::{Error, Input, Result};
use crate::linear::certificate::sums_of_certificate;
use crate::linear::classifier::{check_weights, on_threads};
use crate::linear::fit::labels_of;
use crate::linear::hessian::add_gram;
use crate::linear::loss::LinearLoss;
use crate::linear::problem::Problem;
use crate::linear::rows::Rows;
use crate::linear::space::{Intercept, Space, sums};

/// What a fit asks of every part of its rows. It is the same for all; serde makes text of it that keeps every bit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    pub(super) problem: Asked,
    pub(super) what: What,
}

/// The problem that a question belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) loss: LinearLoss,
    pub(super) c: f64,
    /// The constant feature of a penalised intercept; 0 for none.
    pub(super) constant: f64,
    /// Empty where features are not standardised.
    pub(super) shift: Vec<f64>,
    pub(super) scale: Vec<f64>,
    /// The label that counts as +1, and its weight.
    pub(super) positive: (i64, f64),
    /// The weight of all other labels.
    pub(super) rest: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum What {
    /// The sums of elements and of squares about these numbers, per column.
    Moments(Vec<f64>),
    /// How many rows are how far from where their loss bends, at these weights.
    Distances(Vec<f64>),
    /// A start at these weights, with the hinge's multipliers at 0 or at half their caps.
    Begin { w: Vec<f64>, kappa: f64, is_half: bool },
    /// As [`What::Follow`] with step 0, from violations that are computed anew.
    Measure { w: Vec<f64>, kappa: f64, keeps: Option<f64> },
    /// See [`crate::linear::steps::Steps::follow`]. `before` is the kappa of the multipliers so far, `keeps` whether a copy of these is kept.
    Follow { step: f64, before: f64, kappa: f64, hardens: bool, keeps: bool },
    /// See [`crate::linear::steps::Steps::slopes`].
    Slopes { direction: Option<Vec<f64>>, kappa: f64, steps: [f64; 4] },
    /// The lower half of the sum of weight times x x' over the rows inside their bounds, row by row.
    Gram { kappa: f64, is_exact: bool },
    /// The sum of weight times x (x v) over these rows.
    Product { kappa: f64, vector: Vec<f64> },
    /// What the rows add to the certificate of these weights and the multipliers that were kept, with the number of those above 0.
    Certify { w: Vec<f64>, keeps: Option<f64> },
}

/// The answer of a part.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Sums over the part's rows: those of several parts are added element by element.
    pub sums: Vec<f64>,
    /// The part's new state; `None` where it stays as it is.
    pub state: Option<Vec<f64>>,
}

/// Distances of a start are counted in steps of the fourth root of 2, from the least one on.
pub(super) const DISTANCES: usize = 160;
const LEAST_DISTANCE: f64 = 1e-9;

/// The distance at the end of such a step.
pub(super) fn distance_of(place: usize) -> f64 {
    LEAST_DISTANCE * 2f64.powf(0.25 * place as f64)
}

/// One part of the rows of a fit.
pub struct RowPart<'a> {
    rows: Rows<'a>,
    labels: Vec<i64>,
    weights: Option<&'a [f64]>,
}

impl<'a> RowPart<'a> {
    /// Rows with their labels and, where there are any, one weight per row.
    ///
    /// # Errors
    /// [`Error::Length`] for inputs that do not match, [`Error::Value`] for a label with a fraction.
    pub fn new<'t>(rows: Rows<'a>, targets: impl Into<Targets<'t>>, sample_weights: Option<&'a [f64]>) -> Result<Self> {
        let labels = labels_of(&rows, targets.into())?;
        if let Some(weights) = sample_weights
            && weights.len() != rows.len()
        {
            let (input, expected, got) = (Input::SampleWeights, rows.len(), weights.len());
            return Err(Error::Length { input, expected, got, unit: "row of features" });
        }
        Ok(Self { rows, labels, weights: sample_weights })
    }

    /// What a fit must know of it before its first question. All features and weights are checked.
    ///
    /// # Errors
    /// [`Error::Value`] for a feature that is not finite, or a weight that is negative or not finite; [`Error::Option`] for weights whose
    /// sum is not.
    pub fn summary(&self) -> Result<PartSummary> {
        self.rows.check()?;
        if let Some(weights) = self.weights {
            check_weights(Input::SampleWeights, weights)?;
        }
        let matrix = &self.rows.0;
        let mut first = Vec::new();
        if !self.rows.is_empty() {
            first = vec![0.0; matrix.columns];
            let units = [&vec![0.0; matrix.columns][..], &vec![1.0; matrix.columns]];
            matrix.write_row((0, 1.0), units, &mut Vec::new(), &mut first);
        }
        let mut labels = std::collections::BTreeMap::new();
        for (row, &label) in self.labels.iter().enumerate() {
            let (count, weight) = labels.entry(label).or_insert((0u64, 0.0));
            *count += 1;
            *weight += self.weights.map_or(1.0, |weights| weights[row]);
        }
        if let Some((_, weight)) = labels.values().find(|(_, weight): &&(u64, f64)| !weight.is_finite()) {
            return Err(overflows(*weight));
        }
        Ok(PartSummary {
            columns: matrix.columns,
            rows: self.rows.len() as u64,
            labels,
            first,
            is_sparse: matrix.sparse().is_some(),
        })
    }

    /// The answer to a question, from the state that the part's answer before it left; empty before the first.
    ///
    /// # Errors
    /// [`Error::Option`] for a question or a state of other rows, and [`Error::OutOfMemory`].
    pub fn answer(&self, question: &Question, state: &[f64]) -> Result<Answer> {
        on_threads(|| self.answered(question, state))
    }

    fn answered(&self, question: &Question, state: &[f64]) -> Result<Answer> {
        let (asked, matrix) = (&question.problem, self.rows.0);
        let columns = matrix.columns;
        let misfit = |what: &'static str, expected: usize, got: usize| {
            Err(Error::Option { option: what, expected: format!("{expected} numbers"), got: got.to_string() })
        };
        let (zeros, ones);
        let (shift, scale) = if asked.shift.is_empty() && asked.scale.is_empty() {
            (zeros, ones) = (vec![0.0; columns], vec![1.0; columns]);
            (&zeros, &ones)
        } else {
            (&asked.shift, &asked.scale)
        };
        if shift.len() != columns || scale.len() != columns {
            return misfit("question of a part", columns, shift.len());
        }
        if let What::Moments(about) = &question.what {
            if about.len() != columns {
                return misfit("question of a part", columns, about.len());
            }
            return Ok(Answer { sums: matrix.moments(about, None).concat(), state: None });
        }
        let vector = question.what.vector();
        if let Some(vector) = vector
            && vector.len() != columns + 1
        {
            return misfit("question of a part", columns + 1, vector.len());
        }
        let intercept = if asked.constant > 0.0 { Intercept::Penalized(asked.constant) } else { Intercept::None };
        let (mut signs, mut weights) = (reserved(self.labels.len())?, reserved(self.labels.len())?);
        signs.extend(self.labels.iter().map(|&label| if label == asked.positive.0 { 1i8 } else { -1 }));
        weights.extend(signs.iter().enumerate().map(|(row, &sign)| {
            let of_class = if sign > 0 { asked.positive.1 } else { asked.rest };
            of_class * self.weights.map_or(1.0, |weights| weights[row])
        }));
        let problem = Problem {
            space: Space { matrix, intercept, shift, scale },
            signs: &signs,
            weights: &weights,
            // Multipliers are in units of C.
            c: 1.0,
            loss: asked.loss,
        };
        let needs_state = !matches!(question.what, What::Distances(_) | What::Begin { .. });
        let rows = self.rows.len();
        if needs_state && state.len() != 4 * rows {
            return misfit("state of a part", 4 * rows, state.len());
        }
        Part { problem, rows, width: columns + 1, c: asked.c }.answer(&question.what, state)
    }
}

impl What {
    /// The vector of weights in it, whose length must fit.
    fn vector(&self) -> Option<&Vec<f64>> {
        match self {
            Self::Distances(w) | Self::Begin { w, .. } | Self::Measure { w, .. } | Self::Certify { w, .. } => Some(w),
            Self::Slopes { direction, .. } => direction.as_ref(),
            Self::Product { vector, .. } => Some(vector),
            Self::Moments(_) | Self::Follow { .. } | Self::Gram { .. } => None,
        }
    }
}

/// A part with a problem.
struct Part<'p> {
    problem: Problem<'p>,
    rows: usize,
    width: usize,
    c: f64,
}

/// The numbers of a part's rows, one array after the other: the multipliers from which new ones grow, the violations, what these change by along the
/// direction, and the multipliers that were kept.
struct State<'s> {
    base: &'s [f64],
    z: &'s [f64],
    dz: &'s [f64],
    kept: &'s [f64],
}

impl<'s> State<'s> {
    fn of(numbers: &'s [f64], rows: usize) -> Self {
        let part = |place: usize| numbers.get(place * rows..(place + 1) * rows).unwrap_or_default();
        Self { base: part(0), z: part(1), dz: part(2), kept: part(3) }
    }
}

impl Part<'_> {
    fn answer(&self, what: &What, numbers: &[f64]) -> Result<Answer> {
        let state = State::of(numbers, self.rows);
        let only = |sums: Vec<f64>| Ok(Answer { sums, state: None });
        match what {
            What::Moments(_) => only(Vec::new()),
            What::Distances(w) => {
                let mut counts = vec![0.0; DISTANCES];
                for z in self.violations(w, 1.0)? {
                    let place = (4.0 * (z.abs().max(LEAST_DISTANCE) / LEAST_DISTANCE).log2()).ceil();
                    counts[(place as usize).min(DISTANCES - 1)] += 1.0;
                }
                only(counts)
            }
            What::Begin { w, kappa, is_half } => {
                let mut base = filled(0.0, self.rows)?;
                if *is_half {
                    base.iter_mut().zip(self.problem.weights).for_each(|(base, weight)| *base = 0.5 * weight);
                }
                let (z, none) = (self.violations(w, 1.0)?, filled(0.0, self.rows)?);
                self.followed([&base, &z, &none, &none], *kappa)
            }
            What::Measure { w, kappa, keeps } => {
                let kept = self.kept(&state, *keeps)?;
                let z = self.violations(w, 1.0)?;
                self.followed([state.base, &z, state.dz, kept.as_deref().unwrap_or(state.kept)], *kappa)
            }
            What::Follow { step, before, kappa, hardens, keeps } => {
                let kept = self.kept(&state, keeps.then_some(*before))?;
                let hardened = if *hardens { Some(self.multipliers(&state, *before)?) } else { None };
                let mut z = reserved(self.rows)?;
                z.extend(state.z.iter().zip(state.dz).map(|(z, dz)| z + step * dz));
                let base = hardened.as_deref().unwrap_or(state.base);
                self.followed([base, &z, state.dz, kept.as_deref().unwrap_or(state.kept)], *kappa)
            }
            What::Slopes { direction: None, kappa, steps } => only(self.slopes(&state, *kappa, steps)),
            What::Slopes { direction: Some(direction), kappa, steps } => {
                let dz = self.violations(direction, 0.0)?;
                let moved = State { dz: &dz, ..state };
                let sums = self.slopes(&moved, *kappa, steps);
                Ok(Answer { sums, state: Some(self.joined([moved.base, moved.z, &dz, moved.kept])?) })
            }
            What::Gram { kappa, is_exact } => {
                let mut lower = DMatrix::zeros(self.width, self.width);
                add_gram(&self.problem, &self.inside(&state, *kappa), 1.0, *is_exact, &mut lower)?;
                let mut sums = reserved(self.width * (self.width + 1) / 2)?;
                for row in 0..self.width {
                    sums.extend((0..=row).map(|column| lower[(row, column)]));
                }
                only(sums)
            }
            What::Product { kappa, vector } => {
                let space = &self.problem.space;
                let (stored, offset) = space.in_stored_units(vector);
                let inside = self.inside(&state, *kappa);
                let list: Vec<(u32, f64)> =
                    inside.into_iter().map(|row| (row, self.problem.weights[row as usize])).collect();
                let mut of_stored = vec![0.0; self.width - 1];
                let total = space.matrix.add_products(&list, &stored, offset, &mut of_stored);
                let mut sums = vec![0.0; self.width];
                space.add_stored(&of_stored, total, &mut sums);
                only(sums)
            }
            What::Certify { w, keeps } => {
                let new = self.kept(&state, *keeps)?;
                let kept = new.as_deref().unwrap_or(state.kept);
                let problem = Problem { c: self.c, ..self.problem };
                let mut multipliers = reserved(self.rows)?;
                multipliers.extend(
                    kept.iter()
                        .zip(self.problem.weights)
                        .map(|(a, &weight)| (self.c * a).clamp(0.0, problem.loss.cap(self.c * weight))),
                );
                let support = multipliers.iter().filter(|&&a| a > 0.0).count();
                let mut sums = sums_of_certificate(&problem, w, &multipliers)?;
                sums.push(support as f64);
                let state = match new {
                    Some(kept) => Some(self.joined([state.base, state.z, state.dz, &kept])?),
                    None => None,
                };
                Ok(Answer { sums, state })
            }
        }
    }

    /// base - y (x w) of all rows.
    fn violations(&self, w: &[f64], base: f64) -> Result<Vec<f64>> {
        let (vector, offset) = self.problem.space.in_stored_units(w);
        let mut z = filled(0.0, self.rows)?;
        let signs = self.problem.signs;
        self.problem.space.matrix.map_products(&[&vector], &mut [&mut z], &|_, rows, products| {
            for (product, &sign) in products.iter_mut().zip(&signs[rows]) {
                *product = base - f64::from(sign) * (*product + offset);
            }
        });
        Ok(z)
    }

    /// The multiplier of a row before it is clipped, and its bound.
    fn unclipped(&self, state: &State<'_>, kappa: f64, row: usize, z: f64) -> (f64, f64) {
        let weight = self.problem.weights[row];
        let base = if self.problem.loss.slope().is_none() { state.base[row] } else { 0.0 };
        (base + kappa * weight * z, self.problem.loss.cap(weight))
    }

    fn multipliers(&self, state: &State<'_>, kappa: f64) -> Result<Vec<f64>> {
        let mut all = reserved(self.rows)?;
        all.extend((0..self.rows).map(|row| {
            let (a, cap) = self.unclipped(state, kappa, row, state.z[row]);
            a.clamp(0.0, cap)
        }));
        Ok(all)
    }

    /// The multipliers so far, where they are to be kept; their kappa says so.
    fn kept(&self, state: &State<'_>, kappa: Option<f64>) -> Result<Option<Vec<f64>>> {
        kappa.map(|kappa| self.multipliers(state, kappa)).transpose()
    }

    fn inside(&self, state: &State<'_>, kappa: f64) -> Vec<u32> {
        let is_inside = |row: &usize| {
            let (a, cap) = self.unclipped(state, kappa, *row, state.z[*row]);
            a > 0.0 && a < cap
        };
        (0..self.rows).filter(is_inside).map(|row| row as u32).collect()
    }

    fn slopes(&self, state: &State<'_>, kappa: f64, steps: &[f64; 4]) -> Vec<f64> {
        let of_row = |row: usize| {
            let (dz, weight) = (state.dz[row], self.problem.weights[row]);
            let mut of_row = [0.0; 8];
            for (place, step) in steps.iter().enumerate() {
                let (a, cap) = self.unclipped(state, kappa, row, state.z[row] + step * dz);
                of_row[2 * place] = a.clamp(0.0, cap) * dz;
                of_row[2 * place + 1] = if a > 0.0 && a < cap { kappa * weight * dz * dz } else { 0.0 };
            }
            of_row
        };
        sums(self.rows, of_row).to_vec()
    }

    /// The sums of [`crate::linear::steps::Followed`], and the new state.
    fn followed(&self, state: [&[f64]; 4], kappa: f64) -> Result<Answer> {
        let numbers = self.joined(state)?;
        let [base, z, ..] = state;
        let state = State { base, z, dz: &[], kept: &[] };
        let (loss, is_hinge) = (self.problem.loss, self.problem.loss.slope().is_none());
        let multipliers = self.multipliers(&state, kappa)?;
        let [losses, duals, moved, inside, above] = sums(self.rows, |row| {
            let (weight, a) = (self.problem.weights[row], multipliers[row]);
            let (unclipped, cap) = self.unclipped(&state, kappa, row, z[row]);
            let moved = a - base[row];
            [
                loss.value(weight, z[row]),
                a - loss.conjugate(weight, a),
                if is_hinge && moved != 0.0 { moved * moved / (kappa * weight) } else { 0.0 },
                f64::from(unclipped > 0.0 && unclipped < cap),
                f64::from(a > 0.0),
            ]
        });
        let mut all = vec![losses, duals, moved, inside, above];
        all.extend(self.problem.image_of(&multipliers));
        Ok(Answer { sums: all, state: Some(numbers) })
    }

    fn joined(&self, parts: [&[f64]; 4]) -> Result<Vec<f64>> {
        let mut all = reserved(4 * self.rows)?;
        parts.iter().for_each(|part| all.extend_from_slice(part));
        Ok(all)
    }
}
