//! Sums that do not depend on the order of additions: no bit of the numbers that were added is lost.
//!
//! A sum is an expansion: numbers whose exact sum it is, and of which none overlaps another (Shewchuk, "Adaptive precision
//! floating-point arithmetic and fast robust geometric predicates", 1997). A number has many expansions. The one that is kept
//! is unique: its first component is the sum, rounded; the next one is what is left of the sum, rounded; and so on. Equal sums
//! therefore have equal bits, however they came about.

use serde::{Deserialize, Serialize};

use crate::data::exact;

/// From this size on, numbers are kept apart, divided by [`SCALE`]: no sum of fewer than 2^63 numbers overflows.
const HUGE: f64 = f64::from_bits((1023 + 960) << 52);

/// 2^128. The quotient of a huge number is exact.
const SCALE: f64 = f64::from_bits((1023 + 128) << 52);

/// A sum of f64 numbers, exact until it is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedSum", into = "SavedSum")]
pub(crate) struct ExactSum {
    /// The unique expansion, the largest component first. No component is 0.
    components: Vec<f64>,
    /// That of huge numbers, divided by [`SCALE`].
    huge: Vec<f64>,
    has_nan: bool,
    has_infinity: bool,
    has_negative_infinity: bool,
}

/// A sum as it is saved: numbers that add up to it, what is not finite among them.
#[derive(Serialize, Deserialize)]
struct SavedSum {
    #[serde(with = "exact::numbers")]
    numbers: Vec<f64>,
    /// Divided by [`SCALE`].
    #[serde(with = "exact::numbers")]
    huge: Vec<f64>,
}

impl From<ExactSum> for SavedSum {
    fn from(sum: ExactSum) -> Self {
        let ExactSum { components: mut numbers, huge, has_nan, has_infinity, has_negative_infinity } = sum;
        numbers.extend(has_nan.then_some(f64::NAN));
        numbers.extend(has_infinity.then_some(f64::INFINITY));
        numbers.extend(has_negative_infinity.then_some(f64::NEG_INFINITY));
        Self { numbers, huge }
    }
}

impl From<SavedSum> for ExactSum {
    /// Whatever numbers a file has, the sum is theirs, in its unique expansion.
    fn from(saved: SavedSum) -> Self {
        let mut sum = Self::default();
        saved.numbers.into_iter().for_each(|x| sum.add(x));
        for x in saved.huge {
            match x * SCALE {
                // Sums of huge numbers may be larger than any number.
                scaled if scaled.is_infinite() && x.is_finite() => add_to(&mut sum.huge, x),
                scaled => sum.add(scaled),
            }
        }
        sum
    }
}

impl From<f64> for ExactSum {
    fn from(x: f64) -> Self {
        let mut sum = Self::default();
        sum.add(x);
        sum
    }
}

impl ExactSum {
    /// Adds a number.
    pub(crate) fn add(&mut self, x: f64) {
        if x.is_nan() {
            self.has_nan = true;
        } else if x == f64::INFINITY {
            self.has_infinity = true;
        } else if x == f64::NEG_INFINITY {
            self.has_negative_infinity = true;
        } else if x.abs() < HUGE {
            add_to(&mut self.components, x);
        } else {
            add_to(&mut self.huge, x / SCALE);
        }
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge_into(&mut self.components, &other.components);
        merge_into(&mut self.huge, &other.huge);
        self.has_nan |= other.has_nan;
        self.has_infinity |= other.has_infinity;
        self.has_negative_infinity |= other.has_negative_infinity;
    }

    /// The sum, rounded. Where infinities of both signs were added, it is NaN.
    pub(crate) fn value(&self) -> f64 {
        if self.has_nan || self.has_infinity && self.has_negative_infinity {
            return f64::NAN;
        }
        match (self.has_infinity, self.has_negative_infinity) {
            (true, _) => return f64::INFINITY,
            (_, true) => return f64::NEG_INFINITY,
            _ => {}
        }
        let first = |components: &[f64]| components.first().copied().unwrap_or(0.0);
        first(&self.huge) * SCALE + first(&self.components)
    }
}

/// The sum of two numbers, rounded, and what rounding took: their exact sum is that of both (Knuth's TwoSum).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// Adds a number to a unique expansion.
fn add_to(components: &mut Vec<f64>, x: f64) {
    match components[..] {
        // Most sums have one component or two.
        [] if x != 0.0 => components.push(x),
        [] => {}
        [first] => {
            let (sum, rest) = two_sum(first, x);
            components.clear();
            components.extend([sum, rest].into_iter().filter(|x| *x != 0.0));
        }
        _ => {
            grow(components, x);
            make_unique(components);
        }
    }
}

fn merge_into(components: &mut Vec<f64>, others: &[f64]) {
    match others {
        [] => {}
        &[x] => add_to(components, x),
        _ => {
            others.iter().for_each(|&x| grow(components, x));
            make_unique(components);
        }
    }
}

/// Adds a number to any expansion whose components do not overlap and lie in descending order, and leaves such a one.
fn grow(components: &mut Vec<f64>, mut x: f64) {
    let mut kept = components.len();
    for place in (0..components.len()).rev() {
        let (sum, rest) = two_sum(components[place], x);
        if rest != 0.0 {
            kept -= 1;
            components[kept] = rest;
        }
        x = sum;
    }
    components.drain(..kept);
    if x != 0.0 {
        components.insert(0, x);
    }
}

