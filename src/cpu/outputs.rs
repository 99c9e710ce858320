//! Where losses and gradient are written: new vectors, or the caller's memory.
//!
//! A new vector asks for large pages. The gradient of 32 Mi scores took 104 ms in new pages of 4 KiB, and takes 16 ms
//! in memory that already exists ([`crate::Device::evaluate_into`]).
//!
//! Stores that bypass the caches were tried and gained nothing. They avoid reading memory that is overwritten, but only
//! for whole cache lines, and a vector begins in the middle of one. On AVX2 (Zen 3), outputs made in the cache and
//! copied past it took 0.8 to 1.0 of the time for samples and long rows, and 1.0 to 1.1 for other rows. Stored directly
//! from the loop they took 0.9, and from two places ten times as long. In a new vector they are slower, because the
//! system has just cleared it in the cache.

use super::HostReal;
use crate::data::evaluation::{Buffers, FloatsMut, Output, Outputs, Precision, Request};
use crate::data::memory::check_room;
use crate::data::shape::BatchShape;
use crate::error::{Error, Input, Result};

enum Destination<'a, T> {
    Nowhere,
    Own(Vec<T>),
    Callers(&'a mut [T]),
}

impl<'a, T: HostReal> Destination<'a, T> {
    #[inline]
    fn new(wanted: bool, callers: Option<FloatsMut<'a>>, input: Input, len: usize) -> Result<Self> {
        let Some(callers) = callers else {
            return Ok(if wanted { Self::Own(fresh(len)?) } else { Self::Nowhere });
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

pub(super) struct Destinations<'a, T> {
    losses: Destination<'a, T>,
    gradient: Destination<'a, T>,
}

impl<'a, T: HostReal> Destinations<'a, T> {
    /// For a batch of this shape, with `vectors` vectors of scores per sample.
    #[inline]
    pub(super) fn new(shape: BatchShape, vectors: usize, request: &Request, buffers: Buffers<'a>) -> Result<Self> {
        let scores = shape.samples * shape.columns * vectors;
        Ok(Self {
            losses: Destination::new(request.losses, buffers.losses, Input::LossesBuffer, shape.samples)?,
            gradient: Destination::new(request.gradient, buffers.gradient, Input::GradientBuffer, scores)?,
        })
    }

    /// The losses and the gradient, if wanted. Their elements may hold anything.
    pub(super) fn slices(&mut self) -> (Option<&mut [T]>, Option<&mut [T]>) {
        (self.losses.slice(), self.gradient.slice())
    }

    /// The outputs that are not in the caller's memory.
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

/// A vector to be overwritten, in large pages if possible. The operating system clears ordinary pages one fault at a
/// time, which takes longer than the evaluation for a large gradient.
fn fresh<T: HostReal>(len: usize) -> Result<Vec<T>> {
    if len.saturating_mul(size_of::<T>()) >= LARGE {
        check_room(len.saturating_mul(size_of::<T>()))?;
    }
    // Not reserved and then filled: the system hands out zeros.
    let elements = vec![T::ZERO; len];
    #[cfg(target_os = "linux")]
    advise_large_pages(&elements);
    Ok(elements)
}

/// Vectors of at least this many bytes ask for large pages, of which they hold a few; and whether there is memory for
/// them is checked.
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
    // SAFETY: the range begins on a page and lies within the slice, since start < PAGE and bytes >= LARGE = 4 PAGE. The
    // advice changes neither content nor access rights of the pages.
    unsafe {
        let first = elements.as_ptr().cast::<u8>().add(start).cast_mut();
        // If it is refused, ordinary pages remain.
        libc::madvise(first.cast(), inner, libc::MADV_HUGEPAGE);
    }
}
