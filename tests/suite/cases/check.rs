//! Compares an evaluation with the reference's answer for its case.

use super::{Case, Kind, Values};
use maxmargin::{Device, Evaluation, Penalty, Precision, Reduction, Ties};

/// Compares one number: NaN and infinities must be of the same kind, all else within the bound.
pub(crate) fn close(got: f64, expected: f64, bound: f64) -> bool {
    if expected.is_nan() || expected.is_infinite() {
        return got.is_nan() == expected.is_nan() && (expected.is_nan() || got == expected);
    }
    (got - expected).abs() <= bound
}

/// Compares two arrays: their lengths, then the first differences with their indices.
pub(crate) fn compare(what: &str, got: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), expected.len()));
    }
    let bad: Vec<_> = (0..got.len())
        .filter(|&i| !close(got[i], expected[i], bound(i)))
        .map(|i| format!("{what}[{i}] = {:e}, expected {:e} within {:e}", got[i], expected[i], bound(i)))
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("{} differ: {}", bad.len(), bad[..bad.len().min(3)].join("; "))) }
}

/// Compares an evaluation with the reference: exactly for dyadic inputs, within DESIGN's bounds for the rest.
pub(crate) fn check(case: &Case, got: &Evaluation, device: &Device) -> Result<(), String> {
    let e = case.expect();
    let linear_only = case.kind == Kind::Embedding;
    // Half a unit in the last place of 1, the smallest normal number, and the value's error bound.
    let (precision, epsilon, tiny, value_bound) = match case.double {
        false => (Precision::F32, f64::from(f32::EPSILON) / 2.0, f64::from(f32::MIN_POSITIVE), 1e-6),
        true => (Precision::F64, f64::EPSILON / 2.0, f64::MIN_POSITIVE, 1e-14),
    };
    if got.precision != precision {
        return Err(format!("precision {:?}, expected {precision:?}", got.precision));
    }
    // Steps of the Jaccard loss are thirds and other inexact fractions.
    let exact = case.values == Values::Dyadic
        && !matches!(case.kind, Kind::Lovasz(_))
        && (case.options.penalty != Penalty::Softplus || linear_only);
    let counters = |name: &str, got: u64, expected: u64| {
        if got == expected { Ok(()) } else { Err(format!("{name} = {got}, expected {expected}")) }
    };
    counters("count", got.count, e.count)?;
    counters("active", got.active, e.active)?;
    match (case.kind, got.correct) {
        (Kind::Embedding | Kind::Multilabel | Kind::Listwise | Kind::Lovasz(_), None) => {}
        (Kind::Embedding | Kind::Multilabel | Kind::Listwise | Kind::Lovasz(_), Some(_)) => {
            return Err("an accuracy that means nothing".into());
        }
        (_, correct) => counters("correct", correct.ok_or("no correct")?, e.correct)?,
    }
    if !close(got.weight_sum, e.weight_sum, if exact { 0.0 } else { value_bound * e.weight_sum }) {
        return Err(format!("weight sum {} instead of {}", got.weight_sum, e.weight_sum));
    }
    // Multiples of 1/512 (two weights in halves, a square of eighths) below 2^15 fit in 24 bits.
    let fits = |i: usize| exact && e.loss_bounds[i] < 32768.0;
    let value = e.sum / e.divisor;
    match (case.reduction, got.value) {
        (Reduction::None, None) => {}
        (Reduction::None, Some(value)) => return Err(format!("a value {value} with reduction none")),
        (_, got) => {
            let all_fit = exact && (0..e.loss_bounds.len()).all(fits);
            // A GPU's workgroups add losses in f32, so the sum must fit too. A mean of k violations has units k times
            // finer, and its square k times finer again.
            let units = if case.kind == Kind::TopK { (case.k * case.k) as f64 } else { 1.0 };
            let sum_fits = matches!(device, Device::Cpu) || e.loss_bounds.iter().sum::<f64>() * units < 32768.0;
            let bound = if all_fit && sum_fits { 0.0 } else { value_bound * e.scale / e.divisor };
            compare("value", &[got.ok_or("no value")?], &[value], |_| bound)?;
        }
    }
    let losses = got.losses.as_ref().ok_or("no losses")?.to_f64().map_err(|e| e.to_string())?;
    // Margin, penalty and two weights round once each, relative to the sum's terms. A row's sum rounds in a chain of
    // 16 + 16 and a tree of 8.
    let roundings = if case.is_rows() { 48.0 } else { 6.0 };
    // In f64 the reference is no more exact than the result, since it adds a row's columns one after the other.
    let roundings = if case.double { roundings + case.columns as f64 } else { roundings };
    let bound = |i: usize| if fits(i) { 0.0 } else { roundings * epsilon * e.loss_bounds[i] + tiny };
    compare("loss", &losses, &e.losses, bound)?;
    let gradient = got.gradient.as_ref().ok_or("no gradient")?.to_f64().map_err(|e| e.to_string())?;
    let columns = case.columns;
    // Slope, weights and divisor round once each, relative to the row's largest slope.
    let row_reach = |n: usize| {
        let row = &e.gradient[n * columns..][..columns];
        let largest = row.iter().fold(0.0, |m: f64, g| if g.is_finite() { m.max(g.abs()) } else { m });
        // A slope that varies inherits the violation's rounding, which is relative to the scores.
        let curvature = match case.options.penalty {
            _ if linear_only => 0.0,
            Penalty::Squared | Penalty::Softplus => 1.0,
            Penalty::Smooth { gamma, scale } => scale / gamma,
            _ => 0.0,
        };
        let weight = case.sample_weights.as_ref().map_or(1.0, |w| f64::from(w[n]))
            * case.class_weights.as_ref().map_or(1.0, |w| w.iter().copied().fold(0.0, f64::max));
        let scores = &case.scores[n * columns..][..columns];
        let scores = scores.iter().chain(case.second.get(n));
        let reach = scores.fold(0.0, |m: f64, s| if s.is_finite() { m.max(f64::from(s.abs())) } else { m });
        largest + columns as f64 * weight / e.divisor * curvature * (case.largest_margin() + 2.0 * reach)
    };
    let sums_exact =
        exact && matches!(case.reduction, Reduction::Sum | Reduction::None) && case.options.ties == Ties::First;
    let bounds: Vec<f64> = (0..e.losses.len()).map(|n| 16.0 * epsilon * row_reach(n) + tiny).collect();
    compare("gradient", &gradient, &e.gradient, |i| if sums_exact { 0.0 } else { bounds[i / columns] })
}
