//! The penalty phi(v) of a margin violation v and its conventions: written once, composed with every loss.

use serde::{Deserialize, Serialize};

use crate::data::exact;
use crate::data::real::{Number, Real};
use crate::error::{Error, Result, number};
use crate::names::names;

/// How a margin violation v is penalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Penalty {
    /// phi(v) = v for v > 0, else 0: the hinge.
    #[default]
    Linear,
    /// phi(v) = v^2 for v > 0, else 0: the squared hinge.
    Squared,
    /// scale * v^2/(2 gamma) for 0 < v < gamma, scale * (v - gamma/2) beyond, else 0: the hinge with its kink rounded
    /// over a width of gamma. See [`Penalty::smooth`], [`Penalty::RENNIE`] and [`Penalty::MODIFIED_HUBER`].
    Smooth {
        /// The violation at which the square goes over into a line; positive, normal and finite in f32.
        #[serde(with = "exact::number")]
        gamma: f64,
        /// A positive factor, finite in f32.
        #[serde(with = "exact::number")]
        scale: f64,
    },
    /// phi(v) = ln(1 + exp(v)), also for v <= 0: at margin 0 the soft margin (logistic) loss. Computed without
    /// overflow for any v.
    Softplus,
}

impl Penalty {
    /// Rennie's smooth hinge (Rennie and Srebro, 2005): [`Penalty::smooth`] with gamma 1.
    pub const RENNIE: Self = Self::Smooth { gamma: 1.0, scale: 1.0 };

    /// The modified Huber loss (Zhang, 2004; scikit-learn's `modified_huber`): 4 times [`Penalty::smooth`] with gamma 2,
    /// so that phi(v) = v^2 up to v = 2 and 4 (v - 1) beyond.
    pub const MODIFIED_HUBER: Self = Self::Smooth { gamma: 2.0, scale: 4.0 };

    /// v^2/(2 gamma) up to gamma, then v - gamma/2.
    pub const fn smooth(gamma: f64) -> Self {
        Self::Smooth { gamma, scale: 1.0 }
    }

    /// Checks the numbers of [`Penalty::Smooth`], also after rounding to f32.
    #[inline]
    pub(crate) fn check(self) -> Result<()> {
        let Self::Smooth { gamma, scale } = self else { return Ok(()) };
        let check = |option, x: f64| {
            // Above the subnormal numbers, so that 1/(2 gamma) is finite.
            if (x as f32) >= f32::MIN_POSITIVE && (x as f32).is_finite() {
                return Ok(());
            }
            Err(Error::Option {
                option,
                expected: "a positive, normal and finite number in f32's range".into(),
                got: number(x),
            })
        };
        check("gamma", gamma)?;
        check("scale", scale)
    }
}

/// The slope of the hinge at its kink, v = 0 exactly, where every value in [0, 1] is a subgradient.
///
/// Peers differ: torch takes 0, JAX takes one half, burn and older torch take 1. Only [`Penalty::Linear`] has a kink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kink {
    /// Slope 0: a margin met exactly is met.
    #[default]
    Zero,
    /// Slope one half.
    Half,
    /// Slope 1: a margin met exactly still pushes.
    Active,
}

names!(Kink, "kink": Zero = "zero", Half = "half", Active = "active");

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ties {
    /// The lowest index takes it all (torch's `max(dim)`).
    #[default]
    First,
    /// Shared evenly (torch's `amax`, JAX).
    Split,
}

names!(Ties, "ties": First = "first", Split = "split");

/// A run of violations over which a penalty is a polynomial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The run begins above this violation and ends where the next piece begins.
    pub(crate) above: f64,
    /// phi(v) = c0 + c1*v + c2*v^2.
    pub(crate) coefficients: [f64; 3],
}

impl Piece {
    /// No violation is in it.
    const NONE: Self = Self { above: f64::INFINITY, coefficients: [0.0; 3] };

    /// The only piece of a penalty.
    const fn all(coefficients: [f64; 3]) -> [Self; 2] {
        [Self { above: 0.0, coefficients }, Self::NONE]
    }
}

