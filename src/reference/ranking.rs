//! Margin ranking: phi(margin - t*(x1 - x2)).

use super::{Options, Sample};

/// One sample: scores `x1` and `x2`, label `t` in {-1, +1}. The gradient is with respect to both scores. A NaN
/// difference (of two equal infinities, for instance) is undefined and predicts nothing.
pub fn sample(x1: f64, x2: f64, t: f64, options: &Options) -> Sample {
    if (x1 - x2).is_nan() {
        return Sample::undefined(2, false);
    }
    let violation = options.margin - t * (x1 - x2);
    let slope = options.phi_slope(violation);
    Sample {
        loss: options.phi(violation),
        gradient: vec![-t * slope, t * slope],
        active: violation > 0.0,
        correct: (x1 > x2) == (t > 0.0),
        per_class: vec![],
    }
}
