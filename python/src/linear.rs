//! Linear models with a certificate.

use std::sync::atomic::{AtomicBool, Ordering};

use maxmargin::linear::{
    ClassWeights, FitEnd, FitProgress, Intercept, LinearClassifier, LinearFit, LinearLoss, LinearModel, Multiclass,
    Rows, Validation,
};
use maxmargin::{Error, Input};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arrays::{Array, shape_text};
use crate::error::{OrRaise, raised, wrong_input};
use crate::numbers::Numbers;
use crate::process::{compute, device_of, interruptible};

/// Rows of features: dense, or SciPy's CSR as (starts, indices, values, columns).
pub(crate) enum Features {
    Dense(Array),
    Sparse(Array, Array, Array, usize),
}

impl Features {
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, usize);
        match object.extract::<Parts<'_>>() {
            Ok((starts, indices, values, columns)) => {
                let of = |array: &Bound<'_, PyAny>| Array::of(array, Input::Features);
                Ok(Self::Sparse(of(&starts)?, of(&indices)?, of(&values)?, columns))
            }
            Err(_) => Array::of(object, Input::Features).map(Self::Dense),
        }
    }

    pub(crate) fn rows(&self, py: Python<'_>) -> PyResult<Rows<'_>> {
        let rows = match self {
            Self::Sparse(starts, indices, values, columns) => Rows::sparse(
                starts.offsets().or_raise(py)?,
                indices.u32s().or_raise(py)?,
                values.entries().or_raise(py)?,
                *columns,
            ),
            Self::Dense(array) => match array.shape() {
                [_, columns] => Rows::new(array.rows().or_raise(py)?, *columns),
                other => {
                    Err(Error::Shape { input: Input::Features, expected: "(N, D)".into(), got: shape_text(other) })
                }
            },
        };
        rows.or_raise(py)
    }
}

/// The options of a fit, by the names of `maxmargin.LinearClassifier`.
pub(crate) fn classifier_of(py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<LinearClassifier> {
    let get = |name: &str| options.get_item(name).map(|value| value.filter(|value| !value.is_none()));
    let number = |name: &str, default: f64| get(name)?.map_or(Ok(default), |value| value.extract());
    let text = |name: &str| get(name)?.map_or(Ok(String::new()), |value| value.extract::<String>());
    let loss = match text("loss")?.as_str() {
        "hinge" => LinearLoss::Hinge,
        "squared-hinge" => LinearLoss::SquaredHinge,
        "smooth-hinge" => LinearLoss::SmoothHinge(number("gamma", 1.0)?),
        other => return Err(wrong_input(py, "loss", "hinge, squared-hinge or smooth-hinge", other)),
    };
    let intercept = match text("intercept")?.as_str() {
        "none" => Intercept::None,
        "penalized" => Intercept::Penalized(number("intercept_scale", 1.0)?),
        "free" => Intercept::Free,
        other => return Err(wrong_input(py, "intercept", "none, penalized or free", other)),
    };
    let multiclass = match text("multiclass")?.as_str() {
        "one-vs-rest" => Multiclass::OneVsRest,
        "crammer-singer" => Multiclass::CrammerSinger,
        "weston-watkins" => Multiclass::WestonWatkins,
        other => {
            return Err(wrong_input(py, "multiclass", "one-vs-rest, crammer-singer or weston-watkins", other));
        }
    };
    let class_weights = match get("class_weights")? {
        None => ClassWeights::Equal,
        Some(value) => match value.extract::<String>() {
            Ok(name) if name == "balanced" => ClassWeights::Balanced,
            Ok(name) => return Err(wrong_input(py, "class_weights", "balanced, or one number per class", name)),
            Err(_) => ClassWeights::Given(value.extract()?),
        },
    };
    let standardize = get("standardize")?.is_some_and(|value| value.is_truthy().unwrap_or(false));
    Ok(LinearClassifier::new(loss)
        .c(number("C", 1.0)?)
        .intercept(intercept)
        .standardize(standardize)
        .class_weights(class_weights)
        .multiclass(multiclass)
        .gap(number("gap", 1e-4)?)
        .max_passes(number("max_passes", 1000.0)?)
        .device(device_of(py, get("device")?.as_ref())?))
}

pub(crate) fn end_text(end: FitEnd) -> &'static str {
    match end {
        FitEnd::Converged => "converged",
        FitEnd::Passes => "passes",
        FitEnd::Precision => "precision",
        _ => "stopped",
    }
}

