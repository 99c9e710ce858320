//! Losses by name with their options, and their evaluation.

use maxmargin::loss::{Loss, Pattern, RowsLoss};
use maxmargin::{
    Batch, BinaryHinge, Buffers, CategoricalHinge, CosineEmbedding, CrammerSinger, Device, Distance, EmbeddingHinge,
    Error, Evaluation, Input, LeeLinWahba, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge,
    MultilabelMargin, OneVsAll, Precision, Reduction, Request, ScoreKind, TopK, TripletMargin, WestonWatkins,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arrays::{Array, ArrayMut, argument, matches, shape_text};
use crate::error::{OrRaise, wrong_input};
use crate::process::{choice, compute, device_of};

/// What an evaluation takes, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Inputs {
    /// Scores of any shape and as many targets.
    Scores,
    /// First and second scores, and targets.
    Pairs,
    /// (N, C) scores and N classes.
    Rows,
    /// (N, C) scores and as many targets, or N classes.
    TargetRows,
    /// Two times (N, D) vectors and N targets.
    VectorPairs,
    /// Three times (N, D) vectors.
    Triplets,
}

impl Inputs {
    /// The arguments.
    pub(crate) fn arguments(self) -> &'static [Input] {
        match self {
            Self::Scores | Self::Rows | Self::TargetRows => &[Input::Scores, Input::Targets],
            Self::Pairs | Self::VectorPairs => &[Input::Scores, Input::SecondScores, Input::Targets],
            Self::Triplets => &[Input::Scores, Input::SecondScores, Input::Negatives],
        }
    }

    fn has_rows(self) -> bool {
        !matches!(self, Self::Scores | Self::Pairs)
    }
}

/// A loss with its options.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct NativeLoss {
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) inputs: Inputs,
}

/// The options by name; each loss takes those that it has.
struct Options<'py>(Bound<'py, PyDict>);

impl<'py> Options<'py> {
    fn take<T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(&self, name: &'static str) -> PyResult<Option<T>> {
        match self.0.get_item(name)? {
            None => Ok(None),
            Some(value) => {
                self.0.del_item(name)?;
                let may_lack = matches!(name, "ignore_index" | "class_weights" | "margin_matrix");
                if value.is_none() && may_lack {
                    return Ok(None);
                }
                value.extract().map(Some).map_err(|_| {
                    let got = value.repr().map_or_else(|_| "something else".into(), |text| text.to_string());
                    wrong_input(value.py(), name, kind_of(name), got)
                })
            }
        }
    }

    fn choice<T: std::str::FromStr<Err = Error>>(&self, name: &'static str) -> PyResult<Option<T>> {
        self.take::<String>(name)?.map(|text| choice(self.0.py(), &text)).transpose()
    }

    /// Names that no loss took.
    fn finish(&self, loss: &str) -> PyResult<()> {
        match self.0.keys().iter().next() {
            None => Ok(()),
            Some(name) => Err(PyTypeError::new_err(format!("{loss} has no option {name}"))),
        }
    }
}

/// What an option is, in words.
fn kind_of(name: &str) -> &'static str {
    match name {
        "margin" | "p" | "eps" => "a number",
        "k" | "ignore_index" => "a whole number of 64 bits",
        "swap" => "True or False",
        "class_weights" => "one number per class",
        "margin_matrix" => "one row of numbers per class",
        _ => "a name",
    }
}

/// Calls the builder method of each option that was given.
macro_rules! with {
    ($options:ident, $loss:expr; $($name:ident),* ; $($chosen:ident),*) => {{
        let mut loss = $loss;
        $(if let Some(value) = $options.take(stringify!($name))? { loss = loss.$name(value); })*
        $(if let Some(value) = $options.choice(stringify!($chosen))? { loss = loss.$chosen(value); })*
        loss
    }};
}

