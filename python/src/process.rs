//! What belongs to a process: its threads, and the GPUs that it has opened. A forked child has neither: its parent's threads
//! do not exist in it, and drivers do not survive a fork.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use maxmargin::{DEVICE_VARIABLE, Device};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{OrRaise, no_device, wrong_input};

/// The environment variable with the number of threads.
const THREADS_VARIABLE: &str = "MAXMARGIN_THREADS";

struct Process {
    id: u32,
    /// The number of threads that was asked for; 0 for one per processor.
    threads: AtomicUsize,
    pool: Mutex<Option<Arc<ThreadPool>>>,
    gpus: Mutex<HashMap<String, Device>>,
    has_gpu: AtomicBool,
    parent_has_gpu: bool,
}

/// The process's own state. A child finds its parent's, and replaces it without touching its locks: another thread of the
/// parent may have held them. The old one is leaked, since its pool's threads cannot be joined.
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());

fn process() -> &'static Process {
    let id = std::process::id();
    loop {
        let known = PROCESS.load(Ordering::Acquire);
        // SAFETY: the pointer is null or a leaked box, which lives forever.
        let parent = unsafe { known.as_ref() };
        if let Some(process) = parent.filter(|process| process.id == id) {
            return process;
        }
        let new = Box::into_raw(Box::new(Process {
            id,
            threads: AtomicUsize::new(
                parent.map_or_else(threads_of_environment, |p| p.threads.load(Ordering::Relaxed)),
            ),
            pool: Mutex::new(None),
            gpus: Mutex::default(),
            has_gpu: AtomicBool::new(false),
            parent_has_gpu: parent.is_some_and(|p| p.has_gpu.load(Ordering::Relaxed) || p.parent_has_gpu),
        }));
        // Of two threads that get here at once, one leaks a few bytes.
        let _ = PROCESS.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire);
    }
}

fn threads_of_environment() -> usize {
    std::env::var(THREADS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn pool() -> Result<Arc<ThreadPool>, String> {
    let process = process();
    let mut pool = process.pool.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pool.as_ref() {
        return Ok(pool.clone());
    }
    let threads = process.threads.load(Ordering::Relaxed);
    let new = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("maxmargin {index}")).build();
    let new = Arc::new(new.map_err(|error| format!("threads could not be started: {error}"))?);
    *pool = Some(new.clone());
    Ok(new)
}

/// Sets the number of threads of this process, and of those that it forks later.
#[pyfunction]
pub(crate) fn set_num_threads(py: Python<'_>, threads: i64) -> PyResult<()> {
    let threads = NonZero::new(threads.clamp(0, 4096) as usize)
        .ok_or_else(|| wrong_input(py, "threads", "a whole number, 1 or more", threads.to_string()))?;
    let process = process();
    process.threads.store(threads.get(), Ordering::Relaxed);
    // Running evaluations keep the old pool until they end.
    *process.pool.lock().unwrap_or_else(PoisonError::into_inner) = None;
    Ok(())
}

/// The number of threads that evaluations and fits are spread over.
#[pyfunction]
pub(crate) fn get_num_threads() -> PyResult<usize> {
    Ok(pool().map_err(PyRuntimeError::new_err)?.current_num_threads())
}

/// Computes on the threads of this process. What is small is computed on the calling thread: waking another one takes longer.
/// The caller vouches that small work starts no parallel loop.
pub(crate) fn on_threads<R: Send>(is_small: bool, work: impl FnOnce() -> R + Send) -> Result<R, String> {
    if is_small { Ok(work()) } else { Ok(pool()?.install(work)) }
}

/// As [`on_threads`], without the interpreter where it is not small.
pub(crate) fn compute<R: Send>(py: Python<'_>, is_small: bool, work: impl FnOnce() -> R + Send) -> PyResult<R> {
    if is_small {
        return Ok(work());
    }
    py.detach(|| on_threads(false, work)).map_err(PyRuntimeError::new_err)
}

/// Computes without the interpreter for as long as it takes, on another thread, so that this one can heed Ctrl-C: `stop` is
/// then set, and the exception raised once the work has ended.
pub(crate) fn interruptible<R: Send>(
    py: Python<'_>,
    stop: &AtomicBool,
    work: impl FnOnce() -> R + Send,
) -> PyResult<R> {
    const PATIENCE: Duration = Duration::from_millis(50);
    let pool = pool().map_err(PyRuntimeError::new_err)?;
    let (caller, is_done) = (std::thread::current(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = pool.install(work);
            is_done.store(true, Ordering::Release);
            caller.unpark();
            result
        });
        let mut signal = Ok(());
        while !is_done.load(Ordering::Acquire) && !worker.is_finished() {
            py.detach(|| std::thread::park_timeout(PATIENCE));
            if signal.is_ok() {
                signal = py.check_signals();
                stop.store(signal.is_err(), Ordering::Relaxed);
            }
        }
        let result = py.detach(|| worker.join());
        signal?;
        result.map_err(|_| PyRuntimeError::new_err("a thread failed: a defect of maxmargin"))
    })
}

