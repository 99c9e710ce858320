//! Rows of scores a vector of rows at a time, column by column, with one margin for all classes: a lane a row, so that
//! nothing but the final sums crosses lanes.
//!
//! Short rows of such go this way in f32, and all of them in f64. A block of columns is transposed before it is visited, and so are its
//! slopes after it.

use pulp::{Simd, WithSimd};

use super::transpose::Transpose;
use super::{DriverJob, SCRATCH};
use crate::cpu::HostReal;
use crate::cpu::lanes::{Counts, MOST_LANES, Sum, Vector};
use crate::cpu::prefetch;
use crate::error::Result;
use crate::evaluation::Totals;
use crate::loss::labels::IGNORED;
use crate::loss::{Combination, PenaltyShape, RowsLoss, Rule};
use crate::real::Number;

/// Columns a block; also the longest chain that is added: a row's sum is the sum of such chains.
const BLOCK: usize = 16;

// A chunk is whole vectors of rows.
const _: () = assert!(SCRATCH.is_multiple_of(MOST_LANES));

/// A job whose rows go column by column.
pub(super) struct ColumnsJob<'a, 'j, M, P, T>(pub(super) DriverJob<'a, 'j, M, P, T>);

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> WithSimd for ColumnsJob<'_, '_, M, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<Totals> {
        let mut job = self.0;
        let driver = job.driver;
        let columns = driver.shape.columns;
        let (divisor, class_divisor) = (job.divisor, T::from_f64(driver.loss.class_divisor(columns)));
        let mut walk = Walk::new(simd, driver.rule, columns, divisor, class_divisor);
        let mut factors = [T::ZERO; SCRATCH];
        let mut widened = Vec::new();
        job.each_chunk(
            #[inline(always)]
            |job, rows, scratch| {
                let factors = match &driver.class_weights {
                    None => &scratch.weights,
                    Some(of_classes) => {
                        let samples = factors.iter_mut().zip(&scratch.classes).zip(&scratch.weights);
                        for ((factor, &class), &weight) in samples.take(rows.len()) {
                            // IGNORED is no class.
                            *factor = of_classes.get(class as usize).map_or(T::ZERO, |&w| weight * w);
                        }
                        &factors
                    }
                };
                for first in (0..rows.len()).step_by(walk.lanes()) {
                    let vector = first..first + walk.lanes();
                    let here = first..vector.end.min(rows.len());
                    let of_job = rows.start + here.start..rows.start + here.end;
                    let elements = of_job.start * columns..of_job.end * columns;
                    let before = job.job.start * columns;
                    let group = Group {
                        scores: driver.scores.read(before + elements.start..before + elements.end, &mut widened),
                        classes: &scratch.classes[vector.clone()],
                        weights: &scratch.weights[vector.clone()],
                        factors: &factors[vector],
                        losses: job.job.losses.as_deref_mut().map(|losses| &mut losses[of_job.clone()]),
                    };
                    prefetch::ahead_of_all(group.scores);
                    match job.job.gradient.as_deref_mut() {
                        None => walk.group::<M, false>(group, &mut []),
                        Some(gradient) => walk.group::<M, true>(group, &mut gradient[elements]),
                    }
                }
            },
        )?;
        Ok(walk.totals())
    }
}

/// As many rows as a vector has lanes, or the last ones.
struct Group<'a, T> {
    scores: &'a [T],
    /// One a lane, as are weights and factors; [`IGNORED`] where there is no row.
    classes: &'a [i32],
    weights: &'a [T],
    /// What losses are multiplied by: the sample's weight and the class's.
    factors: &'a [T],
    /// One a row.
    losses: Option<&'a mut [T]>,
}

/// A vector as it lies in memory.
type Raw<S, T> = <<T as HostReal>::Lanes<S> as Vector<S>>::Raw;

/// What all rows share, and what they have come to.
struct Walk<S: Simd, T: HostReal, P> {
    simd: S,
    rule: Rule<T::Lanes<S>, P>,
    columns: usize,
    divisor: T::Lanes<S>,
    class_divisor: T::Lanes<S>,
    transpose: Transpose,
    /// Columns of a block.
    block: [Raw<S, T>; BLOCK],
    losses: Sum<S>,
    weights: Sum<S>,
    /// Active and correct rows.
    counts: Counts<S>,
    /// Rows that are not ignored.
    kept: Counts<S>,
    /// Correct rows that a comparison with the best rival leaves open: see [`undecided`].
    correct_by_index: u64,
}

