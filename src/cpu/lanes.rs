//! Vectors of numbers as [`Number`]s, in both precisions: the machine's widest, through the crate pulp.

use std::fmt;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use pulp::{Simd, bytemuck};

use crate::data::real::{Number, Real};

/// More lanes than any machine has.
pub(super) const MOST_LANES: usize = 64;

pub(crate) trait Vector<S: Simd>: Number {
    type Element: Real + bytemuck::Pod;
    /// The vector as it lies in memory.
    type Raw: bytemuck::Pod;
    const COUNT: usize;

    fn new(simd: S, raw: Self::Raw) -> Self;
    fn raw(self) -> Self::Raw;
    fn all(simd: S, x: Self::Element) -> Self;
    /// A slice as whole vectors, and the remaining elements.
    fn vectors(slice: &[Self::Element]) -> (&[Self::Raw], &[Self::Element]);
    fn vectors_mut(slice: &mut [Self::Element]) -> (&mut [Self::Raw], &mut [Self::Element]);
    /// Loads fewer numbers than lanes. The other lanes are zero.
    fn load_part(simd: S, slice: &[Self::Element]) -> Self;
    /// Replaces the first lanes by these numbers, fewer than there are lanes.
    fn with_first(self, first: &[Self::Element]) -> Self;
    fn lanes(&self) -> &[Self::Element];
    fn lanes_mut(&mut self) -> &mut [Self::Element];
    /// Stores the first lanes. The slice is shorter than the vector.
    fn store_part(self, slice: &mut [Self::Element]);
    /// Counts the true lanes of two masks.
    fn count(masks: [Self::Mask; 2], into: &mut Counts<S>);
    /// The larger number in each lane; unspecified for NaN.
    fn max(self, other: Self) -> Self;
    /// The sum of all lanes, in their precision.
    fn sum(self) -> Self::Element;
    /// The lowest lane, and the highest; unspecified for NaN.
    fn lowest(self) -> Self::Element;
    fn highest(self) -> Self::Element;
    /// Adds all lanes to the sum, in f64.
    fn add_to(self, sum: &mut Sum<S>);
    /// Adds each lane, times a factor, to its own number in f64. There may be fewer numbers than lanes.
    fn add_to_each(self, numbers: &mut [f64], times: f64);
    /// Has only zero bits in the lanes that are -1 or +1.
    fn other_than_sign(self) -> Self;
    fn either_bits(self, other: Self) -> Self;
    fn both_bits(self, other: Self) -> Self;
    fn has_bits(self) -> bool;
    fn none(simd: S) -> Self::Mask;
    fn any(mask: Self::Mask) -> bool;
}

/// How often each of two masks was true.
pub(crate) struct Counts<S: Simd> {
    /// For masks of bits. With equal types the compiler counts both in one vector, which it fills through memory.
    bits: (u64, u32),
    /// For masks that are vectors: one count per lane.
    singles: [S::u32s; 2],
    doubles: [S::u64s; 2],
}

impl<S: Simd> Counts<S> {
    #[inline(always)]
    pub(super) fn new(simd: S) -> Self {
        Self { bits: (0, 0), singles: [simd.splat_u32s(0); 2], doubles: [simd.splat_u64s(0); 2] }
    }

    /// For up to 2^32 samples.
    #[inline(always)]
    pub(super) fn totals(mut self) -> [u64; 2] {
        let mut totals = [self.bits.0, self.bits.1.into()];
        for (total, (singles, doubles)) in totals.iter_mut().zip(self.singles.iter_mut().zip(&mut self.doubles)) {
            *total += lanes_of::<_, u32>(singles).iter().map(|&x| u64::from(x)).sum::<u64>();
            *total += lanes_of::<_, u64>(doubles).iter().sum::<u64>();
        }
        totals
    }
}

/// A sum in f64. Vectors of f32 are added in `low` and `high`; vectors of f64 in `low` alone, with its rounding errors
/// in `rounded_off`. Not an array, which the compiler would keep in memory.
pub(crate) struct Sum<S: Simd> {
    simd: S,
    low: S::f64s,
    high: S::f64s,
    rounded_off: S::f64s,
}

impl<S: Simd> Sum<S> {
    #[inline(always)]
    pub(super) fn new(simd: S) -> Self {
        let zero = simd.splat_f64s(0.0);
        Self { simd, low: zero, high: zero, rounded_off: zero }
    }

