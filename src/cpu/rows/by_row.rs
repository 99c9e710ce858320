//! Rows of single-precision scores by themselves, a vector of columns at a time, with one margin for all classes.
//!
//! There is no transposition: what is left in the lanes is put together once a row, and
//! what is rare (NaN, a rival that equals the true score) is looked at again where it occurs.

use pulp::{Simd, WithSimd};

use super::DriverJob;
use crate::cpu::lanes::{Lanes, MOST_LANES, Mask, Vector};
use crate::cpu::prefetch;
use crate::error::Result;
use crate::evaluation::Totals;
use crate::loss::labels::IGNORED;
use crate::loss::{Combination, PenaltyShape, RowsLoss, Rule};
use crate::real::Number;

/// Vectors that are added in single precision before f64 takes over.
const CHAIN: usize = 16;

/// Columns up to which every index is an exact f32.
const EXACT: usize = 1 << 24;

/// A job whose rows go by themselves.
pub(super) struct RowsJob<'a, 'j, M, P>(pub(super) DriverJob<'a, 'j, M, P, f32>);

impl<M: RowsLoss, P: PenaltyShape> WithSimd for RowsJob<'_, '_, M, P> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<Totals> {
        let mut job = self.0;
        let (driver, divisor) = (job.driver, job.divisor);
        let columns = driver.shape.columns;
        let rows = VectorRows::new(simd, driver.rule);
        let class_divisor = driver.loss.class_divisor(columns) as f32;
        let mut totals = Totals::default();
        let mut widened = Vec::new();
        job.each_chunk(
            #[inline(always)]
            |DriverJob { job, .. }, chunk, scratch| {
                for (row, (&class, &weight)) in chunk.zip(scratch.classes.iter().zip(&scratch.weights)) {
                    let mut gradient = job.gradient.as_deref_mut().map(|g| &mut g[row * columns..][..columns]);
                    let mut loss = 0.0;
                    // IGNORED is no column's index.
                    if class == IGNORED {
                        gradient.into_iter().for_each(|g| g.fill(0.0));
                    } else {
                        let first = (job.start + row) * columns;
                        let scores = driver.scores.read(first..first + columns, &mut widened);
                        let class = class as usize;
                        let factor = driver.class_weights.as_ref().map_or(weight, |w| weight * w[class]);
                        let coefficient = factor / divisor / class_divisor;
                        let found = rows.row::<M>(scores, class, coefficient, gradient.take());
                        loss = found.loss / class_divisor * factor;
                        totals.count += 1;
                        totals.weight_sum += f64::from(weight);
                        totals.active += u64::from(found.active);
                        totals.correct += u64::from(found.correct);
                        totals.sum += f64::from(loss);
                    }
                    if let Some(losses) = job.losses.as_deref_mut() {
                        losses[row] = loss;
                    }
                }
            },
        )?;
        Ok(totals)
    }
}

/// What all rows share.
struct VectorRows<S: Simd, P> {
    simd: S,
    rule: Rule<f32, P>,
    vector_rule: Rule<Lanes<S>, P>,
    /// 0, 1, 2, ...
    first_columns: S::u32s,
    /// The same as numbers.
    first_numbers: Lanes<S>,
}

/// What a row comes to before weights.
struct Found {
    /// The loss; NaN where any score is.
    loss: f32,
    /// Any violation.
    active: bool,
    /// The true class wins the argmax, and no score is NaN.
    correct: bool,
}

/// A vector of scores with where they stand.
struct Columns<S: Simd> {
    scores: Lanes<S>,
    is_true: Mask<S>,
    /// A column of the row that is not the true class's.
    is_rival: Mask<S>,
}

impl<S: Simd, P: PenaltyShape> VectorRows<S, P> {
    #[inline(always)]
    fn new(simd: S, rule: Rule<f32, P>) -> Self {
        let mut first = [0u32; MOST_LANES];
        (0..).zip(&mut first).for_each(|(column, first)| *first = column);
        let first_columns = simd.partial_load_u32s(&first[..S::U32_LANES]);
        let first_numbers = Lanes::new(simd, simd.partial_load_f32s(&first.map(|x| x as f32)[..S::F32_LANES]));
        Self { simd, rule, vector_rule: rule.splat(Lanes::all(simd, 0.0)), first_columns, first_numbers }
    }

