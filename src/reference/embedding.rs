//! Embedding hinge: (t != 1 ? max(0, margin - x) : 0) + (t != -1 ? x : 0), torch's HingeEmbeddingLoss.

use super::{Options, Sample};
use crate::loss::Penalty;

/// One sample: distance `x`, any finite target `t`.
pub fn sample(x: f64, t: f64, options: &Options) -> Sample {
    if x.is_nan() {
        return Sample::undefined(1, false);
    }
    let options = Options { penalty: Penalty::Linear, ..*options };
    let violation = options.margin - x;
    let (mut loss, mut slope) = (0.0, 0.0);
    if t != 1.0 {
        loss += options.phi(violation);
        slope -= options.phi_slope(violation);
    }
    if t != -1.0 {
        loss += x;
        slope += 1.0;
    }
    if t != 1.0 && t != -1.0 && x == f64::NEG_INFINITY {
        // The limit of (margin - x) + x.
        loss = options.margin;
    }
    Sample { loss, gradient: vec![slope], active: t != 1.0 && violation > 0.0, correct: false, per_class: vec![] }
}
