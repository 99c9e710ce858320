//! Rows of scores in groups of as many as a vector has lanes, with one margin for all classes.
//!
//! The columns of a group are visited row by row or column by column. The results are then reduced with one lane per
//! row: losses, weights, counters, and the slopes of single columns. Whether a row is active or correct follows from
//! its best rival, so no column has to test it. Ties and NaN are checked again.

use pulp::{Simd, WithSimd};

use super::driver::{DriverJob, SCRATCH};
use super::walk::{BLOCK, Group, RowsKnown, Walk, load};
use crate::cpu::HostReal;
use crate::cpu::dispatch::Loops;
use crate::cpu::lanes::{MOST_LANES, Vector};
use crate::data::evaluation::Totals;
use crate::data::labels::IGNORED;
use crate::data::real::Number;
use crate::error::Result;
use crate::loss::penalty::{LinearPenalty, SquaredPenalty};
use crate::loss::{AnySum, Combination, Penalty, PenaltyShape, Rows, Rule};

// A chunk holds only whole groups of rows.
const _: () = assert!(SCRATCH.is_multiple_of(MOST_LANES));

/// A job whose rows go in groups: long ones row by row, short ones column by column.
pub(super) struct Groups<'a, 'j, M, T, const LONG: bool> {
    pub(super) job: DriverJob<'a, 'j, T>,
    pub(super) method: M,
}

impl<'a, 'j, M: Rows, T: HostReal, const LONG: bool> Groups<'a, 'j, M, T, LONG> {
    /// The job with a penalty that is known at compile time, or with any [`Penalty`].
    #[inline(always)]
    fn with<P: PenaltyShape>(self, penalty: P) -> GroupsJob<'a, 'j, M, P, T, LONG> {
        let rule = self.job.driver.rule.with_shape(penalty);
        GroupsJob { job: self.job, method: self.method, rule }
    }

    /// The job with its method replaced by [`AnySum`].
    #[inline(always)]
    fn any_sum(self) -> Groups<'a, 'j, AnySum, T, LONG> {
        let method = AnySum { has_true_column: self.method.has_true_column(), compares: self.method.compares() };
        Groups { job: self.job, method }
    }
}

impl<M: Rows, T: HostReal, const LONG: bool> Loops for Groups<'_, '_, M, T, LONG> {
    type Output = Result<Totals>;
    // Short rows would need larger squares to transpose.
    const WIDE: bool = T::COMMON && LONG;

    #[inline(always)]
    fn on_vectors<S: Simd>(self, simd: S) -> Result<Totals> {
        match (M::COMBINATION, self.job.driver.spec.terms.penalty) {
            (Combination::Sum, Penalty::Linear) if T::COMMON => simd.vectorize(self.with(LinearPenalty)),
            (Combination::Sum, Penalty::Squared) if T::COMMON => simd.vectorize(self.with(SquaredPenalty)),
            _ => self.on_baseline(simd),
        }
    }

    fn on_baseline<S: Simd>(self, simd: S) -> Result<Totals> {
        let penalty = self.job.driver.spec.terms.penalty;
        match M::COMBINATION {
            Combination::Sum => simd.vectorize(self.any_sum().with(penalty)),
            // The penalty is taken once per row.
            Combination::Max | Combination::Top => simd.vectorize(self.with(penalty)),
        }
    }
}

struct GroupsJob<'a, 'j, M, P, T, const LONG: bool> {
    job: DriverJob<'a, 'j, T>,
    method: M,
    rule: Rule<T, P>,
}

impl<M: Rows, P: PenaltyShape, T: HostReal, const LONG: bool> WithSimd for GroupsJob<'_, '_, M, P, T, LONG> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<Totals> {
        let Self { mut job, method, rule } = self;
        let driver = job.driver;
        let (columns, scores) = (driver.inputs.shape.columns, driver.inputs.scores);
        let mut walk = Walk::new(simd, method, rule, columns, job.divisor, driver.class_divisor);
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
                        scores: scores.read(before + elements.start..before + elements.end, &mut widened),
                        classes: &scratch.classes[vector.clone()],
                        weights: &scratch.weights[vector.clone()],
                        factors: &factors[vector],
                        losses: job.job.losses.as_deref_mut().map(|losses| &mut losses[of_job.clone()]),
                    };
                    match job.job.gradient.as_deref_mut() {
                        None => walk.group::<false, LONG>(group, &mut []),
                        Some(gradient) => walk.group::<true, LONG>(group, &mut gradient[elements]),
                    }
                }
            },
        )?;
        Ok(walk.totals())
    }
}

