//! Loops over the elements of rows.

use pulp::{Simd, WithSimd};

use crate::cpu::HostReal;

/// A loop over rows, compiled for the machine's vectors. Closures would not do: the compiler need not inline them, and
/// then compiles them for the baseline.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident<$l:lifetime, $t:ident> { $($field:ident: $type:ty),+ $(,)? } $body:block) => {
        $(#[$doc])*
        pub(super) struct $name<$l, $t> {
            $(pub(super) $field: $type),+
        }

        impl<$t: Copy + Into<f64>> WithSimd for $name<'_, $t> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) {
                let Self { $($field),+ } = self;
                $body
            }
        }
    };
}

kernel! {
    /// The product of every row with a vector.
    Products<'a, T> { x: &'a [T], columns: usize, vector: &'a [f64], to: &'a mut [f64] } {
        to.iter_mut().zip(x.chunks_exact(columns)).for_each(|(to, row)| *to = dot(row, vector));
    }
}

/// The products of every row with four vectors, which are written one vector after the other.
pub(super) struct ProductsOfFour<'a, T> {
    pub(super) x: &'a [T],
    pub(super) columns: usize,
    pub(super) vectors: [&'a [f64]; 4],
    /// Memory for two rows.
    pub(super) rows: &'a mut Vec<f64>,
    pub(super) to: &'a mut [f64],
}

impl<T: Copy + Into<f64>> WithSimd for ProductsOfFour<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, columns, vectors, rows, to } = self;
        let count = to.len() / 4;
        rows.resize(2 * columns, 0.0);
        let (first, second) = rows.split_at_mut(columns);
        for (pair, x) in x.chunks(2 * columns).enumerate() {
            first.iter_mut().zip(x).for_each(|(to, &x)| *to = x.into());
            second.iter_mut().zip(&x[columns..]).for_each(|(to, &x)| *to = x.into());
            let products = dots_of_two(simd, [first, second], vectors);
            for (place, products) in (2 * pair..count.min(2 * pair + 2)).zip(products) {
                (0..4).for_each(|k| to[k * count + place] = products[k]);
            }
        }
    }
}

/// Writes the products of a row with vectors of its length, which lie one after the other.
#[inline(always)]
pub(crate) fn dots<S: Simd>(simd: S, row: &[f64], vectors: &[f64], to: &mut [f64]) {
    let width = row.len();
    let (fours, rest) = to.as_chunks_mut::<4>();
    let (of_fours, of_rest) = vectors.split_at(4 * width * fours.len());
    for (to, vectors) in fours.iter_mut().zip(of_fours.chunks_exact(4 * width)) {
        let vectors = std::array::from_fn(|k| &vectors[k * width..(k + 1) * width]);
        *to = dots_of_one(simd, row, vectors);
    }
    rest.iter_mut().zip(of_rest.chunks_exact(width)).for_each(|(to, w)| *to = dot(row, w));
}

/// The products of a row with four vectors.
#[inline(always)]
fn dots_of_one<S: Simd>(simd: S, row: &[f64], vectors: [&[f64]; 4]) -> [f64; 4] {
    let (x, [p, q, r, s]) = (S::as_simd_f64s(row), vectors.map(S::as_simd_f64s));
    let mut sums = [simd.splat_f64s(0.0); 4];
    let lanes = x.0.iter().zip(p.0.iter().zip(q.0)).zip(r.0.iter().zip(s.0));
    for ((&x, (&p, &q)), (&r, &s)) in lanes {
        let w = [p, q, r, s];
        (0..4).for_each(|k| sums[k] = simd.mul_add_f64s(x, w[k], sums[k]));
    }
    let tails = [p.1, q.1, r.1, s.1];
    std::array::from_fn(|k| x.1.iter().zip(tails[k]).fold(simd.reduce_sum_f64s(sums[k]), |sum, (x, w)| sum + x * w))
}

/// The products of two rows with four vectors.
#[inline(always)]
fn dots_of_two<S: Simd>(simd: S, rows: [&[f64]; 2], vectors: [&[f64]; 4]) -> [[f64; 4]; 2] {
    let ([a, b], [p, q, r, s]) = (rows.map(S::as_simd_f64s), vectors.map(S::as_simd_f64s));
    let mut sums = [[simd.splat_f64s(0.0); 4]; 2];
    let lanes = a.0.iter().zip(b.0).zip(p.0.iter().zip(q.0)).zip(r.0.iter().zip(s.0));
    for (((&a, &b), (&p, &q)), (&r, &s)) in lanes {
        let w = [p, q, r, s];
        for k in 0..4 {
            sums[0][k] = simd.mul_add_f64s(a, w[k], sums[0][k]);
            sums[1][k] = simd.mul_add_f64s(b, w[k], sums[1][k]);
        }
    }
    let tails = [p.1, q.1, r.1, s.1];
    let mut products = [[0.0; 4]; 2];
    for (products, (sums, tail)) in products.iter_mut().zip(sums.into_iter().zip([a.1, b.1])) {
        for (product, (sum, w)) in products.iter_mut().zip(sums.into_iter().zip(tails)) {
            *product = tail.iter().zip(w).fold(simd.reduce_sum_f64s(sum), |sum, (x, w)| sum + x * w);
        }
    }
    products
}

