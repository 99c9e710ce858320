//! The penalty phi(v) of a margin violation v and its conventions: written once, composed with every loss.

use crate::real::Real;

/// How a margin violation v is penalised; nothing is charged for v <= 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Penalty {
    /// phi(v) = v: the hinge.
    #[default]
    Linear,
    /// phi(v) = v^2: the squared hinge.
    Squared,
}

/// The slope of the hinge at its kink, v = 0 exactly, where every value in [0, 1] is a subgradient.
///
/// Peers differ: torch takes 0, JAX takes one half, burn and older torch take 1. The squared hinge has no kink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kink {
    /// Slope 0: a margin met exactly is met.
    #[default]
    Zero,
    /// Slope one half.
    Half,
    /// Slope 1: a margin met exactly still pushes.
    Active,
}

impl Kink {
    /// The slope at the kink.
    pub fn slope(self) -> f64 {
        match self {
            Kink::Zero => 0.0,
            Kink::Half => 0.5,
            Kink::Active => 1.0,
        }
    }
}

/// Which of several equally bad rivals receives the gradient of a maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ties {
    /// The lowest index takes it all (torch's `max(dim)`).
    #[default]
    First,
    /// Shared evenly (torch's `amax`, JAX).
    Split,
}

/// A penalty as a type, so that the CPU's inner loops are compiled once for each instead of branching in them.
pub trait PenaltyShape: Copy + Send + Sync {
    /// phi(v) for v > 0.
    fn value<T: Real>(self, v: T) -> T;
    /// phi'(v) for v > 0.
    fn slope<T: Real>(self, v: T) -> T;
    /// phi'(0+): what the kink convention scales.
    fn slope_at_zero<T: Real>(self) -> T;
}

/// [`Penalty::Linear`] as a type.
#[derive(Clone, Copy, Debug)]
pub struct LinearPenalty;

impl PenaltyShape for LinearPenalty {
    #[inline(always)]
    fn value<T: Real>(self, v: T) -> T {
        v
    }
    #[inline(always)]
    fn slope<T: Real>(self, _: T) -> T {
        T::ONE
    }
    #[inline(always)]
    fn slope_at_zero<T: Real>(self) -> T {
        T::ONE
    }
}

/// [`Penalty::Squared`] as a type.
#[derive(Clone, Copy, Debug)]
pub struct SquaredPenalty;

impl PenaltyShape for SquaredPenalty {
    #[inline(always)]
    fn value<T: Real>(self, v: T) -> T {
        v * v
    }
    #[inline(always)]
    fn slope<T: Real>(self, v: T) -> T {
        v + v
    }
    #[inline(always)]
    fn slope_at_zero<T: Real>(self) -> T {
        T::ZERO
    }
}

/// Calls `$body` with `$shape` bound to the penalty's type.
macro_rules! with_penalty {
    ($penalty:expr, $shape:ident => $body:expr) => {
        match $penalty {
            $crate::loss::Penalty::Linear => {
                let $shape = $crate::loss::penalty::LinearPenalty;
                $body
            }
            $crate::loss::Penalty::Squared => {
                let $shape = $crate::loss::penalty::SquaredPenalty;
                $body
            }
        }
    };
}
pub(crate) use with_penalty;

/// A loss's numbers in the precision of the computation: margin, penalty and kink.
#[derive(Clone, Copy, Debug)]
pub struct Rule<T, P> {
    /// The margin.
    pub margin: T,
    kink_slope: T,
    shape: P,
}

impl<T: Real, P: PenaltyShape> Rule<T, P> {
    /// Rounds the margin to `T` and fixes the slope at the kink.
    pub fn new(margin: f64, kink: Kink, shape: P) -> Self {
        Self { margin: T::from_f64(margin), kink_slope: T::from_f64(kink.slope()) * shape.slope_at_zero::<T>(), shape }
    }

    /// phi(v) and phi'(v). A NaN violation gives NaN for both.
    #[inline(always)]
    pub fn penalise(&self, v: T) -> (T, T) {
        // Not `v > 0`: a NaN must reach the result.
        if v < T::ZERO {
            (T::ZERO, T::ZERO)
        } else if v == T::ZERO {
            (T::ZERO, self.kink_slope)
        } else {
            (self.shape.value(v), if v.is_nan() { v } else { self.shape.slope(v) })
        }
    }
}
