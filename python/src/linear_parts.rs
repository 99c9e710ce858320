//! Linear fits whose rows lie in parts.

use maxmargin::linear::{PartSummary, Question, RowPart};
use maxmargin::{Error, Input};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arrays::Array;
use crate::error::{OrRaise, wrong_input};
use crate::linear::{Features, NativeLinearModel, classifier_of, end_text};
use crate::numbers::Numbers;
use crate::process::compute;

/// The arrays of a part.
struct PartArrays {
    features: Features,
    targets: Array,
    weights: Option<Array>,
}

impl PartArrays {
    fn of(
        features: &Bound<'_, PyAny>,
        targets: &Bound<'_, PyAny>,
        sample_weights: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            features: Features::of(features)?,
            targets: Array::of(targets, Input::Targets)?,
            weights: sample_weights.map(|weights| Array::of(weights, Input::SampleWeights)).transpose()?,
        })
    }

    fn part(&self, py: Python<'_>) -> PyResult<RowPart<'_>> {
        let weights = self.weights.as_ref().map(|weights| weights.f64s().or_raise(py)).transpose()?;
        RowPart::new(self.features.rows(py)?, self.targets.targets(), weights).or_raise(py)
    }
}

fn read<'a, T: serde::Deserialize<'a>>(py: Python<'_>, what: &'static str, bytes: &'a [u8]) -> PyResult<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| wrong_input(py, what, "bytes that this package made", error.to_string()))
}

fn written<'py, T: serde::Serialize>(py: Python<'py>, what: &'static str, x: &T) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = serde_json::to_vec(x);
    let bytes = bytes.map_err(|error| wrong_input(py, what, "numbers that can be saved", error.to_string()))?;
    Ok(PyBytes::new(py, &bytes))
}

/// What a fit must know of a part before its first question.
#[pyfunction]
#[pyo3(signature = (features, targets, sample_weights, /))]
pub(crate) fn linear_part_summary<'py>(
    py: Python<'py>,
    features: &Bound<'_, PyAny>,
    targets: &Bound<'_, PyAny>,
    sample_weights: Option<&Bound<'_, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let arrays = PartArrays::of(features, targets, sample_weights)?;
    let part = arrays.part(py)?;
    let summary = compute(py, false, || part.summary())?.or_raise(py)?;
    written(py, "summary", &summary)
}

/// The summary of several parts.
#[pyfunction]
#[pyo3(signature = (summaries, /))]
pub(crate) fn linear_merge_summaries<'py>(py: Python<'py>, summaries: Vec<Vec<u8>>) -> PyResult<Bound<'py, PyBytes>> {
    let mut all = summaries.iter().map(|bytes| read::<PartSummary>(py, "summary", bytes));
    let mut merged = all.next().ok_or_else(|| wrong_input(py, "features", "at least one part", "none"))??;
    for summary in all {
        merged.merge(&summary?).or_raise(py)?;
    }
    written(py, "summary", &merged)
}

/// The answer of a part to a question: sums, and the part's state after it, if that is another one.
#[pyfunction]
#[pyo3(signature = (question, features, targets, sample_weights, state, /))]
pub(crate) fn linear_answer(
    py: Python<'_>,
    question: &[u8],
    features: &Bound<'_, PyAny>,
    targets: &Bound<'_, PyAny>,
    sample_weights: Option<&Bound<'_, PyAny>>,
    state: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Numbers, Option<Numbers>)> {
    let question: Question = read(py, "question", question)?;
    let arrays = PartArrays::of(features, targets, sample_weights)?;
    let part = arrays.part(py)?;
    let state = state.map(|state| Array::of(state, Input::SampleWeights)).transpose()?;
    let state = state.as_ref().map(|state| state.f64s().or_raise(py)).transpose()?;
    let answer = compute(py, false, || part.answer(&question, state.unwrap_or_default()))?.or_raise(py)?;
    Ok((answer.sums.into(), answer.state.map(Into::into)))
}

/// Fits a model to rows in parts. `ask` gets a question and returns the sums of all parts' answers.
#[pyfunction]
#[pyo3(signature = (options, summary, start, ask, on_progress, /))]
pub(crate) fn linear_fit_parts<'py>(
    py: Python<'py>,
    options: &Bound<'_, PyDict>,
    summary: &[u8],
    start: Option<&Bound<'_, NativeLinearModel>>,
    ask: &Bound<'_, PyAny>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<(NativeLinearModel, Bound<'py, PyDict>)> {
    let classifier = classifier_of(py, options)?;
    let summary: PartSummary = read(py, "summary", summary)?;
    let mut failed: Option<PyErr> = None;
    let mut failed_progress: Option<PyErr> = None;
    let mut asked = |question: &Question| {
        let sums = written(py, "question", question).and_then(|bytes| {
            let sums = Array::of(&ask.call1((bytes,))?, Input::SampleWeights)?;
            Ok(sums.f64s().or_raise(py)?.to_vec())
        });
        sums.map_err(|error| {
            failed = Some(error);
            Error::Option { option: "sum of answers", expected: "numbers".into(), got: "an exception".into() }
        })
    };
    let fit = classifier.fit_parts(&summary, start.map(|start| &start.get().model), &mut asked, &mut |progress| {
        let Some(function) = on_progress.as_ref() else { return true };
        let arguments = (progress.passes, progress.newton_steps, progress.gap);
        let told = Python::attach(|py| function.bind(py).call1(arguments)?.extract::<Option<bool>>());
        let goes_on = matches!(told, Ok(None | Some(true)));
        failed_progress = told.err().or(failed_progress.take());
        goes_on
    });
    if let Some(error) = failed.or(failed_progress) {
        return Err(error);
    }
    let fit = fit.or_raise(py)?;
    let how = PyDict::new(py);
    how.set_item("end", end_text(fit.end))?;
    how.set_item("passes", fit.progress.passes)?;
    how.set_item("newton_steps", fit.progress.newton_steps)?;
    how.set_item("support_vectors", fit.support_vectors)?;
    how.set_item("questions", fit.questions)?;
    Ok((NativeLinearModel { model: fit.model }, how))
}
