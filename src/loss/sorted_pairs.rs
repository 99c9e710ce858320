//! Sums over all pairs of items of different relevance in a list, in O(L log L), from sorted scores.
//!
//! Items are grouped by relevance, and neighbouring groups are joined two by two, as in a merge sort. A join accounts
//! for every pair between two groups. It walks one group in the order of scores in which violations rise: from item to
//! item, those that are there rise by the same amount, and others join them. Where the penalty is a polynomial, their
//! count, sum and sum of squares give its contribution. All of them are positive, so nothing cancels: a huge score does
//! not drown the pairs without it.

use std::cmp::Ordering;
use std::ops::Range;

use super::penalty::Piece;

pub(crate) struct PairRule {
    pub(crate) margin: f64,
    pub(crate) kink_slope: f64,
    pub(crate) pieces: [Piece; 2],
}

/// An item of the list: relevance, score (its square must be finite), and the index of its slope.
pub(crate) type Item = (i32, f64, usize);

/// The sum of phi(margin + s_lower - s_higher) over all pairs of different relevance, and whether any margin is
/// violated. Derivatives with respect to the scores are added to `slopes` if it is given.
pub(crate) fn sum(mut items: Vec<Item>, rule: &PairRule, mut slopes: Option<&mut [f64]>) -> (f64, bool) {
    let by_score = |a: &Item, b: &Item| a.1.total_cmp(&b.1);
    items.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(by_score(a, b)));
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if items[group.start].0 == item.0 => group.end = i + 1,
            _ => groups.push(i..i + 1),
        }
    }
    let (mut value, mut active) = (0.0, false);
    let mut merged = Vec::new();
    while groups.len() > 1 {
        let is_last = groups.len() == 2;
        let mut joined = Vec::with_capacity(groups.len().div_ceil(2));
        for pair in groups.chunks(2) {
            let [low, high] = pair else {
                joined.extend_from_slice(pair);
                continue;
            };
            let (of_pairs, any) = join(&items[low.clone()], &items[high.clone()], rule, slopes.as_deref_mut());
            value += of_pairs;
            active |= any;
            if !is_last {
                merge(&mut items[low.start..high.end], low.len(), by_score, &mut merged);
            }
            joined.push(low.start..high.end);
        }
        groups = joined;
    }
    (value, active)
}

/// Merges two neighbouring sorted runs; the first has length `first`.
fn merge(items: &mut [Item], first: usize, order: impl Fn(&Item, &Item) -> Ordering, merged: &mut Vec<Item>) {
    merged.clear();
    let (mut a, mut b) = items.split_at(first);
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        let from_a = order(x, y) != Ordering::Greater;
        merged.push(if from_a { *x } else { *y });
        (a, b) = if from_a { (rest_a, b) } else { (a, rest_b) };
    }
    merged.extend_from_slice(a);
    merged.extend_from_slice(b);
    items.copy_from_slice(merged);
}

/// Count, sum and sum of squares of violations.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, violation: f64) {
        self.count += 1.0;
        self.sum += violation;
        self.squares += violation * violation;
    }

    fn remove(&mut self, violation: f64) {
        let squares = self.squares - violation * violation;
        *self = Self { count: self.count - 1.0, sum: self.sum - violation, squares };
        if self.count == 0.0 {
            *self = Self::default();
        }
    }

    fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// Raises every violation by the same amount.
    fn raise(&mut self, by: f64) {
        self.squares += by * (2.0 * self.sum + self.count * by);
        self.sum += self.count * by;
    }

    /// The sums of the penalties and of their slopes.
    fn penalise(&self, piece: &Piece) -> (f64, f64) {
        let [c0, c1, c2] = piece.coefficients;
        (c0 * self.count + c1 * self.sum + c2 * self.squares, c1 * self.count + 2.0 * c2 * self.sum)
    }
}

