//! The library's errors as the package's exceptions, which are classes of `maxmargin/_errors.py`.

use maxmargin::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::arrays::argument;

static CLASSES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// An exception of the class of this name, with these attributes.
fn exception(py: Python<'_>, class: &str, message: &str, attributes: &Bound<'_, PyDict>) -> PyResult<PyErr> {
    let module = CLASSES.get_or_try_init(py, || py.import("maxmargin._errors").map(Bound::unbind))?;
    let exception = module.bind(py).getattr(class)?.call1((message,))?;
    for (name, value) in attributes {
        exception.setattr(name.str()?, value)?;
    }
    Ok(PyErr::from_value(exception))
}

/// What the exception says beyond its message.
fn attributes<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyDict>> {
    let of = PyDict::new(py);
    match error {
        Error::Update { update, source } => {
            let inner = attributes(py, source)?;
            inner.set_item("update", update)?;
            return Ok(inner);
        }
        Error::Value { input, index, value, expected } => {
            of.set_item("input", argument(*input))?;
            of.set_item("index", index)?;
            of.set_item("value", value)?;
            of.set_item("expected", expected)?;
        }
        Error::ElementType { input, expected, got } => {
            of.set_item("input", argument(*input))?;
            of.set_item("value", got)?;
            of.set_item("expected", expected)?;
        }
        Error::UnknownDevice { requested, .. } | Error::AmbiguousDevice { requested, .. } => {
            of.set_item("input", "device")?;
            of.set_item("value", requested)?;
        }
        Error::Option { option, expected, got } => {
            // The package's own names where they differ from the library's.
            let option = match *option {
                "c" => "C",
                "init" => "initializer",
                "beta1" | "beta2" => "betas",
                other => other,
            };
            of.set_item("input", option)?;
            of.set_item("value", got)?;
            of.set_item("expected", expected)?;
        }
        Error::Shape { input, expected, got } | Error::Labels { input, expected, got } => {
            of.set_item("input", argument(*input))?;
            of.set_item("value", got)?;
            of.set_item("expected", expected)?;
        }
        Error::Length { input, expected, got, .. } => {
            of.set_item("input", argument(*input))?;
            of.set_item("value", got.to_string())?;
            of.set_item("expected", expected.to_string())?;
        }
        other => {
            if let Some(input) = other.input() {
                of.set_item("input", argument(input))?;
            }
        }
    }
    Ok(of)
}

/// The exception for an error of the library.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let kind = match error {
        Error::Update { source, .. } => source.as_ref(),
        other => other,
    };
    let class = match kind {
        Error::ElementType { .. } => "ElementTypeError",
        Error::OutOfMemory { .. } => "OutOfMemoryError",
        Error::Diverged { .. } => "DivergedError",
        _ if kind.is_input() => "InputError",
        _ => "DeviceError",
    };
    attributes(py, error)
        .and_then(|attributes| exception(py, class, &error.to_string(), &attributes))
        .unwrap_or_else(|other| other)
}

/// An element type that an argument does not take.
pub(crate) fn wrong_type(py: Python<'_>, input: &str, expected: &str, got: &str) -> PyErr {
    let attributes = PyDict::new(py);
    let set = [("input", input), ("expected", expected), ("value", got)];
    let filled = set.iter().try_for_each(|(name, value)| attributes.set_item(name, value));
    let message = format!("{input}: expected elements of type {expected}, got {got}");
    filled.and_then(|()| exception(py, "ElementTypeError", &message, &attributes)).unwrap_or_else(|other| other)
}

/// A device that cannot be used.
pub(crate) fn no_device(py: Python<'_>, message: &str) -> PyErr {
    let attributes = PyDict::new(py);
    let filled = attributes.set_item("input", "device");
    filled.and_then(|()| exception(py, "DeviceError", message, &attributes)).unwrap_or_else(|other| other)
}

/// An argument that has no meaning.
pub(crate) fn wrong_input(
    py: Python<'_>,
    input: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> PyErr {
    raised(py, &Error::Option { option: input, expected: expected.into(), got: got.into() })
}

/// Turns the library's results into Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for maxmargin::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}