fn multiclass<M: RowsLoss>(options: &Options<'_>, method: M) -> PyResult<Box<dyn Loss>>
where
    MulticlassHinge<M>: Loss,
{
    let mut loss =
        with!(options, MulticlassHinge::with_method(method); margin, ignore_index; penalty, kink, ties, over_classes);
    if let Some(weights) = options.take::<Vec<f64>>("class_weights")? {
        loss = loss.class_weights(weights);
    }
    if let Some(rows) = options.take::<Vec<Vec<f64>>>("margin_matrix")? {
        let is_square = rows.iter().all(|row| row.len() == rows.len());
        if !is_square {
            let got = "rows of other lengths";
            return Err(wrong_input(options.0.py(), "margin_matrix", "a square matrix, one row per class", got));
        }
        loss = loss.margin_matrix(rows.concat());
    }
    Ok(loss.boxed())
}

fn distance_of(options: &Options<'_>) -> PyResult<Distance> {
    let [p, epsilon] = [options.take("p")?, options.take("eps")?];
    let norm = Distance::Norm { p: p.unwrap_or(2.0), epsilon: epsilon.unwrap_or(1e-6) };
    match options.take::<String>("distance")?.as_deref() {
        None | Some("norm") => Ok(norm),
        Some("cosine") => Ok(Distance::Cosine),
        Some(other) => Err(wrong_input(options.0.py(), "distance", "norm or cosine", other)),
    }
}

#[pymethods]
impl NativeLoss {
    /// The loss of this name with these options.
    #[new]
    #[pyo3(signature = (name, **options))]
    fn new(py: Python<'_>, name: &str, options: Option<Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = Options(options.unwrap_or_else(|| PyDict::new(py)));
        let loss: Box<dyn Loss> = match name {
            "binary" => with!(options, BinaryHinge::new(); margin, ignore_index; penalty, kink, labels).boxed(),
            "embedding" => with!(options, EmbeddingHinge::new(); margin, ignore_index; kink).boxed(),
            "ranking" => with!(options, MarginRanking::new(); margin, ignore_index; penalty, kink).boxed(),
            "crammer_singer" => multiclass(&options, CrammerSinger)?,
            "weston_watkins" => multiclass(&options, WestonWatkins)?,
            "lee_lin_wahba" => multiclass(&options, LeeLinWahba)?,
            "one_vs_all" => multiclass(&options, OneVsAll)?,
            "top_k" => {
                let k: i64 = options.take("k")?.unwrap_or(1);
                let expected = "a whole number from 1 to the number of classes";
                let k = usize::try_from(k).map_err(|_| wrong_input(py, "k", expected, k.to_string()))?;
                multiclass(&options, TopK::new(k))?
            }
            "multilabel" => {
                with!(options, MultilabelMargin::new(); margin, ignore_index; penalty, kink, over_classes).boxed()
            }
            "categorical" => with!(options, CategoricalHinge::new(); margin, ignore_index; penalty, kink, ties).boxed(),
            "listwise" => with!(options, ListwiseHinge::new(); margin, ignore_index; penalty, kink, over_items).boxed(),
            "lovasz" => with!(options, LovaszHinge::new(); margin, ignore_index; penalty, kink, labels).boxed(),
            "triplet" => {
                let loss = with!(options, TripletMargin::new(); margin, swap; penalty, kink);
                loss.distance(distance_of(&options)?).boxed()
            }
            "cosine" => with!(options, CosineEmbedding::new(); margin, ignore_index; penalty, kink).boxed(),
            other => return Err(wrong_input(py, "loss", "the name of a loss", other)),
        };
        options.finish(name)?;
        loss.check().or_raise(py)?;
        Ok(Self { inputs: inputs_of(&*loss), loss })
    }

    /// The loss with its options as JSON.
    fn json(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&self.loss).map_err(|error| wrong_input(py, "loss", "a loss", error.to_string()))
    }

    /// The loss of what [`NativeLoss::json`] wrote.
    #[staticmethod]
    fn from_json(py: Python<'_>, json: &str) -> PyResult<Self> {
        let loss: Box<dyn Loss> =
            serde_json::from_str(json).map_err(|error| wrong_input(py, "loss", "a loss as JSON", error.to_string()))?;
        loss.check().or_raise(py)?;
        Ok(Self { inputs: inputs_of(&*loss), loss })
    }

    /// The same loss with other weights of its classes.
    fn with_class_weights(&self, py: Python<'_>, weights: Vec<f64>) -> PyResult<Self> {
        fn of<M: RowsLoss>(loss: &dyn Loss, weights: &[f64]) -> Option<Box<dyn Loss>>
        where
            MulticlassHinge<M>: Loss,
        {
            let loss = loss.as_any().downcast_ref::<MulticlassHinge<M>>()?;
            Some(loss.clone().class_weights(weights).boxed())
        }
        let weigh = [of::<CrammerSinger>, of::<WestonWatkins>, of::<LeeLinWahba>, of::<OneVsAll>, of::<TopK>];
        let loss = weigh.iter().find_map(|weigh| weigh(&*self.loss, &weights));
        let loss =
            loss.ok_or_else(|| wrong_input(py, "class_weights", "a loss over rows of classes", self.loss.name()))?;
        Ok(Self { loss, inputs: self.inputs })
    }

    /// The value alone, on the CPU, with the gradient written to an array: what a small batch needs, in as few steps as there
    /// can be.
    #[pyo3(signature = (scores, targets, reduction, gradient, /))]
    fn value_and_gradient(
        &self,
        py: Python<'_>,
        scores: &Bound<'_, PyAny>,
        targets: &Bound<'_, PyAny>,
        reduction: &str,
        gradient: &Bound<'_, PyAny>,
    ) -> PyResult<Option<f64>> {
        let arrays = vec![Array::of(scores, Input::Scores)?, Array::of(targets, Input::Targets)?];
        let arrays = Arrays { inputs: self.inputs, arrays, sample_weights: None };
        arrays.check().or_raise(py)?;
        let request = Request::new().reduction(choice::<Reduction>(py, reduction)?);
        let outputs = [None, Some(gradient)];
        let evaluation = evaluate_arrays(py, self, &arrays, ScoreKind::Raw, &request, &Device::Cpu, outputs)?;
        Ok(evaluation.value)
    }

    /// Whether the loss makes a prediction, so that accuracy has a meaning.
    #[getter]
    fn has_accuracy(&self) -> bool {
        self.loss.has_correct()
    }
}

