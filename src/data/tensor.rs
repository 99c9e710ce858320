//! Numbers and labels from the caller, wherever they live. Host data is borrowed, never copied into a type of ours;
//! device data is a [`DeviceTensor`].

use std::ops::Range;

use half::prelude::*;

use super::device_tensor::DeviceTensor;
use crate::error::{Error, Input, Result};

/// Floating point numbers, borrowed from where they live.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Floats<'a> {
    /// Host memory, single precision.
    F32(&'a [f32]),
    /// Host memory, double precision. The CPU computes in it; a GPU computes in f32.
    F64(&'a [f64]),
    /// Host memory, half precision. Widened to f32 before anything is computed.
    F16(&'a [f16]),
    /// Host memory, bfloat16. Widened to f32 before anything is computed.
    BF16(&'a [bf16]),
    /// Memory of a GPU: f32, f16 or bf16.
    Device(&'a DeviceTensor),
}

impl<'a> Floats<'a> {
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Floats::F32(_) => "f32",
            Floats::F64(_) => "f64",
            Floats::F16(_) => "f16",
            Floats::BF16(_) => "bf16",
            Floats::Device(tensor) => tensor.element_type().name(),
        }
    }

    /// The elements as f32, if they are half precision on the host.
    pub(crate) fn widened(self) -> Option<Vec<f32>> {
        match self {
            Floats::F16(x) => Some(x.to_f32_vec()),
            Floats::BF16(x) => Some(x.to_f32_vec()),
            _ => None,
        }
    }

    pub(crate) fn slice(self, range: Range<usize>) -> Option<Self> {
        match self {
            Floats::F32(x) => x.get(range).map(Floats::F32),
            Floats::F64(x) => x.get(range).map(Floats::F64),
            Floats::F16(x) => x.get(range).map(Floats::F16),
            Floats::BF16(x) => x.get(range).map(Floats::BF16),
            Floats::Device(_) => None,
        }
    }

    pub(crate) fn as_f32(self) -> Option<&'a [f32]> {
        if let Floats::F32(x) = self { Some(x) } else { None }
    }

    pub(crate) fn as_f64(self) -> Option<&'a [f64]> {
        if let Floats::F64(x) = self { Some(x) } else { None }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Floats::F32(x) => x.len(),
            Floats::F64(x) => x.len(),
            Floats::F16(x) => x.len(),
            Floats::BF16(x) => x.len(),
            Floats::Device(x) => x.len(),
        }
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Labels or targets, borrowed from where they live, in their own type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Host booleans: false is 0, true is 1.
    Bool(&'a [bool]),
    /// Host 8-bit signed integers.
    I8(&'a [i8]),
    /// Host 8-bit unsigned integers.
    U8(&'a [u8]),
    /// Host 16-bit signed integers.
    I16(&'a [i16]),
    /// Host 16-bit unsigned integers.
    U16(&'a [u16]),
    /// Host 32-bit signed integers.
    I32(&'a [i32]),
    /// Host 32-bit unsigned integers.
    U32(&'a [u32]),
    /// Host 64-bit signed integers.
    I64(&'a [i64]),
    /// Host 64-bit unsigned integers.
    U64(&'a [u64]),
    /// Host half precision; labels and class indices must hold integral values.
    F16(&'a [f16]),
    /// Host bfloat16; labels and class indices must hold integral values.
    BF16(&'a [bf16]),
    /// Host floats; labels and class indices must hold integral values.
    F32(&'a [f32]),
    /// Host doubles; labels and class indices must hold integral values.
    F64(&'a [f64]),
    /// Host bits: each 0 or 1.
    Bits(BitLabels<'a>),
    /// Memory of a GPU: i32, f32, i8, u8 or bits.
    Device(&'a DeviceTensor),
}

/// One-bit labels, 32 per word, lowest bit first.
///
/// ```
/// use maxmargin::{Batch, BinaryHinge, BitLabels, Device, LabelEncoding, Request};
/// let labels = BitLabels::new(&[0b110], 3).unwrap();
/// let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
/// let value = Device::cpu().evaluate(&loss, &Batch::new(&[0.5f32, 0.75, 0.25], labels), &Request::new())?.value;
/// assert_eq!(value, Some((1.5 + 0.25 + 0.75) / 3.0));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BitLabels<'a> {
    words: &'a [u32],
    /// Bits before the first label, fewer than 32.
    shift: usize,
    len: usize,
}

impl<'a> BitLabels<'a> {
    /// The first `len` bits of `words`.
    ///
    /// # Errors
    /// [`Error::Length`] if `words` has fewer.
    pub fn new(words: &'a [u32], len: usize) -> Result<Self> {
        if len > 32 * words.len() {
            let (expected, got) = (len.div_ceil(32), words.len());
            return Err(Error::Length { input: Input::Targets, expected, got, unit: "32 labels" });
        }
        Ok(Self { words, shift: 0, len })
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is no label.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The labels as words; `None` if the first label is not the lowest bit of a word.
    #[cfg(feature = "gpu")]
    pub(crate) fn words(&self) -> Option<&'a [u32]> {
        (self.shift == 0).then(|| &self.words[..self.len.div_ceil(32)])
    }

    pub(crate) fn to_vec(self) -> Vec<bool> {
        // Two words cover 32 labels at any shift. The second may lie beyond the last word.
        let word = |i: usize| self.words.get(i).map_or(0, |&word| u64::from(word));
        let mut labels = vec![false; self.len];
        for (i, labels) in labels.chunks_mut(32).enumerate() {
            let bits = ((word(i) | word(i + 1) << 32) >> self.shift) as u32;
            for (bit, label) in labels.iter_mut().enumerate() {
                *label = bits >> bit & 1 == 1;
            }
        }
        labels
    }

    fn slice(self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        let first = self.shift + range.start;
        Some(Self { words: &self.words[first / 32..], shift: first % 32, len: range.len() })
    }
}

impl<'a> From<BitLabels<'a>> for Targets<'a> {
    fn from(bits: BitLabels<'a>) -> Self {
        Targets::Bits(bits)
    }
}

/// Runs `$body` with `$x` bound to the host slice of any type, or `$device` with `$tensor` bound to the tensor.
macro_rules! with_targets {
    ($targets:expr, $x:ident => $body:expr, $tensor:ident => $device:expr) => {
        match $targets {
            $crate::data::tensor::Targets::Bool($x) => $body,
            $crate::data::tensor::Targets::I8($x) => $body,
            $crate::data::tensor::Targets::U8($x) => $body,
            $crate::data::tensor::Targets::I32($x) => $body,
            $crate::data::tensor::Targets::I64($x) => $body,
            $crate::data::tensor::Targets::U64($x) => $body,
            $crate::data::tensor::Targets::F32($x) => $body,
            $crate::data::tensor::Targets::F64($x) => $body,
            // Types that kernels do not read are widened, all elements at once: loops over parts slice first.
            $crate::data::tensor::Targets::Bits(bits) => {
                let widened = bits.to_vec();
                let $x = &widened[..];
                $body
            }
            integers @ ($crate::data::tensor::Targets::I16(_)
            | $crate::data::tensor::Targets::U16(_)
            | $crate::data::tensor::Targets::U32(_)) => {
                let widened = integers.widened_integers();
                let $x = &widened[..];
                $body
            }
            halves @ ($crate::data::tensor::Targets::F16(_) | $crate::data::tensor::Targets::BF16(_)) => {
                let widened = halves.widened_halves();
                let $x = &widened[..];
                $body
            }
            $crate::data::tensor::Targets::Device($tensor) => $device,
        }
    };
}
pub(crate) use with_targets;

impl<'a> Targets<'a> {
    /// The elements of an integer type that kernels do not read; none of another type.
    pub(crate) fn widened_integers(self) -> Vec<i64> {
        match self {
            Targets::I16(x) => x.iter().map(|&label| label.into()).collect(),
            Targets::U16(x) => x.iter().map(|&label| label.into()).collect(),
            Targets::U32(x) => x.iter().map(|&label| label.into()).collect(),
            _ => Vec::new(),
        }
    }

    /// The elements of half precision; none of another type.
    pub(crate) fn widened_halves(self) -> Vec<f32> {
        match self {
            Targets::F16(x) => x.to_f32_vec(),
            Targets::BF16(x) => x.to_f32_vec(),
            _ => Vec::new(),
        }
    }

    /// A range of host elements of a checked batch; a tensor stays whole.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        self.slice(range).unwrap_or(self)
    }

    pub(crate) fn slice(self, range: Range<usize>) -> Option<Self> {
        match self {
            Targets::Bool(x) => x.get(range).map(Targets::Bool),
            Targets::I8(x) => x.get(range).map(Targets::I8),
            Targets::U8(x) => x.get(range).map(Targets::U8),
            Targets::I16(x) => x.get(range).map(Targets::I16),
            Targets::U16(x) => x.get(range).map(Targets::U16),
            Targets::I32(x) => x.get(range).map(Targets::I32),
            Targets::U32(x) => x.get(range).map(Targets::U32),
            Targets::I64(x) => x.get(range).map(Targets::I64),
            Targets::U64(x) => x.get(range).map(Targets::U64),
            Targets::F16(x) => x.get(range).map(Targets::F16),
            Targets::BF16(x) => x.get(range).map(Targets::BF16),
            Targets::F32(x) => x.get(range).map(Targets::F32),
            Targets::F64(x) => x.get(range).map(Targets::F64),
            Targets::Bits(bits) => bits.slice(range).map(Targets::Bits),
            Targets::Device(_) => None,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Targets::Bool(x) => x.len(),
            Targets::I8(x) => x.len(),
            Targets::U8(x) => x.len(),
            Targets::I16(x) => x.len(),
            Targets::U16(x) => x.len(),
            Targets::I32(x) => x.len(),
            Targets::U32(x) => x.len(),
            Targets::I64(x) => x.len(),
            Targets::U64(x) => x.len(),
            Targets::F16(x) => x.len(),
            Targets::BF16(x) => x.len(),
            Targets::F32(x) => x.len(),
            Targets::F64(x) => x.len(),
            Targets::Bits(x) => x.len(),
            Targets::Device(x) => x.len(),
        }
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! borrow_from {
    ($target:ident: $($variant:ident($t:ty)),+) => {$(
        impl<'a> From<&'a [$t]> for $target<'a> {
            fn from(x: &'a [$t]) -> Self {
                $target::$variant(x)
            }
        }
        impl<'a> From<&'a Vec<$t>> for $target<'a> {
            fn from(x: &'a Vec<$t>) -> Self {
                $target::$variant(x)
            }
        }
        impl<'a, const N: usize> From<&'a [$t; N]> for $target<'a> {
            fn from(x: &'a [$t; N]) -> Self {
                $target::$variant(x)
            }
        }
    )+
        impl<'a> From<&'a DeviceTensor> for $target<'a> {
            fn from(x: &'a DeviceTensor) -> Self {
                $target::Device(x)
            }
        }
    };
}
borrow_from!(Floats: F32(f32), F64(f64), F16(f16), BF16(bf16));
borrow_from!(
    Targets: Bool(bool), I8(i8), U8(u8), I16(i16), U16(u16), I32(i32), U32(u32), I64(i64), U64(u64), F16(f16), BF16(bf16),
    F32(f32), F64(f64)
);
