//! Multilabel margin: sum over labels j and classes i that are none of phi(margin + s_i - s_j), divided by C.

use super::{Options, Sample};

/// One sample: a row of scores `s` and a row of targets `t`, class indices up to the first negative one.
pub fn sample(s: &[f64], t: &[f64], options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let labels: Vec<usize> = t.iter().take_while(|&&t| t >= 0.0).map(|&t| t as usize).collect();
    let over = options.over(s.len());
    let mut gradient = vec![0.0; s.len()];
    let (mut loss, mut active) = (0.0, false);
    let rivals: Vec<usize> = (0..s.len()).filter(|i| !labels.contains(i)).collect();
    for &j in &labels {
        // Millions of pairs: each label's sum apart, so that rounding errors stay few.
        let mut of_label = 0.0;
        for &i in &rivals {
            let violation = options.margin + (s[i] - s[j]);
            if violation.is_nan() {
                return Sample::undefined(s.len(), false);
            }
            of_label += options.phi(violation) * over;
            gradient[i] += options.phi_slope(violation) * over;
            gradient[j] -= options.phi_slope(violation) * over;
            active |= violation > 0.0;
        }
        loss += of_label;
    }
    Sample { loss, gradient, active, correct: false, per_class: vec![] }
}
