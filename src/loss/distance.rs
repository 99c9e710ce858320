//! Distances between two vectors, which the losses of the vectors pattern are computed from.

use serde::{Deserialize, Serialize};

use crate::data::exact;
use crate::error::{Error, Result, number};

/// The distance of two vectors x and y.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Distance {
    /// The p-norm of x - y + epsilon (torch's PairwiseDistance). For p infinite, components that tie for the largest
    /// share the slope.
    Norm {
        /// From 1 to infinity.
        #[serde(with = "exact::number")]
        p: f64,
        /// Added to every component of the difference; finite in f32.
        #[serde(with = "exact::number")]
        epsilon: f64,
    },
    /// 1 - cos(x, y), where 1e-12 is added to each squared length (torch's CosineEmbeddingLoss).
    Cosine,
}

impl Distance {
    /// torch's Euclidean distance: p = 2, epsilon = 1e-6.
    pub const EUCLIDEAN: Self = Self::Norm { p: 2.0, epsilon: 1e-6 };

    /// Added to each squared length before the cosine is divided by the lengths.
    pub(crate) const COSINE_EPSILON: f64 = 1e-12;

    pub(crate) fn check(self) -> Result<()> {
        let Self::Norm { p, epsilon } = self else { return Ok(()) };
        let refuse = |option, expected: &str, got: f64| {
            Err(Error::Option { option, expected: expected.into(), got: number(got) })
        };
        if !(p >= 1.0 && (p == f64::INFINITY || (p as f32).is_finite())) {
            return refuse("p", "a number of at least 1, in f32's range, or infinity", p);
        }
        if !(epsilon as f32).is_finite() {
            return refuse("eps", "a finite number in f32's range", epsilon);
        }
        Ok(())
    }
}
