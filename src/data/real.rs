//! The numbers that losses are written in: the CPU backend's two precisions, and vectors of them.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::elementary;

/// A number, or a vector of numbers treated alike in every lane. One formula then serves both. Conditions are masks,
/// and choices select by a mask.
pub(crate) trait Number:
    Copy + Debug + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;
    /// The nearest number to `x`, in every lane.
    fn splat(self, x: f64) -> Self;
    /// self < other; false for NaN.
    fn below(self, other: Self) -> Self::Mask;
    /// self == other; false for NaN.
    fn equals(self, other: Self) -> Self::Mask;
    /// `yes` where the mask is true, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// The number where it is above 0 or NaN, else 0.
    fn positive_part(self) -> Self;
    fn exp(self) -> Self;
    /// ln(1 + self) for numbers from 0 to 1, accurate also near 0.
    fn ln_1p(self) -> Self;
}

/// `f32` or `f64`: the type that losses are computed in on the CPU.
pub(crate) trait Real: Number<Mask = bool> + Default + PartialOrd + Send + Sync + AddAssign + 'static {
    const ZERO: Self;
    const ONE: Self;
    const NAN: Self;
    const NEG_INFINITY: Self;
    fn from_f64(x: f64) -> Self;
    /// Exact: both types fit in f64.
    fn to_f64(self) -> f64;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
}

macro_rules! real {
    ($t:ty, $exp:path, $ln_1p:path) => {
        impl Number for $t {
            type Mask = bool;
            #[inline(always)]
            fn splat(self, x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn below(self, other: Self) -> bool {
                self < other
            }
            #[inline(always)]
            fn equals(self, other: Self) -> bool {
                self == other
            }
            #[inline(always)]
            fn select(mask: bool, yes: Self, no: Self) -> Self {
                if mask { yes } else { no }
            }
            #[inline(always)]
            fn positive_part(self) -> Self {
                if self < 0.0 { 0.0 } else { self }
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }
        }

        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = <$t>::NAN;
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn is_infinite(self) -> bool {
                <$t>::is_infinite(self)
            }
        }
    };
}
real!(f32, elementary::exp, elementary::ln_1p);
real!(f64, f64::exp, f64::ln_1p);
