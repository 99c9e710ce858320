//! Products of a matrix of features with vectors, for linear models: each row is read as it is stored, and every sum is
//! in f64.
//!
//! Sums in f64 cost nothing here: a product with a vector is bound by memory, and f32 is what lies there. So there is no
//! rounding of the solver's own that would have to be undone at its end.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::HostReal;
use super::dispatch::dispatch;
use crate::data::memory::reserved;
use crate::error::Result;

/// Features as they are stored, row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
    U8(&'a [u8]),
}

impl Elements<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Elements::F32(x) => x.len(),
            Elements::F64(x) => x.len(),
            Elements::F16(x) => x.len(),
            Elements::BF16(x) => x.len(),
            Elements::U8(x) => x.len(),
        }
    }
}

/// Rows copied out of a matrix, in the type that they are stored in.
pub(crate) enum Copied {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    U8(Vec<u8>),
}

impl Copied {
    pub(crate) fn elements(&self) -> Elements<'_> {
        match self {
            Copied::F32(x) => Elements::F32(x),
            Copied::F64(x) => Elements::F64(x),
            Copied::F16(x) => Elements::F16(x),
            Copied::BF16(x) => Elements::BF16(x),
            Copied::U8(x) => Elements::U8(x),
        }
    }
}

/// Elements in a block of rows that a thread takes: they stay in its cache between two uses.
const BLOCK_ELEMENTS: usize = 1 << 15;

/// Rows of a list that are added up in one part. It does not depend on the number of threads, and so neither do the sums.
const LISTED_ROWS: usize = 1024;

/// A row, or several, in a type that is computed with.
enum Decoded<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

