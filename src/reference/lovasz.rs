//! Lovasz hinge: dot(phi(errors in descending order), steps of the Jaccard loss), where errors = margin - t*s.

use super::{Options, Sample};

/// One list of scores `s` and labels `t` of -1 and +1 (Berman, Triki and Blaschko, 2018, algorithm 1).
pub fn sample(s: &[f64], t: &[f64], options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    // Ascending t*s is descending error. The sort is stable: equal errors keep their order.
    let mut order: Vec<usize> = (0..s.len()).collect();
    order.sort_by(|&i, &j| (t[i] * s[i] + 0.0).total_cmp(&(t[j] * s[j] + 0.0)));
    let positives = t.iter().filter(|&&t| t > 0.0).count() as f64;
    let (mut intersection, mut union) = (positives, positives);
    let (mut loss, mut active, mut gradient) = (0.0, false, vec![0.0; s.len()]);
    for &i in &order {
        let (intersection_before, union_before) = (intersection, union);
        if t[i] > 0.0 {
            intersection -= 1.0;
        } else {
            union += 1.0;
        }
        // The loss is 1 - I/U, and 0 if the union is empty. The step is taken over a common denominator, so nothing
        // cancels.
        let step = match union_before {
            0.0 => 1.0,
            _ => (intersection_before * union - intersection * union_before) / (union_before * union),
        };
        let error = options.margin - t[i] * s[i];
        active |= error > 0.0;
        // Zero times an infinite error counts as 0, not NaN.
        if step != 0.0 {
            loss += options.phi(error) * step;
            gradient[i] = -t[i] * options.phi_slope(error) * step;
        }
    }
    Sample { loss, gradient, active, correct: false, per_class: vec![] }
}
