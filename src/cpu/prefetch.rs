//! Asking for memory shortly before it is read. The processor does so by itself, but the more is done with what is read, the
//! fewer reads it has under way.

/// Bytes beyond a read that are asked for. Measured on AVX2 (Zen 3), 32 Mi samples of the binary hinge forward on two threads,
/// relative to no asking: 256 bytes 0.93, 512 bytes 0.88, 768 bytes 0.90, 4 KiB 0.98.
const AHEAD: usize = 512;

/// Asks for what lies [`AHEAD`] of an element, be it in the slice or not. For vectors: a line of the cache holds few of them.
#[inline(always)]
pub(super) fn ahead_of<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = slice.as_ptr().wrapping_add(index).wrapping_byte_add(AHEAD);
        // SAFETY: the instruction, which every x86-64 has, changes nothing that a program can observe, and faults at no
        // address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}

/// As [`ahead_of`], for each line of the cache that a slice takes.
#[inline(always)]
pub(super) fn ahead_of_all<T>(slice: &[T]) {
    const LINE: usize = 64;
    for first in (0..slice.len()).step_by((LINE / size_of::<T>().max(1)).max(1)) {
        ahead_of(slice, first);
    }
}