/// The arrays of an evaluation, checked for their shapes.
pub(crate) struct Arrays {
    pub(crate) inputs: Inputs,
    pub(crate) arrays: Vec<Array>,
    pub(crate) sample_weights: Option<Array>,
}

impl Arrays {
    pub(crate) fn of(
        loss: &NativeLoss,
        arrays: &Bound<'_, PyTuple>,
        sample_weights: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (inputs, py) = (loss.inputs, arrays.py());
        let arguments = inputs.arguments();
        if arrays.len() != arguments.len() {
            let names: Vec<String> = arguments.iter().copied().map(argument).collect();
            let expected = format!("{} arrays after the loss ({})", names.len(), names.join(", "));
            return Err(PyTypeError::new_err(format!(
                "{}: expected {expected}, got {}",
                loss.loss.name(),
                arrays.len()
            )));
        }
        let of = |(array, input): (Bound<'_, PyAny>, &Input)| Array::of(&array, *input);
        let arrays = arrays.iter().zip(arguments).map(of).collect::<PyResult<_>>()?;
        let sample_weights = sample_weights.map(|weights| Array::of(weights, Input::SampleWeights)).transpose()?;
        let arrays = Self { inputs, arrays, sample_weights };
        arrays.check().or_raise(py)?;
        Ok(arrays)
    }

    /// Shapes that agree in the number of elements alone are no fit: (2, 3) scores and (3, 2) targets.
    pub(crate) fn check(&self) -> maxmargin::Result<()> {
        let shape =
            |input, expected: String, got: &[usize]| Err(Error::Shape { input, expected, got: shape_text(got) });
        let scores = self.arrays[0].shape();
        if self.inputs.has_rows() && scores.len() != 2 {
            let expected =
                if self.inputs == Inputs::Triplets || self.inputs == Inputs::VectorPairs { "(N, D)" } else { "(N, C)" };
            return shape(Input::Scores, expected.into(), scores);
        }
        let samples = if self.inputs.has_rows() { &scores[..1] } else { scores };
        let check = |input, array: &Array, expected: &[usize]| match matches(array.shape(), expected) {
            true => Ok(()),
            false => shape(input, shape_text(expected), array.shape()),
        };
        match self.inputs {
            Inputs::Scores | Inputs::Rows => check(Input::Targets, &self.arrays[1], samples)?,
            Inputs::TargetRows if matches(self.arrays[1].shape(), samples) => {}
            Inputs::TargetRows => check(Input::Targets, &self.arrays[1], scores)?,
            Inputs::Pairs | Inputs::VectorPairs => {
                check(Input::SecondScores, &self.arrays[1], scores)?;
                check(Input::Targets, &self.arrays[2], samples)?;
            }
            Inputs::Triplets => {
                check(Input::SecondScores, &self.arrays[1], scores)?;
                check(Input::Negatives, &self.arrays[2], scores)?;
            }
        }
        self.sample_weights.as_ref().map_or(Ok(()), |weights| check(Input::SampleWeights, weights, samples))
    }

    /// The arrays as the library borrows them.
    pub(crate) fn batch(&self, score_kind: ScoreKind) -> maxmargin::Result<Batch<'_>> {
        let floats = |index: usize| self.arrays[index].floats();
        let columns = || self.arrays[0].shape()[1];
        let batch = match self.inputs {
            Inputs::Scores => Batch::new(floats(0)?, self.arrays[1].targets()),
            Inputs::Rows | Inputs::TargetRows => Batch::rows(floats(0)?, columns(), self.arrays[1].targets()),
            Inputs::Pairs => Batch::pairs(floats(0)?, floats(1)?, self.arrays[2].targets()),
            Inputs::VectorPairs => Batch::vector_pairs(floats(0)?, floats(1)?, columns(), self.arrays[2].targets()),
            Inputs::Triplets => Batch::triplets(floats(0)?, floats(1)?, floats(2)?, columns()),
        };
        let batch = match &self.sample_weights {
            Some(weights) => batch.sample_weights(weights.floats()?),
            None => batch,
        };
        Ok(batch.score_kind(score_kind))
    }