/// How a fit went.
fn fit_dict<'py>(py: Python<'py>, fit: &LinearFit) -> PyResult<Bound<'py, PyDict>> {
    let of = PyDict::new(py);
    of.set_item("end", end_text(fit.end))?;
    of.set_item("passes", fit.progress.passes)?;
    of.set_item("newton_steps", fit.progress.newton_steps)?;
    of.set_item("steps_on_gpu", fit.steps_on_gpu)?;
    of.set_item("support_vectors", fit.support_vectors)?;
    Ok(of)
}

/// Runs a fit that Ctrl-C and `on_progress` can stop. `on_progress` gets passes, Newton steps and the gap.
fn watched<R: Send>(
    py: Python<'_>,
    on_progress: Option<Py<PyAny>>,
    fit: impl FnOnce(&mut (dyn FnMut(FitProgress) -> bool + Send)) -> maxmargin::Result<R> + Send,
) -> PyResult<R> {
    let stop = AtomicBool::new(false);
    let mut failed: Option<PyErr> = None;
    let result = interruptible(py, &stop, || {
        fit(&mut |progress: FitProgress| {
            if let Some(function) = on_progress.as_ref().filter(|_| failed.is_none()) {
                let arguments = (progress.passes, progress.newton_steps, progress.gap);
                let told = Python::attach(|py| function.bind(py).call1(arguments)?.extract::<Option<bool>>());
                if !matches!(told, Ok(None | Some(true))) {
                    stop.store(true, Ordering::Relaxed);
                }
                failed = told.err();
            }
            !stop.load(Ordering::Relaxed)
        })
    });
    match failed {
        Some(failed) => Err(failed),
        None => result?.or_raise(py),
    }
}

/// Fits a model.
#[pyfunction]
#[pyo3(signature = (options, features, targets, sample_weights, start, on_progress, /))]
pub(crate) fn linear_fit<'py>(
    py: Python<'py>,
    options: &Bound<'_, PyDict>,
    features: &Bound<'_, PyAny>,
    targets: &Bound<'_, PyAny>,
    sample_weights: Option<&Bound<'_, PyAny>>,
    start: Option<&Bound<'_, NativeLinearModel>>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<(NativeLinearModel, Bound<'py, PyDict>, Numbers)> {
    let classifier = classifier_of(py, options)?;
    let (features, targets) = (Features::of(features)?, Array::of(targets, Input::Targets)?);
    let weights = sample_weights.map(|weights| Array::of(weights, Input::SampleWeights)).transpose()?;
    let weights = weights.as_ref().map(|weights| weights.f64s().or_raise(py)).transpose()?;
    let (rows, targets, start) = (features.rows(py)?, targets.targets(), start.map(|start| &start.get().model));
    let fit = watched(py, on_progress, |on| classifier.fit_with(&rows, targets, weights, start, on))?;
    let dict = fit_dict(py, &fit)?;
    Ok((NativeLinearModel { model: fit.model }, dict, fit.multipliers.into()))
}

/// The model of the best C, how its fit went, its multipliers, the best C, and the models that were compared.
type Path<'py> = (NativeLinearModel, Bound<'py, PyDict>, Numbers, f64, Vec<Bound<'py, PyDict>>);

