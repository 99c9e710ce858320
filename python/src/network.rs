//! Networks of dense layers and their training.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use maxmargin::nn::{Accuracy, Dataset, Dense, End, Epoch, Optimizer, Score, Sequential};
use maxmargin::train::{Fit, Trainer, predict};
use maxmargin::{Error, Input, Precision};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyDict};

use crate::arrays::{Array, copied, matches, shape_text};
use crate::error::{OrRaise, raised, wrong_input};
use crate::loss::NativeLoss;
use crate::numbers::Numbers;
use crate::process::{choice, device_of, interruptible};

/// A network's layers and weights.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct NativeNetwork {
    network: Mutex<Sequential>,
}

impl NativeNetwork {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Sequential> {
        self.network.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

fn precision_of(py: Python<'_>, name: &str) -> PyResult<Precision> {
    match name {
        "f32" => Ok(Precision::F32),
        "f64" => Ok(Precision::F64),
        other => Err(wrong_input(py, "precision", "f32 or f64", other)),
    }
}

#[pymethods]
impl NativeNetwork {
    #[new]
    fn new(py: Python<'_>, inputs: usize, layers: Vec<(usize, String, String)>, seed: u64) -> PyResult<Self> {
        let layer = |(units, activation, initializer): &(usize, String, String)| -> PyResult<Dense> {
            Ok(Dense::new(*units).activation(choice(py, activation)?).initializer(choice(py, initializer)?))
        };
        let layers = layers.iter().map(layer).collect::<PyResult<Vec<_>>>()?;
        Ok(Self { network: Mutex::new(Sequential::new(inputs, &layers, seed).or_raise(py)?) })
    }

    /// The network of a safetensors file that says its layers.
    #[staticmethod]
    fn from_safetensors(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        match Sequential::from_safetensors(bytes).or_raise(py)? {
            Some(network) => Ok(Self { network: Mutex::new(network) }),
            None => Err(wrong_input(
                py,
                "bytes",
                "a file that says its layers, as Sequential.save writes it",
                "one without",
            )),
        }
    }

    fn to_safetensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.lock(py).to_safetensors().or_raise(py)?))
    }

    /// Replaces the weights by those of a file of this crate, torch or Keras.
    fn load_safetensors(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        self.lock(py).load_safetensors(bytes).or_raise(py)
    }

    #[getter]
    fn inputs(&self, py: Python<'_>) -> usize {
        self.lock(py).inputs()
    }

    /// The layers as (units, activation).
    #[getter]
    fn layers(&self, py: Python<'_>) -> Vec<(usize, String)> {
        let text = |layer: &Dense| {
            let text = layer.to_string();
            let activation = text.split_once(':').map_or("identity", |(_, activation)| activation);
            (layer.units(), activation.to_owned())
        };
        self.lock(py).layers().iter().map(text).collect()
    }

    /// All weights: of each layer its matrix, row-major (units, inputs), then its bias.
    fn parameters(&self, py: Python<'_>) -> Numbers {
        self.lock(py).parameters().to_vec().into()
    }

    fn set_parameters(&self, py: Python<'_>, parameters: &Bound<'_, PyAny>) -> PyResult<()> {
        let parameters = Array::of(parameters, Input::Weights)?;
        self.lock(py).set_parameters(parameters.f64s().or_raise(py)?).or_raise(py)
    }

    /// The outputs for rows of features, row-major.
    #[pyo3(signature = (features, precision, device, /))]
    fn predict(
        &self,
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        precision: &str,
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Numbers> {
        let (features, device) = (Array::of(features, Input::Features)?, device_of(py, device)?);
        let network = self.lock(py).clone();
        check_columns(&features, network.inputs()).or_raise(py)?;
        let (features, precision) = (features.features().or_raise(py)?, precision_of(py, precision)?);
        let outputs = interruptible(py, &AtomicBool::new(false), || predict(&device, &network, &features, precision))?;
        Ok(outputs.or_raise(py)?.into())
    }
}

fn check_columns(features: &Array, columns: usize) -> maxmargin::Result<()> {
    match features.shape() {
        [_, own] if *own == columns => Ok(()),
        other => Err(Error::Shape {
            input: Input::Features,
            expected: format!("(N, {columns}), as the network's inputs"),
            got: shape_text(other),
        }),
    }
}

