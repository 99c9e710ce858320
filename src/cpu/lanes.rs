//! Vectors of single-precision numbers as [`Number`]s: the widest that the machine has, through the crate pulp.

use std::fmt;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use pulp::{Simd, bytemuck};

use crate::real::{Number, sealed};

/// A vector of f32.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S: Simd> {
    simd: S,
    pub(super) values: S::f32s,
}

/// A truth value for each lane.
#[derive(Clone, Copy)]
pub(super) struct Mask<S: Simd> {
    simd: S,
    values: S::m32s,
}

impl<S: Simd> Lanes<S> {
    /// So many lanes.
    pub(super) const COUNT: usize = S::F32_LANES;

    #[inline(always)]
    pub(super) fn new(simd: S, values: S::f32s) -> Self {
        Self { simd, values }
    }

    #[inline(always)]
    pub(super) fn all(simd: S, x: f32) -> Self {
        Self::new(simd, simd.splat_f32s(x))
    }

    /// The larger of the two in each lane; not for NaN.
    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        Self::new(self.simd, self.simd.max_f32s(self.values, other.values))
    }

    #[inline(always)]
    pub(super) fn sum(self) -> f32 {
        self.simd.reduce_sum_f32s(self.values)
    }

    #[inline(always)]
    pub(super) fn lowest(self) -> f32 {
        self.simd.reduce_min_f32s(self.values)
    }

    #[inline(always)]
    pub(super) fn highest(self) -> f32 {
        self.simd.reduce_max_f32s(self.values)
    }
}

impl<S: Simd> Mask<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, values: S::m32s) -> Self {
        Self { simd, values }
    }

    #[inline(always)]
    pub(super) fn none(simd: S) -> Self {
        Self::new(simd, simd.less_than_f32s(simd.splat_f32s(0.0), simd.splat_f32s(0.0)))
    }

    /// True in any lane.
    #[inline(always)]
    pub(super) fn any(self) -> bool {
        bytemuck::bytes_of(&self.values) != bytemuck::bytes_of(&Self::none(self.simd).values)
    }
}

impl<S: Simd> fmt::Debug for Lanes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl<S: Simd> sealed::Sealed for Lanes<S> {}

macro_rules! operators {
    ($($type:ident $trait:ident $function:ident $vector:ident),+) => {$(
        impl<S: Simd> $trait for $type<S> {
            type Output = Self;
            #[inline(always)]
            fn $function(self, other: Self) -> Self {
                Self::new(self.simd, self.simd.$vector(self.values, other.values))
            }
        }
    )+};
}
operators!(Lanes Add add add_f32s, Lanes Sub sub sub_f32s, Lanes Mul mul mul_f32s, Lanes Div div div_f32s);
operators!(Mask BitAnd bitand and_m32s, Mask BitOr bitor or_m32s);

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(self.simd, self.simd.neg_f32s(self.values))
    }
}

impl<S: Simd> Not for Mask<S> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self::new(self.simd, self.simd.not_m32s(self.values))
    }
}

impl<S: Simd> Number for Lanes<S> {
    type Mask = Mask<S>;

    #[inline(always)]
    fn splat(self, x: f64) -> Self {
        Self::all(self.simd, x as f32)
    }

    #[inline(always)]
    fn below(self, other: Self) -> Mask<S> {
        Mask::new(self.simd, self.simd.less_than_f32s(self.values, other.values))
    }

    #[inline(always)]
    fn equals(self, other: Self) -> Mask<S> {
        Mask::new(self.simd, self.simd.equal_f32s(self.values, other.values))
    }

    #[inline(always)]
    fn select(mask: Mask<S>, yes: Self, no: Self) -> Self {
        Self::new(yes.simd, yes.simd.select_f32s(mask.values, yes.values, no.values))
    }

    #[inline(always)]
    fn exp(mut self) -> Self {
        lanes_of(&mut self.values).iter_mut().for_each(|x| *x = x.exp());
        self
    }

    #[inline(always)]
    fn ln_1p(mut self) -> Self {
        lanes_of(&mut self.values).iter_mut().for_each(|x| *x = x.ln_1p());
        self
    }
}

fn lanes_of<V: bytemuck::Pod>(vector: &mut V) -> &mut [f32] {
    bytemuck::cast_slice_mut(std::slice::from_mut(vector))
}
