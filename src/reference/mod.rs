//! The f64 definition of each loss, one sample at a time, written to be read: the oracle of the tests.
//!
//! Nothing here is shared with [`crate::loss`], `src/cpu` or the shaders except the option types, so that a
//! mistake there cannot hide here. Formulas are as in the literature; a rule that no formula states (ties, kinks,
//! non-finite scores) is spelled out where it applies.
//!
//! # Panics
//! A definition takes what [`crate::loss::Loss::check_batch`] lets through, and panics on a sample that it would refuse: a
//! true class that is none, a single class, more violations than classes.

pub mod binary;
pub mod categorical;
pub mod cosine;
pub mod crammer_singer;
mod distance;
pub mod embedding;
pub mod lee_lin_wahba;
pub mod listwise;
pub mod lovasz;
pub mod multilabel;
pub mod one_vs_all;
pub mod ranking;
pub mod top_k;
pub mod triplet;
pub mod weston_watkins;

use std::cmp::Ordering;

use crate::loss::{Kink, OverClasses, Penalty, Ties};

/// One sample's loss before weights, its gradient with respect to the sample's scores, and what is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The loss.
    pub loss: f64,
    /// Its derivative with respect to each score of the sample.
    pub gradient: Vec<f64>,
    /// Any violation v > 0.
    pub active: bool,
    /// The prediction agrees with the target.
    pub correct: bool,
    /// Each class's own loss, where the loss is a sum of such.
    pub per_class: Vec<f64>,
}

impl Sample {
    /// A sample of which nothing is known: a NaN among its scores, or a limit that does not exist.
    fn undefined(scores: usize, correct: bool) -> Self {
        Self { loss: f64::NAN, gradient: vec![f64::NAN; scores], active: false, correct, per_class: vec![] }
    }
}

/// A sum of many numbers that keeps what its additions round off (Knuth's two-sum).
#[derive(Clone, Copy, Debug, Default)]
struct ExactSum {
    sum: f64,
    rounded_off: f64,
}

impl ExactSum {
    fn add(&mut self, x: f64) {
        let sum = self.sum + x;
        let of_x = sum - self.sum;
        self.rounded_off += (self.sum - (sum - of_x)) + (x - of_x);
        self.sum = sum;
    }

    /// What is rounded off beside an infinity is NaN.
    fn total(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.rounded_off } else { self.sum }
    }
}

/// The options that every definition takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The margin.
    pub margin: f64,
    /// The penalty of a violation.
    pub penalty: Penalty,
    /// The slope at the kink.
    pub kink: Kink,
    /// Who receives the gradient of a tied maximum.
    pub ties: Ties,
    /// Whether sums over classes are divided by C.
    pub over_classes: OverClasses,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            margin: 1.0,
            penalty: Penalty::Linear,
            kink: Kink::Zero,
            ties: Ties::First,
            over_classes: OverClasses::Sum,
        }
    }
}

/// What the true class y must keep from the rival i: margin(y, i).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margins<'a> {
    /// The same margin for all.
    Uniform(f64),
    /// A row-major C x C matrix. Its diagonal is ignored.
    Matrix(&'a [f64]),
}

impl Margins<'_> {
    fn of(self, y: usize, i: usize, classes: usize) -> f64 {
        match self {
            Margins::Uniform(margin) => margin,
            Margins::Matrix(margins) => margins[y * classes + i],
        }
    }
}

impl Options {
    /// phi(v): 0 for v <= 0 (but for softplus), else v, v^2, or the smoothed hinge.
    fn phi(&self, v: f64) -> f64 {
        let hinge = if v > 0.0 { v } else { 0.0 };
        match self.penalty {
            Penalty::Linear => hinge,
            Penalty::Squared => hinge.powi(2),
            Penalty::Smooth { gamma, scale } if v < gamma => scale * hinge.powi(2) / (2.0 * gamma),
            Penalty::Smooth { gamma, scale } => scale * (v - gamma / 2.0),
            // ln(1 + e^v), where e^v would overflow v itself to the last digit.
            Penalty::Softplus if v > 700.0 => v,
            Penalty::Softplus => v.exp().ln_1p(),
        }
    }

    /// phi'(v), at v = 0 by the kink convention.
    fn phi_slope(&self, v: f64) -> f64 {
        match self.penalty {
            Penalty::Squared => 2.0 * v.max(0.0),
            Penalty::Smooth { gamma, scale } => scale * (v.max(0.0) / gamma).min(1.0),
            Penalty::Softplus => 1.0 / (1.0 + (-v).exp()),
            Penalty::Linear if v > 0.0 => 1.0,
            Penalty::Linear if v < 0.0 => 0.0,
            Penalty::Linear => match self.kink {
                Kink::Zero => 0.0,
                Kink::Half => 0.5,
                Kink::Active => 1.0,
            },
        }
    }

    /// The factor of a sum over `classes` classes.
    fn over(&self, classes: usize) -> f64 {
        match self.over_classes {
            OverClasses::Sum => 1.0,
            OverClasses::Mean => 1.0 / classes as f64,
        }
    }
}

/// The lowest index of the largest score.
fn argmax(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap_or(Ordering::Equal)).unwrap_or(0)
}
