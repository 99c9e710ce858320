//! Crammer-Singer: phi(max over i != y of (margin(y, i) + s_i) - s_y).

use super::{Margins, Options, Sample, argmax};
use crate::loss::Ties;

/// One sample: a row of scores `s` and its true class `y`.
pub fn sample(s: &[f64], y: usize, margins: Margins<'_>, options: &Options) -> Sample {
    if s.iter().any(|x| x.is_nan()) {
        return Sample::undefined(s.len(), false);
    }
    let correct = argmax(s) == y;
    // The argmax of margin(y, i) + s_i. With a single margin, or an infinite s_y, it is the highest score. Otherwise
    // s_y is subtracted first, so that two large scores cancel before the margin is added.
    let by_score = matches!(margins, Margins::Uniform(_)) || s[y].is_infinite();
    let reach = |i: usize| if by_score { s[i] } else { margins.of(y, i, s.len()) + (s[i] - s[y]) };
    let best = (0..s.len()).filter(|&i| i != y).map(reach).fold(f64::NEG_INFINITY, f64::max);
    let tied: Vec<usize> = (0..s.len()).filter(|&i| i != y && reach(i) == best).collect();
    let violation = margins.of(y, tied[0], s.len()) + (s[tied[0]] - s[y]);
    if violation.is_nan() {
        return Sample::undefined(s.len(), correct);
    }
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