    /// Whether the library walks it on one thread and starts no parallel loop: one job of scores, one of weights.
    pub(crate) fn is_small(&self, batch: &Batch<'_>, score_kind: ScoreKind) -> bool {
        batch.len() * self.arrays.len() <= 8 << 10 && batch.samples() <= 1024 && score_kind == ScoreKind::Raw
    }

    fn all(&self) -> impl Iterator<Item = &Array> {
        self.arrays.iter().chain(&self.sample_weights)
    }
}

/// The numbers of an evaluation, in the order of `maxmargin.Evaluation`.
pub(crate) type Returned = (Option<f64>, Option<Vec<f64>>, u64, f64, u64, Option<u64>, &'static str);

pub(crate) fn returned(evaluation: &Evaluation) -> Returned {
    let precision = if evaluation.precision == Precision::F64 { "f64" } else { "f32" };
    let Evaluation { value, per_class, count, weight_sum, active, correct, .. } = evaluation;
    (*value, per_class.clone(), *count, *weight_sum, *active, *correct, precision)
}

/// Evaluates a loss. Losses and gradient are written to the caller's arrays.
#[pyfunction]
#[pyo3(signature = (loss, arrays, sample_weights, score_kind, reduction, divisor, per_class, device, losses, gradient, /))]
#[allow(clippy::too_many_arguments, reason = "called by the package alone")]
pub(crate) fn evaluate(
    py: Python<'_>,
    loss: &Bound<'_, NativeLoss>,
    arrays: &Bound<'_, PyTuple>,
    sample_weights: Option<&Bound<'_, PyAny>>,
    score_kind: &str,
    reduction: &str,
    divisor: Option<f64>,
    per_class: bool,
    device: Option<&Bound<'_, PyAny>>,
    losses: Option<&Bound<'_, PyAny>>,
    gradient: Option<&Bound<'_, PyAny>>,
) -> PyResult<Returned> {
    let loss = loss.get();
    let arrays = Arrays::of(loss, arrays, sample_weights)?;
    let mut request = Request::new().reduction(choice::<Reduction>(py, reduction)?);
    if per_class {
        request = request.per_class();
    }
    if let Some(divisor) = divisor {
        request = request.gradient_of_part(divisor);
    }
    let (score_kind, device) = (choice::<ScoreKind>(py, score_kind)?, device_of(py, device)?);
    let evaluation = evaluate_arrays(py, loss, &arrays, score_kind, &request, &device, [losses, gradient])?;
    Ok(returned(&evaluation))
}

fn evaluate_arrays(
    py: Python<'_>,
    loss: &NativeLoss,
    arrays: &Arrays,
    score_kind: ScoreKind,
    request: &Request,
    device: &Device,
    [losses, gradient]: [Option<&Bound<'_, PyAny>>; 2],
) -> PyResult<Evaluation> {
    let batch = arrays.batch(score_kind).or_raise(py)?;
    let mut losses = losses.map(|array| ArrayMut::of(array, "losses", arrays.all())).transpose()?;
    let mut gradient = gradient.map(|array| ArrayMut::of(array, "out", arrays.all())).transpose()?;
    if let (Some(losses), Some(gradient)) = (&losses, &gradient)
        && losses.overlaps(gradient)
    {
        return Err(wrong_input(py, "out", "memory of its own", "one that overlaps with losses"));
    }
    if let Some(gradient) = &gradient {
        check_gradient(arrays, gradient).or_raise(py)?;
    }
    let mut buffers = Buffers::new();
    if let Some(losses) = &mut losses {
        buffers = buffers.losses(losses.floats());
    }
    if let Some(gradient) = &mut gradient {
        buffers = buffers.gradient(gradient.floats());
    }
    let is_small = arrays.is_small(&batch, score_kind);
    compute(py, is_small, || device.evaluate_into(&loss.loss, &batch, request, buffers))?.or_raise(py)
}

/// A gradient has the shape of the scores, or (inputs, N, D) for several vectors per sample.
pub(crate) fn gradient_shape(arrays: &Arrays) -> Vec<usize> {
    let scores = arrays.arrays[0].shape();
    match arrays.inputs {
        Inputs::VectorPairs => [&[2], scores].concat(),
        Inputs::Triplets => [&[3], scores].concat(),
        _ => scores.to_vec(),
    }
}

fn check_gradient(arrays: &Arrays, gradient: &ArrayMut) -> maxmargin::Result<()> {
    let expected = gradient_shape(arrays);
    if gradient.shape() == expected {
        return Ok(());
    }
    let (expected, got) = (shape_text(&expected), shape_text(gradient.shape()));
    Err(Error::Shape { input: Input::GradientBuffer, expected, got })
}

/// What a loss takes.
pub(crate) fn inputs_of(loss: &dyn Loss) -> Inputs {
    match (loss.pattern(), loss.name()) {
        (Pattern::Elementwise, "ranking") => Inputs::Pairs,
        (Pattern::Elementwise, _) => Inputs::Scores,
        (Pattern::Rows, _) => Inputs::Rows,
        (Pattern::Vectors, "triplet") => Inputs::Triplets,
        (Pattern::Vectors, _) => Inputs::VectorPairs,
        _ => Inputs::TargetRows,
    }
}
