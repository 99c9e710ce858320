//! The penalty phi(v) of a margin violation v and its conventions, shared by all losses.

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
    /// 0 for v <= 0, scale * v^2/(2 gamma) for 0 < v < gamma, scale * (v - gamma/2) beyond: the hinge with its kink
    /// rounded over a width of gamma. See [`Penalty::smooth`], [`Penalty::RENNIE`] and [`Penalty::MODIFIED_HUBER`].
    Smooth {
        /// The violation at which the parabola becomes a line; positive, normal and finite in f32.
        #[serde(with = "exact::number")]
        gamma: f64,
        /// A positive factor, finite in f32.
        #[serde(with = "exact::number")]
        scale: f64,
    },
    /// phi(v) = ln(1 + exp(v)), also for v <= 0; at margin 0 the soft margin (logistic) loss. No v overflows.
    Softplus,
}

impl Penalty {
    /// Rennie's smooth hinge (Rennie and Srebro, 2005): [`Penalty::smooth`] with gamma 1.
    pub const RENNIE: Self = Self::Smooth { gamma: 1.0, scale: 1.0 };

    /// The modified Huber loss (Zhang, 2004; scikit-learn's `modified_huber`): 4 times [`Penalty::smooth`] with gamma
    /// 2, so phi(v) = v^2 up to v = 2 and 4 (v - 1) beyond.
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
            // At least the smallest normal number, so that 1/(2 gamma) is finite.
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

/// `linear`, `squared`, `softplus`, `smooth:GAMMA` or, with a scale, `smooth:GAMMA:SCALE`.
impl std::fmt::Display for Penalty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Linear => f.write_str("linear"),
            Self::Squared => f.write_str("squared"),
            Self::Softplus => f.write_str("softplus"),
            Self::Smooth { gamma, scale: 1.0 } => write!(f, "smooth:{}", number(*gamma)),
            Self::Smooth { gamma, scale } => write!(f, "smooth:{}:{}", number(*gamma), number(*scale)),
        }
    }
}

/// What `Display` writes, and `rennie` and `modified-huber`.
impl std::str::FromStr for Penalty {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let smooth = |numbers: &str| {
            let (gamma, scale) = numbers.split_once(':').unwrap_or((numbers, "1"));
            Some(Self::Smooth { gamma: gamma.parse().ok()?, scale: scale.parse().ok()? })
        };
        let penalty = match text {
            "linear" => Some(Self::Linear),
            "squared" => Some(Self::Squared),
            "softplus" => Some(Self::Softplus),
            "rennie" => Some(Self::RENNIE),
            "modified-huber" => Some(Self::MODIFIED_HUBER),
            _ => text.strip_prefix("smooth:").and_then(smooth),
        };
        penalty.ok_or_else(|| Error::Option {
            option: "penalty",
            expected: "one of linear, squared, softplus, rennie, modified-huber, smooth:GAMMA, smooth:GAMMA:SCALE"
                .into(),
            got: text.into(),
        })
    }
}

/// The slope of the hinge at its kink, v = 0 exactly, where every value in [0, 1] is a subgradient.
///
/// torch takes 0, JAX one half, burn and older torch 1. Only [`Penalty::Linear`] has a kink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kink {
    /// Slope 0: a margin met exactly gives no gradient.
    #[default]
    Zero,
    /// Slope one half.
    Half,
    /// Slope 1: a margin met exactly gives the full gradient.
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
    /// The lowest index takes all of it (torch's `max(dim)`).
    #[default]
    First,
    /// All share it evenly (torch's `amax`, JAX).
    Split,
}

names!(Ties, "ties": First = "first", Split = "split");

/// A range of violations over which a penalty is a polynomial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The range begins above this violation and ends where the next piece begins.
    pub(crate) above: f64,
    /// phi(v) = c0 + c1*v + c2*v^2.
    pub(crate) coefficients: [f64; 3],
}

impl Piece {
    const NONE: Self = Self { above: f64::INFINITY, coefficients: [0.0; 3] };

    const fn all(coefficients: [f64; 3]) -> [Self; 2] {
        [Self { above: 0.0, coefficients }, Self::NONE]
    }
}

