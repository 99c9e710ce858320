//! Products of a matrix of features with vectors, for linear models: each row is read as it is stored, and every sum is
//! in f64.
//!
//! Sums in f64 cost nothing here: a product with a vector is bound by memory, and f32 is what lies there. So there is no
//! rounding of the solver's own that would have to be undone at its end.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use self::kernels::{AddListed, AddProduct, Gather, Moments, Products, ProductsOfFour, SquaredNorms, SumOfZeros};
pub(crate) use self::kernels::{add_one, dot, dots};
pub(crate) use self::sparse::{CopiedEntries, CopiedValues, Sparse, Values};
use super::HostReal;
use super::dispatch::vectorize;
use crate::data::memory::reserved;
use crate::error::Result;

mod kernels;
mod sparse;

/// Features as they are stored: all, row-major, or those that are not 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
    U8(&'a [u8]),
    Sparse(Sparse<'a>),
}

impl Elements<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Elements::F32(x) => x.len(),
            Elements::F64(x) => x.len(),
            Elements::F16(x) => x.len(),
            Elements::BF16(x) => x.len(),
            Elements::U8(x) => x.len(),
            Elements::Sparse(x) => x.indices.len(),
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
    Sparse(CopiedEntries),
}

impl Copied {
    pub(crate) fn elements(&self) -> Elements<'_> {
        match self {
            Copied::F32(x) => Elements::F32(x),
            Copied::F64(x) => Elements::F64(x),
            Copied::F16(x) => Elements::F16(x),
            Copied::BF16(x) => Elements::BF16(x),
            Copied::U8(x) => Elements::U8(x),
            Copied::Sparse(x) => Elements::Sparse(x.sparse()),
        }
    }
}

/// Elements in a block of rows that a thread takes: they stay in its cache between two uses.
const BLOCK_ELEMENTS: usize = 1 << 15;

/// Rows of a list that are added up in one part. It does not depend on the number of threads, and so neither do the sums.
const LISTED_ROWS: usize = 1024;

/// Rows that a thread gathers at a time.
const GATHERED_ROWS: usize = 64;

/// A row, or several, in a type that is computed with.
enum Decoded<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    Sparse(Sparse<'a>),
}

/// Memory for rows that are stored in another type than they are computed in.
type Scratch = (Vec<f32>, Vec<f64>);