/// The device that an argument names: a text, a [`PyDevice`], or `None` for the environment's choice, which is the CPU
/// where it says nothing.
pub(crate) fn device_of(py: Python<'_>, device: Option<&Bound<'_, PyAny>>) -> PyResult<Device> {
    let Some(device) = device else {
        return match std::env::var(DEVICE_VARIABLE) {
            Ok(selection) if !selection.is_empty() => opened(py, &selection),
            _ => Ok(Device::cpu()),
        };
    };
    if let Ok(device) = device.cast::<PyDevice>() {
        let device = device.get();
        device.check(py)?;
        return Ok(device.device.clone());
    }
    match device.extract::<String>() {
        Ok(selection) => opened(py, &selection),
        Err(_) => Err(wrong_input(py, "device", "a name or a maxmargin.Device", device.get_type().to_string())),
    }
}

/// A device by its name. A GPU is opened once in a process.
fn opened(py: Python<'_>, selection: &str) -> PyResult<Device> {
    if selection.eq_ignore_ascii_case("cpu") {
        return Ok(Device::cpu());
    }
    let process = process();
    if process.parent_has_gpu {
        return Err(forked(py));
    }
    let key = selection.to_lowercase();
    let known = |gpus: &HashMap<String, Device>| gpus.get(&key).cloned();
    if let Some(device) = known(&process.gpus.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(device);
    }
    process.has_gpu.store(true, Ordering::Relaxed);
    let device = py.detach(|| Device::select(selection)).or_raise(py)?;
    let mut gpus = process.gpus.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(gpus.entry(key).or_insert(device).clone())
}

fn forked(py: Python<'_>) -> PyErr {
    no_device(
        py,
        "device: this process was forked from one that had opened a GPU, and GPUs do not survive a fork; use the CPU here, or \
         start workers with the method \"spawn\" or \"forkserver\"",
    )
}

/// Where losses are computed: the CPU or a GPU.
#[pyclass(frozen, name = "Device", module = "maxmargin")]
pub(crate) struct PyDevice {
    device: Device,
    selection: String,
    process: u32,
}

impl PyDevice {
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let is_elsewhere = self.device != Device::Cpu && self.process != std::process::id();
        if is_elsewhere { Err(forked(py)) } else { Ok(()) }
    }
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (selection = None))]
    fn new(py: Python<'_>, selection: Option<&str>) -> PyResult<Self> {
        let device = match selection {
            Some(selection) => opened(py, selection)?,
            None => device_of(py, None)?,
        };
        let selection = selection.map_or_else(|| std::env::var(DEVICE_VARIABLE).unwrap_or("cpu".into()), Into::into);
        Ok(Self { device, selection, process: std::process::id() })
    }

    /// The adapter's name, or that of the CPU's backend.
    #[getter]
    fn name(&self) -> &str {
        self.device.name()
    }

    /// Whether it is a GPU.
    #[getter]
    fn is_gpu(&self) -> bool {
        self.device != Device::Cpu
    }

    fn __repr__(&self) -> String {
        format!("Device({:?})", self.selection)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().device == self.device)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.device.name().hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (String,)) {
        (slf.get_type().into_any(), (slf.get().selection.clone(),))
    }
}

/// The adapters here, best first, as (selection, name, kind, backend).
#[pyfunction]
pub(crate) fn adapters(py: Python<'_>) -> PyResult<Vec<(String, String, &'static str, String)>> {
    if process().parent_has_gpu {
        return Err(forked(py));
    }
    // Asking the drivers starts them.
    process().has_gpu.store(true, Ordering::Relaxed);
    let all = py.detach(maxmargin::gpu::adapters);
    let row = |(index, adapter): (usize, &maxmargin::gpu::AdapterDescription)| {
        (format!("gpu:{index}"), adapter.name.clone(), adapter.kind(), adapter.backend.to_string())
    };
    Ok(all.iter().enumerate().map(row).collect())
}

/// A choice of the library by its name.
pub(crate) fn choice<T: std::str::FromStr<Err = maxmargin::Error>>(py: Python<'_>, name: &str) -> PyResult<T> {
    name.parse().or_raise(py)
}
