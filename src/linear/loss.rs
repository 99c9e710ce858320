//! The losses of a margin: what a row costs, its convex conjugate, and the multiplier that fits a violation.

use serde::{Deserialize, Serialize};

/// The loss of a row with violation z = 1 - y s, where y is the label as -1 or +1 and s the decision value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LinearLoss {
    /// max(0, z): the loss of the support vector machine (LIBLINEAR's L1-loss).
    Hinge,
    /// max(0, z)^2 (LIBLINEAR's L2-loss).
    SquaredHinge,
    /// z^2 / (2 gamma) from 0 to gamma, and z - gamma/2 beyond it. gamma must be positive.
    SmoothHinge(f64),
}

impl LinearLoss {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hinge => "hinge",
            Self::SquaredHinge => "squared hinge",
            Self::SmoothHinge(_) => "smooth hinge",
        }
    }

    /// The cost of a violation `z` at the cost factor `c`.
    pub(crate) fn value(self, c: f64, z: f64) -> f64 {
        let z = z.max(0.0);
        match self {
            Self::Hinge => c * z,
            Self::SquaredHinge => c * z * z,
            Self::SmoothHinge(gamma) if z < gamma => c * z * z / (2.0 * gamma),
            Self::SmoothHinge(gamma) => c * (z - gamma / 2.0),
        }
    }

    /// The conjugate at a multiplier in [0, [`LinearLoss::cap`]].
    pub(crate) fn conjugate(self, c: f64, a: f64) -> f64 {
        match self {
            Self::Hinge => 0.0,
            // A row that costs nothing has the multiplier 0.
            _ if c == 0.0 => 0.0,
            Self::SquaredHinge => a * a / (4.0 * c),
            Self::SmoothHinge(gamma) => gamma * a * a / (2.0 * c),
        }
    }

    /// The largest multiplier.
    pub(crate) fn cap(self, c: f64) -> f64 {
        match self {
            Self::SquaredHinge if c > 0.0 => f64::INFINITY,
            _ => c,
        }
    }

    /// What the multiplier grows by per violation where it is strictly inside its bounds, per cost factor; `None` for the
    /// hinge, whose multiplier jumps.
    pub(crate) fn slope(self) -> Option<f64> {
        match self {
            Self::Hinge => None,
            Self::SquaredHinge => Some(2.0),
            Self::SmoothHinge(gamma) => Some(1.0 / gamma),
        }
    }

    /// How much more [`LinearLoss::gap`] can be where z is off by `error`.
    pub(crate) fn rounding(self, c: f64, z: f64, a: f64, error: f64) -> f64 {
        let slope = match self.slope() {
            // At its bend the slope may be any multiplier.
            None if z.abs() <= error => return c * error,
            None => {
                if z > 0.0 {
                    c
                } else {
                    0.0
                }
            }
            Some(slope) => (slope * c * z).clamp(0.0, self.cap(c)),
        };
        let bend = if z > -error { self.slope().unwrap_or(0.0) * c * error * error } else { 0.0 };
        (slope - a).abs() * error + bend
    }

    /// value + conjugate - a z, which is never negative: what this row adds to the duality gap. Sums of it do not cancel.
    pub(crate) fn gap(self, c: f64, z: f64, a: f64) -> f64 {
        match self {
            // a in [0, c]: (c - a) z above 0, -a z below.
            Self::Hinge => {
                if z > 0.0 {
                    (c - a) * z
                } else {
                    -a * z
                }
            }
            _ if c == 0.0 => 0.0,
            // c (z - a/(2c))^2 above 0.
            Self::SquaredHinge if z > 0.0 => c * (z - a / (2.0 * c)) * (z - a / (2.0 * c)),
            Self::SmoothHinge(gamma) if z > 0.0 && z < gamma => {
                let off = z - gamma * a / c;
                c / (2.0 * gamma) * off * off
            }
            // (c - a) (z - gamma/2) + a/2 (a/c - 1) gamma + ..., written so that it stays a sum of squares and products.
            Self::SmoothHinge(gamma) if z >= gamma => {
                let below = c - a;
                below * (z - gamma) + gamma * below * below / (2.0 * c)
            }
            _ => self.conjugate(c, a) - a * z,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_of_a_row_is_the_sum_of_its_parts_and_zero_at_the_fitting_multiplier() {
        for loss in
            [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.5), LinearLoss::SmoothHinge(3.0)]
        {
            for c in [0.25, 1.0, 7.0] {
                for z in [-2.0, -0.1, 0.0, 0.3, 0.5, 2.0, 5.0] {
                    for share in [0.0, 0.2, 0.9, 1.0] {
                        let a = share * c;
                        let sum = loss.value(c, z) + loss.conjugate(c, a) - a * z;
                        let gap = loss.gap(c, z, a);
                        assert!(
                            gap >= 0.0 && (gap - sum).abs() < 1e-12 * (1.0 + sum.abs()),
                            "{loss:?} {c} {z} {a}: {gap} {sum}"
                        );
                    }
                    if let Some(slope) = loss.slope() {
                        let a = (slope * c * z).clamp(0.0, loss.cap(c));
                        assert!(loss.gap(c, z, a) < 1e-12, "{loss:?} {c} {z}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_without_cost_adds_nothing() {
        for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(1.0)] {
            assert_eq!((loss.value(0.0, 2.0), loss.gap(0.0, 2.0, 0.0), loss.cap(0.0)), (0.0, 0.0, 0.0));
        }
    }
}
