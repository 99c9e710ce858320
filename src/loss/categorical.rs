//! Categorical hinge: exactly Keras's CategoricalHinge.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use super::formula::{PairSums, RowPoint, RowScratch, TargetRows};
use super::penalty::{PenaltyShape, Rule, Ties};
use super::spec::{LossShader, Spec, TargetRowsFormula, TargetRowsSpec, shader};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, loss_type, loss_value};
use crate::data::labels::TargetRowRule;
use crate::data::real::Real;

pub(super) const SHADER: LossShader = shader!("categorical", TargetRows);

/// Categorical hinge loss of rows of scores s and targets y, where y_i is -1, 0 or 1 per class: phi(margin + max over i
/// of (1 - y_i)*s_i - sum over i of y_i*s_i). One class index per row also serves: it means 1 there and 0 elsewhere.
///
/// With the default options it is Keras's CategoricalHinge. **It is not Crammer-Singer**
/// ([`crate::MulticlassHinge::crammer_singer`]): the true class enters the maximum with a zero. A row whose rivals are
/// all negative therefore still pays for a true score below the margin, and no rival then receives a gradient. As in
/// Keras, a target of -1 counts its score twice in the maximum and subtracts it from the sum. A row is correct if its
/// highest score (the lowest index of equals) has target 1.
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
    ignore_index: Option<i64>,
}

impl CategoricalHinge {
    /// Margin 1, linear penalty, kink 0; the first of equal classes receives the gradient.
    pub fn new() -> Self {
        Self { terms: Terms::new(), ties: Ties::First, ignore_index: None }
    }

    terms_builder!("The margin.");

    ignore_index!(
        "Leaves out the rows with this class index; refused for rows of targets. Inputs must be in host memory."
    );

    loss_option! {
        /// Which of equal largest terms receives the gradient.
        ties, get_ties: Ties = [ties]
    }
}

/// (1 - y)*s. A factor of 0 is left out, so that 0 times an infinite score is not NaN.
#[inline(always)]
fn slot(score: f64, target: i32) -> f64 {
    if target == 1 { 0.0 } else { f64::from(1 - target) * score }
}

/// Independent partial results per row, so that the loop over classes vectorises.
const LANES: usize = 8;

/// Maxima and sums over a row's classes. In f64, large scores cancel before they overflow. NaN must not reach it.
struct SeenTargets {
    best: [f64; LANES],
    top: [f64; LANES],
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
        // Force `seen` into memory here. Otherwise the indexed lane access below keeps the loop above out of registers.
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

    /// Reduces the lanes into lane 0. A tree has a shorter dependency chain than a serial loop.
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
            ignore_index: self.ignore_index,
            target_rule: TargetRowRule::Categories,
            ties: self.ties,
            is_mean: false,
        })
    }

    loss_value!();
}

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
            // A zero factor gives slope 0 even where phi' is infinite.
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
