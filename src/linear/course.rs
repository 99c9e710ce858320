//! What a solver does next: the gap it has reached, and the limits that its caller set.

use std::time::Duration;

use super::certificate::Certificate;

/// What `sigma` is multiplied by in every outer step.
pub(super) const GROWTH: f64 = 3.0;

/// The inner minimisation of the hinge ends where the squared gradient is at most this share of what the multipliers
/// moved by.
const INNER: f64 = 0.09;

/// Beyond this `sigma`, the hinge is as sharp as f64 allows.
const MOST_KAPPA: f64 = 1e13;

/// How often the certificate may fail to confirm a gap, before the numbers' precision counts as exhausted.
const MOST_FAILURES: usize = 4;

/// Where the solver stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FitProgress {
    /// Reads of all features so far; a part of the rows counts as that part.
    pub passes: f64,
    /// Newton steps so far.
    pub newton_steps: u64,
    /// The relative gap, not yet certified; infinite before it is known.
    pub gap: f64,
}

impl FitProgress {
    pub(super) const NONE: Self = Self { passes: 0.0, newton_steps: 0, gap: f64::INFINITY };

    /// Passes and steps of both, and the gap of this one.
    pub(super) fn after(self, before: Self) -> Self {
        let (passes, newton_steps) = (before.passes + self.passes, before.newton_steps + self.newton_steps);
        Self { passes, newton_steps, gap: self.gap }
    }
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitEnd {
    /// The certificate confirmed the gap that was asked for.
    Converged,
    /// The passes were used up.
    Passes,
    /// The caller asked for a stop.
    Stopped,
    /// Rounding allows no smaller gap.
    Precision,
}

/// A function that is told where the solver stands, and ends the fit by returning false.
pub type OnProgress<'a> = dyn FnMut(FitProgress) -> bool + Send + 'a;

/// When to end.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) gap: f64,
    pub(super) max_passes: f64,
}

pub(super) struct Solution {
    pub(super) w: Vec<f64>,
    pub(super) multipliers: Vec<f64>,
    pub(super) certificate: Certificate,
    pub(super) end: FitEnd,
    pub(super) progress: FitProgress,
    /// Time that the certificates took.
    pub(super) certifying: Duration,
}

/// What a solver does next.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// A Newton step.
    Step,
    /// An outer step of the augmented Lagrangian.
    Harden,
    /// The certificate decides, or says where an ended fit stands.
    Certify,
}

/// How far a solver is.
pub(super) struct Course {
    limits: Limits,
    /// The gap at which the certificate is asked. It is lowered where the certificate did not confirm it.
    target: f64,
    failures: usize,
    pub(super) primal: f64,
    pub(super) dual: f64,
    pub(super) progress: FitProgress,
    pub(super) end: Option<FitEnd>,
}

impl Course {
    pub(super) fn new(limits: Limits, progress: FitProgress) -> Self {
        let (primal, dual) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { limits, target: limits.gap, failures: 0, primal, dual, progress, end: None }
    }

    /// Takes the values of the current weights and multipliers; says which of the two are the best so far.
    pub(super) fn improves(&mut self, primal: f64, dual: f64) -> [bool; 2] {
        let improves = [primal < self.primal, dual > self.dual];
        self.primal = self.primal.min(primal);
        self.dual = self.dual.max(dual);
        if self.primal.is_finite() {
            self.progress.gap = (self.primal - self.dual).max(0.0) / self.primal.max(f64::MIN_POSITIVE);
        }
        improves
    }

    /// Whether a certificate decides what comes next.
    pub(super) fn is_due(&self) -> bool {
        self.end.is_some() || self.progress.gap <= self.target
    }

    /// What comes next, where the gradient has the squared norm `square` and the hinge's multipliers moved by `moved`.
    pub(super) fn next(&mut self, square: f64, moved: Option<f64>, kappa: f64) -> Next {
        if self.is_due() {
            return Next::Certify;
        }
        let is_minimised = moved.is_some_and(|moved| square <= INNER * moved);
        if self.progress.passes >= self.limits.max_passes {
            self.end = Some(FitEnd::Passes);
        } else if is_minimised && kappa * GROWTH > MOST_KAPPA || !is_minimised && square == 0.0 {
            self.end = Some(FitEnd::Precision);
        }
        match (self.end, is_minimised) {
            (Some(_), _) => Next::Certify,
            (None, true) => Next::Harden,
            (None, false) => Next::Step,
        }
    }

    /// Takes a certificate. Where it does not confirm the gap, the solver must measure all it carries along anew.
    pub(super) fn takes(&mut self, certificate: &Certificate) {
        if certificate.relative_gap <= self.limits.gap {
            self.end = Some(FitEnd::Converged);
        }
        if self.end.is_some() {
            return;
        }
        if self.primal.is_infinite() {
            // A start that was good enough, perhaps.
            self.improves(certificate.primal, certificate.dual);
            return;
        }
        self.failures += 1;
        if self.failures == MOST_FAILURES {
            self.end = Some(FitEnd::Precision);
        }
        self.target *= 0.25;
        (self.primal, self.dual) = (f64::INFINITY, f64::NEG_INFINITY);
    }
}
