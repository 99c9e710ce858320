//! Preparation of scores by their kind: from logits to probabilities, and the chain rule back for the gradient. Host
//! data only; scores on a GPU must be raw.

use std::fmt::{Display, LowerExp};

use rayon::prelude::*;

use crate::data::batch::{Batch, ScoreKind, mixed_types};
use crate::data::evaluation::{Evaluation, Output};
use crate::data::labels::Label;
use crate::data::real::Real;
use crate::data::tensor::{Floats, with_targets};
use crate::error::{Error, Input, Result, number};
use crate::loss::{Pattern, Spec};

/// Elements per job, rounded up to whole rows.
const JOB: usize = 16 << 10;

/// What the drivers take instead of the caller's batch: logits as probabilities, half-precision weights widened.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    scores: PreparedScores,
    sample_weights: Option<Vec<f32>>,
}

#[derive(Debug)]
enum PreparedScores {
    Own,
    F32(Squashed<f32>),
    F64(Squashed<f64>),
}

#[derive(Debug)]
struct Squashed<T> {
    scores: Vec<T>,
    second: Option<Vec<T>>,
    columns: Option<usize>,
}

impl PreparedBatch {
    /// Whether scores must be converted or weights widened. Asked first, because preparation takes longer than
    /// evaluating a small batch.
    #[inline]
    pub(crate) fn is_needed(batch: &Batch<'_>) -> bool {
        let is_half = matches!(batch.sample_weights, Some(Floats::F16(_) | Floats::BF16(_)));
        batch.score_kind != ScoreKind::Raw || is_half
    }

    /// Prepares scores according to their kind. Samples that the loss ignores may hold anything.
    #[inline]
    pub(crate) fn new(spec: &Spec<'_>, batch: &Batch<'_>) -> Result<Self> {
        if spec.takes_raw_scores_only() && batch.score_kind != ScoreKind::Raw {
            let expected = format!("raw scores, because {} takes no classifier's scores", spec.shader().name);
            return Err(Error::Option { option: "score_kind", expected, got: batch.score_kind.to_string() });
        }
        // Elementwise losses take scores of any shape and have no rows.
        let columns = batch.columns.filter(|_| spec.shader().pattern != Pattern::Elementwise);
        Ok(Self {
            scores: PreparedScores::new(&Batch { columns, ..*batch }, spec.ignore_index())?,
            sample_weights: batch.sample_weights.and_then(Floats::widened),
        })
    }

    /// Whether the drivers see the caller's scores, so that the gradient needs no chain rule.
    pub(crate) fn has_own_scores(&self) -> bool {
        matches!(self.scores, PreparedScores::Own)
    }

    pub(crate) fn batch<'a>(&'a self, batch: &Batch<'a>) -> Batch<'a> {
        let mut batch = self.scores.batch(batch);
        if let Some(weights) = &self.sample_weights {
            batch.sample_weights = Some(weights.into());
        }
        batch
    }

    /// Turns a gradient with respect to the prepared scores into one with respect to the caller's.
    pub(crate) fn chain(&self, evaluation: Evaluation) -> Evaluation {
        self.scores.chain(evaluation)
    }
}

impl PreparedScores {
    fn new(batch: &Batch<'_>, ignore_index: Option<i64>) -> Result<Self> {
        let is_logit = match batch.score_kind {
            ScoreKind::Raw => false,
            ScoreKind::Logit => true,
            ScoreKind::Probability => match outside(batch, ignore_index)? {
                Some((input, index, value)) => {
                    return Err(Error::Value { input, index, value, expected: "a probability in [0, 1]".into() });
                }
                None => false,
            },
            ScoreKind::Guessed => outside(batch, ignore_index)?.is_some(),
        };
        if !is_logit {
            return Ok(Self::Own);
        }
        let columns = batch.columns;
        // The loss reports a wrong shape later.
        if columns.is_some_and(|columns| columns == 0 || !batch.len().is_multiple_of(columns)) {
            return Ok(Self::Own);
        }
        if let Some(second) = batch.second_scores.filter(|second| second.type_name() != batch.scores.type_name()) {
            return Err(mixed_types(Input::SecondScores, batch.scores, second));
        }
        let single = |floats: Floats<'_>| match floats {
            Floats::F32(x) => Some(x.to_vec()),
            half => half.widened(),
        };
        match (batch.scores, batch.second_scores) {
            (Floats::F64(x), second) => {
                let second = second.and_then(Floats::as_f64).map(|x| squash(x.to_vec(), columns));
                Ok(Self::F64(Squashed { scores: squash(x.to_vec(), columns), second, columns }))
            }
            (scores, second) => {
                let second = second.and_then(single).map(|x| squash(x, columns));
                let scores = single(scores).ok_or_else(on_device)?;
                Ok(Self::F32(Squashed { scores: squash(scores, columns), second, columns }))
            }
        }
    }

    fn batch<'a>(&'a self, batch: &Batch<'a>) -> Batch<'a> {
        let with = |scores, second| Batch { scores, second_scores: second, score_kind: ScoreKind::Raw, ..*batch };
        match self {
            Self::Own => *batch,
            Self::F32(s) => with(Floats::F32(&s.scores), s.second.as_deref().map(Floats::F32)),
            Self::F64(s) => with(Floats::F64(&s.scores), s.second.as_deref().map(Floats::F64)),
        }
    }

    fn chain(&self, mut evaluation: Evaluation) -> Evaluation {
        match (self, &mut evaluation.gradient) {
            (Self::F32(s), Some(Output::F32(gradient))) => chain(&s.scores, s.columns, gradient),
            (Self::F64(s), Some(Output::F64(gradient))) => chain(&s.scores, s.columns, gradient),
            // A GPU returns f32 for f64 scores.
            (Self::F64(s), Some(Output::F32(gradient))) => {
                let single: Vec<f32> = s.scores.iter().map(|&x| x as f32).collect();
                chain(&single, s.columns, gradient);
            }
            _ => {}
        }
        evaluation
    }
}

