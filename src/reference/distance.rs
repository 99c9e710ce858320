//! Distances between two vectors, and their slopes with respect to the components of both.

use crate::loss::Distance;

pub(super) fn between(x: &[f64], y: &[f64], distance: Distance) -> (f64, Vec<f64>, Vec<f64>) {
    let pairs = || x.iter().zip(y);
    match distance {
        Distance::Norm { p, epsilon } => {
            let d: Vec<f64> = pairs().map(|(x, y)| x - y + epsilon).collect();
            // Components are divided by the largest: their powers would overflow.
            let unit = d.iter().fold(f64::MIN_POSITIVE, |m: f64, d| m.max(d.abs()));
            let power: f64 = d.iter().map(|d| (d.abs() / unit).powf(p)).sum();
            let norm = match p {
                // The callers exclude NaN inputs, so NaN here means that two equal infinities were subtracted.
                _ if d.iter().any(|d| d.is_nan()) => f64::NAN,
                _ if d.iter().any(|d| d.is_infinite()) => f64::INFINITY,
                f64::INFINITY => d.iter().fold(0.0, |m: f64, d| m.max(d.abs())),
                _ => unit * power.powf(1.0 / p),
            };
            let largest = d.iter().filter(|d| d.abs() == norm).count() as f64;
            // At distance 0 no direction is preferred: slope 0.
            let slope = |d: &f64| match p {
                _ if norm == 0.0 || *d == 0.0 => 0.0,
                f64::INFINITY => d.signum() * f64::from(u8::from(d.abs() == norm)) / largest,
                // (|d| / norm)^(p - 1). For large p the norm rounds to the largest component, but its power does not.
                _ => d.signum() * (d.abs() / unit).powf(p - 1.0) / power.powf(1.0 - 1.0 / p),
            };
            let slopes: Vec<f64> = d.iter().map(slope).collect();
            let opposite = slopes.iter().map(|s| -s).collect();
            (norm, slopes, opposite)
        }
        Distance::Cosine => {
            let length = |x: &[f64]| (x.iter().map(|x| x * x).sum::<f64>() + 1e-12).sqrt();
            let (length_x, length_y) = (length(x), length(y));
            let cosine = pairs().map(|(x, y)| x * y).sum::<f64>() / (length_x * length_y);
            let slope = |x: &f64, y: &f64, of_x: f64, of_y: f64| cosine * x / (of_x * of_x) - y / (of_x * of_y);
            let slopes_x = pairs().map(|(x, y)| slope(x, y, length_x, length_y)).collect();
            let slopes_y = pairs().map(|(x, y)| slope(y, x, length_y, length_x)).collect();
            (1.0 - cosine, slopes_x, slopes_y)
        }
    }
}

/// Adds a multiple of the slopes. Factor 0 adds nothing, even where a slope is infinite.
pub(super) fn add(to: &mut [f64], slopes: &[f64], factor: f64) {
    if factor != 0.0 {
        to.iter_mut().zip(slopes).for_each(|(to, slope)| *to += factor * slope);
    }
}
