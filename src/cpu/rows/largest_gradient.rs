//! The gradient of a tile's rows for losses that count only the largest few violations.

use super::tile::{BLOCK, Lanes, Margins, Tile, TileSummary};
use crate::data::real::Real;
use crate::loss::{Rows, Ties};

impl<T: Real, const R: usize> Tile<'_, T, R> {
    /// Writes the gradient of all rows. Each violation that counts gets its share of the slope, and the true class's
    /// score the opposite of their sum. The caller overwrites rows that are ignored or whose loss is NaN.
    #[inline(always)]
    pub(super) fn write_top_gradient<M: Rows, G: Margins<T>>(
        &self,
        method: M,
        summary: &TileSummary<T, R>,
        margins: G,
        ties: Ties,
        coefficients: &Lanes<T, R>,
        gradient: &mut [T],
    ) {
        let mut block = [[T::ZERO; R]; BLOCK];
        // The share of each violation that equals the one at rank k, and how many of these still get it.
        let (mut share, mut left) = ([T::ONE; R], summary.equals);
        if ties == Ties::Split {
            let mut tied = [0u32; R];
            self.each_block(
                &mut block,
                #[inline(always)]
                |first, block| {
                    for (column, scores) in (first..).zip(block.iter()) {
                        let violations = self.top_violations::<M, G>(method, column, scores, margins);
                        (0..R).for_each(|row| tied[row] += u32::from(violations[row] == summary.best[row]));
                    }
                },
            );
            for row in 0..R {
                share[row] = T::from_f64(f64::from(left[row]) / f64::from(tied[row].max(1)));
                left[row] = tied[row];
            }
        }
        let top = T::from_f64(self.top as f64);
        let mut slopes = [T::ZERO; R];
        (0..R).for_each(|row| slopes[row] = summary.rival_slope[row] / top);
        self.each_block(
            &mut block,
            #[inline(always)]
            |first, block| {
                for (column, lanes) in (first..).zip(block.iter_mut()) {
                    let violations = self.top_violations::<M, G>(method, column, lanes, margins);
                    for row in 0..R {
                        let (v, last) = (violations[row], summary.best[row]);
                        // Among equals, the lowest indices first.
                        let is_given = u32::from(v == last) & u32::from(left[row] > 0);
                        left[row] -= is_given;
                        let given = if is_given != 0 { share[row] } else { T::ZERO };
                        let factor = if v > last { T::ONE } else { given };
                        let factor = if self.classes[row] as usize == column { factor - top } else { factor };
                        // Zero times an infinite slope counts as zero, not NaN.
                        lanes[row] = if factor == T::ZERO { T::ZERO } else { slopes[row] * factor * coefficients[row] };
                    }
                }
                for (row, gradient) in gradient.chunks_exact_mut(self.columns).enumerate() {
                    gradient[first..].iter_mut().zip(block.iter()).for_each(|(g, lanes)| *g = lanes[row]);
                }
            },
        );
    }

    /// As [`Tile::top_violation`], for all rows.
    #[inline(always)]
    fn top_violations<M: Rows, G: Margins<T>>(
        &self,
        method: M,
        column: usize,
        scores: &Lanes<T, R>,
        margins: G,
    ) -> Lanes<T, R> {
        let mut violations = [T::ZERO; R];
        for row in 0..R {
            violations[row] = self.top_violation::<M, G>(method, row, column, scores[row], margins);
        }
        violations
    }
}