kernel! {
    /// Adds each listed row, times its factor.
    AddListed<'a, T> { x: &'a [T], list: &'a [(u32, f64)], sums: &'a mut [f64] } {
        let columns = sums.len();
        let row = |index: u32| &x[index as usize * columns..(index as usize + 1) * columns];
        let (fours, rest) = list.as_chunks::<4>();
        for four in fours {
            add_four(four.map(|(index, _)| row(index)), four.map(|(_, factor)| factor), sums);
        }
        for &(index, factor) in rest {
            add_one(row(index), factor, sums);
        }
    }
}

kernel! {
    /// Adds a row, times the factor and its product with `v` plus the offset, and that multiple.
    AddProduct<'a, T> {
        row: &'a [T],
        factor: f64,
        v: &'a [f64],
        offset: f64,
        sums: &'a mut [f64],
        total: &'a mut f64,
    } {
        let multiple = factor * (dot(row, v) + offset);
        add_one(row, multiple, sums);
        *total += multiple;
    }
}

kernel! {
    /// Adds the elements of rows less a shift, and their squares, by columns.
    Moments<'a, T> {
        x: &'a [T],
        kept: Option<&'a [bool]>,
        shift: &'a [f64],
        first: &'a mut [f64],
        second: &'a mut [f64],
    } {
        for (place, row) in x.chunks_exact(shift.len()).enumerate() {
            if kept.is_none_or(|kept| kept[place]) {
                for ((x, shift), (first, second)) in row.iter().zip(shift).zip(first.iter_mut().zip(second.iter_mut())) {
                    let x = (*x).into() - shift;
                    *first += x;
                    *second += x * x;
                }
            }
        }
    }
}

kernel! {
    /// 0, or NaN where an element is not finite: a number times 0. Branches would keep the loop from vectors.
    SumOfZeros<'a, T> { x: &'a [T], to: &'a mut f64 } {
        const LANES: usize = 16;
        let mut sums = [0f64; LANES];
        let (lanes, rest) = x.as_chunks::<LANES>();
        for x in lanes {
            for lane in 0..LANES {
                sums[lane] += x[lane].into() * 0.0;
            }
        }
        *to = sums.iter().sum::<f64>() + rest.iter().map(|&x| x.into() * 0.0).sum::<f64>();
    }
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

/// The squared norm of (x - shift) * scale.
#[inline(always)]
fn squared_norm<T: Copy + Into<f64>>(row: &[T], [shift, scale]: [&[f64]; 2]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0f64; LANES];
    let square = |x: T, shift: f64, scale: f64| {
        let x = (x.into() - shift) * scale;
        x * x
    };
    let (x, x_rest) = row.as_chunks::<LANES>();
    let ((shift, shift_rest), (scale, scale_rest)) = (shift.as_chunks::<LANES>(), scale.as_chunks::<LANES>());
    for ((x, shift), scale) in x.iter().zip(shift).zip(scale) {
        for lane in 0..LANES {
            sums[lane] += square(x[lane], shift[lane], scale[lane]);
        }
    }
    let rest = x_rest.iter().zip(shift_rest).zip(scale_rest).map(|((&x, &shift), &scale)| square(x, shift, scale));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

kernel! {
    /// The squared norm of every row.
    SquaredNorms<'a, T> { x: &'a [T], units: [&'a [f64]; 2], to: &'a mut [f64] } {
        let rows = x.chunks_exact(units[0].len());
        to.iter_mut().zip(rows).for_each(|(to, row)| *to = squared_norm(row, units));
    }
}

/// Writes (x - shift) * scale times the factor.
pub(super) struct Gather<'a, X, T> {
    pub(super) row: &'a [X],
    pub(super) factor: f64,
    pub(super) units: [&'a [f64]; 2],
    pub(super) to: &'a mut [T],
}

impl<X: Copy + Into<f64>, T: HostReal> WithSimd for Gather<'_, X, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { row, factor, units: [shift, scale], to } = self;
        for (((to, &x), shift), scale) in to.iter_mut().zip(row).zip(shift).zip(scale) {
            *to = T::from_f64(factor * (x.into() - shift) * scale);
        }
    }
}
