//! The files of an evaluation: opens them, checks their shapes against each other, and reads them block by block.

use std::cell::Cell;
use std::mem::discriminant;
use std::ops::Range;
use std::path::Path;

use maxmargin::{Batch, BatchShape, Error, Floats, Input, ScoreKind, Targets};

use super::given::{FamilyName, Given, SampleLayout};
use super::task::ClassNumbers;
use crate::failure::{Failure, Outcome};
use crate::file::{self, Data, Shape, Source, TextOptions};

pub(super) struct Files {
    scores: Source,
    /// The further scores of pairs and triplets.
    other_scores: [Option<Source>; 2],
    targets: Option<Source>,
    sample_weights: Option<Source>,
    /// The common type to which scores of several types are converted.
    meeting: Option<Meeting>,
}

#[derive(Clone, Copy)]
enum Meeting {
    F32,
    F64,
}

/// A range of samples as read from the files. Its memory is reused.
pub(super) struct Block {
    pub(super) samples: Range<usize>,
    scores: Data,
    other_scores: [Option<Data>; 2],
    targets: Option<Data>,
    sample_weights: Option<Data>,
}

/// Facts about the data that are known before any block is read.
pub(super) struct Inputs<'a> {
    pub(super) given: &'a Given<'a>,
    /// The shape of the scores in their file.
    pub(super) scores_shape: Vec<usize>,
    pub(super) shape: BatchShape,
    pub(super) has_weights: bool,
    pub(super) is_double: bool,
    score_kind: ScoreKind,
    class_weights: Option<Vec<f64>>,
    margin_matrix: Option<Vec<f64>>,
}

pub(super) fn open<'a>(given: &'a Given<'a>, score_kind: ScoreKind) -> Outcome<(Files, Inputs<'a>)> {
    let text = given.common.text;
    let file = |n: usize| given.scores.get(n).map(|file| open_scores(file.path, text)).transpose();
    let scores = open_scores(given.scores_path(), text)?;
    let other_scores = [file(1)?, file(2)?];
    let kinds: Vec<Data> = [Some(&scores), other_scores[0].as_ref(), other_scores[1].as_ref()]
        .into_iter()
        .flatten()
        .map(|source| as_scores(source.empty(), source))
        .collect::<Outcome<_>>()?;
    let is_double = kinds.iter().any(|kind| matches!(kind, Data::F64(_)));
    let meeting = match kinds.windows(2).any(|pair| discriminant(&pair[0]) != discriminant(&pair[1])) {
        true if is_double => Some(Meeting::F64),
        true => Some(Meeting::F32),
        false => None,
    };
    let targets = given.targets.map(|path| open_targets(given, path, &scores)).transpose()?;
    let sample_weights = given.common.sample_weights.as_deref().map(|path| Source::open(path, text)).transpose()?;
    let numbers = |path: &Path| file::read(path, text).and_then(|array| array.data.to_f64());
    let matrix = |path: &Path| margin_matrix(path, text, &scores);
    let margin_matrix = given.margin_matrix.map(matrix).transpose()?;
    let files = Files { scores, other_scores, targets, sample_weights, meeting };
    let inputs = Inputs {
        given,
        scores_shape: files.scores.shape().to_vec(),
        shape: shape_of(given, &files)?,
        has_weights: files.sample_weights.is_some(),
        is_double,
        score_kind,
        class_weights: given.class_weights.map(numbers).transpose()?,
        margin_matrix,
    };
    Ok((files, inputs))
}

/// Text in place of class indices names classes: the columns of the scores where these have such names, otherwise the
/// file's own texts in the order of their characters, one for each column.
fn open_targets(given: &Given<'_>, path: &Path, scores: &Source) -> Outcome<Source> {
    let text = given.common.text;
    if !matches!(given.family, FamilyName::Multiclass | FamilyName::Categorical) {
        return Source::open(path, text);
    }
    let targets = Source::open_classes(path, text, &scores.names())?;
    if let (Some(classes), &[_, columns]) = (targets.classes(), scores.shape())
        && classes.len() != columns
    {
        let message = format!("targets: {} classes of text for {columns} columns of scores", classes.len());
        let hint = targets.header_hint();
        let message = format!("{message}; name the columns after the classes, or use class indices{hint}");
        return Err(Failure::file(path, message));
    }
    Ok(targets)
}

fn open_scores(path: &Path, text: TextOptions) -> Outcome<Source> {
    let source = Source::open(path, text)?;
    let empty = as_scores(source.empty(), &source)?;
    match empty.floats() {
        Some(_) => Ok(source),
        None => {
            let got = empty.type_name();
            Err(Failure::file(path, format!("scores: expected f16, bf16, f32 or f64 elements, got {got}")))
        }
    }
}

