//! Products of matrices on the CPU.
//!
//! The crate matrixmultiply multiplies them. On the shapes of the tutorial's networks, on one thread, it took 0.18 us for
//! 32x50x2, 0.78 us for 32x1x50, 130 us for 64x64x2352 and 1.2 ms for 512^3. The crate gemm took 0.20, 0.09, 155 us and 1.9
//! ms.

#[cfg(feature = "nn")]
use rayon::prelude::*;

use super::HostReal;

#[cfg(feature = "nn")]
/// A product of at least this many multiplications runs on several threads.
const PARALLEL_FROM: usize = 1 << 21;

pub(crate) trait Gemm: HostReal {
    /// C = A B + beta C. A is m x k, B is k x n, C is m x n and contiguous; strides are (row, column).
    fn product(m: usize, k: usize, n: usize, a: Strided<'_, Self>, b: Strided<'_, Self>, beta: Self, c: &mut [Self]);
}

#[derive(Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    elements: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> Strided<'a, T> {
    /// Row-major, `columns` wide.
    pub(crate) fn new(elements: &'a [T], columns: usize) -> Self {
        Self { elements, row: columns, column: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { elements: self.elements, row: self.column, column: self.row }
    }

    /// Whether a matrix of this shape lies within the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.elements.len()
    }
}

macro_rules! gemm {
    ($t:ty, $function:path) => {
        impl Gemm for $t {
            fn product(m: usize, k: usize, n: usize, a: Strided<'_, $t>, b: Strided<'_, $t>, beta: $t, c: &mut [$t]) {
                assert!(a.holds(m, k) && b.holds(k, n) && c.len() == m * n, "a matrix is larger than its memory");
                let [ra, ca, rb, cb, rc] = [a.row, a.column, b.row, b.column, n].map(|x| x as isize);
                // SAFETY: the assertion above holds every element that is read or written within its slice, the slices
                // are borrowed for the call, and C is borrowed mutably, so it overlaps neither A nor B.
                unsafe {
                    let (a, b) = (a.elements.as_ptr(), b.elements.as_ptr());
                    $function(m, k, n, 1.0, a, ra, ca, b, rb, cb, beta, c.as_mut_ptr(), rc, 1);
                }
            }
        }
    };
}
gemm!(f32, matrixmultiply::sgemm);
gemm!(f64, matrixmultiply::dgemm);

#[cfg(feature = "nn")]
/// [`Gemm::product`], on several threads if it is large. Each element is the same sum in the same order either way.
pub(crate) fn product<T: Gemm>(
    (m, k, n): (usize, usize, usize),
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    beta: T,
    c: &mut [T],
) {
    if m * k * n < PARALLEL_FROM || m < 2 {
        return T::product(m, k, n, a, b, beta, c);
    }
    let rows = m.div_ceil(rayon::current_num_threads()).max(8);
    c.par_chunks_mut(rows * n).enumerate().for_each(|(chunk, c)| {
        let elements = &a.elements[(chunk * rows * a.row).min(a.elements.len())..];
        T::product(c.len() / n, k, n, Strided { elements, ..a }, b, beta, c);
    });
}