#[inline(always)]
pub(crate) fn dot<T: Copy + Into<f64>>(x: &[T], w: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (x_lanes, x_rest) = x.as_chunks::<LANES>();
    let (w_lanes, w_rest) = w.as_chunks::<LANES>();
    for (x, w) in x_lanes.iter().zip(w_lanes) {
        for lane in 0..LANES {
            sums[lane] += x[lane].into() * w[lane];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    x_rest.iter().zip(w_rest).fold(sums[0], |sum, (&x, w)| sum + x.into() * w)
}

/// Adds `factors[k]` times row k to `sums`.
#[inline(always)]
fn add_four<T: Copy + Into<f64>>(rows: [&[T]; 4], factors: [f64; 4], sums: &mut [f64]) {
    let [a, b, c, d] = rows.map(|row| &row[..sums.len()]);
    for (k, sum) in sums.iter_mut().enumerate() {
        *sum += (factors[0] * a[k].into() + factors[1] * b[k].into())
            + (factors[2] * c[k].into() + factors[3] * d[k].into());
    }
}

#[inline(always)]
pub(crate) fn add_one<T: Copy + Into<f64>>(row: &[T], factor: f64, sums: &mut [f64]) {
    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += factor * x.into());
}

/// 0, or NaN where an element is not finite: a number times 0. Branches would keep the loop from vectors.
#[inline(always)]
fn sum_of_zeros<T: Copy + Into<f64>>(x: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for x in lanes {
        for lane in 0..LANES {
            sums[lane] += x[lane].into() * 0.0;
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| x.into() * 0.0).sum::<f64>()
}

/// The squared norm of (x - shift) * scale.
fn squared_norm<T: Copy + Into<f64>>(row: &[T], [shift, scale]: [&[f64]; 2]) -> f64 {
    let terms = row.iter().zip(shift).zip(scale).map(|((&x, shift), scale)| (x.into() - shift) * scale);
    terms.map(|x| x * x).sum()
}

/// A matrix of features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    pub(crate) elements: Elements<'a>,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl<'a> Matrix<'a> {
    fn decoded<'b>(&self, rows: std::ops::Range<usize>, scratch: &'b mut Vec<f32>) -> Decoded<'b>
    where
        'a: 'b,
    {
        let range = rows.start * self.columns..rows.end * self.columns;
        scratch.resize(if matches!(self.elements, Elements::F32(_) | Elements::F64(_)) { 0 } else { range.len() }, 0.0);
        match self.elements {
            Elements::F32(x) => return Decoded::F32(&x[range]),
            Elements::F64(x) => return Decoded::F64(&x[range]),
            Elements::F16(x) => x[range].convert_to_f32_slice(scratch),
            Elements::BF16(x) => x[range].convert_to_f32_slice(scratch),
            Elements::U8(x) => scratch.iter_mut().zip(&x[range]).for_each(|(to, &x)| *to = x.into()),
        }
        Decoded::F32(scratch)
    }

    /// Rows per block.
    pub(crate) fn block(&self) -> usize {
        (BLOCK_ELEMENTS / self.columns.max(1)).clamp(1, 4096)
    }

    /// Calls `each` with every row and its product with `w`, block by block on all threads, and returns what each block
    /// made of them, in order.
    pub(crate) fn map_products<R: Send>(
        &self,
        w: &[f64],
        each: impl Fn(std::ops::Range<usize>, &[f64]) -> R + Sync,
    ) -> Vec<R> {
        let (block, columns) = (self.block(), self.columns);
        let starts = (0..self.rows).step_by(block).collect::<Vec<_>>();
        let run = |(scratch, products): &mut (Vec<f32>, Vec<f64>), start: usize| {
            let rows = start..(start + block).min(self.rows);
            products.clear();
            match self.decoded(rows.clone(), scratch) {
                Decoded::F32(x) => dispatch(|| products.extend(x.chunks_exact(columns).map(|row| dot(row, w)))),
                Decoded::F64(x) => dispatch(|| products.extend(x.chunks_exact(columns).map(|row| dot(row, w)))),
            }
            each(rows, products)
        };
        starts.into_par_iter().map_init(Default::default, run).collect()
    }

    /// Writes the product of every row with `w` to `to`.
    pub(crate) fn products(&self, w: &[f64], to: &mut [f64]) {
        let (block, columns) = (self.block(), self.columns);
        let run = |scratch: &mut Vec<f32>, (index, to): (usize, &mut [f64])| {
            let rows = index * block..index * block + to.len();
            macro_rules! write {
                ($x:expr) => {
                    dispatch(|| to.iter_mut().zip($x.chunks_exact(columns)).for_each(|(to, row)| *to = dot(row, w)))
                };
            }
            match self.decoded(rows, scratch) {
                Decoded::F32(x) => write!(x),
                Decoded::F64(x) => write!(x),
            }
        };
        to.par_chunks_mut(block).enumerate().for_each_init(Vec::new, run);
    }

    /// Adds each listed row, times its factor, to `sums`.
    pub(crate) fn add_rows(&self, list: &[(u32, f64)], sums: &mut [f64]) {
        let part = |part: &[(u32, f64)]| {
            let mut sums = vec![0.0; self.columns];
            self.add_listed(part, &mut sums);
            sums
        };
        let parts: Vec<Vec<f64>> = list.par_chunks(LISTED_ROWS).map(part).collect();
        for part in parts {
            sums.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        }
    }

    /// As [`Matrix::add_rows`], on this thread alone.
    pub(crate) fn add_listed(&self, list: &[(u32, f64)], sums: &mut [f64]) {
        match self.elements {
            Elements::F32(x) => return dispatch(|| self.add_stored(x, list, sums)),
            Elements::F64(x) => return dispatch(|| self.add_stored(x, list, sums)),
            _ => {}
        }
        let mut scratch = Vec::new();
        for &(row, factor) in list {
            if let Decoded::F32(x) = self.decoded(row as usize..row as usize + 1, &mut scratch) {
                dispatch(|| add_one(x, factor, sums));
            }
        }
    }

    /// The largest squared norm of (x - shift) * scale among these rows.
    pub(crate) fn largest_norm(&self, rows: std::ops::Range<usize>, [shift, scale]: [&[f64]; 2]) -> f64 {
        fn largest<T: Copy + Into<f64>>(x: &[T], [shift, scale]: [&[f64]; 2]) -> f64 {
            x.chunks_exact(shift.len()).map(|row| squared_norm(row, [shift, scale])).fold(0.0, f64::max)
        }
        match self.decoded(rows, &mut Vec::new()) {
            Decoded::F32(x) => largest(x, [shift, scale]),
            Decoded::F64(x) => largest(x, [shift, scale]),
        }
    }

    #[inline(always)]
    fn add_stored<T: Copy + Into<f64>>(&self, x: &[T], list: &[(u32, f64)], sums: &mut [f64]) {
        let row = |index: u32| &x[index as usize * self.columns..(index as usize + 1) * self.columns];
        let (fours, rest) = list.as_chunks::<4>();
        for four in fours {
            add_four(four.map(|(index, _)| row(index)), four.map(|(_, factor)| factor), sums);
        }
        for &(index, factor) in rest {
            add_one(row(index), factor, sums);
        }
    }

    /// Adds each listed row, times its factor and its product with `v` plus `offset`, to `sums`. Returns the sum of those
    /// multiples. A row is read once.
    pub(crate) fn add_products(&self, list: &[(u32, f64)], v: &[f64], offset: f64, sums: &mut [f64]) -> f64 {
        let part = |scratch: &mut Vec<f32>, part: &[(u32, f64)]| {
            let (mut sums, mut total) = (vec![0.0; self.columns], 0.0);
            for &(row, factor) in part {
                macro_rules! add {
                    ($x:expr) => {
                        dispatch(|| {
                            let multiple = factor * (dot($x, v) + offset);
                            add_one($x, multiple, &mut sums);
                            total += multiple;
                        })
                    };
                }
                match self.decoded(row as usize..row as usize + 1, scratch) {
                    Decoded::F32(x) => add!(x),
                    Decoded::F64(x) => add!(x),
                }
            }
            (sums, total)
        };
        let parts: Vec<_> = list.par_chunks(LISTED_ROWS).map_init(Vec::new, part).collect();
        let mut total = 0.0;
        for (part, multiples) in parts {
            sums.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
            total += multiples;
        }
        total
    }

    /// Writes the listed rows, each times its factor, to `to`: element k less `shift[k]`, times `scale[k]`. A row of `to`
    /// has one number more, which becomes the factor times `last`.
    pub(crate) fn gather<T: HostReal>(
        &self,
        list: &[(u32, f64)],
        [shift, scale]: [&[f64]; 2],
        last: f64,
        to: &mut [T],
    ) {
        let columns = self.columns;
        to.par_chunks_mut(columns + 1).zip(list).for_each_init(Vec::new, |scratch, (to, &(row, factor))| {
            macro_rules! write {
                ($x:expr) => {
                    dispatch(|| {
                        for (k, to) in to[..columns].iter_mut().enumerate() {
                            *to = T::from_f64(factor * (f64::from($x[k]) - shift[k]) * scale[k]);
                        }
                    })
                };
            }
            match self.decoded(row as usize..row as usize + 1, scratch) {
                Decoded::F32(x) => write!(x),
                Decoded::F64(x) => write!(x),
            }
            to[columns] = T::from_f64(factor * last);
        });
    }

    /// The listed rows in memory of their own.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn copied(&self, list: &[u32]) -> Result<Copied> {
        let columns = self.columns;
        macro_rules! copy {
            ($variant:ident, $x:expr) => {{
                let mut all = reserved(list.len().saturating_mul(columns))?;
                for &row in list {
                    all.extend_from_slice(&$x[row as usize * columns..(row as usize + 1) * columns]);
                }
                Ok(Copied::$variant(all))
            }};
        }
        match self.elements {
            Elements::F32(x) => copy!(F32, x),
            Elements::F64(x) => copy!(F64, x),
            Elements::F16(x) => copy!(F16, x),
            Elements::BF16(x) => copy!(BF16, x),
            Elements::U8(x) => copy!(U8, x),
        }
    }

    /// The squared norm of (x - shift) * scale of every row.
    pub(crate) fn norms(&self, [shift, scale]: [&[f64]; 2]) -> Vec<f64> {
        let of = |scratch: &mut Vec<f32>, row: usize| match self.decoded(row..row + 1, scratch) {
            Decoded::F32(x) => squared_norm(x, [shift, scale]),
            Decoded::F64(x) => squared_norm(x, [shift, scale]),
        };
        (0..self.rows).into_par_iter().map_init(Vec::new, of).collect()
    }

    /// The sums of each column's elements and of their squares about `shift`, over all rows, or those that are kept.
    pub(crate) fn moments(&self, shift: &[f64], kept: Option<&[bool]>) -> [Vec<f64>; 2] {
        let (block, columns) = (self.block(), self.columns);
        let starts = (0..self.rows).step_by(block).collect::<Vec<_>>();
        let run = |scratch: &mut Vec<f32>, start: usize| {
            let (mut first, mut second) = (vec![0.0; columns], vec![0.0; columns]);
            macro_rules! add {
                ($x:expr) => {
                    dispatch(|| {
                        for (row, place) in $x.chunks_exact(columns).zip(start..) {
                            if kept.is_some_and(|kept| !kept[place]) {
                                continue;
                            }
                            for (k, &x) in row.iter().enumerate() {
                                let x = f64::from(x) - shift[k];
                                first[k] += x;
                                second[k] += x * x;
                            }
                        }
                    })
                };
            }
            match self.decoded(start..(start + block).min(self.rows), scratch) {
                Decoded::F32(x) => add!(x),
                Decoded::F64(x) => add!(x),
            }
            [first, second]
        };
        let parts: Vec<[Vec<f64>; 2]> = starts.into_par_iter().map_init(Vec::new, run).collect();
        let mut sums = [vec![0.0; columns], vec![0.0; columns]];
        for part in parts {
            for (sums, part) in sums.iter_mut().zip(&part) {
                sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
        sums
    }

    /// The first element that is not finite: its index and value.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f64)> {
        fn first<T: Copy + Into<f64> + Sync>(x: &[T]) -> Option<(usize, f64)> {
            let is_bad = |part: &[T]| dispatch(|| sum_of_zeros(part)).is_nan();
            let part = x.par_chunks(BLOCK_ELEMENTS).position_first(is_bad)?;
            let start = part * BLOCK_ELEMENTS;
            let index = start + x[start..].iter().position(|&x| !x.into().is_finite())?;
            Some((index, x[index].into()))
        }
        match self.elements {
            Elements::F32(x) => first(x),
            Elements::F64(x) => first(x),
            Elements::F16(x) => first(x),
            Elements::BF16(x) => first(x),
            Elements::U8(_) => None,
        }
    }
}