    /// The loss of a row and, where there is room for it, its gradient times `coefficient`.
    #[inline(always)]
    fn row<M: RowsLoss>(&self, scores: &[f32], class: usize, coefficient: f32, gradient: Option<&mut [f32]>) -> Found {
        match (M::COMBINATION, gradient) {
            (Combination::Sum, None) => self.sum::<M, false>(scores, class, coefficient, &mut []),
            (Combination::Sum, Some(gradient)) => self.sum::<M, true>(scores, class, coefficient, gradient),
            // Top is not for this way of walking.
            (_, None) => self.max::<M, false>(scores, class, coefficient, &mut []),
            (_, Some(gradient)) => self.max::<M, true>(scores, class, coefficient, gradient),
        }
    }

    /// A vector of scores, all of them columns of the row, with the true class in the lane that has this number.
    #[inline(always)]
    fn columns(&self, values: S::f32s, class_lane: S::u32s) -> Columns<S> {
        let is_true = Mask::new(self.simd, self.simd.equal_u32s(self.first_columns, class_lane));
        Columns { scores: Lanes::new(self.simd, values), is_true, is_rival: !is_true }
    }

    /// The last columns of a row, fewer than a vector has: past them it holds zeros that are no column's.
    #[inline(always)]
    fn last_columns(&self, values: &[f32], class_lane: S::u32s) -> Columns<S> {
        let simd = self.simd;
        let columns = self.columns(simd.partial_load_f32s(values), class_lane);
        let is_in_row = simd.less_than_u32s(self.first_columns, simd.splat_u32s(values.len() as u32));
        Columns { is_rival: columns.is_rival & Mask::new(simd, is_in_row), ..columns }
    }

    /// Calls `visit` with each vector of a row, and stores what it returns in `out`, which is as long as the row or empty.
    /// The class may be none of the columns, which are fewer than 2^31.
    #[inline(always)]
    fn each(&self, scores: &[f32], class: u32, out: &mut [f32], mut visit: impl FnMut(Columns<S>) -> Lanes<S>) {
        let simd = self.simd;
        let (vectors, rest) = S::as_simd_f32s(scores);
        let (out_vectors, out_rest) = S::as_mut_simd_f32s(out);
        let mut out_vectors = out_vectors.iter_mut();
        // Wraps to a number beyond all lanes where the class comes before.
        let mut class_lane = simd.splat_u32s(class);
        let step = simd.splat_u32s(Lanes::<S>::COUNT as u32);
        for (i, &values) in vectors.iter().enumerate() {
            prefetch::ahead_of(vectors, i);
            let result = visit(self.columns(values, class_lane));
            if let Some(out) = out_vectors.next() {
                *out = result.raw();
            }
            class_lane = simd.sub_u32s(class_lane, step);
        }
        if !rest.is_empty() {
            let result = visit(self.last_columns(rest, class_lane));
            if !out_rest.is_empty() {
                simd.partial_store_f32s(out_rest, result.raw());
            }
        }
    }

    #[inline(always)]
    fn sum<M: RowsLoss, const GRADIENT: bool>(
        &self,
        scores: &[f32],
        class: usize,
        coefficient: f32,
        gradient: &mut [f32],
    ) -> Found {
        let simd = self.simd;
        let zero = Lanes::all(simd, 0.0);
        let true_score = scores[class];
        let true_scores = Lanes::all(simd, true_score);
        let factor = Lanes::all(simd, coefficient);
        let lowest = Lanes::all(simd, f32::NEG_INFINITY);
        let mut best = lowest;
        let (mut total, mut total_slope) = (0f64, 0f64);
        let chain = CHAIN * Lanes::<S>::COUNT;
        for (number, part) in scores.chunks(chain).enumerate() {
            let (mut sums, mut slopes) = (zero, zero);
            let offset = number * chain;
            let out = if GRADIENT { &mut gradient[offset..offset + part.len()] } else { &mut [][..] };
            // A class before or beyond this part is none of its columns.
            self.each(
                part,
                (class as u32).wrapping_sub(offset as u32),
                out,
                #[inline(always)]
                |Columns { scores, is_true, is_rival }| {
                    let v = M::violation(self.vector_rule.margin, scores, true_scores, is_true);
                    let (value, slope) = self.vector_rule.penalise(v);
                    let counts = if M::TRUE_COLUMN { is_rival | is_true } else { is_rival };
                    sums = sums + Lanes::select(counts, value, zero);
                    best = Lanes::select(is_rival, scores, lowest).max(best);
                    if GRADIENT && M::RIVAL_SLOPE_ON_TRUE != 0.0 {
                        slopes = slopes + Lanes::select(is_rival, slope, zero);
                    }
                    slope * factor
                },
            );
            total += f64::from(sums.sum());
            if GRADIENT && M::RIVAL_SLOPE_ON_TRUE != 0.0 {
                total_slope += f64::from(slopes.sum());
            }
        }
        let found = self.found::<M>(scores, class, total as f32, best.highest());
        if GRADIENT && !found.loss.is_nan() {
            // The true class: its own column where it has one, and what the rivals' violations owe to its score.
            let mut slope = (M::RIVAL_SLOPE_ON_TRUE * total_slope) as f32;
            if M::TRUE_COLUMN {
                slope -= self.rule.penalise(M::violation(self.rule.margin, true_score, true_score, true)).1;
            }
            gradient[class] = slope * coefficient;
        } else if GRADIENT {
            gradient.fill(f32::NAN);
        }
        found
    }

