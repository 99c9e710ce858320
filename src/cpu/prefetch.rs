//! Prefetching memory. The processor also does so by itself, but the more work a loop does per read, the fewer reads
//! are under way. The best distance differs between loops: their files say.

/// Prefetches the address `bytes` beyond an element of a slice, whether in the slice or not.
///
/// Only for AVX2 vectors. Smaller elements would ask for each cache line many times. With AVX-512 (Zen 4), whose loops
/// are shorter and whose memory was faster, a prototype of the binary hinge fell to 0.43 to 0.81 of its rate.
#[inline(always)]
pub(super) fn ahead_of<T>(slice: &[T], index: usize, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == size_of::<std::arch::x86_64::__m256>() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = slice.as_ptr().wrapping_add(index).wrapping_byte_add(bytes);
        // SAFETY: every x86-64 has the instruction. It has no observable effect and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index, bytes);
}