fn on_device() -> Error {
    Error::Option {
        option: "score_kind",
        expected: "raw, for scores on a GPU".into(),
        got: "another kind (apply sigmoid or softmax on the GPU, or hand in host scores)".into(),
    }
}

/// The first score of a kept sample outside [0, 1]. NaN does not count as outside.
fn outside(batch: &Batch<'_>, ignore_index: Option<i64>) -> Result<Option<(Input, u64, String)>> {
    fn first<T: Real + Into<f64> + Display + LowerExp>(
        input: Input,
        x: &[T],
        kept: &dyn Fn(usize) -> bool,
    ) -> Option<(Input, u64, String)> {
        // Most often there is none: without a branch for each score, a block is looked at as fast as it is read.
        let has_outside = |block: &[T]| block.iter().fold(false, |seen, &x| seen | (x < T::ZERO) | (x > T::ONE));
        let mut blocks = x.chunks(JOB).enumerate().filter(|(_, block)| has_outside(block));
        let index = blocks.find_map(|(number, block)| {
            let start = number * JOB;
            let is_it = |(i, &x): (usize, &T)| (x < T::ZERO || x > T::ONE) && kept(start + i);
            block.iter().enumerate().position(is_it).map(|i| start + i)
        })?;
        Some((input, index as u64, number(x[index])))
    }
    let columns = batch.columns.unwrap_or(1).max(1);
    let is_ignored = |sample: usize| match ignore_index {
        None => false,
        ignored => {
            let Some(one) = batch.targets.slice(sample..sample + 1) else { return false };
            with_targets!(one, x => x.first().and_then(|l| Label::class_index(*l)) == ignored,
                _tensor => false)
        }
    };
    let kept = |i: usize| !is_ignored(i / columns);
    let of = |input, floats: Floats<'_>| match floats {
        Floats::F32(x) => Ok(first(input, x, &kept)),
        Floats::F64(x) => Ok(first(input, x, &kept)),
        Floats::F16(_) | Floats::BF16(_) => Ok(first(input, &floats.widened().unwrap_or_default(), &kept)),
        Floats::Device(_) => Err(on_device()),
    };
    match (of(Input::Scores, batch.scores)?, batch.second_scores) {
        (None, Some(second)) => of(Input::SecondScores, second),
        (found, _) => Ok(found),
    }
}

fn squash<T: Real>(mut out: Vec<T>, columns: Option<usize>) -> Vec<T> {
    match columns {
        None => out.par_chunks_mut(JOB).for_each(|job| job.iter_mut().for_each(|x| *x = sigmoid(*x))),
        Some(columns) => out
            .par_chunks_mut(JOB.next_multiple_of(columns))
            .for_each(|job| job.chunks_exact_mut(columns).for_each(softmax)),
    }
    out
}

/// 1/(1 + e^-x), with an exponential that cannot overflow.
fn sigmoid<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE / (T::ONE + (-x).exp())
    } else {
        let e = x.exp();
        e / (T::ONE + e)
    }
}

