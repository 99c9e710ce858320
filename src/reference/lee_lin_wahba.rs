//! Lee-Lin-Wahba: sum over i != y of phi(s_i + margin/(C-1)).

use super::{Options, Sample, argmax};

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let over = options.over(s.len());
    let violation = |i: usize| s[i] + options.margin / (s.len() - 1) as f64;
    let rivals = || (0..s.len()).filter(|&i| i != y);
    let mut gradient = vec![0.0; s.len()];
    for i in rivals() {
        gradient[i] = options.phi_slope(violation(i)) * over;
    }
    Sample {
        loss: rivals().map(|i| options.phi(violation(i))).sum::<f64>() * over,
        gradient,
        active: rivals().any(|i| violation(i) > 0.0),
        correct: argmax(s) == y,
        per_class: vec![],
    }
}
