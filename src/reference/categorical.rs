//! Categorical hinge: phi(margin + max over i of (1 - y_i)*s_i - sum over i of y_i*s_i).

use super::{Options, Sample, argmax};
use crate::loss::Ties;

/// One sample: a row of scores `s` and a row of targets `y`, each -1, 0 or 1. Zero times infinity is zero.
pub fn sample(s: &[f64], y: &[f64], options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let correct = y[argmax(s)] == 1.0;
    let times = |factor: f64, x: f64| if factor == 0.0 { 0.0 } else { factor * x };
    let negative: Vec<f64> = (0..s.len()).map(|i| times(1.0 - y[i], s[i])).collect();
    let positive: f64 = (0..s.len()).map(|i| times(y[i], s[i])).sum();
    let best = negative.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let violation = options.margin + (best - positive);
    if violation.is_nan() {
        return Sample::undefined(s.len(), correct);
    }
    let tied: Vec<usize> = (0..s.len()).filter(|&i| negative[i] == best).collect();
    let receivers = match options.ties {
        Ties::First => &tied[..1],
        Ties::Split => &tied[..],
    };
    let slope = options.phi_slope(violation);
    let mut gradient: Vec<f64> = y.iter().map(|y| times(-y, slope)).collect();
    for &i in receivers {
        gradient[i] += times((1.0 - y[i]) / receivers.len() as f64, slope);
    }
    Sample { loss: options.phi(violation), gradient, active: violation > 0.0, correct, per_class: vec![] }
}
