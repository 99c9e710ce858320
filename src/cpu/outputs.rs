//! Where losses and gradient are written: vectors of ours, or memory of the caller's.
//!
//! A fresh vector asks for large pages: a gradient of 32 Mi scores took 104 ms in fresh pages of 4 KiB, and takes 16 ms in memory
//! that is there already ([`crate::Device::evaluate_into`]).
//!
//! Stores that go past the caches were tried and gained nothing. They save the reading of what is overwritten, but only whole
//! lines count, and a vector begins in the middle of one. On AVX2 (Zen 3), outputs made in the cache and copied past it took
//! 0.8 to 1.0 of the time for samples and long rows and 1.0 to 1.1 for other rows; stored straight from the loop 0.9, from two
//! places ten times as long. In a fresh vector they are slower, because the system has just cleared it in the cache.

use super::HostReal;
use crate::data::evaluation::{Buffers, FloatsMut, Output, Outputs, Precision, Request};
use crate::data::shape::BatchShape;
use crate::error::{Error, Input, Result};

/// One output on its way.
enum Destination<'a, T> {
    Nowhere,
    Own(Vec<T>),
    Callers(&'a mut [T]),
}

impl<'a, T: HostReal> Destination<'a, T> {
    #[inline]
    fn new(wanted: bool, callers: Option<FloatsMut<'a>>, input: Input, len: usize) -> Result<Self> {
        let Some(callers) = callers else {
            return Ok(if wanted { Self::Own(fresh(len)) } else { Self::Nowhere });
        };
        let got = callers.type_name();
        let expected = if size_of::<T>() == size_of::<f32>() { "f32" } else { "f64" };
        let slice = T::own_mut(callers).ok_or(Error::ElementType { input, expected, got })?;
        if slice.len() != len {
            let unit = if input == Input::LossesBuffer { "sample" } else { "score" };
            return Err(Error::Length { input, expected: len, got: slice.len(), unit });
        }
        Ok(Self::Callers(slice))
    }

    fn slice(&mut self) -> Option<&mut [T]> {
        match self {
            Self::Nowhere => None,
            Self::Own(x) => Some(x),
            Self::Callers(x) => Some(x),
        }
    }

    fn output(self) -> Option<Output> {
        if let Self::Own(x) = self { Some(T::output(x)) } else { None }
    }
}

/// The outputs of an evaluation on their way.
pub(super) struct Destinations<'a, T> {
    losses: Destination<'a, T>,
    gradient: Destination<'a, T>,
}

impl<'a, T: HostReal> Destinations<'a, T> {
    /// For a batch of this shape, whose samples have so many vectors of scores.
    #[inline]
    pub(super) fn new(shape: BatchShape, vectors: usize, request: &Request, buffers: Buffers<'a>) -> Result<Self> {
        let scores = shape.samples * shape.columns * vectors;
        Ok(Self {
            losses: Destination::new(request.losses, buffers.losses, Input::LossesBuffer, shape.samples)?,
            gradient: Destination::new(request.gradient, buffers.gradient, Input::GradientBuffer, scores)?,
        })
    }

    /// Losses and gradient, where they are wanted. They may hold anything.
    pub(super) fn slices(&mut self) -> (Option<&mut [T]>, Option<&mut [T]>) {
        (self.losses.slice(), self.gradient.slice())
    }

    /// What the caller has not already got.
    #[inline]
    pub(super) fn finish(self, precision: Precision) -> Outputs {
        Outputs {
            losses: self.losses.output(),
            gradient: self.gradient.output(),
            precision,
            upload_time: Default::default(),
        }
    }
}

/// Elements to be written. The operating system is asked for large pages: it hands out and clears ordinary ones one fault
/// at a time, which for a large gradient takes longer than the evaluation.
fn fresh<T: HostReal>(len: usize) -> Vec<T> {
    let elements = vec![T::ZERO; len];
    #[cfg(target_os = "linux")]
    advise_large_pages(&elements);
    elements
}

/// Bytes from which on a vector holds a few large pages.
#[cfg(target_os = "linux")]
const LARGE: usize = 8 << 20;

#[cfg(target_os = "linux")]
fn advise_large_pages<T>(elements: &[T]) {
    /// Every page size in use divides it.
    const PAGE: usize = 2 << 20;
    let bytes = size_of_val(elements);
    if bytes < LARGE {
        return;
    }
    let start = elements.as_ptr().addr().next_multiple_of(PAGE) - elements.as_ptr().addr();
    let inner = (bytes - start) / PAGE * PAGE;
    // SAFETY: the range lies within the slice, since start < PAGE and bytes >= LARGE = 4 PAGE, and begins on a page. The
    // advice changes neither content nor access rights of the pages.
    unsafe {
        let first = elements.as_ptr().cast::<u8>().add(start).cast_mut();
        // A refusal leaves ordinary pages.
        libc::madvise(first.cast(), inner, libc::MADV_HUGEPAGE);
    }
}
