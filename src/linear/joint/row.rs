//! One row: its loss, its multipliers, and what changes with them.

use super::JointProblem;

impl JointProblem<'_> {
    /// The loss of a row with these violations.
    pub(super) fn value(&self, cost: f64, violations: &[f64]) -> f64 {
        let positive = violations.iter().map(|u| u.max(0.0));
        cost * if self.bounds_sum { positive.fold(0.0, f64::max) } else { positive.sum() }
    }

    /// value - <multipliers, violations>, as a sum of terms that are never negative.
    pub(super) fn gap(&self, cost: f64, violations: &[f64], multipliers: &[f64]) -> f64 {
        let pairs = violations.iter().zip(multipliers);
        if self.bounds_sum {
            let top = violations.iter().fold(0.0f64, |top, u| top.max(*u));
            let (mut gap, mut left) = (0.0, cost);
            for (u, m) in pairs.filter(|(_, m)| **m > 0.0) {
                gap += m * (top - u);
                left -= m;
            }
            return gap + left.max(0.0) * top;
        }
        // The own class has the violation -1e300 and the multiplier 0.
        let term = |(u, m): (&f64, &f64)| {
            if *u > 0.0 {
                (cost - m) * u
            } else if *m > 0.0 {
                -m * u
            } else {
                0.0
            }
        };
        pairs.map(term).sum()
    }

    /// How much more the gap can be where each violation is off by `error`.
    pub(super) fn rounding(&self, cost: f64, violations: &[f64], multipliers: &[f64], error: f64) -> f64 {
        if self.bounds_sum {
            let is_active = |(u, m): (&f64, &f64)| *u > -error || *m > 0.0;
            return if violations.iter().zip(multipliers).any(is_active) { 2.0 * cost * error } else { 0.0 };
        }
        let term = |(u, m): (&f64, &f64)| {
            if *u > error {
                cost - m
            } else if *u > -error {
                cost
            } else {
                *m
            }
        };
        error * violations.iter().zip(multipliers).map(term).sum::<f64>()
    }

    /// Moves a row's numbers to the nearest multipliers. True where the bound of their sum holds them.
    pub(super) fn project(&self, cost: f64, numbers: &mut [f64]) -> bool {
        if !self.bounds_sum {
            numbers.iter_mut().for_each(|m| *m = m.clamp(0.0, cost));
            return false;
        }
        let (mut sum, mut count) = (0.0, 0u32);
        for m in numbers.iter_mut() {
            *m = m.max(0.0);
            sum += *m;
            count += u32::from(*m > 0.0);
        }
        if sum <= cost {
            return false;
        }
        let threshold = threshold(numbers, sum, count, cost);
        numbers.iter_mut().for_each(|m| *m = (*m - threshold).max(0.0));
        true
    }

    /// Moves multipliers into their bounds, which rounding may have left.
    pub(super) fn clamp(&self, multipliers: &mut [f64]) {
        for (row, multipliers) in multipliers.chunks_exact_mut(self.classes).enumerate() {
            let cost = self.cost(row);
            multipliers.iter_mut().for_each(|m| *m = m.clamp(0.0, cost));
            let sum: f64 = multipliers.iter().sum();
            if self.bounds_sum && sum > cost {
                multipliers.iter_mut().for_each(|m| *m *= cost / sum);
            }
        }
    }
}

/// What must be taken from each of these numbers, of which `count` are positive with the sum `sum`, so that the positive
/// rest has the sum `wanted`, which is less: see Michelot, "A finite algorithm for finding the projection of a point onto
/// the canonical simplex of R^n" (1986).
pub(super) fn threshold(numbers: &[f64], sum: f64, count: u32, wanted: f64) -> f64 {
    let (mut threshold, mut count) = ((sum - wanted) / f64::from(count), count);
    loop {
        let (mut sum, mut above) = (0.0, 0u32);
        for &x in numbers.iter().filter(|x| **x > threshold) {
            sum += x;
            above += 1;
        }
        // Fewer and fewer, but for rounding.
        if above >= count || above == 0 {
            return threshold;
        }
        count = above;
        threshold = (sum - wanted) / f64::from(count);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_threshold_leaves_the_sum_that_is_wanted() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..1000 {
            let numbers: Vec<f64> = (0..random.random_range(1..12)).map(|_| random.random_range(-1.0..3.0)).collect();
            let positive: Vec<f64> = numbers.iter().copied().filter(|x| *x > 0.0).collect();
            let sum: f64 = positive.iter().sum();
            let wanted = random.random_range(0.01..0.99) * sum;
            if positive.is_empty() {
                continue;
            }
            let threshold = threshold(&numbers, sum, positive.len() as u32, wanted);
            let left: f64 = numbers.iter().map(|x| (x - threshold).max(0.0)).sum();
            assert!(threshold >= 0.0 && (left - wanted).abs() < 1e-12 * sum, "{numbers:?} {wanted} {threshold}");
        }
    }
}
