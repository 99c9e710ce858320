//! Leaves out samples whose target is the loss's `ignore_index`, before a backend sees the batch: such a sample has no
//! loss, no gradient and no place in a count, whatever its scores are. [`Spec::Rows`] does this in its kernels.

use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Output, Request};
use crate::data::labels::{Label, LabelEncoding, TargetRowRule};
use crate::data::tensor::{Floats, Targets, with_targets};
use crate::data::weights;
use crate::error::{Error, Input, Result};
use crate::loss::{Spec, TargetRowsFormula};

/// What a backend takes instead of the caller's batch. It is a copy, made only where a sample is ignored.
pub(super) struct Kept {
    scores: [Option<Copied>; 3],
    targets: CopiedTargets,
    sample_weights: Option<Copied>,
    columns: Option<usize>,
    /// The kept samples among all; `None` where all samples stay, because lists lose only some of their items.
    places: Option<Places>,
}

struct Places {
    kept: Vec<usize>,
    samples: usize,
    /// Numbers per sample in each part of a gradient, and its number of parts.
    columns: usize,
    parts: usize,
}

enum Copied {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Copied {
    fn of(input: Input, floats: Floats<'_>) -> Result<Self> {
        Ok(match floats {
            Floats::F32(x) => Self::F32(x.to_vec()),
            Floats::F64(x) => Self::F64(x.to_vec()),
            other => Self::F32(other.widened().ok_or_else(|| on_device(input))?),
        })
    }

    /// The rows of the kept samples.
    fn rows(self, kept: &[usize], columns: usize) -> Self {
        fn pick<T: Copy>(x: Vec<T>, kept: &[usize], columns: usize) -> Vec<T> {
            kept.iter().flat_map(|&row| &x[row * columns..(row + 1) * columns]).copied().collect()
        }
        match self {
            Self::F32(x) => Self::F32(pick(x, kept, columns)),
            Self::F64(x) => Self::F64(pick(x, kept, columns)),
        }
    }

    fn set(&mut self, index: usize, value: f32) {
        match self {
            Self::F32(x) => x[index] = value,
            Self::F64(x) => x[index] = value.into(),
        }
    }

    fn floats(&self) -> Floats<'_> {
        match self {
            Self::F32(x) => x.into(),
            Self::F64(x) => x.into(),
        }
    }
}

