//! Listwise pairwise hinge: sum over pairs with y_i > y_j of phi(margin - (s_i - s_j)); items with y < 0 are left out.

use super::{Options, Sample};

/// One list of scores `s` and relevances `y`.
pub fn sample(s: &[f64], y: &[f64], options: &Options) -> Sample {
    let items: Vec<usize> = (0..s.len()).filter(|&i| y[i] >= 0.0).collect();
    if items.iter().any(|&i| s[i].is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let over = options.over(s.len());
    let (mut loss, mut active, mut gradient) = (0.0, false, vec![0.0; s.len()]);
    for &i in &items {
        // A list may have millions of pairs. One sum per item keeps rounding errors small.
        let (mut of_item, mut slope_of_item) = (0.0, 0.0);
        for &j in items.iter().filter(|&&j| y[i] > y[j]) {
            let violation = options.margin + (s[j] - s[i]);
            if violation.is_nan() {
                return Sample::undefined(s.len(), false);
            }
            of_item += options.phi(violation) * over;
            slope_of_item += options.phi_slope(violation) * over;
            gradient[j] += options.phi_slope(violation) * over;
            active |= violation > 0.0;
        }
        loss += of_item;
        gradient[i] -= slope_of_item;
    }
    Sample { loss, gradient, active, correct: false, per_class: vec![] }
}
