//! Transposes squares of numbers: as many vectors as a vector has lanes.

use pulp::{Simd, bytemuck};

use crate::cpu::lanes::Vector;

/// The machine's way to transpose. Made once per job, since detecting the instruction set is a call.
#[derive(Clone, Copy)]
pub(super) struct Transpose {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    avx2: Option<pulp::x86::V3>,
}

impl Transpose {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            avx2: crate::cpu::dispatch::avx2(),
        }
    }

    /// Transposes the first square. Vectors after it, and vectors too few for a square, stay as they are.
    #[inline(always)]
    pub(super) fn square<S: Simd, V: Vector<S>>(self, vectors: &mut [V::Raw]) {
        let Some(square) = vectors.get_mut(..V::COUNT) else { return };
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let (Some(simd), true) = (self.avx2, size_of::<V::Raw>() == size_of::<pulp::f32x8>())
            && avx2::transpose::<V::Element, _>(simd, square)
        {
            return;
        }
        let lanes: &mut [V::Element] = bytemuck::cast_slice_mut(square);
        for row in 0..V::COUNT {
            for column in 0..row {
                lanes.swap(row * V::COUNT + column, column * V::COUNT + row);
            }
        }
    }
}

/// 256-bit vectors: shuffles of whole vectors, instead of moving numbers one by one.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx2 {
    use pulp::bytemuck::{Pod, try_cast_slice_mut};
    use pulp::x86::V3;
    use pulp::{cast, f32x8, f64x4};

    /// Returns false and changes nothing if the vectors are of other types.
    #[inline(always)]
    pub(super) fn transpose<T, V: Pod>(simd: V3, square: &mut [V]) -> bool {
        match square.len() {
            8 if size_of::<T>() == size_of::<f32>() => {
                let square: Option<&mut [f32x8; 8]> = try_cast_slice_mut(square).ok().and_then(|x| x.try_into().ok());
                square.map(|square| *square = singles(simd, *square)).is_some()
            }
            4 if size_of::<T>() == size_of::<f64>() => {
                let square: Option<&mut [f64x4; 4]> = try_cast_slice_mut(square).ok().and_then(|x| x.try_into().ok());
                square.map(|square| *square = doubles(simd, *square)).is_some()
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn singles(simd: V3, rows: [f32x8; 8]) -> [f32x8; 8] {
        let avx = simd.avx;
        let [a, b, c, d, e, f, g, h] = rows.map(cast);
        // Pairs of rows, then fours, within each half of a vector; then the halves.
        let pairs = |x, y| (avx._mm256_unpacklo_ps(x, y), avx._mm256_unpackhi_ps(x, y));
        let fours = |(x, y), (z, w)| {
            let first = |x, y| avx._mm256_shuffle_ps::<0x44>(x, y);
            let second = |x, y| avx._mm256_shuffle_ps::<0xEE>(x, y);
            [first(x, z), second(x, z), first(y, w), second(y, w)]
        };
        let [a, b, c, d] = fours(pairs(a, b), pairs(c, d));
        let [e, f, g, h] = fours(pairs(e, f), pairs(g, h));
        let low = |x, y| avx._mm256_permute2f128_ps::<0x20>(x, y);
        let high = |x, y| avx._mm256_permute2f128_ps::<0x31>(x, y);
        let columns = [low(a, e), low(b, f), low(c, g), low(d, h), high(a, e), high(b, f), high(c, g), high(d, h)];
        columns.map(cast)
    }

    #[inline(always)]
    fn doubles(simd: V3, rows: [f64x4; 4]) -> [f64x4; 4] {
        let avx = simd.avx;
        let [a, b, c, d] = rows.map(cast);
        let pairs = |x, y| (avx._mm256_unpacklo_pd(x, y), avx._mm256_unpackhi_pd(x, y));
        let ((a, b), (c, d)) = (pairs(a, b), pairs(c, d));
        let low = |x, y| avx._mm256_permute2f128_pd::<0x20>(x, y);
        let high = |x, y| avx._mm256_permute2f128_pd::<0x31>(x, y);
        [low(a, c), low(b, d), high(a, c), high(b, d)].map(cast)
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Scalar, WithSimd};

    use super::*;
    use crate::cpu::HostReal;

    /// A square of 0, 1, 2, ... and one vector after it.
    struct Square<T>(std::marker::PhantomData<T>);

    impl<T: HostReal> WithSimd for Square<T> {
        type Output = ();
        fn with_simd<S: Simd>(self, _: S) {
            let lanes = T::Lanes::<S>::COUNT;
            let number = |i: usize| T::from_f64(i as f64);
            let mut numbers: Vec<T> = (0..lanes * (lanes + 1)).map(number).collect();
            Transpose::new().square::<S, T::Lanes<S>>(T::Lanes::<S>::vectors_mut(&mut numbers).0);
            for (i, got) in numbers.iter().enumerate() {
                let (row, column) = (i / lanes, i % lanes);
                let expected = if row < lanes { number(column * lanes + row) } else { number(i) };
                assert!(expected == *got, "{lanes} lanes: {got:?} at {i}");
            }
            // Too few to be a square.
            let mut few = numbers[..lanes * (lanes - 1)].to_vec();
            Transpose::new().square::<S, T::Lanes<S>>(T::Lanes::<S>::vectors_mut(&mut few).0);
            assert!(few == numbers[..few.len()]);
        }
    }

    fn every_width_of<T: HostReal>() {
        let square = || Square::<T>(std::marker::PhantomData);
        square().with_simd(Scalar::new());
        pulp::Arch::new().dispatch(square());
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V3::try_new() {
                Simd::vectorize(simd, square());
            }
            if let Some(simd) = pulp::x86::V4::try_new() {
                Simd::vectorize(simd, square());
            }
        }
    }

    #[test]
    fn rows_become_columns() {
        every_width_of::<f32>();
        every_width_of::<f64>();
    }
}