/// Rows of features with targets: one per row, or a row of them.
fn dataset(py: Python<'_>, features: &Bound<'_, PyAny>, targets: &Bound<'_, PyAny>) -> PyResult<Dataset> {
    let (features, targets) = (Array::of(features, Input::Features)?, Array::of(targets, Input::Targets)?);
    let &[rows, columns] = features.shape() else {
        let got = shape_text(features.shape());
        return Err(raised(py, &Error::Shape { input: Input::Features, expected: "(N, D)".into(), got }));
    };
    let is_column = matches(targets.shape(), &[rows]);
    if !is_column && targets.shape().first() != Some(&rows) {
        let (expected, got) = (format!("({rows},) or ({rows}, outputs)"), shape_text(targets.shape()));
        return Err(raised(py, &Error::Shape { input: Input::Targets, expected, got }));
    }
    let targets = targets.f64s().and_then(copied).or_raise(py)?;
    Dataset::new(features.features().or_raise(py)?, columns, targets).or_raise(py)
}

/// A network in training: its loss, optimizer and device, and the optimizer's memory.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct NativeTrainer {
    trainer: Mutex<Trainer>,
}

/// An optimizer as the package passes it on: method, learning rate, momentum, Nesterov, betas, epsilon, weight decay and
/// conventions.
type OptimizerOptions = (String, f64, f64, bool, (f64, f64), Option<f64>, Option<f64>, String);

fn optimizer_of(py: Python<'_>, options: OptimizerOptions) -> PyResult<Optimizer> {
    let (method, rate, momentum, nesterov, (beta1, beta2), epsilon, decay, conventions) = options;
    let optimizer = match method.as_str() {
        "sgd" => Optimizer::sgd(rate).momentum(momentum).nesterov(nesterov),
        "adam" => Optimizer::adam(rate).betas(beta1, beta2),
        "adamw" => Optimizer::adamw(rate).betas(beta1, beta2),
        other => return Err(wrong_input(py, "optimizer", "SGD, Adam or AdamW", other)),
    };
    let optimizer = optimizer.conventions(match conventions.as_str() {
        "torch" => maxmargin::nn::Conventions::Torch,
        "keras" => maxmargin::nn::Conventions::Keras,
        other => return Err(wrong_input(py, "conventions", "torch or keras", other)),
    });
    let optimizer = epsilon.map_or(optimizer, |epsilon| optimizer.epsilon(epsilon));
    Ok(decay.map_or(optimizer, |decay| optimizer.weight_decay(decay)))
}

impl NativeTrainer {
    /// Never waits: a training holds the trainer until its end, and may itself be what asks, through its callback.
    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Trainer>> {
        match self.trainer.try_lock() {
            Ok(trainer) => Ok(trainer),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(wrong_input(
                py,
                "trainer",
                "one that is not training just now",
                "one in use, perhaps by its own on_epoch",
            )),
        }
    }
}

#[pymethods]
impl NativeTrainer {
    #[new]
    fn new(
        py: Python<'_>,
        network: &Bound<'_, NativeNetwork>,
        loss: &Bound<'_, NativeLoss>,
        optimizer: OptimizerOptions,
        accuracy: &str,
        precision: &str,
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let device = device_of(py, device)?;
        let network = network.get().lock(py).clone();
        let optimizer = optimizer_of(py, optimizer)?;
        let trainer = Trainer::new(device, network, loss.get().loss.boxed(), optimizer).or_raise(py)?;
        let trainer = trainer.accuracy(choice::<Accuracy>(py, accuracy)?);
        let trainer = trainer.precision(precision_of(py, precision)?).or_raise(py)?;
        Ok(Self { trainer: Mutex::new(trainer) })
    }

