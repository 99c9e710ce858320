//! Multilabel margin: sum of phi(margin + s_i - s_j) over labels j and classes i that are not labels, divided by C.

use super::{ExactSum, Options, Sample};

/// One sample: a row of scores `s` and a row of targets `t`, class indices up to the first negative one.
pub fn sample(s: &[f64], t: &[f64], options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let labels: Vec<usize> = t.iter().take_while(|&&t| t >= 0.0).map(|&t| t as usize).collect();
    let over = options.over(s.len());
    let mut gradient = vec![0.0; s.len()];
    let (mut loss, mut active) = (0.0, false);
    // A repeated label counts repeatedly: a sum times its count. Adding equal numbers would round in one direction.
    let mut times = vec![0.0; s.len()];
    labels.iter().for_each(|&j| times[j] += 1.0);
    for j in (0..s.len()).filter(|&j| times[j] > 0.0) {
        let (mut of_label, mut slope_of_label) = (ExactSum::default(), ExactSum::default());
        for i in (0..s.len()).filter(|&i| times[i] == 0.0) {
            let violation = options.margin + (s[i] - s[j]);
            if violation.is_nan() {
                return Sample::undefined(s.len(), false);
            }
            let slope = options.phi_slope(violation) * over;
            of_label.add(options.phi(violation) * over);
            slope_of_label.add(slope);
            gradient[i] += slope * times[j];
            active |= violation > 0.0;
        }
        loss += of_label.total() * times[j];
        gradient[j] = -slope_of_label.total() * times[j];
    }
    Sample { loss, gradient, active, correct: false, per_class: vec![] }
}
