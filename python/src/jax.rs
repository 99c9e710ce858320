//! Losses as an XLA custom call on the CPU: a handler for `jax.ffi`, after `xla/ffi/api/c_api.h` (API version 0.3).
//!
//! One attribute, `call`, says as JSON what to compute. The arguments are the loss's arrays, and sample weights where the call
//! has them. The first result is the value or the losses, the second, if there is one, the gradient.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use maxmargin::loss::Loss;
use maxmargin::{Buffers, Device, FloatsMut, Input, Reduction, Request, ScoreKind};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde_json::Value;

use crate::arrays::{Array, ArrayMut};
use crate::loss::{Arrays, Inputs, gradient_shape, inputs_of};
use crate::process::on_threads;

/// What a struct begins with: its size, and a list of extensions.
#[repr(C)]
struct Head {
    size: usize,
    extension: *mut Extension,
}

#[repr(C)]
struct Extension {
    size: usize,
    kind: c_int,
    next: *mut Extension,
}

#[repr(C)]
struct ApiVersion {
    head: Head,
    major: c_int,
    minor: c_int,
}

#[repr(C)]
struct Metadata {
    size: usize,
    version: ApiVersion,
    traits: u32,
}

#[repr(C)]
struct MetadataExtension {
    base: Extension,
    metadata: *mut Metadata,
}

#[repr(C)]
struct ErrorArguments {
    head: Head,
    message: *const c_char,
    code: c_int,
}

/// The first functions of the table that XLA offers.
#[repr(C)]
struct Api {
    head: Head,
    version: ApiVersion,
    internal: *const c_void,
    create_error: unsafe extern "C" fn(*mut ErrorArguments) -> *mut c_void,
}

#[repr(C)]
struct Buffer {
    head: Head,
    element: c_int,
    data: *mut c_void,
    rank: i64,
    extents: *const i64,
}

/// Arguments or results: how many, their types, and pointers to them.
#[repr(C)]
struct Values {
    head: Head,
    count: i64,
    types: *const c_int,
    values: *const *const Buffer,
}

#[repr(C)]
struct Text {
    start: *const u8,
    len: usize,
}

#[repr(C)]
struct Attributes {
    head: Head,
    count: i64,
    types: *const c_int,
    names: *const *const Text,
    values: *const *const c_void,
}

#[repr(C)]
struct CallFrame {
    head: Head,
    api: *const Api,
    context: *const c_void,
    stage: c_int,
    arguments: Values,
    results: Values,
    attributes: Attributes,
}

const METADATA: c_int = 1;
const EXECUTE: c_int = 3;
const STRING: c_int = 4;
const BUFFER: c_int = 1;
const INVALID_ARGUMENT: c_int = 3;
const INTERNAL: c_int = 13;

/// DLPack's code and bits of XLA's element types.
fn element(of: c_int) -> Option<[u8; 2]> {
    Some(match of {
        1 => [6, 8],
        2 => [0, 8],
        3 => [0, 16],
        4 => [0, 32],
        5 => [0, 64],
        6 => [1, 8],
        7 => [1, 16],
        8 => [1, 32],
        9 => [1, 64],
        10 => [2, 16],
        11 => [2, 32],
        12 => [2, 64],
        16 => [4, 16],
        _ => return None,
    })
}

/// What an attribute says.
struct Call {
    loss: Box<dyn Loss>,
    inputs: Inputs,
    reduction: Reduction,
    score_kind: ScoreKind,
    has_weights: bool,
}

impl Call {
    fn parse(text: &str) -> Result<Self, String> {
        let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let loss: Box<dyn Loss> =
            serde_json::from_value(value["loss"].take()).map_err(|error| format!("loss: {error}"))?;
        loss.check().map_err(|error| error.to_string())?;
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        Ok(Self {
            inputs: inputs_of(&*loss),
            reduction: text("reduction").parse().map_err(|error: maxmargin::Error| error.to_string())?,
            score_kind: text("score_kind").parse().map_err(|error: maxmargin::Error| error.to_string())?,
            has_weights: value["has_weights"] == true,
            loss,
        })
    }

    /// Parsed once: calls repeat.
    fn known(text: &str) -> Result<Arc<Self>, String> {
        static KNOWN: Mutex<Option<HashMap<String, Arc<Call>>>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(call) = known.get(text) {
            return Ok(call.clone());
        }
        if known.len() >= 1000 {
            known.clear();
        }
        let call = Arc::new(Self::parse(text)?);
        known.insert(text.to_owned(), call.clone());
        Ok(call)
    }
}

/// # Safety
/// `list` has `count` entries.
unsafe fn entries<'a, T>(list: *const T, count: i64) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller's.
        Ok(count) if count > 0 && !list.is_null() => unsafe { std::slice::from_raw_parts(list, count) },
        _ => &[],
    }
}

impl Values {
    /// # Safety
    /// These are the arguments or results of a call in progress.
    unsafe fn buffers(&self) -> Result<Vec<&Buffer>, String> {
        // SAFETY: a frame has as many types and values as it says.
        let (types, values) = unsafe { (entries(self.types, self.count), entries(self.values, self.count)) };
        if types.iter().any(|&kind| kind != BUFFER) {
            return Err("expected arrays".into());
        }
        // SAFETY: each is a buffer, as its type says.
        values.iter().map(|&value| unsafe { value.as_ref() }.ok_or_else(|| "an array is missing".into())).collect()
    }
}

impl Buffer {
    fn shape(&self) -> Vec<usize> {
        // SAFETY: a buffer has as many extents as its rank.
        let extents = unsafe { entries(self.extents, self.rank) };
        extents.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect()
    }
}