/// e^x_i / sum of e^x_j, computed relative to the largest x.
fn softmax<T: Real>(row: &mut [T]) {
    let largest = row.iter().fold(T::NEG_INFINITY, |m, &x| if x > m || x.is_nan() { x } else { m });
    // Two loops: the first becomes vector instructions.
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f64 = row.iter().map(|x| x.to_f64()).sum();
    let factor = 1.0 / sum;
    for x in row {
        *x = T::from_f64(x.to_f64() * factor);
    }
}

/// The chain rule through sigmoid, or through each row's softmax. A row of zero gradients stays as it is,
/// even if its probabilities are NaN.
fn chain<T: Real>(probabilities: &[T], columns: Option<usize>, gradient: &mut [T]) {
    let width = columns.unwrap_or(1).max(1);
    let job = JOB.next_multiple_of(width);
    gradient.par_chunks_mut(job).zip(probabilities.par_chunks(job)).for_each(|(gradient, probabilities)| {
        for (g, p) in gradient.chunks_exact_mut(width).zip(probabilities.chunks_exact(width)) {
            if g.iter().all(|&g| g == T::ZERO) {
                continue;
            }
            match columns {
                None => g[0] = g[0] * (p[0] * (T::ONE - p[0])),
                Some(_) => {
                    let mean: f64 = g.iter().zip(p).map(|(g, p)| g.to_f64() * p.to_f64()).sum();
                    for (g, p) in g.iter_mut().zip(p) {
                        *g = T::from_f64(p.to_f64() * (g.to_f64() - mean));
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BinaryHinge, Device, MulticlassHinge, Request};

    #[test]
    fn extreme_logits_have_limits() {
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(-1e30f32), 0.0);
        assert!(sigmoid(f64::NAN).is_nan());
        let mut row = [1e30f32, 1e30, f32::NEG_INFINITY];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5, 0.0]);
        for mut row in [[f32::INFINITY, 0.0], [f32::NAN, 0.0], [0.0, f32::NAN], [f32::NEG_INFINITY; 2]] {
            softmax(&mut row);
            assert!(row[0].is_nan() && row[1].is_nan(), "{row:?}");
        }
    }

    #[test]
    fn gradients_are_with_respect_to_the_logits() {
        let scores = [0.3, -1.2, 2.0, 0.1, 0.4, -0.7];
        let request = Request::new().gradient();
        let value = |scores: &[f64], rows: bool| {
            let batch = match rows {
                true => Batch::rows(scores, 3, &[1i64, 2]),
                false => Batch::new(scores, &[1i8, -1, 1, -1, 1, 1]),
            };
            let batch = batch.score_kind(ScoreKind::Logit);
            match rows {
                true => Device::cpu().evaluate(&MulticlassHinge::crammer_singer(), &batch, &request).unwrap(),
                false => Device::cpu().evaluate(&BinaryHinge::new(), &batch, &request).unwrap(),
            }
        };
        for rows in [false, true] {
            let gradient = value(&scores, rows).gradient.unwrap().to_f64().unwrap();
            for i in 0..scores.len() {
                let at = |delta: f64| {
                    let mut moved = scores;
                    moved[i] += delta;
                    value(&moved, rows).value.unwrap()
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((difference - gradient[i]).abs() < 1e-8, "{i}: {} instead of {difference}", gradient[i]);
            }
        }
    }

    #[test]
    fn probabilities_are_checked_and_guessed() {
        let evaluate = |scores: &[f32], kind| {
            let batch = Batch::new(scores, &[1i8, 1]).score_kind(kind);
            Device::cpu().evaluate(&BinaryHinge::new(), &batch, &Request::new())
        };
        assert_eq!(evaluate(&[0.5, 0.25], ScoreKind::Probability).unwrap().value, Some(0.625));
        assert_eq!(evaluate(&[0.5, 0.25], ScoreKind::Guessed).unwrap().value, Some(0.625));
        let error = evaluate(&[0.5, 1.5], ScoreKind::Probability).unwrap_err();
        assert_eq!(error.to_string(), "scores[1]: expected a probability in [0, 1], got 1.5");
        // One score outside [0, 1] turns the whole batch into logits.
        let guessed = evaluate(&[0.5, 2.0], ScoreKind::Guessed).unwrap().value.unwrap();
        assert!((guessed - 0.2484).abs() < 1e-4, "{guessed}");
        let rows = Batch::rows(&[0.5f32, 0.25, 9.0, 9.0], 2, &[0i64, -100]).score_kind(ScoreKind::Guessed);
        let loss = MulticlassHinge::crammer_singer().ignore_index(-100);
        assert_eq!(Device::cpu().evaluate(&loss, &rows, &Request::new()).unwrap().value, Some(0.75));
    }
}
