//! A batch: scores, targets and weights, and the checks that they fit each other.
//!
//! Two inputs match by equal element count, so (N, 1) scores and (N) targets do; nothing is ever broadcast.

use std::ops::Range;

use super::device_tensor::DeviceTensor;
use super::labels::TargetRowRule;
use super::shape::BatchShape;
use super::tensor::{Floats, Targets};
use crate::error::{Error, Input, Result};
use crate::names::names;

/// What the scores of a batch are. The losses take scores as they are unless the caller says otherwise. Only
/// [`ScoreKind::Guessed`] guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScoreKind {
    /// Decision values, taken as they are.
    #[default]
    Raw,
    /// Probabilities, taken as they are; one outside [0, 1] is an error.
    Probability,
    /// Logits: the loss sees their sigmoid, or, for losses over rows, their softmax over the row. The gradient is with
    /// respect to the logits. A row whose largest logit is infinite has no softmax: it is NaN.
    Logit,
    /// torchmetrics's rule, for parity only: logits if any score of a kept sample of this batch is outside [0, 1], else
    /// probabilities. The value then depends on how the data is split into batches.
    Guessed,
}

names!(ScoreKind, "score_kind": Raw = "raw", Probability = "probability", Logit = "logit", Guessed = "guessed");

/// One batch: scores, targets and optional sample weights.
///
/// ```
/// use maxmargin::Batch;
/// let scores = [0.25f32, 0.20, 0.55, 0.55, 0.05, 0.40];
/// let batch = Batch::rows(&scores, 3, &[0i64, 1]).sample_weights(&[1.0f32, 0.5]);
/// assert_eq!(batch.len(), 6);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub(crate) scores: Floats<'a>,
    pub(crate) second_scores: Option<Floats<'a>>,
    pub(crate) third_scores: Option<Floats<'a>>,
    pub(crate) columns: Option<usize>,
    pub(crate) targets: Targets<'a>,
    pub(crate) sample_weights: Option<Floats<'a>>,
    pub(crate) score_kind: ScoreKind,
}

impl<'a> Batch<'a> {
    /// A batch for the elementwise losses: one target per score, whatever their shapes.
    pub fn new(scores: impl Into<Floats<'a>>, targets: impl Into<Targets<'a>>) -> Self {
        let (scores, targets) = (scores.into(), targets.into());
        let score_kind = ScoreKind::Raw;
        Self {
            scores,
            second_scores: None,
            third_scores: None,
            columns: None,
            targets,
            sample_weights: None,
            score_kind,
        }
    }

    /// A batch of pairs of scores for [`crate::MarginRanking`]: N first scores, N second scores of the same type, and N
    /// targets.
    pub fn pairs(first: impl Into<Floats<'a>>, second: impl Into<Floats<'a>>, targets: impl Into<Targets<'a>>) -> Self {
        Self { second_scores: Some(second.into()), ..Self::new(first, targets) }
    }

    /// A batch for the losses over rows: `scores` is a row-major N x `columns` matrix. `targets` has N elements, or one
    /// per score for losses with rows of targets ([`crate::MultilabelMargin`], [`crate::CategoricalHinge`]).
    pub fn rows(scores: impl Into<Floats<'a>>, columns: usize, targets: impl Into<Targets<'a>>) -> Self {
        Self { columns: Some(columns), ..Self::new(scores, targets) }
    }

    /// A batch for [`crate::CosineEmbedding`]: two row-major N x `dimensions` matrices of the same type, and N targets.
    pub fn vector_pairs(
        first: impl Into<Floats<'a>>,
        second: impl Into<Floats<'a>>,
        dimensions: usize,
        targets: impl Into<Targets<'a>>,
    ) -> Self {
        Self { columns: Some(dimensions), ..Self::pairs(first, second, targets) }
    }

    /// A batch for [`crate::TripletMargin`]: three row-major N x `dimensions` matrices of the same type.
    pub fn triplets(
        anchor: impl Into<Floats<'a>>,
        positive: impl Into<Floats<'a>>,
        negative: impl Into<Floats<'a>>,
        dimensions: usize,
    ) -> Self {
        Self { third_scores: Some(negative.into()), ..Self::vector_pairs(anchor, positive, dimensions, &[0i8; 0]) }
    }

    /// Sample weights (N): non-negative and finite, one per sample.
    pub fn sample_weights(mut self, weights: impl Into<Floats<'a>>) -> Self {
        self.sample_weights = Some(weights.into());
        self
    }

    /// What the scores are. The default is raw decision values.
    pub fn score_kind(mut self, kind: ScoreKind) -> Self {
        self.score_kind = kind;
        self
    }