/// A penalty as a type: the CPU's inner loops are compiled once per penalty and do not branch on it. Code that takes a
/// penalty once per row uses [`Penalty`] itself, so that one loop serves all.
pub(crate) trait PenaltyShape: Copy + Send + Sync {
    /// phi'(0+), which the kink convention scales; 0 if phi has no kink.
    fn slope_at_zero(self) -> f64;
    /// phi over v > 0, if phi is 0 for v <= 0 and piecewise polynomial above.
    fn pieces(self) -> Option<[Piece; 2]>;
    /// phi(v) and phi'(v), with `kink_slope` as phi'(0). A NaN violation gives NaN for both.
    fn penalise<T: Number>(self, v: T, kink_slope: T) -> (T, T);
    /// Runs a loop with the penalty's own type: the choice is made once, before the loop.
    #[inline(always)]
    fn run<L: PenaltyLoop>(self, job: L) -> L::Output {
        job.run(self)
    }
}

/// A loop over violations that is generic over the penalty: see [`PenaltyShape::run`].
pub(crate) trait PenaltyLoop {
    type Output;
    fn run<P: PenaltyShape>(self, shape: P) -> Self::Output;
}

/// The slope of a penalty that is 0 for v <= 0, given its slope above 0. Selects instead of branches, so that loops
/// vectorise.
#[inline(always)]
fn one_sided<T: Number>(v: T, kink_slope: T, slope: T) -> T {
    let zero = v.splat(0.0);
    let slope = T::select(v.equals(v), slope, v);
    let slope = T::select(v.equals(zero), kink_slope, slope);
    T::select(v.below(zero), zero, slope)
}

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

#[derive(Clone, Copy, Debug)]
pub(crate) struct SmoothPenalty {
    gamma: f64,
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
        // This order keeps v^2 from overflowing for large v below a large gamma. The line passes NaN through.
        let square = scale * (charged * (charged * (half / gamma)));
        let line = scale * (charged - half * gamma);
        let is_square = v.below(gamma);
        let slope = T::select(is_square, scale * (v / gamma), scale);
        (T::select(is_square, square, line), one_sided(v, kink_slope, slope))
    }
}

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
        // ln(1 + e^v) = max(v, 0) + ln(1 + e^-|v|): exp sees only negative numbers and cannot overflow.
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

/// Like `with_penalty`, but gives a type of its own only to common penalties where `$is_common` is true. One loop, with
/// [`Penalty`] as the type, serves the rest.
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

/// A loss's margin, penalty and kink in the precision of the computation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<T, P> {
    pub(crate) margin: T,
    kink_slope: T,
    shape: P,
}

impl<T: Real, P: PenaltyShape> Rule<T, P> {
    /// Rounds the margin to `T` and fixes the slope at the kink.
    pub(crate) fn new(margin: f64, kink: Kink, shape: P) -> Self {
        Self { margin: T::from_f64(margin), kink_slope: T::from_f64(kink.slope() * shape.slope_at_zero()), shape }
    }

    /// The same rule for numbers with the lanes of `of`.
    pub(crate) fn splat<V: Number>(&self, of: V) -> Rule<V, P> {
        let splat = |x: T| of.splat(x.to_f64());
        Rule { margin: splat(self.margin), kink_slope: splat(self.kink_slope), shape: self.shape }
    }

    pub(crate) fn pieces(&self) -> Option<[Piece; 2]> {
        self.shape.pieces()
    }

    pub(crate) fn kink_slope(&self) -> T {
        self.kink_slope
    }
}

impl<T: Number, P: PenaltyShape> Rule<T, P> {
    #[inline(always)]
    pub(crate) fn with_shape<Q: PenaltyShape>(&self, shape: Q) -> Rule<T, Q> {
        Rule { margin: self.margin, kink_slope: self.kink_slope, shape }
    }

    #[inline(always)]
    pub(crate) fn shape(&self) -> P {
        self.shape
    }

    #[inline(always)]
    pub(crate) fn penalise(&self, v: T) -> (T, T) {
        self.shape.penalise(v, self.kink_slope)
    }
}