    /// Adds f64 by Knuth's two-sum. With few lanes, and so long chains, plain addition would round a thousand times.
    #[inline(always)]
    fn add_doubles(&mut self, x: S::f64s) {
        let simd = self.simd;
        let sum = simd.add_f64s(self.low, x);
        let of_x = simd.sub_f64s(sum, self.low);
        let of_low = simd.sub_f64s(sum, of_x);
        let rounded_off = simd.add_f64s(simd.sub_f64s(self.low, of_low), simd.sub_f64s(x, of_x));
        (self.low, self.rounded_off) = (sum, simd.add_f64s(self.rounded_off, rounded_off));
    }

    #[inline(always)]
    pub(super) fn total(self) -> f64 {
        let total = self.simd.reduce_sum_f64s(self.simd.add_f64s(self.low, self.high));
        // The rounding error of an infinite sum is NaN.
        if total.is_finite() { total + self.simd.reduce_sum_f64s(self.rounded_off) } else { total }
    }
}

/// Numbers widened to f64. The other lanes are zero.
#[inline(always)]
pub(super) fn wide<S: Simd, T: Copy + Into<f64>>(simd: S, lanes: &[T]) -> S::f64s {
    let mut wide = simd.splat_f64s(0.0);
    lanes_of::<_, f64>(&mut wide).iter_mut().zip(lanes).for_each(|(to, &from)| *to = from.into());
    wide
}

#[inline(always)]
fn lanes_of<V: bytemuck::Pod, T: bytemuck::Pod>(vector: &mut V) -> &mut [T] {
    bytemuck::cast_slice_mut(std::slice::from_mut(vector))
}

