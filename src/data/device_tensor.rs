//! A handle to numbers in a device's memory: what a batch needs to know about them, without the device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;

/// The element types that kernels read. All arithmetic is in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// Single precision.
    F32,
    /// 32-bit signed integers.
    I32,
    /// Half precision (scores).
    F16,
    /// bfloat16 (scores).
    BF16,
    /// 8-bit signed integers (targets).
    I8,
    /// 8-bit unsigned integers, or booleans (targets).
    U8,
    /// Bits, 32 per word, lowest first (targets 0 and 1).
    Bit,
}

impl ElementType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ElementType::F32 => "f32",
            ElementType::I32 => "i32",
            ElementType::F16 => "f16",
            ElementType::BF16 => "bf16",
            ElementType::I8 => "i8",
            ElementType::U8 => "u8",
            ElementType::Bit => "bits",
        }
    }
}

/// A flat array in the memory of one device. Cheap to clone: clones share the memory, which returns to the device's
/// pool when the last one is dropped.
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    pub(crate) memory: Arc<dyn DeviceMemory>,
    pub(crate) len: usize,
    pub(crate) element: ElementType,
}

/// A tensor's memory. Each backend has its own type.
pub(crate) trait DeviceMemory: Any + fmt::Debug + Send + Sync {
    fn device_name(&self) -> &str;
    fn read_f32(&self, tensor: &DeviceTensor) -> Result<Vec<f32>>;
}

impl DeviceTensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The type of the elements.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// Copies the elements to the host; blocks.
    ///
    /// # Errors
    /// [`crate::Error::ElementType`] for a tensor of integers; otherwise the device's own failures.
    pub fn read_f32(&self) -> Result<Vec<f32>> {
        self.memory.read_f32(self)
    }
}
