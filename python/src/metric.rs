//! Streaming metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use maxmargin::loss::Loss;
use maxmargin::metric::{Metric, MetricState};
use maxmargin::{Batch, Device, Reduction};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::error::{OrRaise, wrong_input};
use crate::loss::{Arrays, NativeLoss, Returned, returned};
use crate::process::{choice, compute, device_of};

/// The sums of a loss over batches.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct NativeMetric {
    metric: Mutex<Metric<Box<dyn Loss>>>,
}

impl NativeMetric {
    /// Waits for another thread's update without holding the interpreter, which that thread may need to end it.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Metric<Box<dyn Loss>>> {
        use pyo3::sync::MutexExt;
        self.metric.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on a batch, without the interpreter where it is large.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        arrays: &Arrays,
        score_kind: &str,
        device: Option<&Bound<'_, PyAny>>,
        work: impl FnOnce(&mut Metric<Box<dyn Loss>>, &Device, &Batch<'_>) -> maxmargin::Result<R> + Send,
    ) -> PyResult<R> {
        let score_kind = choice(py, score_kind)?;
        let batch = arrays.batch(score_kind).or_raise(py)?;
        let device = device_of(py, device)?;
        let mut metric = self.lock(py);
        let metric = &mut *metric;
        compute(py, arrays.is_small(&batch, score_kind), || work(metric, &device, &batch))?.or_raise(py)
    }
}

#[pymethods]
impl NativeMetric {
    #[new]
    fn new(py: Python<'_>, loss: &Bound<'_, NativeLoss>, reduction: &str, per_class: bool) -> PyResult<Self> {
        let metric = Metric::new(loss.get().loss.boxed()).reduction(choice::<Reduction>(py, reduction)?);
        Ok(Self { metric: Mutex::new(if per_class { metric.per_class() } else { metric }) })
    }

    /// The metric of a saved state.
    #[staticmethod]
    fn from_state(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let state: MetricState<Box<dyn Loss>> = serde_json::from_slice(state)
            .map_err(|error| wrong_input(py, "state", "the bytes of Metric.state()", error.to_string()))?;
        Ok(Self { metric: Mutex::new(Metric::from_state(state)) })
    }

    /// Adds a batch.
    #[pyo3(signature = (loss, arrays, sample_weights, score_kind, device, /))]
    fn update(
        &self,
        py: Python<'_>,
        loss: &Bound<'_, NativeLoss>,
        arrays: &Bound<'_, PyTuple>,
        sample_weights: Option<&Bound<'_, PyAny>>,
        score_kind: &str,
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let arrays = Arrays::of(loss.get(), arrays, sample_weights)?;
        self.with(py, &arrays, score_kind, device, |metric, device, batch| metric.update(device, batch))
    }

    /// Adds a batch; returns its own numbers and the running ones.
    #[pyo3(signature = (loss, arrays, sample_weights, score_kind, device, /))]
    fn forward(
        &self,
        py: Python<'_>,
        loss: &Bound<'_, NativeLoss>,
        arrays: &Bound<'_, PyTuple>,
        sample_weights: Option<&Bound<'_, PyAny>>,
        score_kind: &str,
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Returned, Returned)> {
        let arrays = Arrays::of(loss.get(), arrays, sample_weights)?;
        let step = self.with(py, &arrays, score_kind, device, |metric, device, batch| metric.forward(device, batch))?;
        Ok((returned(&step.batch), returned(&step.running)))
    }

    /// The numbers over everything seen.
    fn compute(&self, py: Python<'_>) -> PyResult<Returned> {
        let evaluation = self.lock(py).compute().or_raise(py)?;
        Ok(returned(&evaluation))
    }

    fn reset(&self, py: Python<'_>) {
        self.lock(py).reset();
    }

    /// Adds what another metric has seen.
    fn merge(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<()> {
        // A copy, so that no two locks are held at once: a metric may be merged with itself.
        let other = other.get().lock(py).clone();
        self.lock(py).merge(&other).or_raise(py)
    }

    /// Batches seen since the last reset.
    #[getter]
    fn updates(&self, py: Python<'_>) -> u64 {
        self.lock(py).updates()
    }

    /// Configuration and sums as bytes of JSON. Sums keep every bit.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut metric = self.lock(py);
        let state = metric.state().or_raise(py)?;
        let bytes = serde_json::to_vec(state)
            .map_err(|error| wrong_input(py, "state", "numbers that can be saved", error.to_string()))?;
        Ok(PyBytes::new(py, &bytes))
    }
}