/// The vectors of one precision, with pulp's names for their operations.
macro_rules! lanes {
    (
        $lanes:ident, $mask_lanes:ident, $element:ident, $raw:ident, $mask:ident, $counts:ident, $count:ident;
        $splat:ident $as_simd:ident $as_mut_simd:ident $partial_load:ident $partial_store:ident
        $add:ident $sub:ident $mul:ident $div:ident $neg:ident $less_than:ident $equal:ident $select:ident
        $and:ident $or:ident $not:ident $max:ident $abs:ident $or_bits:ident $and_bits:ident $xor_bits:ident
        $select_counts:ident $add_counts:ident $sub_counts:ident $splat_counts:ident
        $reduce_sum:ident $reduce_min:ident $reduce_max:ident
    ) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $lanes<S: Simd> {
            simd: S,
            raw: S::$raw,
        }

        /// A truth value per lane.
        #[derive(Clone, Copy)]
        pub(crate) struct $mask_lanes<S: Simd> {
            pub(super) simd: S,
            pub(super) raw: S::$mask,
        }

        impl<S: Simd> fmt::Debug for $lanes<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.raw.fmt(f)
            }
        }

        lanes!(operator $lanes Add add $add);
        lanes!(operator $lanes Sub sub $sub);
        lanes!(operator $lanes Mul mul $mul);
        lanes!(operator $lanes Div div $div);
        lanes!(operator $mask_lanes BitAnd bitand $and);
        lanes!(operator $mask_lanes BitOr bitor $or);

        impl<S: Simd> Neg for $lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self { simd: self.simd, raw: self.simd.$neg(self.raw) }
            }
        }

        impl<S: Simd> Not for $mask_lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self { simd: self.simd, raw: self.simd.$not(self.raw) }
            }
        }

        impl<S: Simd> Number for $lanes<S> {
            type Mask = $mask_lanes<S>;

            #[inline(always)]
            fn splat(self, x: f64) -> Self {
                Self::all(self.simd, x as $element)
            }

            #[inline(always)]
            fn below(self, other: Self) -> Self::Mask {
                $mask_lanes { simd: self.simd, raw: self.simd.$less_than(self.raw, other.raw) }
            }

            #[inline(always)]
            fn equals(self, other: Self) -> Self::Mask {
                $mask_lanes { simd: self.simd, raw: self.simd.$equal(self.raw, other.raw) }
            }

            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                Self { simd: yes.simd, raw: yes.simd.$select(mask.raw, yes.raw, no.raw) }
            }

            #[inline(always)]
            fn positive_part(self) -> Self {
                let zero = self.splat(0.0);
                // pulp's maximum returns a NaN in the second place, or any NaN, by machine. Its scalar one does not.
                if S::IS_SCALAR {
                    return Self::select(self.below(zero), zero, self);
                }
                Self { simd: self.simd, raw: self.simd.$max(zero.raw, self.raw) }
            }

            #[inline(always)]
            fn exp(mut self) -> Self {
                lanes_of::<_, $element>(&mut self.raw).iter_mut().for_each(|x| *x = Number::exp(*x));
                self
            }

            #[inline(always)]
            fn ln_1p(mut self) -> Self {
                lanes_of::<_, $element>(&mut self.raw).iter_mut().for_each(|x| *x = Number::ln_1p(*x));
                self
            }
        }

        impl<S: Simd> Vector<S> for $lanes<S> {
            type Element = $element;
            type Raw = S::$raw;
            const COUNT: usize = size_of::<S::$raw>() / size_of::<$element>();

            #[inline(always)]
            fn new(simd: S, raw: S::$raw) -> Self {
                Self { simd, raw }
            }

            #[inline(always)]
            fn raw(self) -> S::$raw {
                self.raw
            }

            #[inline(always)]
            fn all(simd: S, x: $element) -> Self {
                Self { simd, raw: simd.$splat(x) }
            }

            #[inline(always)]
            fn vectors(slice: &[$element]) -> (&[S::$raw], &[$element]) {
                S::$as_simd(slice)
            }

            #[inline(always)]
            fn vectors_mut(slice: &mut [$element]) -> (&mut [S::$raw], &mut [$element]) {
                S::$as_mut_simd(slice)
            }

            #[inline(always)]
            fn load_part(simd: S, slice: &[$element]) -> Self {
                Self { simd, raw: simd.$partial_load(slice) }
            }

            #[inline(always)]
            fn with_first(mut self, first: &[$element]) -> Self {
                lanes_of::<_, $element>(&mut self.raw).iter_mut().zip(first).for_each(|(to, &from)| *to = from);
                self
            }

            #[inline(always)]
            fn lanes(&self) -> &[$element] {
                bytemuck::cast_slice(std::slice::from_ref(&self.raw))
            }

            #[inline(always)]
            fn lanes_mut(&mut self) -> &mut [$element] {
                lanes_of(&mut self.raw)
            }

            #[inline(always)]
            fn store_part(self, slice: &mut [$element]) {
                self.simd.$partial_store(slice, self.raw);
            }

            #[inline(always)]
            fn count(masks: [Self::Mask; 2], into: &mut Counts<S>) {
                if size_of::<S::$mask>() < Self::COUNT {
                    let [first, second] = masks.map(|mask| {
                        let bytes = bytemuck::bytes_of(&mask.raw).iter();
                        bytes.rev().fold(0u32, |bits, &byte| (bits << 8) | u32::from(byte))
                    });
                    into.bits.0 += u64::from(first).count_ones() as u64;
                    into.bits.1 += second.count_ones();
                } else {
                    for (count, mask) in into.$count.iter_mut().zip(masks) {
                        let simd = mask.simd;
                        if size_of::<S::$mask>() == size_of_val(count) {
                            // A true lane is all ones, which is -1.
                            *count = simd.$sub_counts(*count, bytemuck::cast(mask.raw));
                            continue;
                        }
                        let ones = simd.$select_counts(mask.raw, simd.$splat_counts(1), simd.$splat_counts(0));
                        *count = simd.$add_counts(*count, ones);
                    }
                }
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Self { simd: self.simd, raw: self.simd.$max(self.raw, other.raw) }
            }

            #[inline(always)]
            fn sum(self) -> $element {
                self.simd.$reduce_sum(self.raw)
            }

            #[inline(always)]
            fn lowest(self) -> $element {
                self.simd.$reduce_min(self.raw)
            }

            #[inline(always)]
            fn highest(self) -> $element {
                self.simd.$reduce_max(self.raw)
            }

            #[inline(always)]
            fn add_to(mut self, sum: &mut Sum<S>) {
                let simd = self.simd;
                let (low, high) = lanes_of::<_, $element>(&mut self.raw).split_at(S::F64_LANES);
                if high.is_empty() {
                    return sum.add_doubles(wide(simd, low));
                }
                sum.low = simd.add_f64s(sum.low, wide(simd, low));
                sum.high = simd.add_f64s(sum.high, wide(simd, high));
            }

            #[inline(always)]
            fn add_to_each(mut self, numbers: &mut [f64], times: f64) {
                let simd = self.simd;
                let lanes = lanes_of::<_, $element>(&mut self.raw);
                let Some(numbers) = numbers.get_mut(..Self::COUNT) else {
                    numbers.iter_mut().zip(lanes).for_each(|(number, &mut lane)| *number += f64::from(lane) * times);
                    return;
                };
                let times = simd.splat_f64s(times);
                for (numbers, lanes) in S::as_mut_simd_f64s(numbers).0.iter_mut().zip(lanes.chunks(S::F64_LANES)) {
                    *numbers = simd.add_f64s(*numbers, simd.mul_f64s(wide(simd, lanes), times));
                }
            }

            #[inline(always)]
            fn other_than_sign(self) -> Self {
                let one = self.splat(1.0);
                Self { simd: self.simd, raw: self.simd.$xor_bits(self.simd.$abs(self.raw), one.raw) }
            }

            #[inline(always)]
            fn either_bits(self, other: Self) -> Self {
                Self { simd: self.simd, raw: self.simd.$or_bits(self.raw, other.raw) }
            }

            #[inline(always)]
            fn both_bits(self, other: Self) -> Self {
                Self { simd: self.simd, raw: self.simd.$and_bits(self.raw, other.raw) }
            }

            #[inline(always)]
            fn has_bits(mut self) -> bool {
                lanes_of::<_, u32>(&mut self.raw).iter().fold(0, |any, &bits| any | bits) != 0
            }

            #[inline(always)]
            fn none(simd: S) -> Self::Mask {
                let zero = Self::all(simd, 0.0);
                zero.below(zero)
            }

            #[inline(always)]
            fn any(mask: Self::Mask) -> bool {
                bytemuck::bytes_of(&mask.raw).iter().fold(0, |any, &byte| any | byte) != 0
            }
        }
    };
    (operator $type:ident $trait:ident $function:ident $vector:ident) => {
        impl<S: Simd> $trait for $type<S> {
            type Output = Self;
            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                Self { simd: self.simd, raw: self.simd.$vector(self.raw, other.raw) }
            }
        }
    };
}
lanes! {
    Lanes, Mask, f32, f32s, m32s, u32s, singles;
    splat_f32s as_simd_f32s as_mut_simd_f32s partial_load_f32s partial_store_f32s
    add_f32s sub_f32s mul_f32s div_f32s neg_f32s less_than_f32s equal_f32s select_f32s
    and_m32s or_m32s not_m32s max_f32s abs_f32s or_f32s and_f32s xor_f32s
    select_u32s add_u32s sub_u32s splat_u32s reduce_sum_f32s reduce_min_f32s reduce_max_f32s
}
lanes! {
    DoubleLanes, DoubleMask, f64, f64s, m64s, u64s, doubles;
    splat_f64s as_simd_f64s as_mut_simd_f64s partial_load_f64s partial_store_f64s
    add_f64s sub_f64s mul_f64s div_f64s neg_f64s less_than_f64s equal_f64s select_f64s
    and_m64s or_m64s not_m64s max_f64s abs_f64s or_f64s and_f64s xor_f64s
    select_u64s add_u64s sub_u64s splat_u64s reduce_sum_f64s reduce_min_f64s reduce_max_f64s
}