/// What the columns so far of each row say.
struct Seen<V: Number> {
    /// Sums of penalties and of rivals' slopes.
    total: V,
    total_slope: V,
    /// The highest score of a rival; not for NaN.
    best: V,
    best_column: V,
    /// No score is NaN, where that does not show in the total.
    is_ordered: V::Mask,
}

impl<S: Simd, T: HostReal, P: PenaltyShape> Walk<S, T, P> {
    #[inline(always)]
    fn new(simd: S, rule: Rule<T, P>, columns: usize, divisor: T, class_divisor: T) -> Self {
        let all = |x| T::Lanes::<S>::all(simd, x);
        Self {
            simd,
            rule: rule.splat(all(T::ZERO)),
            columns,
            divisor: all(divisor),
            class_divisor: all(class_divisor),
            transpose: Transpose::new(),
            block: [all(T::ZERO).raw(); BLOCK],
            losses: Sum::new(simd),
            weights: Sum::new(simd),
            counts: Counts::new(simd),
            kept: Counts::new(simd),
            correct_by_index: 0,
        }
    }

    #[inline(always)]
    fn lanes(&self) -> usize {
        T::Lanes::<S>::COUNT
    }

    #[inline(always)]
    fn totals(self) -> Totals {
        let ([active, correct], [count, _]) = (self.counts.totals(), self.kept.totals());
        Totals {
            sum: self.losses.total(),
            weight_sum: self.weights.total(),
            count,
            active,
            correct: correct + self.correct_by_index,
            ..Totals::default()
        }
    }

    #[inline(always)]
    fn group<M: RowsLoss, const GRADIENT: bool>(&mut self, group: Group<'_, T>, gradient: &mut [T]) {
        let simd = self.simd;
        let mut classes = [T::ZERO; MOST_LANES];
        classes.iter_mut().zip(group.classes).for_each(|(number, &class)| *number = T::from_f64(class.into()));
        let classes = load::<S, T>(simd, &classes);
        let (weights, factors) = (load::<S, T>(simd, group.weights), load::<S, T>(simd, group.factors));
        let coefficients = factors / self.divisor / self.class_divisor;
        if self.columns <= BLOCK {
            self.load_block(group.scores, 0, self.columns);
        }
        let true_scores = self.true_scores(&group, classes);
        let seen = self.visit_columns::<M, GRADIENT>(group.scores, classes, true_scores, coefficients, gradient);

        let zero = classes.splat(0.0);
        let none = T::Lanes::none(simd);
        // A violation grows with its score: none of the rivals' is larger than the best one's.
        let worst = M::violation(self.rule.margin, seen.best, true_scores, none);
        let own = M::violation(self.rule.margin, true_scores, true_scores, !none);
        let active = if M::TRUE_COLUMN { zero.below(worst) | zero.below(own) } else { zero.below(worst) };
        let (value, slope) = match M::COMBINATION {
            Combination::Sum => (seen.total, seen.total_slope),
            // Top is not for this way of walking.
            Combination::Max | Combination::Top => self.rule.penalise(worst),
        };
        let is_ordered = seen.is_ordered & true_scores.equals(true_scores);
        let value = T::Lanes::select(is_ordered, value, zero.splat(f64::NAN));
        let is_number = value.equals(value);
        // IGNORED is negative.
        let is_kept = !classes.below(zero);
        let losses = T::Lanes::select(is_kept, value / self.class_divisor * factors, zero);
        let is_decided = is_number & !seen.best.equals(true_scores);
        let correct = is_kept & is_decided & seen.best.below(true_scores);
        T::Lanes::count([active & is_kept & is_number, correct], &mut self.counts);
        T::Lanes::count([is_kept, none], &mut self.kept);
        if T::Lanes::any(is_kept & !is_decided) {
            self.correct_by_index += undecided::<T>(&group, self.columns, value.lanes(), seen.best.lanes());
        }
        losses.add_to(&mut self.losses);
        T::Lanes::select(is_kept, weights, zero).add_to(&mut self.weights);
        if let Some(out) = group.losses {
            out.copy_from_slice(&losses.lanes()[..out.len()]);
        }
        if GRADIENT {
            // The true class: its own column where it has one, and what the rivals' violations owe to its score.
            let mut of_true = zero;
            if M::TRUE_COLUMN {
                of_true = of_true - self.rule.penalise(own).1;
            }
            if M::RIVAL_SLOPE_ON_TRUE != 0.0 {
                of_true = of_true + zero.splat(M::RIVAL_SLOPE_ON_TRUE) * slope;
            }
            let (of_true, of_best) = (of_true * coefficients, slope * coefficients);
            let (of_true, of_best, best, values) =
                (of_true.lanes(), of_best.lanes(), seen.best_column.lanes(), value.lanes());
            if M::COMBINATION == Combination::Max {
                gradient.fill(T::ZERO);
            }
            for (row, gradient) in gradient.chunks_exact_mut(self.columns).enumerate() {
                let class = group.classes[row];
                if class == IGNORED {
                    gradient.fill(T::ZERO);
                } else if values[row].is_nan() {
                    gradient.fill(T::NAN);
                } else {
                    if M::COMBINATION == Combination::Max {
                        gradient[best[row].to_f64() as usize] = of_best[row];
                    }
                    gradient[class as usize] = of_true[row];
                }
            }
        }
    }

