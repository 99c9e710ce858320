//! Weston-Watkins: sum over i != y of phi(margin(y, i) + (s_i - s_y)).

use super::{Margins, Options, Sample, argmax};

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, margins: Margins<'_>, options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let correct = argmax(s) == y;
    let mut loss = 0.0;
    let mut gradient = vec![0.0; s.len()];
    let mut active = false;
    for i in (0..s.len()).filter(|&i| i != y) {
        let violation = margins.of(y, i, s.len()) + (s[i] - s[y]);
        if violation.is_nan() {
            return Sample::undefined(s.len(), correct);
        }
        loss += options.phi(violation);
        gradient[i] += options.phi_slope(violation);
        gradient[y] -= options.phi_slope(violation);
        active |= violation > 0.0;
    }
    let over = options.over(s.len());
    gradient.iter_mut().for_each(|g| *g *= over);
    Sample { loss: loss * over, gradient, active, correct, per_class: vec![] }
}