impl<S: Simd, T: HostReal, P: PenaltyShape, M: Rows> Walk<S, T, P, M> {
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
    fn group<const GRADIENT: bool, const LONG: bool>(&mut self, group: Group<'_, T>, gradient: &mut [T]) {
        let simd = self.simd;
        let mut classes = [T::ZERO; MOST_LANES];
        classes.iter_mut().zip(group.classes).for_each(|(number, &class)| *number = T::from_f64(class.into()));
        let classes = load::<S, T>(simd, &classes);
        let (weights, factors) = (load::<S, T>(simd, group.weights), load::<S, T>(simd, group.factors));
        let coefficients = factors / self.divisor / self.class_divisor;
        let true_scores = if !LONG && self.columns <= BLOCK {
            self.load_block(group.scores, 0, self.columns);
            self.true_scores_of_block(classes)
        } else {
            self.true_scores(&group)
        };
        let known = RowsKnown { classes, true_scores, coefficients };
        let seen = if LONG {
            self.visit_rows::<GRADIENT>(&group, known, gradient)
        } else {
            self.visit_columns::<GRADIENT>(group.scores, known, gradient)
        };
        let zero = classes.splat(0.0);
        let none = T::Lanes::none(simd);
        // A violation grows with its score, so no rival's is larger than the best rival's.
        let worst = self.method.violation(self.rule.margin, seen.best, true_scores, none);
        let own = self.method.violation(self.rule.margin, true_scores, true_scores, !none);
        let active =
            if self.method.has_true_column() { zero.below(worst) | zero.below(own) } else { zero.below(worst) };
        let (value, slope) = match M::COMBINATION {
            Combination::Sum => (seen.total, seen.total_slope),
            // Top is never visited in groups.
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
            // The true class's slope: from its own column, and from the rivals' violations that depend on its score.
            let mut of_true = zero;
            if self.method.has_true_column() {
                of_true = of_true - self.rule.penalise(own).1;
            }
            if self.method.compares() {
                of_true = of_true - slope;
            }
            let (of_true, of_best) = (of_true * coefficients, slope * coefficients);
            let (of_true, of_best, best, values) =
                (of_true.lanes(), of_best.lanes(), seen.best_column.lanes(), value.lanes());
            if M::COMBINATION == Combination::Max && !LONG {
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
}

/// Counts the correct rows that a comparison leaves open: the loss is NaN, or the best rival ties with the true class.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::dispatch::on_every_width;
    use crate::loss::penalty::SoftplusPenalty;
    use crate::loss::{CrammerSinger, Kink, LeeLinWahba, OneVsAll, WestonWatkins};

    /// Rows with their classes, some of them ignored, taken as long rows or as short rows.
    struct Trial<'a, T> {
        method: &'static str,
        is_soft: bool,
        scores: &'a [T],
        classes: &'a [i32],
        columns: usize,
        is_long: bool,
    }

    type Found = (Totals, Vec<u64>, Vec<u64>);

    impl<T: HostReal> Trial<'_, T> {
        fn walk<S: Simd, M: Rows>(&self, simd: S, method: M) -> Found {
            // Scores are quarters, so that many violations are 0.
            let (soft, linear) =
                (Rule::new(0.5, Kink::Zero, SoftplusPenalty), Rule::new(0.75, Kink::Half, LinearPenalty));
            match (self.is_soft, self.is_long) {
                (true, false) => self.walk_with::<S, M, _, false>(simd, method, soft),
                (true, true) => self.walk_with::<S, M, _, true>(simd, method, soft),
                (false, false) => self.walk_with::<S, M, _, false>(simd, method, linear),
                (false, true) => self.walk_with::<S, M, _, true>(simd, method, linear),
            }
        }

        fn walk_with<S: Simd, M: Rows, P: PenaltyShape, const LONG: bool>(
            &self,
            simd: S,
            method: M,
            rule: Rule<T, P>,
        ) -> Found {
            let mut walk = Walk::new(simd, method, rule, self.columns, T::from_f64(3.0), T::from_f64(5.0));
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
                // Losses are the same without a gradient. Another walk, so that no row is counted twice.
                let mut other = Walk::new(simd, method, rule, self.columns, T::ONE, T::from_f64(5.0));
                let mut alone = vec![T::ZERO; losses.len()];
                let group = |losses| Group { scores, classes, weights, factors, losses: Some(losses) };
                other.group::<false, LONG>(group(&mut alone), &mut []);
                walk.group::<true, LONG>(group(losses), gradient);
                assert_eq!(bits(&alone), bits(losses));
            }
            (walk.totals(), bits(&losses), bits(&gradient))
        }
    }

    impl<T: HostReal> WithSimd for &Trial<'_, T> {
        type Output = Found;
        fn with_simd<S: Simd>(self, simd: S) -> Found {
            match self.method {
                "ww" => self.walk(simd, WestonWatkins),
                "ova" => self.walk(simd, OneVsAll),
                "llw" => self.walk(simd, LeeLinWahba),
                _ => self.walk(simd, CrammerSinger),
            }
        }
    }

    /// The bits of each number. All NaNs have the same bits.
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
        for columns in (2..20).chain([31, 32, 33, 100, 129, 257]) {
            let methods =
                ["ww", "ova", "llw", "cs"].into_iter().flat_map(|method| [1, 7, 16, 33].map(|rows| (method, rows)));
            for (method, rows) in methods {
                // Few distinct values, so that ties are common.
                let mut scores: Vec<T> =
                    (0..rows * columns).map(|_| T::from_f64((next() % 9) as f64 / 4.0 - 1.0)).collect();
                for special in special.into_iter().take(next() % 4) {
                    scores[next() % (rows * columns)] = T::from_f64(special);
                }
                let classes: Vec<i32> =
                    (0..rows).map(|_| if next() % 8 == 0 { IGNORED } else { (next() % columns) as i32 }).collect();
                let (is_soft, scores, classes) = (next() % 4 == 0, &scores[..], &classes[..]);
                let short = Trial { method, is_soft, scores, classes, columns, is_long: false };
                let case = format!("{method}, {} rows of {columns}", classes.len());
                let one = every_width(&short, &case);
                // Sums of quarters are exact in any order.
                let long = Trial { is_soft: false, is_long: true, ..short };
                let one_long = every_width(&long, &format!("{case}, as long ones"));
                if !is_soft {
                    compare(&one, &one_long, &format!("{case}, as short ones and as long ones"));
                }
            }
        }
    }

    fn every_width<T: HostReal>(rows: &Trial<'_, T>, case: &str) -> Found {
        let mut found = on_every_width(rows).into_iter();
        let one = found.next().unwrap();
        found.for_each(|other| compare(&one, &other, case));
        one
    }

    /// Every instruction set gives the same bits: short rows have a lane each, and sums of long rows are exact here.
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