    /// Visits every column of each row once; where penalties are added up, each column's part of the gradient is written.
    /// Rows of one block are loaded before.
    #[inline(always)]
    fn visit_columns<M: RowsLoss, const GRADIENT: bool>(
        &mut self,
        scores: &[T],
        classes: T::Lanes<S>,
        true_scores: T::Lanes<S>,
        coefficients: T::Lanes<S>,
        gradient: &mut [T],
    ) -> Seen<T::Lanes<S>> {
        let simd = self.simd;
        let zero = classes.splat(0.0);
        let lowest = classes.splat(f64::NEG_INFINITY);
        let one = classes.splat(1.0);
        let mut seen =
            Seen { total: zero, total_slope: zero, best: lowest, best_column: zero, is_ordered: !T::Lanes::none(simd) };
        let mut column = zero;
        for first in (0..self.columns).step_by(BLOCK) {
            let width = BLOCK.min(self.columns - first);
            if self.columns > BLOCK {
                self.load_block(scores, first, width);
            }
            let (mut chain, mut slopes) = (zero, zero);
            for raw in &mut self.block[..width] {
                let score = T::Lanes::new(simd, *raw);
                let is_true = classes.equals(column);
                let rival = T::Lanes::select(is_true, lowest, score);
                if M::COMBINATION == Combination::Sum {
                    seen.best = rival.max(seen.best);
                    let v = M::violation(self.rule.margin, score, true_scores, is_true);
                    let (value, slope) = self.rule.penalise(v);
                    chain = chain + if M::TRUE_COLUMN { value } else { T::Lanes::select(is_true, zero, value) };
                    if GRADIENT {
                        if M::RIVAL_SLOPE_ON_TRUE != 0.0 {
                            slopes = slopes + T::Lanes::select(is_true, zero, slope);
                        }
                        *raw = (slope * coefficients).raw();
                    }
                } else {
                    seen.is_ordered = seen.is_ordered & score.equals(score);
                    if GRADIENT {
                        let is_better = seen.best.below(rival);
                        seen.best_column = T::Lanes::select(is_better, column, seen.best_column);
                    }
                    seen.best = rival.max(seen.best);
                }
                column = column + one;
            }
            (seen.total, seen.total_slope) = (seen.total + chain, seen.total_slope + slopes);
            if GRADIENT && M::COMBINATION == Combination::Sum {
                self.store_block(gradient, first, width);
            }
        }
        seen
    }

    /// The score of each row's true class, anything where a row is ignored. Rows of one block are loaded before.
    #[inline(always)]
    fn true_scores(&mut self, group: &Group<'_, T>, classes: T::Lanes<S>) -> T::Lanes<S> {
        if self.columns > BLOCK {
            let mut scores = [T::ZERO; MOST_LANES];
            for (row, (score, &class)) in scores.iter_mut().zip(group.classes).enumerate() {
                if class != IGNORED {
                    *score = group.scores[row * self.columns + class as usize];
                }
            }
            return load::<S, T>(self.simd, &scores);
        }
        let (mut scores, mut column) = (classes.splat(0.0), classes.splat(0.0));
        for &raw in &self.block[..self.columns] {
            scores = T::Lanes::select(classes.equals(column), T::Lanes::new(self.simd, raw), scores);
            column = column + column.splat(1.0);
        }
        scores
    }

    /// Fills the block with the columns from `first` on, a vector each. Lanes without a row, and columns from `width` on, are
    /// anything.
    #[inline(always)]
    fn load_block(&mut self, scores: &[T], first: usize, width: usize) {
        const { assert!(BLOCK.is_multiple_of(<T::Lanes<S> as Vector<S>>::COUNT)) }
        let (columns, lanes) = (self.columns, self.lanes());
        for (part, square) in self.block.chunks_exact_mut(lanes).enumerate().take(width.div_ceil(lanes)) {
            let rows = scores.get(first + part * lanes..).unwrap_or_default();
            // Whole vectors, beyond the end of a row too, as far as there are scores.
            let mut whole = rows.windows(lanes).step_by(columns);
            for (row, raw) in square.iter_mut().enumerate() {
                *raw = match whole.next().and_then(|whole| T::Lanes::<S>::vectors(whole).0.first()) {
                    Some(&whole) => whole,
                    None => {
                        let rest = rows.get(row * columns..).unwrap_or_default();
                        T::Lanes::load_part(self.simd, rest).raw()
                    }
                };
            }
            self.transpose.square::<S, T::Lanes<S>>(square);
        }
    }