/// Calls `each` with the index of each of `own`, the sum of its penalties and that of their slopes. Both sequences are
/// in the order in which violations rise with `own` and fall with `others`. Returns whether any margin is violated.
fn walk<'a>(
    own: impl Iterator<Item = &'a Item>,
    others: impl Iterator<Item = &'a Item> + Clone,
    violation: impl Fn(f64, f64) -> f64,
    rule: &PairRule,
    mut each: impl FnMut(usize, f64, f64),
) -> bool {
    let mut pieces = [Moments::default(); 2];
    // The others that have not yet met the margin, violated it, or reached the second piece, and the number that have.
    let (mut unmet, mut unviolated, mut unfinished) =
        (others.clone().peekable(), others.clone().peekable(), others.peekable());
    let (mut met, mut violated, mut finished) = (0usize, 0usize, 0usize);
    let mut before = None;
    for &(_, score, index) in own {
        let earlier = before.replace(score).unwrap_or(score);
        // The first piece loses small violations, before they rise: a large one would leave its rounding error there.
        let mut entering = Moments::default();
        while let Some(other) = unfinished.next_if(|other| violation(score, other.1) > rule.pieces[1].above) {
            if finished < violated {
                pieces[0].remove(violation(earlier, other.1));
            }
            entering.add(violation(score, other.1));
            finished += 1;
        }
        pieces.iter_mut().for_each(|moments| moments.raise((score - earlier).abs()));
        pieces[1] = pieces[1].and(entering);
        while let Some(other) = unviolated.next_if(|other| violation(score, other.1) > rule.pieces[0].above) {
            if violated >= finished {
                pieces[0].add(violation(score, other.1));
            }
            violated += 1;
        }
        while unmet.next_if(|other| violation(score, other.1) >= 0.0).is_some() {
            met += 1;
        }
        let kink = rule.kink_slope * met.saturating_sub(violated) as f64;
        let [first, second] = [0, 1].map(|i: usize| pieces[i].penalise(&rule.pieces[i]));
        each(index, first.0 + second.0, first.1 + second.1 + kink);
    }
    violated > 0
}

/// All pairs of a less and a more relevant item. Both slices are sorted by score.
fn join(low: &[Item], high: &[Item], rule: &PairRule, mut slopes: Option<&mut [f64]>) -> (f64, bool) {
    // In this order two large scores cancel before the margin is added.
    let violation = |low: f64, high: f64| rule.margin + (low - high);
    let mut value = 0.0;
    let of_high = |index: usize, of_item, slope: f64| {
        value += of_item;
        if let Some(slopes) = &mut slopes {
            slopes[index] -= slope;
        }
    };
    let active = walk(high.iter().rev(), low.iter().rev(), |high, low| violation(low, high), rule, of_high);
    if let Some(slopes) = slopes {
        walk(low.iter(), high.iter(), violation, rule, |index, _, slope| slopes[index] += slope);
    }
    (value, active)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each item's slope and the list's value against a sum over all pairs, relative to the item's own pairs: also
    /// where other items' scores are huge.
    #[test]
    fn huge_scores_do_not_drown_other_pairs() {
        let linear = Piece { above: 0.0, coefficients: [0.0, 1.0, 0.0] };
        let squared = Piece { above: 0.0, coefficients: [0.0, 0.0, 1.0] };
        let none = Piece { above: f64::INFINITY, coefficients: [0.0; 3] };
        // Rennie's: v^2/2 up to 1, then v - 1/2.
        let smooth =
            [Piece { above: 0.0, coefficients: [0.0, 0.0, 0.5] }, Piece { above: 1.0, coefficients: [-0.5, 1.0, 0.0] }];
        for pieces in [[linear, none], [squared, none], smooth] {
            for huge in [1.0, 1e12, 1e38, 1e100] {
                let rule = PairRule { margin: 1.0, kink_slope: 0.0, pieces };
                let score = |i: usize| match i % 50 {
                    7 => -huge,
                    11 => huge,
                    _ => (i * 37 % 101) as f64 / 25.0 - 2.0,
                };
                let items: Vec<Item> = (0..200).map(|i| ((i * 13 % 5) as i32, score(i), i)).collect();
                let mut slopes = vec![0.0; items.len()];
                let (value, active) = sum(items.clone(), &rule, Some(&mut slopes));
                let (mut expected, mut scale, mut total) = (vec![0.0; items.len()], vec![0.0; items.len()], 0.0);
                for low in &items {
                    for high in items.iter().filter(|high| high.0 > low.0) {
                        let v = 1.0 + (low.1 - high.1);
                        let Some(piece) = pieces.iter().rev().find(|piece| v > piece.above) else { continue };
                        let [c0, c1, c2] = piece.coefficients;
                        total += c0 + v * (c1 + c2 * v);
                        let slope = c1 + 2.0 * c2 * v;
                        expected[low.2] += slope;
                        expected[high.2] -= slope;
                        [low.2, high.2].into_iter().for_each(|index| scale[index] += slope);
                    }
                }
                assert!(active && (value - total).abs() <= 1e-12 * total, "{huge}: {value}, expected {total}");
                for (i, (got, expected)) in slopes.iter().zip(&expected).enumerate() {
                    assert!((got - expected).abs() <= 1e-13 * scale[i], "{huge}, {i}: {got}, expected {expected}");
                }
                assert!(scale.iter().any(|&scale| scale < 1000.0), "no item without a huge pair");
            }
        }
    }
}