/// Turns an expansion as `grow` leaves it into the unique one.
fn make_unique(components: &mut Vec<f64>) {
    let mut rest = std::mem::take(components);
    while !rest.is_empty() {
        let first = rounded(&rest);
        components.push(first);
        grow(&mut rest, -first);
    }
}

/// The exact sum of components in descending order that do not overlap, rounded to the nearest number, ties to even.
fn rounded(components: &[f64]) -> f64 {
    let (mut sum, mut rest) = (0.0, 0.0);
    let mut left = components.iter();
    while rest == 0.0 {
        let Some(&next) = left.next() else { return sum };
        (sum, rest) = two_sum(sum, next);
    }
    // `sum` is rounded, but for a tie that the next component breaks.
    if let Some(next) = left.next()
        && (*next > 0.0) == (rest > 0.0)
    {
        let twice = 2.0 * rest;
        let other = sum + twice;
        if other - sum == twice {
            return other;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn sum_of(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|&x| sum.add(x));
        sum
    }

    /// Numbers of very different sizes and both signs, which cancel in part.
    fn numbers(random: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
        let mut all: Vec<f64> =
            (0..count).map(|_| random.random_range(-1.0..1.0) * 2f64.powi(random.random_range(-200..200))).collect();
        let negated: Vec<f64> = all.iter().step_by(3).map(|x| -x * (1.0 + f64::EPSILON)).collect();
        all.extend(negated);
        all
    }

    #[test]
    fn every_order_and_every_tree_of_merges_gives_the_same_bits() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for case in 0..50 {
            let mut all = numbers(&mut random, 64);
            if case % 5 == 0 {
                all.extend([1e308, -9e307, 1.7e308, f64::MAX, -1e308]);
            }
            let expected = sum_of(&all);
            let mut plain = std::collections::HashSet::new();
            for _ in 0..200 {
                all.shuffle(&mut random);
                assert_eq!(sum_of(&all), expected);
                let mut parts: Vec<ExactSum> = all.iter().map(|&x| x.into()).collect();
                while parts.len() > 1 {
                    let other = parts.swap_remove(random.random_range(0..parts.len()));
                    let place = random.random_range(0..parts.len());
                    parts[place].merge(&other);
                }
                assert_eq!(parts[0], expected);
                plain.insert(all.iter().sum::<f64>().to_bits());
            }
            // The negative control: plain sums depend on the order.
            assert!(plain.len() > 1);
        }
    }

    #[test]
    fn the_value_is_the_exact_sum_rounded() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..2000 {
            // Whole multiples of 2^-40 below 2^20: their sum is exact in 128 bits.
            let all: Vec<i64> =
                (0..random.random_range(0..40)).map(|_| random.random_range(-(1 << 60)..1 << 60)).collect();
            let scaled: Vec<f64> = all
                .iter()
                .flat_map(|&x| [(x >> 30) as f64 * 2f64.powi(-10), (x & 0x3fff_ffff) as f64 * 2f64.powi(-40)])
                .collect();
            let exact: i128 = all.iter().map(|&x| i128::from(x)).sum();
            assert_eq!(sum_of(&scaled).value(), exact as f64 * 2f64.powi(-40));
        }
        // A tie that the last number breaks, either way.
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum_of(&[1.0, half]).value(), 1.0);
        assert_eq!(sum_of(&[1.0, half, 1e-40]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum_of(&[1e-40, half, 1.0, f64::EPSILON]).value(), 1.0 + 2.0 * f64::EPSILON);
        assert_eq!(sum_of(&[-1e-40, half, 1.0]).value(), 1.0);
    }

    #[test]
    fn what_is_not_finite_or_too_large_is_told_apart() {
        assert_eq!(sum_of(&[f64::INFINITY, 1.0]).value(), f64::INFINITY);
        assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan() && sum_of(&[f64::NAN]).value().is_nan());
        // A sum that leaves the range on its way is right at its end, in any order.
        assert_eq!(sum_of(&[1e308, 1e308, 1e308, -1e308, -1e308, -1e308, 3.0]).value(), 3.0);
        assert_eq!(sum_of(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!((sum_of(&[]).value().to_bits(), sum_of(&[-0.0]).value().to_bits()), (0, 0));
    }

    #[test]
    fn a_saved_sum_is_the_same_and_any_expansion_becomes_the_unique_one() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let sum = sum_of(&numbers(&mut random, 50));
        for sum in [sum, sum_of(&[f64::NAN, f64::INFINITY, 2.0]), sum_of(&[f64::MAX, f64::MAX, 1e300, 1.0])] {
            let text = serde_json::to_string(&sum).unwrap();
            assert_eq!(serde_json::from_str::<ExactSum>(&text).unwrap(), sum, "{text}");
        }
        let other = r#"{"numbers":["1","1","-0","1e-30"],"huge":["0"]}"#;
        assert_eq!(serde_json::from_str::<ExactSum>(other).unwrap(), sum_of(&[1e-30, 2.0]));
    }
}