    #[inline(always)]
    fn max<M: RowsLoss, const GRADIENT: bool>(
        &self,
        scores: &[f32],
        class: usize,
        coefficient: f32,
        gradient: &mut [f32],
    ) -> Found {
        let simd = self.simd;
        let true_score = scores[class];
        let lowest = Lanes::all(simd, f32::NEG_INFINITY);
        let mut ordered = !Lanes::none(simd);
        let mut best = lowest;
        // Of the vector that a lane's best score was found in: its number.
        let (mut number, mut best_number) = (Lanes::all(simd, 0.0), Lanes::all(simd, 0.0));
        let one = Lanes::all(simd, 1.0);
        self.each(
            scores,
            class as u32,
            &mut [],
            #[inline(always)]
            |Columns { scores, is_rival, .. }| {
                ordered = ordered & scores.equals(scores);
                let rivals = Lanes::select(is_rival, scores, lowest);
                if GRADIENT {
                    let better = best.below(rivals);
                    best = Lanes::select(better, rivals, best);
                    best_number = Lanes::select(better, number, best_number);
                    number = number + one;
                } else {
                    best = best.max(rivals);
                }
                lowest
            },
        );
        let worst_rival = best.highest();
        let v = M::violation(self.rule.margin, worst_rival, true_score, false);
        let (value, slope) = self.rule.penalise(v);
        let loss = if Lanes::any(!ordered) { f32::NAN } else { value };
        let found = self.found::<M>(scores, class, loss, worst_rival);
        if GRADIENT && !found.loss.is_nan() {
            gradient.fill(0.0);
            let columns = best_number * one.splat(Lanes::<S>::COUNT as f64) + self.first_numbers;
            let is_worst = best.equals(one.splat(f64::from(worst_rival)));
            // The lowest index among equals. Where every rival is minus infinity no slope is left for any.
            let column = match scores.len() < EXACT {
                true => Lanes::select(is_worst, columns, one.splat(f64::INFINITY)).lowest() as usize,
                false => (0..scores.len()).find(|&i| i != class && scores[i] == worst_rival).unwrap_or(0),
            };
            gradient[column] = slope * coefficient;
            gradient[class] = (M::RIVAL_SLOPE_ON_TRUE as f32 * slope) * coefficient;
        } else if GRADIENT {
            gradient.fill(f32::NAN);
        }
        found
    }

    /// What the loss and the best rival's score say; where they leave it open, the scores.
    #[inline(always)]
    fn found<M: RowsLoss>(&self, scores: &[f32], class: usize, loss: f32, best: f32) -> Found {
        let true_score = scores[class];
        // A violation grows with its score: none of the rivals' is larger than the best one's.
        let is_violated = |score, is_true| M::violation(self.rule.margin, score, true_score, is_true) > 0.0;
        let mut active = is_violated(best, false);
        if M::TRUE_COLUMN {
            active |= is_violated(true_score, true);
        }
        // A NaN of the true class may be in no sum.
        if loss.is_nan() || true_score.is_nan() {
            let is_correct = scores[..class].iter().all(|&s| s < true_score) && scores.iter().all(|&s| s <= true_score);
            return Found { loss: f32::NAN, active: false, correct: is_correct };
        }
        // The lowest index wins the argmax.
        let correct = best < true_score || (best == true_score && !scores[..class].contains(&true_score));
        Found { loss, active, correct }
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Scalar, Simd, WithSimd};

