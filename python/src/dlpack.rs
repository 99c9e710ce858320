//! Tensors by DLPack's exchange API: a table of C functions that a tensor type offers as `__dlpack_c_exchange_api__`
//! (dlpack.h 1.3). It shows a tensor's memory without a capsule and without a call of Python's.

use std::ffi::{c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// `DLTensor` of dlpack.h.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    dimensions: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// `DLPackExchangeAPI` of dlpack.h, up to the one function that is called here.
#[repr(C)]
struct ExchangeApi {
    major: u32,
    minor: u32,
    older: *const ExchangeApi,
    allocate: *const c_void,
    to_managed: *const c_void,
    from_managed: *const c_void,
    to_tensor: Option<unsafe extern "C" fn(*mut c_void, *mut DlTensor) -> c_int>,
}

const CPU: i32 = 1;

/// A tensor's memory on the CPU.
pub(crate) struct Tensor {
    pub(crate) start: *mut c_void,
    pub(crate) code: u8,
    pub(crate) bits: u8,
    pub(crate) shape: Vec<usize>,
}

/// The first type that offered a table, and its table's address: mostly `torch.Tensor`, so that it is looked up once.
static FIRST: PyOnceLock<(Py<PyType>, usize)> = PyOnceLock::new();

/// The table of a tensor's type.
fn api_of(object: &Bound<'_, PyAny>) -> Option<&'static ExchangeApi> {
    let (py, of) = (object.py(), object.get_type());
    if let Some((known, api)) = FIRST.get(py)
        && of.is(known.bind(py))
    {
        // SAFETY: it was such a table when it was kept, and these live as long as the process.
        return unsafe { (*api as *const ExchangeApi).as_ref() };
    }
    let capsule = of.getattr(pyo3::intern!(py, "__dlpack_c_exchange_api__")).ok()?;
    // SAFETY: the capsule is a live object; the function returns null and sets an exception where it has another name.
    let api = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"dlpack_exchange_api".as_ptr()) };
    if api.is_null() {
        drop(PyErr::take(py));
        return None;
    }
    let _ = FIRST.set(py, (of.unbind(), api as usize));
    // SAFETY: a capsule of this name holds this table, which lives as long as the process.
    unsafe { api.cast::<ExchangeApi>().as_ref() }
}

/// The memory of a contiguous tensor on the CPU; `None` for anything else.
pub(crate) fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Tensor> {
    let py = object.py();
    let api = api_of(object)?;
    // torch may keep a tensor's signs apart from its memory.
    let is_negated = object.call_method0(pyo3::intern!(py, "is_neg")).is_ok_and(|is| is.is_truthy().unwrap_or(true));
    if is_negated {
        return None;
    }
    let to_tensor = api.to_tensor.filter(|_| api.major == 1)?;
    let mut tensor = DlTensor {
        data: std::ptr::null_mut(),
        device_type: 0,
        device_id: 0,
        dimensions: 0,
        code: 0,
        bits: 0,
        lanes: 0,
        shape: std::ptr::null(),
        strides: std::ptr::null(),
        byte_offset: 0,
    };
    // SAFETY: the object is of the type that offered the table, and the tensor has the layout of dlpack.h's version 1.
    if unsafe { to_tensor(object.as_ptr().cast(), &raw mut tensor) } != 0 {
        drop(PyErr::take(py));
        return None;
    }
    let dimensions = usize::try_from(tensor.dimensions).ok()?;
    let list = |start: *const i64| match dimensions {
        0 => &[][..],
        // SAFETY: a tensor has as many extents as dimensions; they are the object's own, which the caller holds.
        _ => unsafe { std::slice::from_raw_parts(start, dimensions) },
    };
    if dimensions > 0 && tensor.shape.is_null() {
        return None;
    }
    let shape = list(tensor.shape).iter().map(|&extent| usize::try_from(extent).ok()).collect::<Option<Vec<_>>>()?;
    let is_contiguous = tensor.strides.is_null() || is_c_contiguous(&shape, list(tensor.strides));
    let offset = usize::try_from(tensor.byte_offset).ok()?;
    // What has no memory (a fake tensor) is none of ours.
    let has_memory = !tensor.data.is_null() || shape.contains(&0);
    (has_memory && tensor.device_type == CPU && tensor.lanes == 1 && is_contiguous).then(|| Tensor {
        start: tensor.data.wrapping_byte_add(offset),
        code: tensor.code,
        bits: tensor.bits,
        shape,
    })
}

fn is_c_contiguous(shape: &[usize], strides: &[i64]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || usize::try_from(stride) == Ok(expected);
        expected *= extent;
        fits
    })
}