enum CopiedTargets {
    Integers(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl CopiedTargets {
    fn of(targets: Targets<'_>) -> Result<Self> {
        // An integer beyond i64 is no label of any loss; it stays one that is none.
        let integer = |class: Option<i64>| class.unwrap_or(i64::MAX);
        Ok(match targets {
            Targets::F32(x) => Self::F32(x.to_vec()),
            Targets::F64(x) => Self::F64(x.to_vec()),
            Targets::F16(_) | Targets::BF16(_) => Self::F32(targets.widened_halves()),
            _ => {
                Self::Integers(with_targets!(targets, x => x.iter().map(|&l| integer(Label::class_index(l))).collect(),
                _tensor => return Err(on_device(Input::Targets))))
            }
        })
    }

    fn rows(self, kept: &[usize]) -> Self {
        fn pick<T: Copy>(x: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().map(|&row| x[row]).collect()
        }
        match self {
            Self::Integers(x) => Self::Integers(pick(&x, kept)),
            Self::F32(x) => Self::F32(pick(&x, kept)),
            Self::F64(x) => Self::F64(pick(&x, kept)),
        }
    }

    fn set(&mut self, index: usize, value: i8) {
        match self {
            Self::Integers(x) => x[index] = value.into(),
            Self::F32(x) => x[index] = value.into(),
            Self::F64(x) => x[index] = value.into(),
        }
    }

    /// Moves a row's kept labels to its beginning, and ends them with padding.
    fn close_up(&mut self, row: std::ops::Range<usize>, is_ignored: &[bool]) {
        let mut to = row.start;
        for from in row.clone().filter(|&from| !is_ignored[from]) {
            match self {
                Self::Integers(x) => x[to] = x[from],
                Self::F32(x) => x[to] = x[from],
                Self::F64(x) => x[to] = x[from],
            }
            to += 1;
        }
        (to..row.end).for_each(|index| self.set(index, -1));
    }

    fn targets(&self) -> Targets<'_> {
        match self {
            Self::Integers(x) => x.into(),
            Self::F32(x) => x.into(),
            Self::F64(x) => x.into(),
        }
    }
}

fn on_device(input: Input) -> Error {
    Error::ElementType { input, expected: "host data, because samples are ignored", got: "a device tensor" }
}

impl Kept {
    /// `None` where nothing is ignored, or where kernels ignore it. The batch may lack scores.
    pub(super) fn of(spec: &Spec<'_>, batch: &Batch<'_>) -> Result<Option<Self>> {
        let Some(ignored) = spec.ignore_index().filter(|_| !matches!(spec, Spec::Rows(_))) else { return Ok(None) };
        let is_ignored: Vec<bool> = with_targets!(batch.targets,
            x => x.iter().map(|&label| Label::class_index(label) == Some(ignored)).collect(),
            _tensor => return Err(on_device(Input::Targets)));
        if !is_ignored.contains(&true) {
            return Ok(None);
        }
        let has_scores = !batch.is_empty();
        let target_width = match has_scores {
            true => spec.check_batch(batch, &Request::new())?.target_width,
            false => 1,
        };
        let inputs = [
            (Input::Scores, Some(batch.scores)),
            (Input::SecondScores, batch.second_scores),
            (Input::Negatives, batch.third_scores),
        ];
        let mut scores = [None, None, None];
        for (to, (input, floats)) in scores.iter_mut().zip(inputs) {
            *to = floats.map(|floats| Copied::of(input, floats)).transpose()?;
        }
        let targets = CopiedTargets::of(batch.targets)?;
        let Spec::TargetRows(rows) = spec else { return Self::samples(spec, batch, scores, targets, &is_ignored) };
        let kept = Self { scores, targets, sample_weights: None, columns: batch.columns, places: None };
        match rows.formula {
            TargetRowsFormula::Categorical if target_width == 1 => {
                Self::samples(spec, batch, kept.scores, kept.targets, &is_ignored)
            }
            TargetRowsFormula::Categorical => Err(Error::Option {
                option: "ignore_index",
                expected: "none, or class indices, one for each row".into(),
                got: format!("{ignored}, and rows of {target_width} targets"),
            }),
            TargetRowsFormula::Lovasz => Ok(Some(kept.without_items(rows.target_rule, &is_ignored, has_scores))),
            TargetRowsFormula::Listwise => Ok(Some(kept.padded(&is_ignored))),
            TargetRowsFormula::Multilabel => Ok(Some(kept.without_labels(target_width, &is_ignored))),
        }
    }

    /// Without the ignored samples.
    fn samples(
        spec: &Spec<'_>,
        batch: &Batch<'_>,
        scores: [Option<Copied>; 3],
        targets: CopiedTargets,
        is_ignored: &[bool],
    ) -> Result<Option<Self>> {
        let samples = is_ignored.len();
        // Checked before samples are left out, so that an index in an error counts all samples of the batch.
        batch.check_lengths(samples, "target")?;
        weights::totals(batch, samples)?;
        let kept: Vec<usize> = (0..samples).filter(|&sample| !is_ignored[sample]).collect();
        let columns = match spec {
            Spec::Elementwise(_) => 1,
            _ => batch.columns.unwrap_or(1),
        };
        let parts = if let Spec::Vectors(spec) = spec { spec.inputs } else { 1 };
        let pick = |copied: Copied| match batch.is_empty() {
            true => copied,
            false => copied.rows(&kept, columns),
        };
        let sample_weights = batch.sample_weights.map(|weights| Copied::of(Input::SampleWeights, weights));
        Ok(Some(Self {
            scores: scores.map(|copied| copied.map(pick)),
            targets: targets.rows(&kept),
            sample_weights: sample_weights.transpose()?.map(|weights| weights.rows(&kept, 1)),
            columns: batch.columns,
            places: Some(Places { kept, samples, columns, parts }),
        }))
    }

