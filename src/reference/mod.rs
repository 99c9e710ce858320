//! The f64 definition of each loss, one sample at a time, written for clarity. The tests compare everything with it.
//!
//! It shares only the option types with [`crate::loss`], `src/cpu` and the shaders, so a mistake there cannot hide
//! here. Formulas are as in the literature. Rules that no formula states (ties, kinks, non-finite scores) are spelled
//! out where they apply.
//!
//! # Panics
//! A definition takes samples that [`crate::loss::Loss::check_batch`] accepts, and panics on others: a true class
//! outside the row, a single class, more violations than classes.

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

/// One sample's loss, gradient and counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The loss, before weights.
    pub loss: f64,
    /// Its derivative with respect to each score of the sample.
    pub gradient: Vec<f64>,
    /// Any violation v > 0.
    pub active: bool,
    /// The prediction agrees with the target.
    pub correct: bool,
    /// Each class's own loss, if the loss is a sum of these.
    pub per_class: Vec<f64>,
}

impl Sample {
    /// An undefined sample: a NaN among its scores, or a limit that does not exist.
    fn undefined(scores: usize, correct: bool) -> Self {
        Self { loss: f64::NAN, gradient: vec![f64::NAN; scores], active: false, correct, per_class: vec![] }
    }
}

/// A compensated sum (Knuth's two-sum).
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

    /// Next to an infinite sum the compensation is NaN, so it is left out.
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
    /// Which of a tied maximum receives the gradient.
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

/// The margin that the true class y must keep over a rival i: margin(y, i).
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
    /// phi(v): for v <= 0 it is 0 (except softplus), else v, v^2, or the smoothed hinge.
    fn phi(&self, v: f64) -> f64 {
        let hinge = if v > 0.0 { v } else { 0.0 };
        match self.penalty {
            Penalty::Linear => hinge,
            Penalty::Squared => hinge.powi(2),
            Penalty::Smooth { gamma, scale } if v < gamma => scale * hinge.powi(2) / (2.0 * gamma),
            Penalty::Smooth { gamma, scale } => scale * (v - gamma / 2.0),
            // Where e^v would overflow, ln(1 + e^v) equals v to the last digit.
            Penalty::Softplus if v > 700.0 => v,
            Penalty::Softplus => v.exp().ln_1p(),
        }
    }

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

    fn over(&self, classes: usize) -> f64 {
        match self.over_classes {
            OverClasses::Sum => 1.0,
            OverClasses::Mean => 1.0 / classes as f64,
        }
    }
}

fn argmax(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap_or(Ordering::Equal)).unwrap_or(0)
}