/// A column of whole numbers in a text file can still hold scores.
fn as_scores(data: Data, source: &Source) -> Outcome<Data> {
    match data {
        Data::I64(_) if source.is_text() => data.to_f64().map(Data::F64),
        data => Ok(data),
    }
}

/// A margin for each pair of classes: rows and columns as many as the scores' columns.
fn margin_matrix(path: &Path, text: TextOptions, scores: &Source) -> Outcome<Vec<f64>> {
    let array = file::read(path, text)?;
    if let &[_, classes] = scores.shape()
        && !Shape(&array.shape).matches(&[classes, classes])
    {
        let got = Shape(&array.shape);
        return Err(Failure::file(path, format!("margin matrix: expected shape ({classes}, {classes}), got {got}")));
    }
    array.data.to_f64()
}

/// The number of samples, and their number of columns and targets.
fn shape_of(given: &Given<'_>, files: &Files) -> Outcome<BatchShape> {
    let path = given.scores_path();
    let (scores, targets) = (&files.scores, files.targets.as_ref().map_or(0, Source::len));
    let rows = |dimension: &str| match scores.shape() {
        &[samples, columns] => Ok((samples, columns)),
        got => Err(Failure::file(path, format!("scores: expected shape ({dimension}), got {}", Shape(got)))),
    };
    Ok(match given.layout() {
        SampleLayout::Element => BatchShape::new(scores.len(), 1, 1),
        // One list; no list where there are no scores.
        SampleLayout::Whole => BatchShape::new(usize::from(scores.len() > 0), scores.len().max(1), scores.len().max(1)),
        SampleLayout::Row => {
            let (samples, columns) = rows("N, C")?;
            let width = match given.family {
                FamilyName::Multiclass => 1,
                FamilyName::Categorical if targets == samples => 1,
                _ => columns,
            };
            BatchShape::new(samples, columns, width)
        }
        SampleLayout::Vectors(_) => {
            let (samples, columns) = rows("N, D")?;
            BatchShape::new(samples, columns, usize::from(files.targets.is_some()))
        }
    })
}

impl Block {
    /// The first target that is neither 1 nor ignored.
    pub(super) fn first_other_than_one(&self, ignored: Option<i64>) -> Option<f64> {
        let (ignored, other) = (ignored.map(|index| index as f64), Cell::new(None));
        let is_one = |x: f64| {
            let is_one = x == 1.0 || Some(x) == ignored;
            if !is_one {
                other.set(Some(x));
            }
            is_one
        };
        // The search ends at the first that is not.
        let _ = self.targets.as_ref().map(|targets| targets.all(is_one));
        other.get()
    }

    /// True where all targets are 1 or ignored, so that they fit both label encodings.
    pub(super) fn has_only_ones(&self, ignored: Option<i64>) -> bool {
        self.first_other_than_one(ignored).is_none()
    }
}

impl Files {
    /// A second reader of the same arrays, for another thread; `None` where an array is read in one go.
    pub(super) fn another(&self) -> Option<Self> {
        let another = |source: &Option<Source>| match source {
            Some(source) => source.another().map(Some),
            None => Some(None),
        };
        Some(Self {
            scores: self.scores.another()?,
            other_scores: [another(&self.other_scores[0])?, another(&self.other_scores[1])?],
            targets: another(&self.targets)?,
            sample_weights: another(&self.sample_weights)?,
            meeting: self.meeting,
        })
    }

    /// For each file of text, by its option: whether a header was found.
    pub(super) fn headers(&self, given: &Given<'_>) -> Vec<(&'static str, bool)> {
        let scores = [Some(&self.scores), self.other_scores[0].as_ref(), self.other_scores[1].as_ref()];
        let scores = given.scores.iter().map(|file| file.option).zip(scores);
        let others = [("--targets", self.targets.as_ref()), ("--sample-weights", self.sample_weights.as_ref())];
        scores.chain(others).filter_map(|(option, source)| Some((option, source?.has_header()?))).collect()
    }

    /// The classes that the targets index, where their file holds text.
    pub(super) fn classes(&self) -> Option<Vec<String>> {
        self.targets.as_ref()?.classes().map(<[String]>::to_vec)
    }

    pub(super) fn bytes(&self) -> u64 {
        let others = self.other_scores.iter().chain([&self.targets, &self.sample_weights]);
        self.scores.bytes() + others.flatten().map(Source::bytes).sum::<u64>()
    }