/// What is called with the number of a vector, a block of rows and their products with the vector.
pub(crate) type EachBlock<'a, R> = dyn Fn(usize, std::ops::Range<usize>, &mut [f64]) -> R + Sync + 'a;

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
        if let Elements::Sparse(x) = self.elements {
            return Decoded::Sparse(x.part(rows));
        }
        let range = rows.start * self.columns..rows.end * self.columns;
        scratch.resize(if matches!(self.elements, Elements::F32(_) | Elements::F64(_)) { 0 } else { range.len() }, 0.0);
        match self.elements {
            Elements::F32(x) => return Decoded::F32(&x[range]),
            Elements::F64(x) => return Decoded::F64(&x[range]),
            Elements::F16(x) => x[range].convert_to_f32_slice(scratch),
            Elements::BF16(x) => x[range].convert_to_f32_slice(scratch),
            Elements::U8(x) => scratch.iter_mut().zip(&x[range]).for_each(|(to, &x)| *to = x.into()),
            Elements::Sparse(_) => {}
        }
        Decoded::F32(scratch)
    }

    /// The rows where only entries that are not 0 are stored.
    pub(crate) fn sparse(&self) -> Option<Sparse<'a>> {
        if let Elements::Sparse(x) = self.elements { Some(x) } else { None }
    }

    /// Numbers that a product with a row reads, on average.
    pub(crate) fn row_length(&self) -> usize {
        self.sparse().map_or(self.columns, |x| x.entries_per_row())
    }

    /// Terms of the longest sum over a row.
    pub(crate) fn most_terms(&self) -> usize {
        self.sparse().map_or(self.columns, |x| x.longest_row())
    }

    /// Rows per block.
    pub(crate) fn block(&self) -> usize {
        (BLOCK_ELEMENTS / self.row_length().max(1)).clamp(1, 4096)
    }

    /// How many rows of a list of this length are added up in one part.
    fn listed_rows(&self, listed: usize) -> usize {
        self.sparse().map_or(LISTED_ROWS, |x| x.listed_rows(listed, self.columns))
    }

    /// Writes the products of these rows with each of the vectors to `to`, one vector after the other.
    fn write_products(
        &self,
        rows: std::ops::Range<usize>,
        vectors: &[&[f64]],
        (scratch, two): &mut Scratch,
        to: &mut Vec<f64>,
    ) {
        let (count, columns) = (rows.len(), self.columns);
        to.resize(vectors.len() * count, 0.0);
        macro_rules! write {
            ($x:expr) => {
                for (to, vectors) in to.chunks_mut(4 * count).zip(vectors.chunks(4)) {
                    if let [a, b, c, d] = *vectors {
                        vectorize(ProductsOfFour { x: $x, columns, vectors: [a, b, c, d], rows: two, to });
                        continue;
                    }
                    for (to, vector) in to.chunks_exact_mut(count).zip(vectors) {
                        vectorize(Products { x: $x, columns, vector, to });
                    }
                }
            };
        }
        match self.decoded(rows, scratch) {
            Decoded::F32(x) => write!(x),
            Decoded::F64(x) => write!(x),
            Decoded::Sparse(x) => {
                for (to, vector) in to.chunks_exact_mut(count).zip(vectors) {
                    to.iter_mut().enumerate().for_each(|(row, to)| *to = x.dot(row, vector));
                }
            }
        }
    }

    /// Calls `each` with the number of a vector, a block of rows and their products with the vector, which it may change, and
    /// writes these to the vector's output. Returns what `each` made of every block and vector, in order. Rows are read once
    /// for all vectors.
    pub(crate) fn map_products<R: Send>(
        &self,
        vectors: &[&[f64]],
        outputs: &mut [&mut [f64]],
        each: &EachBlock<'_, R>,
    ) -> Vec<Vec<R>> {
        let block = self.block();
        let mut parts: Vec<_> = outputs.iter_mut().map(|output| output.chunks_mut(block)).collect();
        let blocks = (0..self.rows.div_ceil(block)).map(|_| parts.iter_mut().filter_map(Iterator::next).collect());
        let blocks: Vec<Vec<&mut [f64]>> = blocks.collect();
        let run = |(scratch, products): &mut (Scratch, Vec<f64>), (index, outputs): (usize, Vec<&mut [f64]>)| {
            let rows = index * block..((index + 1) * block).min(self.rows);
            self.write_products(rows.clone(), vectors, scratch, products);
            let of_vectors = products.chunks_exact_mut(rows.len()).zip(outputs).enumerate();
            let each = |(vector, (products, output)): (usize, (&mut [f64], &mut [f64]))| {
                let made = each(vector, rows.clone(), products);
                output.copy_from_slice(products);
                made
            };
            of_vectors.map(each).collect()
        };
        blocks.into_par_iter().enumerate().map_init(Default::default, run).collect()
    }

    /// Writes the products of all rows with each of the vectors to `to`, row-major (rows x vectors). `finish` is called with
    /// a row and its products.
    pub(crate) fn products_by_row(
        &self,
        vectors: &[&[f64]],
        to: &mut [f64],
        finish: &(dyn Fn(usize, &mut [f64]) + Sync),
    ) {
        let (block, count) = (self.block(), vectors.len());
        let run = |(scratch, products): &mut (Scratch, Vec<f64>), (index, to): (usize, &mut [f64])| {
            let rows = index * block..index * block + to.len() / count;
            self.write_products(rows.clone(), vectors, scratch, products);
            for (place, (to, row)) in to.chunks_exact_mut(count).zip(rows.clone()).enumerate() {
                to.iter_mut().enumerate().for_each(|(vector, to)| *to = products[vector * rows.len() + place]);
                finish(row, to);
            }
        };
        to.par_chunks_mut(block * count).enumerate().for_each_init(Default::default, run);
    }

    /// Writes a row, times a factor, to `to`: element k less the shift of its column, times its scale. Rows of which only
    /// entries are stored have no shifts.
    pub(crate) fn write_row<T: HostReal>(
        &self,
        (row, factor): (usize, f64),
        units: [&[f64]; 2],
        scratch: &mut Vec<f32>,
        to: &mut [T],
    ) {
        let to = &mut to[..self.columns];
        match self.decoded(row..row + 1, scratch) {
            Decoded::F32(row) => vectorize(Gather { row, factor, units, to }),
            Decoded::F64(row) => vectorize(Gather { row, factor, units, to }),
            Decoded::Sparse(x) => scatter(&x, factor, units, to),
        }
    }

    /// Writes the products of all rows with `w` to `to`.
    pub(crate) fn products(&self, w: &[f64], to: &mut [f64]) {
        self.map_products(&[w], &mut [to], &|_, _, _| ());
    }

    /// Adds each listed row, times its factor, to `sums`.
    pub(crate) fn add_rows(&self, list: &[(u32, f64)], sums: &mut [f64]) {
        let part = |part: &[(u32, f64)]| {
            let mut sums = vec![0.0; self.columns];
            self.add_listed(part, &mut sums);
            sums
        };
        let size = self.listed_rows(list.len());
        if self.sparse().is_some() && list.len() <= size {
            return self.add_listed(list, sums);
        }
        let parts: Vec<Vec<f64>> = list.par_chunks(size).map(part).collect();
        for part in parts {
            sums.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        }
    }

    /// As [`Matrix::add_rows`], on this thread alone.
    pub(crate) fn add_listed(&self, list: &[(u32, f64)], sums: &mut [f64]) {
        match self.elements {
            Elements::F32(x) => return vectorize(AddListed { x, list, sums }),
            Elements::F64(x) => return vectorize(AddListed { x, list, sums }),
            Elements::Sparse(x) => return list.iter().for_each(|&(row, factor)| x.add(row as usize, factor, sums)),
            _ => {}
        }
        let mut scratch = Vec::new();
        for &(row, factor) in list {
            if let Decoded::F32(x) = self.decoded(row as usize..row as usize + 1, &mut scratch) {
                vectorize(AddListed { x, list: &[(0, factor)], sums });
            }
        }
    }

    /// The squared norm of (x - shift) * scale of these rows.
    pub(crate) fn norms(&self, rows: std::ops::Range<usize>, units: [&[f64]; 2]) -> Vec<f64> {
        let (mut norms, mut scratch) = (vec![0.0; rows.len()], Vec::new());
        match self.decoded(rows, &mut scratch) {
            Decoded::F32(x) => vectorize(SquaredNorms { x, units, to: &mut norms }),
            Decoded::F64(x) => vectorize(SquaredNorms { x, units, to: &mut norms }),
            Decoded::Sparse(x) => {
                norms.iter_mut().enumerate().for_each(|(row, to)| *to = x.squared_norm(row, units[1]))
            }
        }
        norms
    }

    /// As [`Matrix::norms`], of all rows, on all threads.
    pub(crate) fn all_norms(&self, units: [&[f64]; 2]) -> Vec<f64> {
        let block = self.block();
        let of = |index: usize| self.norms(index * block..((index + 1) * block).min(self.rows), units);
        (0..self.rows.div_ceil(block)).into_par_iter().flat_map_iter(of).collect()
    }

    /// Adds each listed row, times its factor and its product with `v` plus `offset`, to `sums`. Returns the sum of those
    /// multiples. A row is read once.
    pub(crate) fn add_products(&self, list: &[(u32, f64)], v: &[f64], offset: f64, sums: &mut [f64]) -> f64 {
        let part = |scratch: &mut Vec<f32>, part: &[(u32, f64)]| {
            let (mut sums, mut total) = (vec![0.0; self.columns], 0.0);
            for &(row, factor) in part {
                let (sums, total) = (&mut sums, &mut total);
                match self.decoded(row as usize..row as usize + 1, scratch) {
                    Decoded::F32(row) => vectorize(AddProduct { row, factor, v, offset, sums, total }),
                    Decoded::F64(row) => vectorize(AddProduct { row, factor, v, offset, sums, total }),
                    Decoded::Sparse(x) => {
                        let multiple = factor * (x.dot(0, v) + offset);
                        x.add(0, multiple, sums);
                        *total += multiple;
                    }
                }
            }
            (sums, total)
        };
        let parts: Vec<_> = list.par_chunks(self.listed_rows(list.len())).map_init(Vec::new, part).collect();
        let mut total = 0.0;
        for (part, multiples) in parts {
            sums.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
            total += multiples;
        }
        total
    }

    /// Writes the listed rows, each times its factor, to `to`: element k less the shift of its column, times its scale. A row of `to`
    /// has one number more, which becomes the factor times `last`.
    pub(crate) fn gather<T: HostReal>(&self, list: &[(u32, f64)], units: [&[f64]; 2], last: f64, to: &mut [T]) {
        let parts = to.par_chunks_mut(GATHERED_ROWS * (self.columns + 1)).zip(list.par_chunks(GATHERED_ROWS));
        parts.for_each(|(to, list)| self.gather_here(list, units, last, to));
    }

    /// As above, on this thread alone.
    pub(crate) fn gather_here<T: HostReal>(&self, list: &[(u32, f64)], units: [&[f64]; 2], last: f64, to: &mut [T]) {
        let (columns, mut scratch) = (self.columns, Vec::new());
        for (to, &(row, factor)) in to.chunks_exact_mut(columns + 1).zip(list) {
            self.write_row((row as usize, factor), units, &mut scratch, to);
            to[columns] = T::from_f64(factor * last);
        }
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
            Elements::Sparse(x) => x.copied(list).map(Copied::Sparse),
        }
    }

    /// The sums of each column's elements and of their squares about `shift`, over all rows, or those that are kept.
    pub(crate) fn moments(&self, shift: &[f64], kept: Option<&[bool]>) -> [Vec<f64>; 2] {
        if let Elements::Sparse(x) = self.elements {
            return x.moments(shift, kept);
        }
        let (block, columns) = (self.block(), self.columns);
        let starts = (0..self.rows).step_by(block).collect::<Vec<_>>();
        let run = |scratch: &mut Vec<f32>, start: usize| {
            let rows = start..(start + block).min(self.rows);
            let (mut first, mut second) = (vec![0.0; columns], vec![0.0; columns]);
            let kept = kept.map(|kept| &kept[rows.clone()]);
            match self.decoded(rows, scratch) {
                Decoded::F32(x) => vectorize(Moments { x, kept, shift, first: &mut first, second: &mut second }),
                Decoded::F64(x) => vectorize(Moments { x, kept, shift, first: &mut first, second: &mut second }),
                Decoded::Sparse(_) => {}
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

    /// The first element that is not finite: its index, as if all were stored, and value.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f64)> {
        fn first<T: Copy + Into<f64> + Sync>(x: &[T]) -> Option<(usize, f64)> {
            let is_bad = |x: &[T]| {
                let mut sum = 0.0;
                vectorize(SumOfZeros { x, to: &mut sum });
                sum.is_nan()
            };
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
            Elements::Sparse(x) => {
                let (place, value) = match x.values {
                    Values::F32(x) => first(x),
                    Values::F64(x) => first(x),
                }?;
                let row = x.starts.partition_point(|&start| start <= place) - 1;
                Some((row * self.columns + x.indices[place] as usize, value))
            }
        }
    }
}

/// Writes a row of which only entries are stored, times its factor and the scale of each column.
fn scatter<T: HostReal>(row: &Sparse<'_>, factor: f64, [_, scale]: [&[f64]; 2], to: &mut [T]) {
    to.fill(T::from_f64(0.0));
    row.each(0, |column, x| to[column] = T::from_f64(factor * x * scale[column]));
}