    /// Number of scores.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// True where there is no score.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of samples: rows, or scores if there are no rows.
    pub fn samples(&self) -> usize {
        self.len() / self.columns.unwrap_or(1).max(1)
    }

    /// The samples of a range, borrowed from the same memory. `None` if an input is on a GPU, the inputs do not fit
    /// each other, or the range is out of bounds.
    ///
    /// ```
    /// use maxmargin::Batch;
    /// let scores = [0.25f32, 0.20, 0.55, 0.55, 0.05, 0.40];
    /// let labels = [0i64, 1];
    /// assert_eq!(Batch::rows(&scores, 3, &labels).slice(1..2).unwrap().len(), 3);
    /// ```
    pub fn slice(&self, samples: Range<usize>) -> Option<Batch<'a>> {
        let (columns, total) = (self.columns.unwrap_or(1), self.samples());
        // Targets per sample: rows of scores may have rows of targets; triplets have none.
        let width = match self.targets.len() {
            0 if self.third_scores.is_some() => 0,
            len if len == total => 1,
            _ => columns,
        };
        let fits = |x: Option<Floats<'_>>, width: usize| x.is_none_or(|x| x.len() == total * width);
        if [self.len(), self.targets.len()] != [total * columns, total * width]
            || !(fits(self.second_scores, columns) && fits(self.third_scores, columns) && fits(self.sample_weights, 1))
        {
            return None;
        }
        let scores = samples.start.checked_mul(columns)?..samples.end.checked_mul(columns)?;
        let part = |x: Option<Floats<'a>>, range: &Range<usize>| match x {
            Some(x) => x.slice(range.clone()).map(Some),
            None => Some(None),
        };
        Some(Batch {
            scores: self.scores.slice(scores.clone())?,
            second_scores: part(self.second_scores, &scores)?,
            third_scores: part(self.third_scores, &scores)?,
            columns: self.columns,
            targets: self.targets.slice(samples.start.checked_mul(width)?..samples.end.checked_mul(width)?)?,
            sample_weights: part(self.sample_weights, &samples)?,
            score_kind: self.score_kind,
        })
    }

    pub(crate) fn device_tensor(&self) -> Option<(Input, &'a DeviceTensor)> {
        let floats = |input, floats: Floats<'a>| match floats {
            Floats::Device(tensor) => Some((input, tensor)),
            _ => None,
        };
        floats(Input::Scores, self.scores)
            .or_else(|| self.second_scores.and_then(|second| floats(Input::SecondScores, second)))
            .or_else(|| self.third_scores.and_then(|third| floats(Input::Negatives, third)))
            .or(match self.targets {
                Targets::Device(tensor) => Some((Input::Targets, tensor)),
                _ => None,
            })
            .or_else(|| self.sample_weights.and_then(|w| floats(Input::SampleWeights, w)))
    }

    pub(crate) fn not_on_host(&self) -> Error {
        match self.device_tensor() {
            Some((input, tensor)) => Error::WrongDevice {
                input,
                expected: tensor.memory.device_name().into(),
                got: "the native CPU backend".into(),
            },
            None => Error::Option { option: "device", expected: "host data".into(), got: "device data".into() },
        }
    }

    /// Checks that targets, and weights if given, have `samples` elements.
    #[inline(always)]
    pub(crate) fn check_lengths(&self, samples: usize, unit: &'static str) -> Result<()> {
        let check = |input, got| {
            if got == samples { Ok(()) } else { Err(Error::Length { input, expected: samples, got, unit }) }
        };
        check(Input::Targets, self.targets.len())?;
        self.sample_weights.map_or(Ok(()), |w| check(Input::SampleWeights, w.len()))
    }

    #[inline]
    fn scores_a_sample(&self) -> usize {
        1 + usize::from(self.second_scores.is_some()) + usize::from(self.third_scores.is_some())
    }

    /// Checks an elementwise batch, of pairs or of single scores. Inlined, like all that follows it on the CPU: a
    /// result written to memory in parts and read back whole stalls, which costs a small batch as much as some of its
    /// samples.
    #[inline(always)]
    pub(crate) fn check_elementwise(&self, pairs: bool) -> Result<BatchShape> {
        let samples = self.scores.len();
        let (wanted, given) = (1 + usize::from(pairs), self.scores_a_sample());
        if given != wanted {
            let text = |scores: usize| ["single scores", "pairs of scores", "three scores a sample"][scores - 1].into();
            return Err(Error::Shape { input: Input::Scores, expected: text(wanted), got: text(given) });
        }
        if let Some(second) = self.second_scores.filter(|second| second.len() != samples) {
            let (input, unit) = (Input::SecondScores, "first score");
            return Err(Error::Length { input, expected: samples, got: second.len(), unit });
        }
        self.check_lengths(samples, "score")?;
        Ok(BatchShape::elementwise(samples))
    }

    /// Checks a batch of rows of scores with rows of targets, or one class index per row if `rule` allows it.
    pub(crate) fn check_target_rows(&self, rule: TargetRowRule) -> Result<BatchShape> {
        let least = match rule {
            TargetRowRule::Labels | TargetRowRule::Categories => 2,
            // A list of one item has no pairs, but it is valid.
            TargetRowRule::Relevances | TargetRowRule::Binary(_) => 1,
        };
        let (rows, columns) = self.check_scores(least)?;
        let width = match rule {
            TargetRowRule::Categories if self.targets.len() == rows => 1,
            _ => columns,
        };
        if self.targets.len() != rows * width {
            let (input, unit) = (Input::Targets, "score");
            return Err(Error::Length { input, expected: rows * width, got: self.targets.len(), unit });
        }
        match self.sample_weights {
            Some(w) if w.len() != rows => {
                let (input, unit) = (Input::SampleWeights, "row of scores");
                Err(Error::Length { input, expected: rows, got: w.len(), unit })
            }
            _ => Ok(BatchShape { samples: rows, columns, target_width: width }),
        }
    }

    pub(crate) fn check_vectors(&self, inputs: usize, has_targets: bool) -> Result<BatchShape> {
        let shape = |expected: &str, got: String| Error::Shape { input: Input::Scores, expected: expected.into(), got };
        let given = self.scores_a_sample();
        let columns = match self.columns {
            Some(columns) if columns > 0 && given == inputs => columns,
            Some(0) => return Err(shape("vectors of at least one component", "(N, 0)".into())),
            columns => {
                let kind = if columns.is_some() { "rows of vectors" } else { "single scores" };
                return Err(shape(&format!("{inputs} vectors a sample"), format!("{given} {kind} a sample")));
            }
        };
        if !self.len().is_multiple_of(columns) {
            return Err(shape("(N, D)", format!("{} elements, not a multiple of {columns} dimensions", self.len())));
        }
        for (input, other) in [(Input::SecondScores, self.second_scores), (Input::Negatives, self.third_scores)] {
            if let Some(other) = other
                && other.len() != self.len()
            {
                let unit = "component of the first vectors";
                return Err(Error::Length { input, expected: self.len(), got: other.len(), unit });
            }
        }
        let (samples, unit) = (self.len() / columns, "pair of vectors");
        let expected = if has_targets { samples } else { 0 };
        if self.targets.len() != expected {
            return Err(Error::Length { input: Input::Targets, expected, got: self.targets.len(), unit });
        }
        match self.sample_weights {
            Some(w) if w.len() != samples => {
                Err(Error::Length { input: Input::SampleWeights, expected: samples, got: w.len(), unit: "sample" })
            }
            _ => Ok(BatchShape { samples, columns, target_width: 1 }),
        }
    }

    pub(crate) fn check_rows(&self) -> Result<BatchShape> {
        let (samples, columns) = self.check_scores(2)?;
        self.check_lengths(samples, "row of scores")?;
        Ok(BatchShape { samples, columns, target_width: 1 })
    }

    /// Checks that scores form rows of at least `least` columns, and returns (rows, columns).
    pub(crate) fn check_scores(&self, least: usize) -> Result<(usize, usize)> {
        let expected = if least == 2 { "(N, C) with at least 2 classes" } else { "(Q, L), a list of L scores a row" };
        let shape = |got: String| Error::Shape { input: Input::Scores, expected: expected.into(), got };
        let columns = self.columns.ok_or_else(|| shape(format!("({})", self.len())))?;
        if self.scores_a_sample() > 1 {
            return Err(shape(format!("{} rows of scores a sample", self.scores_a_sample())));
        }
        if columns < least {
            return Err(shape(format!("(N, {columns})")));
        }
        if i32::try_from(columns).is_err() {
            return Err(shape(format!("{columns} columns, more than an index of 32 bits reaches ({})", i32::MAX)));
        }
        if !self.len().is_multiple_of(columns) {
            return Err(shape(format!("{} elements, not a multiple of {columns} columns", self.len())));
        }
        Ok((self.len() / columns, columns))
    }
}

pub(crate) fn mixed_types(input: Input, first: Floats<'_>, other: Floats<'_>) -> Error {
    Error::ElementType { input, expected: first.type_name(), got: other.type_name() }
}
