//! Asking for memory shortly before it is read. The processor does so by itself, but the more is done with what is read, the
//! fewer reads it has under way. How far ahead is best differs between loops: their files say.

/// Asks for what lies so many bytes beyond an element of a slice, be it in the slice or not. For vectors: of smaller elements,
/// each line of the cache would be asked for many times.
#[inline(always)]
pub(super) fn ahead_of<T>(slice: &[T], index: usize, bytes: usize) {
    /// Half a line.
    const SMALLEST: usize = 32;
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() >= SMALLEST {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = slice.as_ptr().wrapping_add(index).wrapping_byte_add(bytes);
        // SAFETY: the instruction, which every x86-64 has, changes nothing that a program can observe, and faults at no
        // address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index, bytes, SMALLEST);
}
