//! One against all: sum over i of phi(margin - t_i*s_i), t_i = +1 for i = y and -1 otherwise.

use super::{Options, Sample, argmax};

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, options: &Options) -> Sample {
    let over = options.over(s.len());
    let t = |i: usize| if i == y { 1.0 } else { -1.0 };
    let violation = |i: usize| options.margin - t(i) * s[i];
    // A class's own loss depends only on its own score. A NaN affects only that class, and the row's loss.
    let class_loss = |i: usize| if s[i].is_nan() { f64::NAN } else { options.phi(violation(i)) };
    let per_class: Vec<f64> = (0..s.len()).map(class_loss).collect();
    if s.iter().any(|x| x.is_nan()) {
        return Sample { per_class, ..Sample::undefined(s.len(), false) };
    }
    Sample {
        loss: per_class.iter().sum::<f64>() * over,
        gradient: (0..s.len()).map(|i| -t(i) * options.phi_slope(violation(i)) * over).collect(),
        active: (0..s.len()).any(|i| violation(i) > 0.0),
        correct: argmax(s) == y,
        per_class,
    }
}