    pub(super) fn empty(&self) -> Block {
        // Nothing that could be too large for memory.
        let scores = |source: &Source| as_scores(source.empty(), source).unwrap_or(Data::F64(Vec::new()));
        Block {
            samples: 0..0,
            scores: scores(&self.scores),
            other_scores: self.other_scores.each_ref().map(|source| source.as_ref().map(scores)),
            targets: self.targets.as_ref().map(Source::empty),
            sample_weights: self.sample_weights.as_ref().map(Source::empty),
        }
    }

    pub(super) fn read(&mut self, samples: Range<usize>, shape: &BatchShape, block: &mut Block) -> Outcome<()> {
        let range = samples.start * shape.columns..samples.end * shape.columns;
        // Clamped to the scores: an empty list counts as no sample, but its rows may have a width.
        let range = range.start.min(self.scores.len())..range.end.min(self.scores.len());
        read_scores(&mut self.scores, range.clone(), self.meeting, &mut block.scores)?;
        for (source, data) in self.other_scores.iter_mut().zip(&mut block.other_scores) {
            if let (Some(source), Some(data)) = (source, data) {
                read_scores(source, range.clone(), self.meeting, data)?;
            }
        }
        self.read_labels(samples, shape, block)
    }

    /// Reads only targets and weights.
    pub(super) fn read_labels(&mut self, samples: Range<usize>, shape: &BatchShape, block: &mut Block) -> Outcome<()> {
        if let (Some(source), Some(data)) = (&mut self.targets, &mut block.targets) {
            // The number of targets is checked later, once the encoding of the labels is known.
            let range = samples.start * shape.target_width..samples.end * shape.target_width;
            source.read(range.start.min(source.len())..range.end.min(source.len()), data)?;
            data.widen();
        }
        if let (Some(source), Some(data)) = (&mut self.sample_weights, &mut block.sample_weights) {
            source.read(samples.start.min(source.len())..samples.end.min(source.len()), data)?;
            if !matches!(data, Data::F32(_) | Data::F64(_)) {
                *data = Data::F64(data.to_f64()?);
            }
        }
        block.samples = samples;
        Ok(())
    }
}

fn read_scores(source: &mut Source, range: Range<usize>, meeting: Option<Meeting>, data: &mut Data) -> Outcome<()> {
    source.read(range, data)?;
    let read = std::mem::replace(data, Data::F32(Vec::new()));
    *data = as_scores(read, source)?;
    match meeting {
        Some(Meeting::F64) if !matches!(data, Data::F64(_)) => *data = Data::F64(data.to_f64()?),
        Some(Meeting::F32) => data.widen(),
        _ => {}
    }
    Ok(())
}