    /// For Lovasz: an ignored item becomes a negative with the lowest score. It violates nothing and comes last in the
    /// order of violations, so that no other item's part of the union changes.
    fn without_items(mut self, rule: TargetRowRule, is_ignored: &[bool], has_scores: bool) -> Self {
        let negative = if rule == TargetRowRule::Binary(LabelEncoding::ZeroOne) { 0 } else { -1 };
        for (item, _) in is_ignored.iter().enumerate().filter(|(_, is_ignored)| **is_ignored) {
            self.targets.set(item, negative);
            if let Some(scores) = self.scores[0].as_mut().filter(|_| has_scores) {
                scores.set(item, -f32::MAX);
            }
        }
        self
    }

    /// For listwise losses: an ignored item becomes padding.
    fn padded(mut self, is_ignored: &[bool]) -> Self {
        let items = is_ignored.iter().enumerate().filter(|(_, is_ignored)| **is_ignored);
        items.for_each(|(item, _)| self.targets.set(item, -1));
        self
    }

    /// For rows of class indices: ignored ones are left out of their row.
    fn without_labels(mut self, width: usize, is_ignored: &[bool]) -> Self {
        for start in (0..is_ignored.len()).step_by(width.max(1)) {
            let row = start..(start + width).min(is_ignored.len());
            if is_ignored[row.clone()].contains(&true) {
                self.targets.close_up(row, is_ignored);
            }
        }
        self
    }

    pub(super) fn batch<'a>(&'a self, batch: &Batch<'a>) -> Batch<'a> {
        let [first, second, third] = self.scores.each_ref().map(|copied| copied.as_ref().map(Copied::floats));
        Batch {
            scores: first.unwrap_or(batch.scores),
            second_scores: second,
            third_scores: third,
            targets: self.targets.targets(),
            sample_weights: self.sample_weights.as_ref().map(Copied::floats).or(batch.sample_weights),
            columns: self.columns,
            ..*batch
        }
    }

    /// The evaluation in the shape of the caller's batch: an ignored sample has the loss 0 and the gradient 0.
    pub(super) fn spread(&self, mut evaluation: Evaluation) -> Evaluation {
        let Some(places) = &self.places else { return evaluation };
        evaluation.losses = evaluation.losses.map(|losses| spread_output(losses, places, 1, 1));
        let gradient = evaluation.gradient.take();
        evaluation.gradient = gradient.map(|g| spread_output(g, places, places.columns, places.parts));
        evaluation
    }

    /// The error with an index that counts all samples.
    pub(super) fn place(&self, error: Error) -> Error {
        match (error, &self.places) {
            (Error::Value { input, index, value, expected }, Some(places)) => {
                let columns = match input {
                    Input::Scores | Input::SecondScores | Input::Negatives => places.columns.max(1),
                    _ => 1,
                };
                let (sample, column) = (index as usize / columns, index as usize % columns);
                let index = places.kept.get(sample).map_or(index, |&sample| (sample * columns + column) as u64);
                Error::Value { input, index, value, expected }
            }
            (error, _) => error,
        }
    }
}

fn spread_output(output: Output, places: &Places, columns: usize, parts: usize) -> Output {
    fn spread<T: Copy + Default>(from: &[T], places: &Places, columns: usize, parts: usize) -> Vec<T> {
        let mut to = vec![T::default(); parts * places.samples * columns];
        for part in 0..parts {
            for (place, &sample) in places.kept.iter().enumerate() {
                let from_start = (part * places.kept.len() + place) * columns;
                let to_start = (part * places.samples + sample) * columns;
                to[to_start..to_start + columns].copy_from_slice(&from[from_start..from_start + columns]);
            }
        }
        to
    }
    match output {
        Output::F32(x) => Output::F32(spread(&x, places, columns, parts)),
        Output::F64(x) => Output::F64(spread(&x, places, columns, parts)),
        other => other,
    }
}
