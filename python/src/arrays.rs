//! Arrays that come in and go out, through the buffer protocol and DLPack's table of functions (torch): no element is copied
//! where an array is C-contiguous, aligned and in the machine's byte order. All else is first copied once, in Python (`maxmargin/_arrays.py`), which also knows
//! DLPack and the arrays of other libraries.

use std::ffi::c_void;
use std::ops::Range;

use half::{bf16, f16};
use maxmargin::linear::{EntryValues, RowElements};
use maxmargin::nn::Features;
use maxmargin::{Error, Floats, FloatsMut, Input, Result, Targets};
use pyo3::buffer::{ElementType, PyUntypedBuffer};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::dlpack;
use crate::error::{wrong_input, wrong_type};

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    /// Read as a byte: a foreign byte that is neither 0 nor 1 is no `bool`.
    Bool,
    F16,
    Bf16,
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

impl Element {
    fn of(element: ElementType) -> Option<Self> {
        Some(match element {
            ElementType::Float { bytes: 2 } => Self::F16,
            ElementType::Float { bytes: 4 } => Self::F32,
            ElementType::Float { bytes: 8 } => Self::F64,
            ElementType::SignedInteger { bytes: 1 } => Self::I8,
            ElementType::SignedInteger { bytes: 2 } => Self::I16,
            ElementType::SignedInteger { bytes: 4 } => Self::I32,
            ElementType::SignedInteger { bytes: 8 } => Self::I64,
            ElementType::Bool => Self::Bool,
            ElementType::UnsignedInteger { bytes: 1 } => Self::U8,
            ElementType::UnsignedInteger { bytes: 2 } => Self::U16,
            ElementType::UnsignedInteger { bytes: 4 } => Self::U32,
            ElementType::UnsignedInteger { bytes: 8 } => Self::U64,
            _ => return None,
        })
    }

    /// By DLPack's code of the type.
    fn of_dlpack(code: u8, bits: u8) -> Option<Self> {
        Some(match (code, bits) {
            (0, 8) => Self::I8,
            (0, 16) => Self::I16,
            (0, 32) => Self::I32,
            (0, 64) => Self::I64,
            (6, 8) => Self::Bool,
            (1, 8) => Self::U8,
            (1, 16) => Self::U16,
            (1, 32) => Self::U32,
            (1, 64) => Self::U64,
            (2, 16) => Self::F16,
            (2, 32) => Self::F32,
            (2, 64) => Self::F64,
            (4, 16) => Self::Bf16,
            _ => return None,
        })
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
        }
    }
}

