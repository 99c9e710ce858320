//! Crammer-Singer: phi(margin + max over i != y of (s_i - s_y)).

use super::{Options, Sample, argmax};
use crate::loss::Ties;

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let correct = argmax(s) == y;
    let best = (0..s.len()).filter(|&i| i != y).map(|i| s[i]).fold(f64::NEG_INFINITY, f64::max);
    let violation = options.margin + (best - s[y]);
    if violation.is_nan() {
        return Sample::undefined(s.len(), correct);
    }
    let tied: Vec<usize> = (0..s.len()).filter(|&i| i != y && s[i] == best).collect();
    let receivers = match options.ties {
        Ties::First => &tied[..1],
        Ties::Split => &tied[..],
    };
    let slope = options.phi_slope(violation);
    let mut gradient = vec![0.0; s.len()];
    for &i in receivers {
        gradient[i] = slope / receivers.len() as f64;
    }
    gradient[y] = -slope;
    Sample { loss: options.phi(violation), gradient, active: violation > 0.0, correct, per_class: vec![] }
}
