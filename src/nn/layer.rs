//! Dense layers and their starting weights.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::data::real::Real;
use crate::error::{Error, Result};
use crate::names::names;

/// A precision that networks are trained in.
pub(crate) trait Elementary: Real {
    fn tanh(self) -> Self;
    fn sqrt(self) -> Self;
}

macro_rules! elementary {
    ($t:ty) => {
        impl Elementary for $t {
            #[inline(always)]
            fn tanh(self) -> Self {
                <$t>::tanh(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
        }
    };
}
elementary!(f32);
elementary!(f64);

/// The function that a layer applies to its weighted sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// The identity.
    #[default]
    Identity,
    /// max(0, z), with slope 0 at 0.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-z).
    Sigmoid,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<T: Elementary>(self, z: T) -> T {
        match self {
            Activation::Identity => z,
            // A comparison with NaN is false, so NaN stays.
            Activation::Relu => {
                if z < T::ZERO {
                    T::ZERO
                } else {
                    z
                }
            }
            Activation::Tanh => z.tanh(),
            Activation::Sigmoid => T::ONE / (T::ONE + (-z).exp()),
        }
    }

    /// The derivative as a function of the activation's value y.
    #[inline(always)]
    pub(crate) fn slope<T: Real>(self, y: T) -> T {
        match self {
            Activation::Identity => T::ONE,
            Activation::Relu => {
                if y > T::ZERO {
                    T::ONE
                } else {
                    T::ZERO
                }
            }
            Activation::Tanh => T::ONE - y * y,
            Activation::Sigmoid => y * (T::ONE - y),
        }
    }
}

names!(Activation, "activation": Identity = "identity", Relu = "relu", Tanh = "tanh", Sigmoid = "sigmoid");

/// The starting weights and bias of a layer with `fan_in` inputs and `fan_out` outputs. U(a) is uniform in [-a, a).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Initializer {
    /// torch's Linear: weights and bias U(1 / sqrt(fan_in)).
    #[default]
    Torch,
    /// Weights U(sqrt(6 / fan_in)), bias 0 (He and others, 2015).
    HeUniform,
    /// Weights U(sqrt(6 / (fan_in + fan_out))), bias 0 (Glorot and Bengio, 2010); Keras's default.
    GlorotUniform,
    /// Zeros.
    Zeros,
}

impl Initializer {
    /// The half-widths of the uniform distributions of weights and bias.
    fn limits(self, inputs: usize, outputs: usize) -> (f64, f64) {
        let (inputs, outputs) = (inputs as f64, outputs as f64);
        match self {
            Initializer::Torch => (1.0 / inputs.sqrt(), 1.0 / inputs.sqrt()),
            Initializer::HeUniform => ((6.0 / inputs).sqrt(), 0.0),
            Initializer::GlorotUniform => ((6.0 / (inputs + outputs)).sqrt(), 0.0),
            Initializer::Zeros => (0.0, 0.0),
        }
    }

    /// Appends the starting weights (row-major, outputs x inputs) and the bias. f32 holds each number exactly.
    pub(crate) fn draw(self, inputs: usize, outputs: usize, random: &mut impl Rng, to: &mut Vec<f64>) {
        let (weight, bias) = self.limits(inputs, outputs);
        let mut uniform = |limit: f64| f64::from(((random.random::<f64>() * 2.0 - 1.0) * limit) as f32);
        to.extend((0..inputs * outputs).map(|_| uniform(weight)));
        to.extend((0..outputs).map(|_| uniform(bias)));
    }
}

names!(Initializer, "init": Torch = "torch", HeUniform = "he-uniform", GlorotUniform = "glorot-uniform", Zeros = "zeros");

/// A dense layer: activation(x W^T + b) with weights W of shape (units, inputs).
///
/// ```
/// use maxmargin::nn::{Activation, Dense};
/// let layer: Dense = "50:relu".parse()?;
/// assert_eq!(layer, Dense::new(50).activation(Activation::Relu));
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dense {
    pub(crate) units: usize,
    pub(crate) activation: Activation,
    pub(crate) initializer: Initializer,
}

impl Dense {
    /// A layer of this many outputs, without an activation, with the starting weights of torch's Linear.
    pub fn new(units: usize) -> Self {
        Self { units, activation: Activation::Identity, initializer: Initializer::Torch }
    }

    /// The activation.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// How the starting weights and bias are drawn.
    pub fn initializer(mut self, initializer: Initializer) -> Self {
        self.initializer = initializer;
        self
    }

    /// Number of outputs.
    pub fn units(&self) -> usize {
        self.units
    }
}

/// `UNITS` or `UNITS:ACTIVATION`.
impl FromStr for Dense {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (units, activation) = match text.split_once(':') {
            Some((units, activation)) => (units, activation.parse()?),
            None => (text, Activation::Identity),
        };
        match units.parse() {
            Ok(units) if units > 0 => Ok(Self::new(units).activation(activation)),
            _ => Err(Error::Option {
                option: "layers",
                expected: "UNITS or UNITS:ACTIVATION with at least one unit, 50:relu for instance".into(),
                got: format!("{text:?}"),
            }),
        }
    }
}

impl fmt::Display for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.activation {
            Activation::Identity => write!(f, "{}", self.units),
            activation => write!(f, "{}:{activation}", self.units),
        }
    }
}
