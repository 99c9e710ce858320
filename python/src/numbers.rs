//! Numbers that go out, shown to numpy in place.

use std::ffi::{c_char, c_int, c_void};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Numbers that were computed here, with the buffer protocol for numpy to show them in place.
#[pyclass(frozen, module = "maxmargin._maxmargin")]
pub(crate) struct Numbers {
    data: Data,
}

enum Data {
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl From<Vec<f64>> for Numbers {
    fn from(x: Vec<f64>) -> Self {
        Self { data: Data::F64(x) }
    }
}

impl From<Vec<i64>> for Numbers {
    fn from(x: Vec<i64>) -> Self {
        Self { data: Data::I64(x) }
    }
}

impl From<Vec<bool>> for Numbers {
    fn from(x: Vec<bool>) -> Self {
        Self { data: Data::Bool(x) }
    }
}

#[pymethods]
impl Numbers {
    /// # Safety
    /// Called by the interpreter alone, with a view to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (start, len, size, format): (*const c_void, usize, usize, &'static std::ffi::CStr) = match &slf.get().data {
            Data::F64(x) => (x.as_ptr().cast(), x.len(), 8, c"d"),
            Data::I64(x) => (x.as_ptr().cast(), x.len(), 8, c"q"),
            Data::Bool(x) => (x.as_ptr().cast(), x.len(), 1, c"?"),
        };
        if view.is_null() {
            return Err(PyBufferError::new_err("view is null"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("these numbers cannot be written to"));
        }
        // Shape and strides must outlive the view; `internal` says where they are, to be freed with it.
        let extents = Box::into_raw(Box::new([len as isize, size as isize]));
        // SAFETY: the interpreter passes a view that is not null. The numbers live in a frozen class, so they neither move
        // nor change while the view holds a reference to the object.
        unsafe {
            (*view).obj = slf.into_any().into_ptr();
            (*view).buf = start.cast_mut();
            (*view).len = (len * size) as isize;
            (*view).readonly = 1;
            (*view).itemsize = size as isize;
            (*view).format = match flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT {
                true => format.as_ptr().cast_mut(),
                false => std::ptr::null_mut::<c_char>(),
            };
            (*view).ndim = 1;
            (*view).shape = extents.cast();
            (*view).strides = extents.cast::<isize>().add(1);
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = extents.cast();
        }
        Ok(())
    }

    /// # Safety
    /// Called by the interpreter alone, with a view that `__getbuffer__` filled.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` is the box that `__getbuffer__` made, and a view is released once.
        unsafe { drop(Box::from_raw((*view).internal.cast::<[isize; 2]>())) };
    }
}