/// Who keeps an array's memory where it is.
enum Owner {
    /// The export of a buffer: nobody frees or resizes it.
    Buffer(#[expect(dead_code, reason = "held, not read")] PyUntypedBuffer),
    /// A tensor, whose memory stays as long as nobody resizes it.
    Tensor(#[expect(dead_code, reason = "held, not read")] Py<PyAny>),
    /// A caller that keeps it for the length of its call.
    Caller,
}

/// An array's memory: contiguous, aligned, in the machine's byte order.
///
/// Another thread may write to it meanwhile, as with every function of numpy that releases the interpreter; the numbers are
/// then undefined, and labels are checked where they are used.
struct Memory {
    start: *mut c_void,
    len: usize,
    element: Element,
    shape: Vec<usize>,
    is_readonly: bool,
    _owner: Owner,
}

impl Memory {
    /// `None` where the elements would have to be copied, or the object shows no memory.
    fn in_place(object: &Bound<'_, PyAny>) -> Option<Self> {
        // SAFETY: the object is a live object of this interpreter.
        let has_buffer = unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 1;
        if has_buffer { Self::of_buffer(object) } else { Self::of_tensor(object) }
    }

    fn of_buffer(object: &Bound<'_, PyAny>) -> Option<Self> {
        // numpy's masked arrays show what is masked as well.
        if object.hasattr(pyo3::intern!(object.py(), "mask")).unwrap_or(true) {
            return None;
        }
        let buffer = PyUntypedBuffer::get(object).ok()?;
        let format = buffer.format();
        let element = Element::of(ElementType::from_format(format))?;
        let other_orders: &[u8] = if cfg!(target_endian = "little") { b">!" } else { b"<" };
        let is_other_order = format.to_bytes().first().is_some_and(|order| other_orders.contains(order));
        if !buffer.is_c_contiguous() || is_other_order && element.size() > 1 || buffer.item_size() != element.size() {
            return None;
        }
        Self {
            start: buffer.buf_ptr(),
            len: buffer.item_count(),
            element,
            shape: buffer.shape().to_vec(),
            is_readonly: buffer.readonly(),
            _owner: Owner::Buffer(buffer),
        }
        .aligned()
    }

    fn of_tensor(object: &Bound<'_, PyAny>) -> Option<Self> {
        let tensor = dlpack::tensor_of(object)?;
        let element = Element::of_dlpack(tensor.code, tensor.bits)?;
        let len = tensor.shape.iter().product();
        Self {
            start: tensor.start,
            len,
            element,
            shape: tensor.shape,
            is_readonly: false,
            _owner: Owner::Tensor(object.clone().unbind()),
        }
        .aligned()
    }

    fn aligned(self) -> Option<Self> {
        (self.len == 0 || (self.start as usize).is_multiple_of(self.element.size())).then_some(self)
    }

    /// The addresses that it spans.
    fn addresses(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len * self.element.size()
    }

    /// The elements as a type that any bits are a value of. Empty where `T` has not the size of the elements.
    fn slice<T: Plain>(&self) -> &[T] {
        if self.len == 0 || size_of::<T>() != self.element.size() {
            return &[];
        }
        // SAFETY: `in_place` checked that the elements lie one after the other and are aligned to their size, which is that
        // of `T`; any bits are a `T`; and the owner keeps the memory where it is. Writes by other threads are the caller's
        // affair, as the type's documentation says.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

/// Numbers that every pattern of bits is a value of, no more strictly aligned than to their size.
trait Plain {}
macro_rules! plain { ($($t:ty),+) => { $(impl Plain for $t {})+ } }
plain!(f16, bf16, f32, f64, i8, u8, i16, u16, i32, u32, i64, u64, usize);

/// An array to read.
pub(crate) struct Array {
    memory: Memory,
    input: Input,
}

static PREPARE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An argument's name as the package has it.
pub(crate) fn argument(input: Input) -> String {
    match input {
        Input::GradientBuffer => "out".into(),
        Input::LossesBuffer => "losses_out".into(),
        other => other.to_string().replace(' ', "_"),
    }
}

impl Array {
    /// The array behind any object.
    pub(crate) fn of(object: &Bound<'_, PyAny>, input: Input) -> PyResult<Self> {
        // Weights may be whole numbers; they are few, and copied.
        let is_taken = |memory: &Memory| input != Input::SampleWeights || memory.element.is_float();
        if let Some(memory) = Memory::in_place(object).filter(is_taken) {
            return Ok(Self { memory, input });
        }
        let py = object.py();
        let import = || py.import("maxmargin._arrays")?.getattr("prepare").map(Bound::unbind);
        let prepared = PREPARE.get_or_try_init(py, import)?.bind(py).call1((object, argument(input)))?;
        let (array, is_bfloat16): (Bound<'_, PyAny>, bool) = prepared.extract()?;
        let mut memory = Memory::in_place(&array)
            .ok_or_else(|| wrong_type(py, &argument(input), "numbers", &array.get_type().to_string()))?;
        if is_bfloat16 {
            memory.element = Element::Bf16;
        }
        Ok(Self { memory, input })
    }

    /// An array in a caller's memory, of an element type by DLPack's code. `None` for a type that is not taken, or memory that
    /// is not aligned.
    ///
    /// # Safety
    /// The elements are there, one after the other, as long as the value lives.
    pub(crate) unsafe fn in_memory(
        start: *mut c_void,
        [code, bits]: [u8; 2],
        shape: Vec<usize>,
        input: Input,
    ) -> Option<Self> {
        let element = Element::of_dlpack(code, bits)?;
        let len = shape.iter().product();
        let memory = Memory { start, len, element, shape, is_readonly: false, _owner: Owner::Caller }.aligned()?;
        Some(Self { memory, input })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.memory.shape
    }

    fn refused(&self, expected: &'static str) -> Error {
        Error::ElementType { input: self.input, expected, got: self.memory.element.name() }
    }

    pub(crate) fn floats(&self) -> Result<Floats<'_>> {
        let memory = &self.memory;
        Ok(match memory.element {
            Element::F16 => Floats::F16(memory.slice()),
            Element::Bf16 => Floats::BF16(memory.slice()),
            Element::F32 => Floats::F32(memory.slice()),
            Element::F64 => Floats::F64(memory.slice()),
            _ => return Err(self.refused("float16, bfloat16, float32 or float64")),
        })
    }

    pub(crate) fn targets(&self) -> Targets<'_> {
        let memory = &self.memory;
        match memory.element {
            Element::F16 => Targets::F16(memory.slice()),
            Element::Bf16 => Targets::BF16(memory.slice()),
            Element::F32 => Targets::F32(memory.slice()),
            Element::F64 => Targets::F64(memory.slice()),
            Element::I8 => Targets::I8(memory.slice()),
            Element::Bool | Element::U8 => Targets::U8(memory.slice()),
            Element::I16 => Targets::I16(memory.slice()),
            Element::U16 => Targets::U16(memory.slice()),
            Element::I32 => Targets::I32(memory.slice()),
            Element::U32 => Targets::U32(memory.slice()),
            Element::I64 => Targets::I64(memory.slice()),
            Element::U64 => Targets::U64(memory.slice()),
        }
    }

    /// The elements of rows of features.
    pub(crate) fn rows(&self) -> Result<RowElements<'_>> {
        let memory = &self.memory;
        Ok(match memory.element {
            Element::F16 => memory.slice::<f16>().into(),
            Element::Bf16 => memory.slice::<bf16>().into(),
            Element::F32 => memory.slice::<f32>().into(),
            Element::F64 => memory.slice::<f64>().into(),
            Element::Bool | Element::U8 => memory.slice::<u8>().into(),
            _ => return Err(self.refused("float16, bfloat16, float32, float64, uint8 or bool")),
        })
    }

    /// A copy of the elements, as features to train on.
    pub(crate) fn features(&self) -> Result<Features> {
        let memory = &self.memory;
        Ok(match memory.element {
            Element::F16 => copied(memory.slice::<f16>())?.into(),
            Element::Bf16 => copied(memory.slice::<bf16>())?.into(),
            Element::F32 => copied(memory.slice::<f32>())?.into(),
            Element::F64 => copied(memory.slice::<f64>())?.into(),
            Element::U8 => copied(memory.slice::<u8>())?.into(),
            // Bytes stand for x / 255, booleans for themselves.
            Element::Bool => collected(memory.slice::<u8>().iter().map(|&x| f32::from(u8::from(x != 0))))?.into(),
            _ => return Err(self.refused("float16, bfloat16, float32, float64, uint8 or bool")),
        })
    }

    pub(crate) fn f64s(&self) -> Result<&[f64]> {
        if self.memory.element == Element::F64 { Ok(self.memory.slice()) } else { Err(self.refused("float64")) }
    }

    pub(crate) fn u32s(&self) -> Result<&[u32]> {
        if self.memory.element == Element::U32 { Ok(self.memory.slice()) } else { Err(self.refused("uint32")) }
    }

    /// Offsets, stored as 64 bits.
    pub(crate) fn offsets(&self) -> Result<&[usize]> {
        let is_offset = self.memory.element == Element::U64 && size_of::<usize>() == 8;
        if is_offset { Ok(self.memory.slice()) } else { Err(self.refused("uint64")) }
    }

    pub(crate) fn entries(&self) -> Result<EntryValues<'_>> {
        Ok(match self.memory.element {
            Element::F32 => self.memory.slice::<f32>().into(),
            Element::F64 => self.memory.slice::<f64>().into(),
            _ => return Err(self.refused("float32 or float64")),
        })
    }
}

/// Numbers in memory of their own, which the machine may refuse.
fn collected<T>(numbers: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut own = Vec::new();
    let refused = |_| Error::OutOfMemory { device: "the host".into(), operation: "copying an array".into() };
    own.try_reserve_exact(numbers.len()).map_err(refused)?;
    own.extend(numbers);
    Ok(own)
}

/// A copy, which the machine may refuse.
pub(crate) fn copied<T: Copy>(numbers: &[T]) -> Result<Vec<T>> {
    collected(numbers.iter().copied())
}

/// An array to write losses or a gradient to.
pub(crate) struct ArrayMut {
    memory: Memory,
}

impl ArrayMut {
    /// The memory of an array that can be written in place and overlaps with no other of `others`.
    pub(crate) fn of<'a>(
        object: &Bound<'_, PyAny>,
        input: &'static str,
        others: impl Iterator<Item = &'a Array>,
    ) -> PyResult<Self> {
        let py = object.py();
        let expected = "a writeable, C-contiguous array of float32 or float64";
        let memory = Memory::in_place(object)
            .filter(|memory| !memory.is_readonly)
            .ok_or_else(|| wrong_input(py, input, expected, object.get_type().to_string()))?;
        if !matches!(memory.element, Element::F32 | Element::F64) {
            return Err(wrong_type(py, input, "float32 or float64", memory.element.name()));
        }
        let own = memory.addresses();
        for other in others {
            let of = other.memory.addresses();
            if own.start < of.end && of.start < own.end {
                let got = format!("one that overlaps with {}", argument(other.input));
                return Err(wrong_input(py, input, "memory of its own", got));
            }
        }
        Ok(Self { memory })
    }