impl Inputs<'_> {
    pub(super) fn class_numbers(&self) -> ClassNumbers<'_> {
        ClassNumbers { weights: self.class_weights.as_deref(), margins: self.margin_matrix.as_deref() }
    }

    /// Whether all samples must be evaluated together.
    pub(super) fn is_whole(&self) -> bool {
        self.given.layout() == SampleLayout::Whole || self.score_kind == ScoreKind::Guessed
    }

    /// Samples per batch, where the metric is updated batch by batch.
    pub(super) fn batch_size(&self) -> Option<usize> {
        self.given.common.batch_size.map(usize::from)
    }

    /// Vectors per sample.
    pub(super) fn vectors(&self) -> usize {
        if let SampleLayout::Vectors(vectors) = self.given.layout() { vectors } else { 1 }
    }

    /// Checks that every file has the shape that the scores require.
    pub(super) fn check_shapes(&self, files: &Files) -> Result<(), Error> {
        let BatchShape { samples, target_width, .. } = self.shape;
        let (target_unit, weight_unit) = match (self.given.layout(), self.given.family) {
            (SampleLayout::Element, _) => ("score", "score"),
            (_, FamilyName::Multiclass) => ("row of scores", "row of scores"),
            (SampleLayout::Vectors(_), _) => ("pair of vectors", "sample"),
            _ => ("score", "row of scores"),
        };
        let check = |input, source: Option<&Source>, expected: &[usize], unit| {
            let Some(got) = source.map(Source::shape).filter(|got| !Shape(got).matches(expected)) else {
                return Ok(());
            };
            let count =
                |shape| Some(Shape(shape).long_axes()).filter(|axes| axes.len() < 2)?.first().copied().or(Some(1));
            if let (Some(expected), Some(got)) = (count(expected), count(got)) {
                return Err(Error::Length { input, expected, got, unit });
            }
            Err(Error::Shape { input, expected: Shape(expected).to_string(), got: Shape(got).to_string() })
        };
        for (source, input) in files.other_scores.iter().zip([Input::SecondScores, Input::Negatives]) {
            check(input, source.as_ref(), &self.scores_shape, "first score")?;
        }
        let each_score = match self.given.layout() {
            SampleLayout::Element | SampleLayout::Whole => true,
            SampleLayout::Row => target_width > 1,
            SampleLayout::Vectors(_) => false,
        };
        let target_shape = if each_score { &self.scores_shape[..] } else { &[samples] };
        let weights_shape =
            if self.given.layout() == SampleLayout::Element { &self.scores_shape[..] } else { &[samples] };
        check(Input::Targets, files.targets.as_ref(), target_shape, target_unit)?;
        check(Input::SampleWeights, files.sample_weights.as_ref(), weights_shape, weight_unit)
    }

    /// The targets of a block; triplets have none.
    pub(super) fn targets<'b>(&self, block: &'b Block) -> Outcome<Targets<'b>> {
        let (Some(targets), Some(path)) = (&block.targets, self.given.targets) else {
            return Ok(Targets::I8(&[]));
        };
        targets.targets().ok_or_else(|| Failure::file(path, "expected f32, f64, integers or booleans"))
    }

    pub(super) fn batch<'b>(&self, block: &'b Block) -> Outcome<Batch<'b>> {
        let (scores, targets) = (floats_of(&block.scores, self.given.scores_path())?, self.targets(block)?);
        let other = |n: usize| match (&block.other_scores[n], self.given.scores.get(n + 1)) {
            (Some(data), Some(file)) => floats_of(data, file.path).map(Some),
            _ => Ok(None),
        };
        let columns = self.shape.columns;
        let batch = match (self.given.layout(), other(0)?, other(1)?) {
            (SampleLayout::Row | SampleLayout::Whole, ..) => Batch::rows(scores, columns, targets),
            (SampleLayout::Vectors(_), Some(second), Some(third)) => Batch::triplets(scores, second, third, columns),
            (SampleLayout::Vectors(_), Some(second), None) => Batch::vector_pairs(scores, second, columns, targets),
            (_, Some(second), _) => Batch::pairs(scores, second, targets),
            _ => Batch::new(scores, targets),
        };
        Ok(self.weighted(batch, block).score_kind(self.score_kind))
    }

    /// The targets and weights of a block, without scores.
    pub(super) fn labels<'b>(&self, block: &'b Block) -> Outcome<Batch<'b>> {
        let batch = match self.given.layout() {
            SampleLayout::Element => Batch::new(&[0f32; 0], self.targets(block)?),
            _ => Batch::rows(&[0f32; 0], self.shape.columns, self.targets(block)?),
        };
        Ok(self.weighted(batch, block))
    }

    fn weighted<'b>(&self, batch: Batch<'b>, block: &'b Block) -> Batch<'b> {
        match block.sample_weights.as_ref().and_then(Data::floats) {
            Some(weights) => batch.sample_weights(weights),
            None => batch,
        }
    }

    /// The failure of an evaluation, with the file that caused it.
    pub(super) fn explain(&self, error: Error) -> Failure {
        let Given { common, targets, class_weights, margin_matrix, .. } = *self.given;
        let scores = |n: usize| self.given.scores.get(n).map(|file| file.path);
        let path = match error.input() {
            Some(Input::Scores) => scores(0),
            Some(Input::SecondScores) => scores(1),
            Some(Input::Negatives) => scores(2),
            Some(Input::Targets) => targets,
            Some(Input::SampleWeights) => common.sample_weights.as_deref(),
            Some(Input::ClassWeights) => class_weights,
            Some(Input::MarginMatrix) => margin_matrix,
            _ => None,
        };
        match (path, &error) {
            (Some(path), _) if error.input() == Some(Input::SecondScores) => {
                let own = match self.given.family {
                    FamilyName::Triplet => "positives",
                    FamilyName::Cosine => "second vectors",
                    _ => "second scores",
                };
                Failure::file(path, error.to_string().replacen("second scores", own, 1))
            }
            (Some(path), _) => Failure::file(path, error),
            (None, Error::Option { .. }) => Failure::option(error),
            (None, Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
                let path = match (&error, &common.sample_weights) {
                    (Error::ZeroWeight { .. }, Some(weights)) => weights,
                    _ => targets.unwrap_or(self.given.scores_path()),
                };
                Failure::file(path, error)
            }
            (None, _) => Failure::device(error),
        }
    }

    /// As [`Inputs::explain`], for a part that begins at sample `start`.
    pub(super) fn explain_part(&self, error: Error, start: usize) -> Failure {
        // An index in the file says more than the number of a batch.
        let error = if let Error::Update { source, .. } = error { *source } else { error };
        self.explain(self.shape.whole_index(error, start))
    }
}

fn floats_of<'b>(data: &'b Data, path: &Path) -> Outcome<Floats<'b>> {
    data.floats().ok_or_else(|| Failure::file(path, "expected floats"))
}
