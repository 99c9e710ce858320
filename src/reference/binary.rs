//! Binary hinge: phi(margin - t*s).

use super::{Options, Sample};

/// One sample: score `s`, label `t` in {-1, +1}.
pub fn sample(s: f64, t: f64, options: &Options) -> Sample {
    let violation = options.margin - t * s;
    if violation.is_nan() {
        return Sample::undefined(1, false);
    }
    let prediction = if s > 0.0 { 1.0 } else { -1.0 };
    Sample {
        loss: options.phi(violation),
        gradient: vec![-t * options.phi_slope(violation)],
        active: violation > 0.0,
        correct: prediction == t,
        per_class: vec![],
    }
}