    /// Memory of a caller's; as [`Array::in_memory`].
    ///
    /// # Safety
    /// As [`Array::in_memory`], and nobody else reads or writes it meanwhile.
    pub(crate) unsafe fn in_memory(start: *mut c_void, of: [u8; 2], shape: Vec<usize>) -> Option<Self> {
        // SAFETY: the caller's.
        let Array { memory, .. } = unsafe { Array::in_memory(start, of, shape, Input::GradientBuffer) }?;
        matches!(memory.element, Element::F32 | Element::F64).then_some(Self { memory })
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.memory.addresses(), other.memory.addresses());
        a.start < b.end && b.start < a.end
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.memory.shape
    }

    pub(crate) fn floats(&mut self) -> FloatsMut<'_> {
        let (start, len) = (self.memory.start, self.memory.len);
        let start = if len == 0 { std::ptr::dangling_mut::<f64>().cast() } else { start };
        // SAFETY: as in `Memory::slice`; in addition `of` checked that the memory is writeable and no input's, and the
        // caller that it is no other output's. `self` is borrowed exclusively.
        unsafe {
            match self.memory.element {
                Element::F64 => FloatsMut::F64(std::slice::from_raw_parts_mut(start.cast(), len)),
                _ => FloatsMut::F32(std::slice::from_raw_parts_mut(start.cast(), len)),
            }
        }
    }
}

/// Where an array is read: the address of its first element. For tests that nothing is copied.
#[pyfunction]
pub(crate) fn address(array: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(Array::of(array, Input::Scores)?.memory.start as usize)
}

/// Whether two shapes are equal but for axes of length 1.
pub(crate) fn matches(one: &[usize], other: &[usize]) -> bool {
    let long = |shape: &&usize| **shape != 1;
    one.iter().filter(long).eq(other.iter().filter(long))
}

/// A shape as numpy writes it.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
