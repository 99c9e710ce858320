//! Categorical hinge: Keras's CategoricalHinge, to the letter.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use super::formula::{PairSums, RowPoint, RowScratch, TargetRows};
use super::penalty::{PenaltyShape, Rule, Ties};
use super::spec::{LossShader, Spec, TargetRowsFormula, TargetRowsSpec, shader};
use super::terms::{Terms, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRowRule;
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("categorical", TargetRows);

/// Categorical hinge loss of rows of scores s with targets y of -1, 0 or 1 a class (or one class index a row, which
/// means a 1 there and 0 elsewhere): phi(margin + max over i of (1 - y_i)*s_i - sum over i of y_i*s_i).
///
/// With the default options it is Keras's CategoricalHinge. **It is not Crammer-Singer**
/// ([`crate::MulticlassHinge::crammer_singer`]): the true class takes part in the maximum with a zero, so a row whose
/// rivals are all negative still pays for a true score below the margin, and no rival then receives a gradient.
/// Targets of -1 count a rival twice in the maximum and subtract it from the sum, as in Keras. A row is correct where
/// the lowest index of the highest score has a target of 1.
///
/// ```
/// use maxmargin::{Batch, CategoricalHinge, Device, Request};
/// let batch = Batch::rows(&[-1.0f32, -2.0, -3.0], 3, &[1i8, 0, 0]);
/// let value = Device::cpu().evaluate(&CategoricalHinge::new(), &batch, &Request::new())?.value;
/// assert_eq!(value, Some(2.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoricalHinge {
    terms: Terms,
    ties: Ties,
}

impl CategoricalHinge {
    /// Margin 1, linear penalty, kink 0, the first of equal classes receives the gradient.
    pub fn new() -> Self {
        Self { terms: Terms::new(), ties: Ties::First }
    }

    terms_builder!("The margin.");

    /// Which of equal largest terms receives the gradient.
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }

    /// Which of equal best rivals receives the gradient.
    pub fn get_ties(&self) -> Ties {
        self.ties
    }
}

/// (1 - y)*s. A factor of 0 is left out, so that an infinite score is no NaN.
#[inline(always)]
fn slot(score: f64, target: i32) -> f64 {
    if target == 1 { 0.0 } else { f64::from(1 - target) * score }
}

/// Terms that are combined side by side, so that a row is walked in vectors.
const LANES: usize = 8;

/// What a row's classes come to, in f64, where large scores cancel before they overflow. Not for NaN.
struct SeenTargets {
    /// The largest (1 - y)*s.
    best: [f64; LANES],
    /// The largest s.
    top: [f64; LANES],
    /// The sum of y*s.
    positive: [f64; LANES],
}

impl SeenTargets {
    #[inline(always)]
    fn of<T: Real>(scores: &[T], targets: &[i32]) -> Self {
        let lowest = [f64::NEG_INFINITY; LANES];
        let mut seen = Self { best: lowest, top: lowest, positive: [0.0; LANES] };
        let ((chunks, scores), (target_chunks, targets)) = (scores.as_chunks::<LANES>(), targets.as_chunks::<LANES>());
        for (scores, targets) in chunks.iter().zip(target_chunks) {
            seen.visit(scores, targets);
        }
        // In memory from here on: beside code that reaches a lane by its index the loop above would not stay in registers.
        let mut seen = black_box(seen);
        for (lane, (&score, &target)) in scores.iter().zip(targets).enumerate() {
            seen.visit_lane(lane, score, target);
        }
        seen.fold()
    }

    #[inline(always)]
    fn visit<T: Real>(&mut self, scores: &[T; LANES], targets: &[i32; LANES]) {
        for lane in 0..LANES {
            self.visit_lane(lane, scores[lane], targets[lane]);
        }
    }

    #[inline(always)]
    fn visit_lane<T: Real>(&mut self, lane: usize, score: T, target: i32) {
        let score = score.to_f64();
        self.best[lane] = larger(self.best[lane], slot(score, target));
        self.top[lane] = larger(self.top[lane], score);
        self.positive[lane] += if target == 0 { 0.0 } else { f64::from(target) * score };
    }

    /// Puts the lanes together, in lane 0: a tree, which waits less than a chain.
    #[inline(always)]
    fn fold(mut self) -> Self {
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                self.best[lane] = larger(self.best[lane], self.best[lane + width]);
                self.top[lane] = larger(self.top[lane], self.top[lane + width]);
                self.positive[lane] += self.positive[lane + width];
            }
        }
        self
    }
}

/// The larger; not for NaN.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

loss_type!(CategoricalHinge);

impl Loss for CategoricalHinge {
    fn spec(&self) -> Spec<'_> {
        Spec::TargetRows(TargetRowsSpec {
            shader: &SHADER,
            formula: TargetRowsFormula::Categorical,
            terms: self.terms,
            has_correct: true,
            target_rule: TargetRowRule::Categories,
            ties: self.ties,
            is_mean: false,
        })
    }

    loss_value!();
}

/// phi(margin + the largest (1 - y)*s - the sum of y*s).
pub(crate) struct CategoricalFormula;

impl TargetRows for CategoricalFormula {
    #[inline(always)]
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        ties: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint {
        let SeenTargets { best: [best, ..], top: [top, ..], positive: [positive, ..] } =
            SeenTargets::of(scores, targets);
        let is_best = |(score, &target): (&T, &i32)| slot(score.to_f64(), target) == best;
        let top_index = scores.iter().position(|score| score.to_f64() == top).unwrap_or(0);
        let violation = T::from_f64(rule.margin.to_f64() + (best - positive));
        let (value, slope) = rule.penalise(violation);
        if let Some(slopes) = scratch.slopes {
            let slope = slope.to_f64();
            // Zero times an infinite slope is nothing owed, not NaN.
            let times = |factor: f64| if factor == 0.0 { 0.0 } else { slope * factor };
            for (owed, &target) in slopes.iter_mut().zip(targets) {
                *owed = times(-f64::from(target));
            }
            let best_of = || scores.iter().zip(targets).enumerate().filter(|&(_, pair)| is_best(pair));
            let (receivers, share) = match ties {
                Ties::First => (1, 1.0),
                Ties::Split => (usize::MAX, 1.0 / best_of().count() as f64),
            };
            for (i, (_, &target)) in best_of().take(receivers) {
                slopes[i] = times(share * f64::from(1 - target) - f64::from(target));
            }
        }
        RowPoint { value: value.to_f64(), active: violation > T::ZERO, correct: targets[top_index] == 1 }
    }
}