#[cfg(test)]
mod tests {
    use pulp::{Scalar, WithSimd};

    use super::*;
    use crate::cpu::dispatch::on_every_width;

    /// Numbers to add, each in every lane.
    #[derive(Clone, Copy)]
    struct Total<'a>(&'a [f64]);

    impl WithSimd for Total<'_> {
        type Output = f64;
        fn with_simd<S: Simd>(self, simd: S) -> f64 {
            let mut sum = Sum::new(simd);
            self.0.iter().for_each(|&x| DoubleLanes::all(simd, x).add_to(&mut sum));
            sum.total() / S::F64_LANES as f64
        }
    }

    #[test]
    fn doubles_are_added_without_rounding() {
        let one = 1e16 + 1.0 - 1e16;
        assert_eq!(one, 0.0);
        for (numbers, expected) in [
            (vec![1e16, 1.0, -1e16], 1.0),
            (vec![0.1; 1000], 100.0),
            (vec![1.0, f64::INFINITY, 1.0], f64::INFINITY),
            (vec![1e308, 1e308, -1e308], f64::INFINITY),
        ] {
            for total in on_every_width(Total(&numbers)) {
                assert_eq!(total, expected);
            }
        }
        assert!(Total(&[f64::INFINITY, f64::NEG_INFINITY]).with_simd(Scalar::new()).is_nan());
    }
}