    /// Writes the block's columns where [`Walk::load_block`] reads them.
    #[inline(always)]
    fn store_block(&mut self, rows: &mut [T], first: usize, width: usize) {
        let lanes = self.lanes();
        let parts = width.div_ceil(lanes);
        for square in self.block.chunks_exact_mut(lanes).take(parts) {
            self.transpose.square::<S, T::Lanes<S>>(square);
        }
        // A vector that reaches into the next row is written over by that row's own, if those come later.
        let may_reach_over = self.columns <= BLOCK;
        for row in 0..lanes.min(rows.len() / self.columns) {
            for part in 0..parts {
                let at = row * self.columns + first + part * lanes;
                let raw = self.block[part * lanes + row];
                let in_row = lanes.min(width - part * lanes);
                let whole = if in_row == lanes || may_reach_over { rows.get_mut(at..at + lanes) } else { None };
                match whole.and_then(|x| T::Lanes::<S>::vectors_mut(x).0.first_mut()) {
                    Some(whole) => *whole = raw,
                    None => {
                        let numbers = T::Lanes::new(self.simd, raw);
                        rows[at..at + in_row].copy_from_slice(&numbers.lanes()[..in_row]);
                    }
                }
            }
        }
    }
}

/// How many of the rows are correct that a comparison leaves open: those whose loss is NaN, or whose best rival has the true
/// class's score.
#[cold]
fn undecided<T: HostReal>(group: &Group<'_, T>, columns: usize, values: &[T], best: &[T]) -> u64 {
    let rows = group.scores.chunks_exact(columns).zip(group.classes).enumerate();
    let is_correct = |(row, (scores, &class)): (usize, (&[T], &i32))| {
        let Some(&true_score) = scores.get(class as usize) else { return false };
        let is_open = values[row].is_nan() || best[row] == true_score;
        let (before, after) = scores.split_at(class as usize);
        // The lowest index wins the argmax, and NaN loses.
        is_open && before.iter().all(|&s| s < true_score) && after.iter().all(|&s| s <= true_score)
    };
    rows.filter(|&row| is_correct(row)).count() as u64
}

