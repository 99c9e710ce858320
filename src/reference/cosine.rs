//! Cosine embedding: phi(1 - cos) for t = 1, phi(cos - margin) for t = -1, 0 for any other t.

use super::distance::{add, between};
use super::{Options, Sample};
use crate::loss::Distance;

/// One pair with its target. The gradient is with respect to x, then y.
pub fn sample(x: &[f64], y: &[f64], t: f64, options: &Options) -> Sample {
    let (distance, slopes_x, slopes_y) = between(x, y, Distance::Cosine);
    if distance.is_nan() {
        return Sample::undefined(2 * x.len(), false);
    }
    let (violation, sign) = match t {
        1.0 => (distance, 1.0),
        -1.0 => (1.0 - distance - options.margin, -1.0),
        _ => (f64::NEG_INFINITY, 0.0),
    };
    let mut gradient = [vec![0.0; x.len()], vec![0.0; x.len()]];
    let slope = if sign == 0.0 { 0.0 } else { sign * options.phi_slope(violation) };
    add(&mut gradient[0], &slopes_x, slope);
    add(&mut gradient[1], &slopes_y, slope);
    let loss = if sign == 0.0 { 0.0 } else { options.phi(violation) };
    let gradient = gradient.concat();
    Sample { loss, gradient, active: violation > 0.0, correct: false, per_class: vec![] }
}