/// # Safety
/// XLA calls it with the frame of a call in progress.
unsafe fn execute(frame: &CallFrame) -> Result<(), String> {
    // SAFETY: a frame has as many attributes as it says; the types tell which are strings.
    let call = unsafe {
        let Attributes { count, types, names, values, .. } = frame.attributes;
        let (types, names, values) = (entries(types, count), entries(names, count), entries(values, count));
        let text = |text: &Text| std::str::from_utf8(entries(text.start, text.len as i64)).unwrap_or_default();
        let is_call = |&place: &usize| types[place] == STRING && names[place].as_ref().map(text) == Some("call");
        let place = (0..types.len()).find(is_call).ok_or("the attribute call is missing")?;
        Call::known(values[place].cast::<Text>().as_ref().map(text).unwrap_or_default())?
    };
    // SAFETY: these are a frame's arguments and results.
    let (arguments, results) = unsafe { (frame.arguments.buffers()?, frame.results.buffers()?) };
    let names = call.inputs.arguments();
    let expected = names.len() + usize::from(call.has_weights);
    if arguments.len() != expected {
        return Err(format!("expected {expected} arrays, got {}", arguments.len()));
    }
    let array = |(buffer, input): (&&Buffer, Input)| {
        let of = element(buffer.element).ok_or_else(|| format!("{input}: expected numbers"))?;
        // SAFETY: XLA's buffers are dense and stay for the length of the call.
        unsafe { Array::in_memory(buffer.data, of, buffer.shape(), input) }
            .ok_or_else(|| format!("{input}: not aligned"))
    };
    let inputs = names.iter().copied().chain([Input::SampleWeights]);
    let mut all = arguments.iter().zip(inputs).map(array).collect::<Result<Vec<Array>, String>>()?;
    let sample_weights = if call.has_weights { all.pop() } else { None };
    let arrays = Arrays { inputs: call.inputs, arrays: all, sample_weights };
    let text = |error: maxmargin::Error| error.to_string();
    arrays.check().map_err(text)?;
    let batch = arrays.batch(call.score_kind).map_err(text)?;
    let output = |buffer: &Buffer| {
        let of = element(buffer.element).unwrap_or_default();
        // SAFETY: as above; results are no argument's memory, and no other result's.
        unsafe { ArrayMut::in_memory(buffer.data, of, buffer.shape()) }
            .ok_or("expected results of f32 or f64".to_owned())
    };
    let (Some(first), true) = (results.first(), results.len() <= 2) else {
        return Err("expected one result or two".into());
    };
    let mut first = output(first)?;
    let mut gradient = results.get(1).map(|buffer| output(buffer)).transpose()?;
    if let Some(gradient) = &gradient
        && gradient.shape() != gradient_shape(&arrays)
    {
        return Err("the gradient's result has another shape".into());
    }
    let mut buffers = Buffers::new();
    let is_value = call.reduction != Reduction::None;
    if !is_value {
        buffers = buffers.losses(first.floats());
    }
    if let Some(gradient) = &mut gradient {
        buffers = buffers.gradient(gradient.floats());
    }
    let request = Request::new().reduction(call.reduction);
    let is_small = arrays.is_small(&batch, call.score_kind);
    let evaluation = on_threads(is_small, || Device::cpu().evaluate_into(&call.loss, &batch, &request, buffers))?;
    let value = evaluation.map_err(text)?.value.unwrap_or(f64::NAN);
    if is_value {
        match first.floats() {
            FloatsMut::F32([to]) => *to = value as f32,
            FloatsMut::F64([to]) => *to = value,
            _ => return Err("expected a scalar for the value".into()),
        }
    }
    Ok(())
}

/// # Safety
/// XLA calls it with a frame.
unsafe extern "C" fn handler(frame: *mut CallFrame) -> *mut c_void {
    let none = std::ptr::null_mut();
    // SAFETY: XLA's frame is there for the length of the call.
    let Some(frame) = (unsafe { frame.as_ref() }) else { return none };
    // SAFETY: an extension of this kind is this struct.
    unsafe {
        if let Some(extension) = frame.head.extension.as_ref().filter(|extension| extension.kind == METADATA) {
            let extension = (&raw const *extension).cast::<MetadataExtension>();
            if let Some(metadata) = (*extension).metadata.as_mut() {
                (metadata.version.major, metadata.version.minor, metadata.traits) = (0, 3, 0);
            }
            return none;
        }
    }
    if frame.stage != EXECUTE {
        return none;
    }
    // SAFETY: this is the frame of a call in progress.
    let (message, code) = match catch_unwind(AssertUnwindSafe(|| unsafe { execute(frame) })) {
        Ok(Ok(())) => return none,
        Ok(Err(message)) => (message, INVALID_ARGUMENT),
        Err(_) => ("a defect of maxmargin".to_owned(), INTERNAL),
    };
    let message = CString::new(format!("maxmargin: {message}")).unwrap_or_default();
    let head = Head { size: size_of::<ErrorArguments>(), extension: std::ptr::null_mut() };
    let mut arguments = ErrorArguments { head, message: message.as_ptr(), code };
    // SAFETY: the table has this function, and the arguments have the layout of the header; the message is copied.
    unsafe { frame.api.as_ref().map_or(none, |api| (api.create_error)(&raw mut arguments)) }
}

/// The handler, for `jax.ffi.register_ffi_target`.
#[pyfunction]
pub(crate) fn jax_handler(py: Python<'_>) -> PyResult<Bound<'_, PyCapsule>> {
    const NAME: &CStr = c"xla._CUSTOM_CALL_TARGET";
    let pointer = std::ptr::NonNull::new(handler as *mut c_void);
    let pointer = pointer.ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("no handler"))?;
    // SAFETY: the pointer is a function, which lives as long as the process.
    unsafe { PyCapsule::new_with_pointer(py, pointer, NAME) }
}
