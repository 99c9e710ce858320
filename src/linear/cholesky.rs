//! Cholesky's factorization in blocks: nalgebra factors the blocks on the diagonal, and products of matrices, on all threads,
//! make up the rest. nalgebra alone works column by column: a Newton step with 650 columns took 15 ms with it, and 5 with this.

use nalgebra::{Cholesky, DMatrix};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::dispatch::vectorize;
use crate::cpu::gemm::{Gemm, Strided};
use crate::cpu::linear::{add_one, dot};

/// Rows of a block.
const BLOCK: usize = 48;

/// Columns that a thread computes at a time. It does not depend on the number of threads, and so neither do the sums.
const COLUMNS: usize = 256;

/// The solution x of A x = b, where the lower half of A is given; `None` where A is not positive definite in f64.
pub(super) fn solve(mut lower: DMatrix<f64>, right: &[f64]) -> Option<Vec<f64>> {
    let width = right.len();
    // Column by column, the lower half is, row by row, the upper half: A = U' U.
    let upper = lower.as_mut_slice();
    for first in (0..width).step_by(BLOCK) {
        factor_rows(upper, width, first)?;
    }
    let mut solution = right.to_vec();
    vectorize(Substitute { upper, solution: &mut solution });
    Some(solution)
}

/// Computes the rows of U from `first` on, a block of them, where those above are known.
fn factor_rows(upper: &mut [f64], width: usize, first: usize) -> Option<()> {
    let rows = BLOCK.min(width - first);
    let (above, below) = upper.split_at_mut(first * width);
    if first > 0 {
        let starts: Vec<usize> = (first..width).step_by(COLUMNS).collect();
        let product = |start: usize| {
            let columns = COLUMNS.min(width - start);
            let mut product = vec![0.0; rows * columns];
            let (own, others) = (Strided::new(&above[first..], width), Strided::new(&above[start..], width));
            f64::product(rows, first, columns, own.transposed(), others, 0.0, &mut product);
            product
        };
        let products: Vec<Vec<f64>> = starts.par_iter().map(|&start| product(start)).collect();
        for (start, product) in starts.into_iter().zip(products) {
            let columns = product.len() / rows;
            for (row, product) in product.chunks_exact(columns).enumerate() {
                let to = &mut below[row * width + start..][..columns];
                to.iter_mut().zip(product).for_each(|(to, product)| *to -= product);
            }
        }
    }
    let block = DMatrix::from_fn(rows, rows, |i, j| below[i.min(j) * width + first + i.max(j)]);
    let block = Cholesky::new(block)?.unpack();
    for i in 0..rows {
        (i..rows).for_each(|j| below[i * width + first + j] = block[(j, i)]);
    }
    vectorize(SolveRows { below, width, first, rows });
    Some(())
}

/// Divides the columns behind a block on the diagonal by it.
struct SolveRows<'a> {
    below: &'a mut [f64],
    width: usize,
    first: usize,
    rows: usize,
}

impl WithSimd for SolveRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { below, width, first, rows } = self;
        let behind = first + rows;
        for row in 0..rows {
            let (known, rest) = below.split_at_mut(row * width);
            let (before, own) = rest[..width].split_at_mut(behind);
            for known in known.chunks_exact(width) {
                add_one(&known[behind..], -known[first + row], own);
            }
            let pivot = 1.0 / before[first + row];
            own.iter_mut().for_each(|x| *x *= pivot);
        }
    }
}

/// Solves U' U x = b in the place of b.
struct Substitute<'a> {
    upper: &'a [f64],
    solution: &'a mut [f64],
}

impl WithSimd for Substitute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { upper, solution } = self;
        let width = solution.len();
        let row = |k: usize| &upper[k * width + k..(k + 1) * width];
        for k in 0..width {
            let (own, rest) = solution[k..].split_at_mut(1);
            own[0] /= row(k)[0];
            add_one(&row(k)[1..], -own[0], rest);
        }
        for k in (0..width).rev() {
            let known = dot(&row(k)[1..], &solution[k + 1..]);
            solution[k] = (solution[k] - known) / row(k)[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_solution_solves_the_equations_at_sizes_about_blocks() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for width in [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, COLUMNS + BLOCK, COLUMNS + BLOCK + 1, 700] {
            let factor = DMatrix::from_fn(width, width + 5, |_, _| random.random_range(-1.0..1.0));
            let full = &factor * factor.transpose() + DMatrix::identity(width, width);
            let right: Vec<f64> = (0..width).map(|_| random.random_range(-1.0..1.0)).collect();
            // Only the lower half counts.
            let lower = DMatrix::from_fn(width, width, |i, j| if i >= j { full[(i, j)] } else { f64::NAN });
            let solution = solve(lower.clone(), &right).unwrap();
            let off =
                (&full * nalgebra::DVector::from_vec(solution) - nalgebra::DVector::from_row_slice(&right)).amax();
            assert!(off < 1e-11, "{width}: {off}");
            // With its last pivot negative it has no factorization.
            let mut indefinite = lower;
            indefinite[(width - 1, width - 1)] -= 2.0 * full[(width - 1, width - 1)];
            assert_eq!(solve(indefinite, &right), None, "{width}");
        }
    }
}