    /// Trains the network's current weights and writes the new ones to it, also after a failure. Returns one dict per epoch,
    /// and why the training ended.
    #[pyo3(signature = (network, features, targets, validation, epochs, batch_size, shuffle, seed, early_stopping, on_epoch, /))]
    #[allow(clippy::too_many_arguments, reason = "called by the package alone")]
    fn fit<'py>(
        &self,
        py: Python<'py>,
        network: &Bound<'_, NativeNetwork>,
        features: &Bound<'_, PyAny>,
        targets: &Bound<'_, PyAny>,
        validation: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        epochs: u64,
        batch_size: usize,
        shuffle: bool,
        seed: u64,
        early_stopping: Option<u64>,
        on_epoch: Option<Py<PyAny>>,
    ) -> PyResult<(Vec<Bound<'py, PyDict>>, &'static str)> {
        let data = dataset(py, features, targets)?;
        let validation = validation.map(|(features, targets)| dataset(py, &features, &targets)).transpose()?;
        let stop = AtomicBool::new(false);
        let mut fit = Fit::new().epochs(epochs).batch_size(batch_size).shuffle(shuffle).seed(seed).stop(&stop);
        if let Some(validation) = &validation {
            fit = fit.validation(validation);
        }
        if let Some(patience) = early_stopping {
            fit = fit.early_stopping(patience);
        }
        let mut guard = self.lock(py)?;
        let trainer = &mut *guard;
        trainer.set_parameters(network.get().lock(py).parameters()).or_raise(py)?;
        let mut failed: Option<PyErr> = None;
        let history = interruptible(py, &stop, || {
            trainer.fit(&data, &fit, |epoch| {
                let Some(function) = &on_epoch else { return };
                let told =
                    Python::attach(|py| function.bind(py).call1((epoch_dict(py, epoch)?,))?.extract::<Option<bool>>());
                if !matches!(told, Ok(None | Some(true))) {
                    stop.store(true, Ordering::Relaxed);
                }
                failed = failed.take().or(told.err());
            })
        });
        network.get().lock(py).set_parameters(trainer.network().parameters()).or_raise(py)?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        let history = history?.or_raise(py)?;
        let end = match history.end {
            End::Finished => "epochs",
            End::EarlyStopping => "early stopping",
            _ => "stopped",
        };
        Ok((history.epochs.iter().map(|epoch| epoch_dict(py, epoch)).collect::<PyResult<_>>()?, end))
    }

    /// Mean loss and accuracy over a data set, with the network's weights.
    fn evaluate(
        &self,
        py: Python<'_>,
        network: &Bound<'_, NativeNetwork>,
        features: &Bound<'_, PyAny>,
        targets: &Bound<'_, PyAny>,
    ) -> PyResult<(f64, Option<f64>)> {
        let data = dataset(py, features, targets)?;
        let mut guard = self.lock(py)?;
        guard.set_parameters(network.get().lock(py).parameters()).or_raise(py)?;
        let trainer = &*guard;
        let score = interruptible(py, &AtomicBool::new(false), || trainer.evaluate(&data))?;
        let Score { loss, accuracy, .. } = score.or_raise(py)?;
        Ok((loss, accuracy))
    }

    /// Epochs done.
    #[getter]
    fn epochs_done(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.lock(py)?.epochs_done())
    }

    /// Weights, the optimizer's memory and the progress of training.
    fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.lock(py)?.checkpoint().or_raise(py)?))
    }

    /// Continues from a checkpoint; the network gets its weights.
    fn resume(&self, py: Python<'_>, network: &Bound<'_, NativeNetwork>, bytes: &[u8]) -> PyResult<()> {
        let mut trainer = self.lock(py)?;
        trainer.resume(bytes).or_raise(py)?;
        network.get().lock(py).set_parameters(trainer.network().parameters()).or_raise(py)
    }
}

fn epoch_dict<'py>(py: Python<'py>, epoch: &Epoch) -> PyResult<Bound<'py, PyDict>> {
    let of = PyDict::new(py);
    of.set_item("epoch", epoch.epoch)?;
    of.set_item("loss", epoch.loss)?;
    let optional = [("accuracy", epoch.accuracy), ("val_loss", epoch.val_loss), ("val_accuracy", epoch.val_accuracy)];
    for (name, value) in optional {
        if let Some(value) = value {
            of.set_item(name, value)?;
        }
    }
    of.set_item("batch_losses", &epoch.batch_losses)?;
    of.set_item("seconds", epoch.seconds)?;
    Ok(of)
}