/// A penalty as a type, so that the CPU's inner loops are compiled once for each instead of branching in them. Where a
/// penalty is taken once a row, [`Penalty`] itself is the type, and one loop serves all.
pub(crate) trait PenaltyShape: Copy + Send + Sync {
    /// phi'(0+): what the kink convention scales. 0 where phi has no kink.
    fn slope_at_zero(self) -> f64;
    /// phi over v > 0, where it is zero for v <= 0 and piecewise polynomial above.
    fn pieces(self) -> Option<[Piece; 2]>;
    /// phi(v) and phi'(v), where `kink_slope` is phi'(0). A NaN violation gives NaN for both.
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T);
    /// Runs a loop over many violations with the penalty's own type, so that the choice is made before it and not within.
    #[inline(always)]
    fn run<L: PenaltyLoop>(self, job: L) -> L::Output {
        job.run(self)
    }
}

/// A loop over violations, for any penalty: see [`PenaltyShape::run`].
pub(crate) trait PenaltyLoop {
    /// What it gives.
    type Output;
    /// Runs it.
    fn run<P: PenaltyShape>(self, shape: P) -> Self::Output;
}

/// The slope of a penalty that charges nothing for v <= 0, given its slope above. Selections one after the other, not branches,
/// so that loops over many violations vectorise.
#[inline(always)]
fn one_sided<T: Number>(v: T, kink_slope: T, slope: T) -> T {
    let zero = v.splat(0.0);
    // A NaN must reach the result.
    let slope = T::select(v.equals(v), slope, v);
    let slope = T::select(v.equals(zero), kink_slope, slope);
    T::select(v.below(zero), zero, slope)
}

/// [`Penalty::Linear`] as a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearPenalty;

impl PenaltyShape for LinearPenalty {
    #[inline(always)]
    fn slope_at_zero(self) -> f64 {
        1.0
    }
    fn pieces(self) -> Option<[Piece; 2]> {
        Some(Piece::all([0.0, 1.0, 0.0]))
    }
    #[inline(always)]
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T) {
        (v.positive_part(), one_sided(v, kink_slope, v.splat(1.0)))
    }
}

/// [`Penalty::Squared`] as a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SquaredPenalty;

impl PenaltyShape for SquaredPenalty {
    #[inline(always)]
    fn slope_at_zero(self) -> f64 {
        0.0
    }
    fn pieces(self) -> Option<[Piece; 2]> {
        Some(Piece::all([0.0, 0.0, 1.0]))
    }
    #[inline(always)]
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T) {
        let charged = v.positive_part();
        (charged * charged, one_sided(v, kink_slope, v + v))
    }
}

/// [`Penalty::Smooth`] as a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmoothPenalty {
    /// The width of the square part.
    gamma: f64,
    /// The factor.
    scale: f64,
}

impl SmoothPenalty {
    fn new(gamma: f64, scale: f64) -> Self {
        Self { gamma, scale }
    }
}

impl PenaltyShape for SmoothPenalty {
    #[inline(always)]
    fn slope_at_zero(self) -> f64 {
        0.0
    }
    fn pieces(self) -> Option<[Piece; 2]> {
        let Self { gamma, scale } = self;
        let square = Piece { above: 0.0, coefficients: [0.0, 0.0, scale * (0.5 / gamma)] };
        Some([square, Piece { above: gamma, coefficients: [-0.5 * scale * gamma, scale, 0.0] }])
    }
    #[inline(always)]
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T) {
        let (gamma, scale) = (v.splat(self.gamma), v.splat(self.scale));
        let half = v.splat(0.5);
        let charged = v.positive_part();
        // In this order the square of a large v below a large gamma does not overflow; the line is written so that a NaN goes
        // through.
        let square = scale * (charged * (charged * (half / gamma)));
        let line = scale * (charged - half * gamma);
        let is_square = v.below(gamma);
        let slope = T::select(is_square, scale * (v / gamma), scale);
        (T::select(is_square, square, line), one_sided(v, kink_slope, slope))
    }
}

/// [`Penalty::Softplus`] as a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftplusPenalty;

