//! Top-k: phi(mean of the k largest a_j), where a_j = margin(y, j) + (s_j - s_y) for j != y and a_y = 0.

use super::{Margins, Options, Sample, argmax};
use crate::loss::Ties;

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, k: usize, margins: Margins<'_>, options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let correct = argmax(s) == y;
    let a: Vec<f64> =
        (0..s.len()).map(|j| if j == y { 0.0 } else { margins.of(y, j, s.len()) + (s[j] - s[y]) }).collect();
    // The sort is stable: the lowest index wins at rank k.
    let mut order: Vec<usize> = (0..a.len()).collect();
    order.sort_by(|&i, &j| a[j].total_cmp(&a[i]));
    let violation = order[..k].iter().map(|&j| a[j]).sum::<f64>() / k as f64;
    if violation.is_nan() || a.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), correct);
    }
    // The weight of each a_j in the sum of the k largest: 1 if it is among them, else 0. With `Ties::Split`, all classes
    // whose a_j equals the k-th largest get the same weight: the ranks left for them, divided by their number.
    let mut share = vec![0.0; s.len()];
    order[..k].iter().for_each(|&j| share[j] = 1.0);
    if options.ties == Ties::Split {
        let last = a[order[k - 1]];
        let left = order[..k].iter().filter(|&&j| a[j] == last).count() as f64;
        let tied = a.iter().filter(|&&x| x == last).count() as f64;
        (0..a.len()).filter(|&j| a[j] == last).for_each(|j| share[j] = left / tied);
    }
    let slope = options.phi_slope(violation) / k as f64;
    let mut gradient: Vec<f64> = share.iter().map(|share| if *share == 0.0 { 0.0 } else { slope * share }).collect();
    let rivals = k as f64 - share[y];
    gradient[y] = if rivals == 0.0 { 0.0 } else { -slope * rivals };
    Sample { loss: options.phi(violation), gradient, active: violation > 0.0, correct, per_class: vec![] }
}
