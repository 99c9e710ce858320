//! Sums over all pairs of items of different relevance in a list, in O(L log L), from sorted scores and prefix sums.
//!
//! Items are grouped by relevance, and neighbouring groups are joined two by two, as in a merge sort. A join accounts
//! for every pair between two groups. In sorted order, the items of one group that violate the margin of an item of the
//! other form a run. Where the penalty is a polynomial, the run's count, sum and sum of squares give its contribution.

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
    let (mut sums, mut merged) = (PrefixSums::default(), Vec::new());
    while groups.len() > 1 {
        let is_last = groups.len() == 2;
        let mut joined = Vec::with_capacity(groups.len().div_ceil(2));
        for pair in groups.chunks(2) {
            let [low, high] = pair else {
                joined.extend_from_slice(pair);
                continue;
            };
            let (of_pairs, any) =
                join(&items[low.clone()], &items[high.clone()], rule, &mut sums, slopes.as_deref_mut());
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

/// Prefix sums of scores and of their squares. They start at the end of the list that every run reaches, so no sum
/// includes an item outside its run, whose size could drown the others.
#[derive(Default)]
struct PrefixSums {
    sums: Vec<[f64; 2]>,
}

impl PrefixSums {
    fn fill(&mut self, scores: impl Iterator<Item = f64>) {
        self.sums.clear();
        let mut total = [0.0; 2];
        self.sums.push(total);
        for score in scores {
            total = [total[0] + score, total[1] + score * score];
            self.sums.push(total);
        }
    }

    /// Count, sum and sum of squares of a run. Indices count from where the sums start.
    fn moments(&self, run: Range<usize>) -> [f64; 3] {
        let (start, end) = (self.sums[run.start], self.sums[run.end]);
        [run.len() as f64, end[0] - start[0], end[1] - start[1]]
    }
}

/// Value and slope of the pairs of one item with a run of others. A violation is `constant` + `sign` times the other's
/// score; `sign` is -1 for the lower item of the pair.
fn penalise(piece: &Piece, constant: f64, [count, sum, squares]: [f64; 3], sign: f64) -> (f64, f64) {
    let [c0, c1, c2] = piece.coefficients;
    let of_violations = count * constant + sign * sum;
    let of_squares = constant * (count * constant + 2.0 * sign * sum) + squares;
    (c0 * count + c1 * of_violations + c2 * of_squares, c1 * count + 2.0 * c2 * of_violations)
}

/// All pairs of a less and a more relevant item. Both slices are sorted by score.
fn join(
    low: &[Item],
    high: &[Item],
    rule: &PairRule,
    sums: &mut PrefixSums,
    mut slopes: Option<&mut [f64]>,
) -> (f64, bool) {
    // In this order two large scores cancel before the margin is added.
    let violation = |low: f64, high: f64| rule.margin + (low - high);
    let (mut value, mut active) = (0.0, false);
    // Per higher item, in ascending order of score: the violating lower items run from a rising start to the end, so
    // the sums begin at the end. Scores are taken relative to one score: large equal ones then cancel exactly.
    let center = high.first().map_or(0.0, |item| item.1);
    sums.fill(low.iter().rev().map(|item| item.1 - center));
    let (mut starts, mut met) = ([0; 2], 0);
    for &(_, score, index) in high {
        for (start, piece) in starts.iter_mut().zip(&rule.pieces) {
            while *start < low.len() && violation(low[*start].1, score) <= piece.above {
                *start += 1;
            }
        }
        while met < low.len() && violation(low[met].1, score) < 0.0 {
            met += 1;
        }
        active |= starts[0] < low.len();
        let mut slope = rule.kink_slope * starts[0].saturating_sub(met) as f64;
        let ends = [starts[1], low.len()];
        for ((piece, start), end) in rule.pieces.iter().zip(starts).zip(ends) {
            if start < end {
                let (of_run, slope_of_run) = {
                    let run = low.len() - end..low.len() - start;
                    penalise(piece, rule.margin - (score - center), sums.moments(run), 1.0)
                };
                value += of_run;
                slope += slope_of_run;
            }
        }
        if let Some(slopes) = &mut slopes {
            slopes[index] -= slope;
        }
    }
    // The value is complete; the slopes of the lower items are left.
    let Some(slopes) = slopes else { return (value, active) };
    // Per lower item: the violating higher items run from the beginning to a rising end.
    sums.fill(high.iter().map(|item| item.1 - center));
    let (mut ends, mut met) = ([0; 2], 0);
    for &(_, score, index) in low {
        for (end, piece) in ends.iter_mut().zip(&rule.pieces) {
            while *end < high.len() && violation(score, high[*end].1) > piece.above {
                *end += 1;
            }
        }
        while met < high.len() && violation(score, high[met].1) >= 0.0 {
            met += 1;
        }
        let mut slope = rule.kink_slope * met.saturating_sub(ends[0]) as f64;
        let starts = [ends[1], 0];
        for ((piece, start), end) in rule.pieces.iter().zip(starts).zip(ends) {
            if start < end {
                slope += penalise(piece, rule.margin + (score - center), sums.moments(start..end), -1.0).1;
            }
        }
        slopes[index] += slope;
    }
    (value, active)
}