impl PenaltyShape for SoftplusPenalty {
    #[inline(always)]
    fn slope_at_zero(self) -> f64 {
        0.0
    }
    fn pieces(self) -> Option<[Piece; 2]> {
        None
    }
    #[inline(always)]
    fn penalise<T: Number>(self, v: T, _: T) -> (T, T) {
        // exp of a negative number alone, which cannot overflow: ln(1 + e^v) = max(v, 0) + ln(1 + e^-|v|).
        let (zero, one) = (v.splat(0.0), v.splat(1.0));
        let positive = zero.below(v);
        let decay = T::select(positive, -v, v).exp();
        let value = T::select(positive, v, zero) + decay.ln_1p();
        let slope = T::select(positive, one, decay) / (one + decay);
        (value, slope)
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
            $crate::loss::Penalty::Smooth { gamma, scale } => {
                let $shape = $crate::loss::penalty::SmoothPenalty::new(gamma, scale);
                $body
            }
            $crate::loss::Penalty::Softplus => {
                let $shape = $crate::loss::penalty::SoftplusPenalty;
                $body
            }
        }
    };
}

impl PenaltyShape for Penalty {
    #[inline(always)]
    fn slope_at_zero(self) -> f64 {
        with_penalty!(self, shape => shape.slope_at_zero())
    }
    fn pieces(self) -> Option<[Piece; 2]> {
        with_penalty!(self, shape => shape.pieces())
    }
    #[inline(always)]
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T) {
        with_penalty!(self, shape => shape.penalise(v, kink_slope))
    }
    #[inline(always)]
    fn run<L: PenaltyLoop>(self, job: L) -> L::Output {
        with_penalty!(self, shape => job.run(shape))
    }
}

/// Calls `$body` with `$shape` bound to the penalty's type where it is a common one and `$is_common`, or else to the penalty
/// itself: one loop for all that are rare.
macro_rules! with_common_penalty {
    ($penalty:expr, $is_common:expr, $shape:ident => $body:expr) => {
        match $penalty {
            $crate::loss::Penalty::Linear if $is_common => {
                let $shape = $crate::loss::penalty::LinearPenalty;
                $body
            }
            $crate::loss::Penalty::Squared if $is_common => {
                let $shape = $crate::loss::penalty::SquaredPenalty;
                $body
            }
            $shape => $body,
        }
    };
}
pub(crate) use with_common_penalty;

/// A loss's numbers in the precision of the computation: margin, penalty and kink.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<T, P> {
    /// The margin.
    pub(crate) margin: T,
    kink_slope: T,
    shape: P,
}

impl<T: Real, P: PenaltyShape> Rule<T, P> {
    /// Rounds the margin to `T` and fixes the slope at the kink.
    pub(crate) fn new(margin: f64, kink: Kink, shape: P) -> Self {
        Self { margin: T::from_f64(margin), kink_slope: T::from_f64(kink.slope() * shape.slope_at_zero()), shape }
    }

    /// The same rule for vectors of numbers like `of`.
    pub(crate) fn splat<V: Number>(&self, of: V) -> Rule<V, P> {
        let splat = |x: T| of.splat(x.to_f64());
        Rule { margin: splat(self.margin), kink_slope: splat(self.kink_slope), shape: self.shape }
    }

    /// As [`PenaltyShape::pieces`].
    pub(crate) fn pieces(&self) -> Option<[Piece; 2]> {
        self.shape.pieces()
    }

    /// The slope at violation 0.
    pub(crate) fn kink_slope(&self) -> T {
        self.kink_slope
    }
}

impl<T: Number, P: PenaltyShape> Rule<T, P> {
    /// The same rule with another type for its penalty.
    #[inline(always)]
    pub(crate) fn with_shape<Q: PenaltyShape>(&self, shape: Q) -> Rule<T, Q> {
        Rule { margin: self.margin, kink_slope: self.kink_slope, shape }
    }

    /// Its penalty.
    #[inline(always)]
    pub(crate) fn shape(&self) -> P {
        self.shape
    }

    /// phi(v) and phi'(v). A NaN violation gives NaN for both.
    #[inline(always)]
    pub(crate) fn penalise(&self, v: T) -> (T, T) {
        self.shape.penalise(v, self.kink_slope)
    }
}