/// Fits a model for each C and part, and the best C on all rows.
#[pyfunction]
#[pyo3(signature = (options, features, targets, sample_weights, cs, folds, seed, validation, on_progress, /))]
#[allow(clippy::too_many_arguments, reason = "called by the package alone")]
pub(crate) fn linear_path<'py>(
    py: Python<'py>,
    options: &Bound<'_, PyDict>,
    features: &Bound<'_, PyAny>,
    targets: &Bound<'_, PyAny>,
    sample_weights: Option<&Bound<'_, PyAny>>,
    cs: Vec<f64>,
    folds: usize,
    seed: u64,
    validation: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<Path<'py>> {
    let classifier = classifier_of(py, options)?;
    let (features, targets) = (Features::of(features)?, Array::of(targets, Input::Targets)?);
    let weights = sample_weights.map(|weights| Array::of(weights, Input::SampleWeights)).transpose()?;
    let weights = weights.as_ref().map(|weights| weights.f64s().or_raise(py)).transpose()?;
    let (rows, targets) = (features.rows(py)?, targets.targets());
    let judge = validation.map(|(features, targets)| -> PyResult<(Features, Array)> {
        Ok((Features::of(&features)?, Array::of(&targets, Input::Targets)?))
    });
    let judge = judge.transpose()?;
    let validation = match &judge {
        Some((features, targets)) => Validation::Rows(features.rows(py)?, targets.targets()),
        None => Validation::Folds { count: folds, seed },
    };
    let path = watched(py, on_progress, |on| classifier.fit_path(&rows, targets, weights, &cs, &validation, on))?;
    let model = |model: &maxmargin::linear::PathModel| -> PyResult<Bound<'py, PyDict>> {
        let of = PyDict::new(py);
        of.set_item("C", model.c)?;
        of.set_item("fold", model.fold)?;
        of.set_item("primal", model.certificate.primal)?;
        of.set_item("relative_gap", model.certificate.relative_gap)?;
        of.set_item("end", end_text(model.end))?;
        of.set_item("validation_loss", model.validation_loss)?;
        of.set_item("validation_accuracy", model.validation_accuracy)?;
        Ok(of)
    };
    let models = path.models.iter().map(model).collect::<PyResult<_>>()?;
    let dict = fit_dict(py, &path.fit)?;
    let fit = path.fit;
    Ok((NativeLinearModel { model: fit.model }, dict, fit.multipliers.into(), path.best_c, models))
}

/// A fitted linear model.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct NativeLinearModel {
    pub(crate) model: LinearModel,
}

#[pymethods]
impl NativeLinearModel {
    /// The model of a safetensors file.
    #[staticmethod]
    fn from_safetensors(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        let (model, _) = LinearModel::from_safetensors(bytes).or_raise(py)?;
        Ok(Self { model })
    }

    fn to_safetensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.model.to_safetensors(None).or_raise(py)?))
    }

    #[getter]
    fn columns(&self) -> usize {
        self.model.columns()
    }

    /// Decision values per row.
    #[getter]
    fn outputs(&self) -> usize {
        self.model.outputs()
    }

    /// (outputs, columns), row-major.
    fn weights(&self) -> Numbers {
        self.model.weights().to_vec().into()
    }

    fn bias(&self) -> Numbers {
        self.model.bias().to_vec().into()
    }

    fn classes(&self) -> Numbers {
        self.model.classes().to_vec().into()
    }

    /// Of each problem (primal, dual, gap, relative gap).
    fn certificates(&self) -> Vec<(f64, f64, f64, f64)> {
        self.model.certificates().iter().map(|of| (of.primal, of.dual, of.gap, of.relative_gap)).collect()
    }

    /// (rows, outputs), row-major.
    fn decision_values(&self, py: Python<'_>, features: &Bound<'_, PyAny>) -> PyResult<Numbers> {
        self.of_rows(py, features, LinearModel::decision_values)
    }

    fn labels(&self, py: Python<'_>, features: &Bound<'_, PyAny>) -> PyResult<Numbers> {
        self.of_rows(py, features, LinearModel::labels)
    }

    /// Whether every optimum gives each row the same label.
    fn certain(&self, py: Python<'_>, features: &Bound<'_, PyAny>) -> PyResult<Numbers> {
        self.of_rows(py, features, LinearModel::certain)
    }
}

impl NativeLinearModel {
    fn of_rows<T: Send>(
        &self,
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        compute_them: fn(&LinearModel, &Rows<'_>) -> maxmargin::Result<Vec<T>>,
    ) -> PyResult<Numbers>
    where
        Vec<T>: Into<Numbers>,
    {
        let features = Features::of(features)?;
        let rows = features.rows(py)?;
        let values = compute(py, false, || compute_them(&self.model, &rows))?;
        values.map(Into::into).map_err(|error| raised(py, &error))
    }
}