/// A vector from the first of these numbers, which are at least as many.
#[inline(always)]
fn load<S: Simd, T: HostReal>(simd: S, numbers: &[T]) -> T::Lanes<S> {
    let zero = T::Lanes::<S>::all(simd, T::ZERO);
    T::Lanes::vectors(numbers).0.first().map_or(zero, |&raw| T::Lanes::new(simd, raw))
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;
    use crate::loss::{CrammerSinger, Kink, LeeLinWahba, LinearPenalty, OneVsAll, SoftplusPenalty, WestonWatkins};

    /// Rows with their classes, of which some are ignored.
    struct Rows<'a, T> {
        method: &'static str,
        is_soft: bool,
        scores: &'a [T],
        classes: &'a [i32],
        columns: usize,
    }

    type Found = (Totals, Vec<u64>, Vec<u64>);

    impl<T: HostReal> Rows<'_, T> {
        fn walk<S: Simd, M: RowsLoss>(&self, simd: S) -> Found {
            if self.is_soft {
                self.walk_with::<S, M, _>(simd, Rule::new(0.5, Kink::Zero, SoftplusPenalty))
            } else {
                // Many violations are 0: scores are quarters.
                self.walk_with::<S, M, _>(simd, Rule::new(0.75, Kink::Half, LinearPenalty))
            }
        }

        fn walk_with<S: Simd, M: RowsLoss, P: PenaltyShape>(&self, simd: S, rule: Rule<T, P>) -> Found {
            let mut walk = Walk::new(simd, rule, self.columns, T::from_f64(3.0), T::from_f64(5.0));
            let mut losses = vec![T::from_f64(7.0); self.classes.len()];
            let mut gradient = vec![T::from_f64(7.0); self.scores.len()];
            let lanes = walk.lanes();
            let groups = self.scores.chunks(lanes * self.columns).zip(self.classes.chunks(lanes));
            let outputs = losses.chunks_mut(lanes).zip(gradient.chunks_mut(lanes * self.columns));
            for (number, ((scores, of_rows), (losses, gradient))) in groups.zip(outputs).enumerate() {
                let mut classes = [IGNORED; MOST_LANES];
                classes[..of_rows.len()].copy_from_slice(of_rows);
                let factors: Vec<T> =
                    (0..lanes).map(|row| T::from_f64(1.0 + ((number * lanes + row) % 4) as f64)).collect();
                let (classes, weights, factors) = (&classes[..lanes], &[T::ONE; MOST_LANES][..lanes], &factors[..]);
                // Without a gradient it comes to the same; for the test alone, counted in another walk.
                let mut other = Walk::new(simd, rule, self.columns, T::ONE, T::from_f64(5.0));
                let mut alone = vec![T::ZERO; losses.len()];
                let group = |losses| Group { scores, classes, weights, factors, losses: Some(losses) };
                other.group::<M, false>(group(&mut alone), &mut []);
                walk.group::<M, true>(group(losses), gradient);
                assert_eq!(bits(&alone), bits(losses));
            }
            (walk.totals(), bits(&losses), bits(&gradient))
        }
    }

    impl<T: HostReal> WithSimd for &Rows<'_, T> {
        type Output = Found;
        fn with_simd<S: Simd>(self, simd: S) -> Found {
            match self.method {
                "ww" => self.walk::<S, WestonWatkins>(simd),
                "ova" => self.walk::<S, OneVsAll>(simd),
                "llw" => self.walk::<S, LeeLinWahba>(simd),
                _ => self.walk::<S, CrammerSinger>(simd),
            }
        }
    }

    /// Every NaN is the same one.
    fn bits<T: HostReal>(numbers: &[T]) -> Vec<u64> {
        numbers.iter().map(|x| if x.is_nan() { u64::MAX } else { (*x + T::ZERO).to_f64().to_bits() }).collect()
    }

    fn compare(one: &Found, other: &Found, case: &str) {
        let ((expected, losses, gradient), (got, other_losses, other_gradient)) = (one, other);
        let counts = |totals: &Totals| (totals.count, totals.active, totals.correct);
        assert_eq!(counts(expected), counts(got), "{case}");
        assert_eq!(expected.weight_sum, got.weight_sum, "{case}");
        let (sum, other) = (expected.sum, got.sum);
        let is_same = sum == other || (sum - other).abs() <= 1e-12 * sum.abs() || (sum.is_nan() && other.is_nan());
        assert!(is_same, "{case}: {sum} and {other}");
        assert_eq!(losses, other_losses, "{case}: losses");
        assert_eq!(gradient, other_gradient, "{case}: gradient");
    }

    fn every_width_of<T: HostReal>() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for columns in (2..20).chain([31, 32, 33, 100]) {
            let methods =
                ["ww", "ova", "llw", "cs"].into_iter().flat_map(|method| [1, 7, 16, 33].map(|rows| (method, rows)));
            for (method, rows) in methods {
                // Few values, so that ties are common.
                let mut scores: Vec<T> =
                    (0..rows * columns).map(|_| T::from_f64((next() % 9) as f64 / 4.0 - 1.0)).collect();
                for special in special.into_iter().take(next() % 4) {
                    scores[next() % (rows * columns)] = T::from_f64(special);
                }
                let classes: Vec<i32> =
                    (0..rows).map(|_| if next() % 8 == 0 { IGNORED } else { (next() % columns) as i32 }).collect();
                let rows = Rows { method, is_soft: next() % 4 == 0, scores: &scores, classes: &classes, columns };
                let case = format!("{method}, {} rows of {columns}", classes.len());
                let one = rows.with_simd(Scalar::new());
                compare(&one, &pulp::Arch::new().dispatch(&rows), &case);
                #[cfg(target_arch = "x86_64")]
                {
                    if let Some(simd) = pulp::x86::V3::try_new() {
                        compare(&one, &Simd::vectorize(simd, &rows), &case);
                    }
                    if let Some(simd) = pulp::x86::V4::try_new() {
                        compare(&one, &Simd::vectorize(simd, &rows), &case);
                    }
                }
            }
        }
    }

    /// Rows are computed in lanes of their own, so every instruction set that the machine has gives the same bits.
    #[test]
    fn every_width_agrees_with_single_numbers() {
        every_width_of::<f32>();
        every_width_of::<f64>();
    }

    #[test]
    #[should_panic(expected = "gradient")]
    fn another_gradient_is_seen() {
        compare(&(Totals::default(), vec![1], vec![2]), &(Totals::default(), vec![1], vec![3]), "a case");
    }
}