    use super::*;
    use crate::loss::{CrammerSinger, Kink, LeeLinWahba, OneVsAll, SmoothPenalty, SoftplusPenalty, WestonWatkins};

    /// Loss and gradient of one row.
    struct Row<'a, P> {
        rule: Rule<f32, P>,
        method: &'static str,
        scores: &'a [f32],
        class: usize,
    }

    impl<P: PenaltyShape> WithSimd for Row<'_, P> {
        type Output = (f32, bool, bool, Vec<f32>);
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let rows = VectorRows::new(simd, self.rule);
            let mut gradient = vec![7.0; self.scores.len()];
            let out = Some(&mut gradient[..]);
            let found = match self.method {
                "ww" => rows.row::<WestonWatkins>(self.scores, self.class, 0.5, out),
                "ova" => rows.row::<OneVsAll>(self.scores, self.class, 0.5, out),
                "llw" => rows.row::<LeeLinWahba>(self.scores, self.class, 0.5, out),
                _ => rows.row::<CrammerSinger>(self.scores, self.class, 0.5, out),
            };
            (found.loss, found.active, found.correct, gradient)
        }
    }

    /// Every instruction set that the machine has gives what one number at a time gives, to the rounding of sums.
    #[test]
    fn every_width_agrees_with_single_numbers() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for columns in [2usize, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 1000] {
            for method in ["ww", "ova", "llw", "cs"] {
                for special in [None, Some(f32::NAN), Some(f32::INFINITY), Some(f32::NEG_INFINITY)] {
                    // Few values, so that ties are common.
                    let mut scores: Vec<f32> = (0..columns).map(|_| (next() % 9) as f32 / 4.0 - 1.0).collect();
                    if let Some(special) = special {
                        scores[next() as usize % columns] = special;
                    }
                    let class = next() as usize % columns;
                    let smooth = Rule::new(1.0, Kink::Half, SmoothPenalty { gamma: 0.75, scale: 2.0 });
                    let softplus = Rule::new(0.5, Kink::Zero, SoftplusPenalty);
                    let one = Row { rule: smooth, method, scores: &scores, class }.with_simd(Scalar::new());
                    let row = || Row { rule: smooth, method, scores: &scores, class };
                    let soft = || Row { rule: softplus, method, scores: &scores, class };
                    let soft_one = soft().with_simd(Scalar::new());
                    #[cfg(target_arch = "x86_64")]
                    {
                        if let Some(simd) = pulp::x86::V3::try_new() {
                            compare(&one, &Simd::vectorize(simd, row()), (columns, method));
                            compare(&soft_one, &Simd::vectorize(simd, soft()), (columns, method));
                        }
                        if let Some(simd) = pulp::x86::V4::try_new() {
                            compare(&one, &Simd::vectorize(simd, row()), (columns, method));
                            compare(&soft_one, &Simd::vectorize(simd, soft()), (columns, method));
                        }
                    }
                    compare(&one, &pulp::Arch::new().dispatch(row()), (columns, method));
                    compare(&soft_one, &pulp::Arch::new().dispatch(soft()), (columns, method));
                }
            }
        }
    }

    type Found = (f32, bool, bool, Vec<f32>);

    fn compare(expected: &Found, got: &Found, case: (usize, &str)) {
        let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-5 * x.abs().max(1.0);
        assert!(same(expected.0, got.0), "{case:?}: loss {} and {}", expected.0, got.0);
        assert_eq!((expected.1, expected.2), (got.1, got.2), "{case:?}");
        for (i, (&x, &y)) in expected.3.iter().zip(&got.3).enumerate() {
            assert!(same(x, y), "{case:?}: gradient[{i}] {x} and {y}");
        }
    }

    #[test]
    #[should_panic(expected = "gradient[1]")]
    fn another_gradient_is_seen() {
        compare(&(1.0, true, true, vec![0.5, 0.25]), &(1.0, true, true, vec![0.5, -0.25]), (2, "ww"));
    }
}
