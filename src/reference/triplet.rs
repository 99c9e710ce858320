//! Triplet margin: phi(margin + d(a, p) - d(a, n)); with a swap, min(d(a, n), d(p, n)) replaces d(a, n).

use super::distance::{add, between};
use super::{Options, Sample};
use crate::loss::Distance;

/// One triplet. The gradient is with respect to anchor, positive, negative, in this order.
pub fn sample(a: &[f64], p: &[f64], n: &[f64], distance: Distance, swap: bool, options: &Options) -> Sample {
    if [a, p, n].iter().any(|x| x.iter().any(|x| x.is_nan())) {
        return Sample::undefined(3 * a.len(), false);
    }
    let (d_ap, ap_a, ap_p) = between(a, p, distance);
    let (d_an, an_a, an_n) = between(a, n, distance);
    let (d_pn, pn_p, pn_n) = between(p, n, distance);
    let share = match swap {
        true if d_pn < d_an => 0.0,
        true if d_pn == d_an => 0.5,
        _ => 1.0,
    };
    // In this order two long distances cancel before the margin is added.
    let violation = options.margin + (d_ap - if share == 0.0 { d_pn } else { d_an });
    if violation.is_nan() {
        return Sample::undefined(3 * a.len(), false);
    }
    let slope = options.phi_slope(violation);
    let mut gradient = [vec![0.0; a.len()], vec![0.0; a.len()], vec![0.0; a.len()]];
    add(&mut gradient[0], &ap_a, slope);
    add(&mut gradient[1], &ap_p, slope);
    add(&mut gradient[0], &an_a, -slope * share);
    add(&mut gradient[2], &an_n, -slope * share);
    add(&mut gradient[1], &pn_p, -slope * (1.0 - share));
    add(&mut gradient[2], &pn_n, -slope * (1.0 - share));
    let mut gradient = gradient.concat();
    // An infinite distance has no direction.
    if violation == f64::INFINITY && slope != 0.0 {
        gradient.fill(f64::NAN);
    }
    Sample { loss: options.phi(violation), gradient, active: violation > 0.0, correct: false, per_class: vec![] }
}
