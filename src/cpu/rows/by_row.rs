//! Long rows one by one, a vector of columns at a time. Nothing is transposed, and the lanes are reduced once per row.
//!
//! With 64 classes (Crammer-Singer, forward, AVX-512) this reads 28 GB/s; tiles of sixteen transposed rows read 9.
//! Every closure here is `#[inline(always)]`: otherwise it is compiled without the instruction set, and the loop takes
//! thirty times as long.

use pulp::Simd;

use super::walk::{Group, RowsKnown, Seen, Walk};
use crate::cpu::lanes::Vector;
use crate::cpu::{HostReal, prefetch};
use crate::data::labels::IGNORED;
use crate::data::real::Number;
use crate::loss::penalty::PenaltyLoop;
use crate::loss::{Combination, PenaltyShape, Rows};

/// Vectors that are added in the precision of the computation before f64 takes over.
const CHAIN: usize = 16;

/// Prefetch distance in bytes. It exceeds a group of short rows, because nothing is read between two groups. Measured
/// on AVX2 (Zen 3), 256 Ki rows of 64 columns forward on two threads, Crammer-Singer and Weston-Watkins relative to no
/// prefetch: 512 bytes 0.78, 0.72; 1 KiB 0.68, 0.63; 2 KiB 0.57, 0.55; 3 KiB 0.51, 0.52; 4 KiB 0.50, 0.52.
const AHEAD: usize = 4 << 10;

/// What is known about a row before its columns are visited: one lane of [`RowsKnown`].
#[derive(Clone, Copy)]
struct Row<T> {
    class: T,
    true_score: T,
    coefficient: T,
}

/// The sums over a row's columns: one lane of [`Seen`].
struct RowSums<T> {
    total: T,
    total_slope: T,
    best: T,
}

/// A vector of scores, and which of them belong to the true class and its rivals.
struct Columns<V: Number> {
    scores: V,
    is_true: V::Mask,
    /// A column of the row, other than the true class's.
    is_rival: V::Mask,
}

struct SumRow<'w, S: Simd, T: HostReal, P, M, const GRADIENT: bool> {
    walk: &'w Walk<S, T, P, M>,
    scores: &'w [T],
    row: Row<T>,
    out: &'w mut [T],
}

impl<S: Simd, T: HostReal, P: PenaltyShape, M: Rows, const GRADIENT: bool> PenaltyLoop
    for SumRow<'_, S, T, P, M, GRADIENT>
{
    type Output = RowSums<T>;

    #[inline(always)]
    fn run<Q: PenaltyShape>(self, shape: Q) -> RowSums<T> {
        let Self { walk, scores, row, out } = self;
        let rule = walk.rule.with_shape(shape);
        let (zero, lowest) = (walk.all(T::ZERO), walk.all(T::NEG_INFINITY));
        let (true_scores, coefficients) = (walk.all(row.true_score), walk.all(row.coefficient));
        let mut best = lowest;
        let (mut total, mut total_slope) = (0f64, 0f64);
        let chain = CHAIN * walk.lanes();
        let mut out = out.chunks_mut(chain);
        let mut class = row.class;
        for part in scores.chunks(chain) {
            let (mut sums, mut slopes) = (zero, zero);
            walk.each_vector(
                part,
                class,
                out.next().unwrap_or_default(),
                #[inline(always)]
                |Columns { scores, is_true, is_rival }| {
                    let v = walk.method.violation(rule.margin, scores, true_scores, is_true);
                    let (value, slope) = rule.penalise(v);
                    let counts = if walk.method.has_true_column() { is_rival | is_true } else { is_rival };
                    sums = sums + T::Lanes::select(counts, value, zero);
                    best = T::Lanes::select(is_rival, scores, lowest).max(best);
                    if GRADIENT && walk.method.compares() {
                        slopes = slopes + T::Lanes::select(is_rival, slope, zero);
                    }
                    slope * coefficients
                },
            );
            total += sums.sum().to_f64();
            if GRADIENT && walk.method.compares() {
                total_slope += slopes.sum().to_f64();
            }
            // Relative to the next part. A class outside a part equals none of its columns.
            class = class - T::from_f64(chain as f64);
        }
        RowSums { total: T::from_f64(total), total_slope: T::from_f64(total_slope), best: best.highest() }
    }
}

impl<S: Simd, T: HostReal, P: PenaltyShape, M: Rows> Walk<S, T, P, M> {
    /// Visits each column of rows that are not ignored, and writes its part of the gradient (zero for a maximum).
    #[inline(always)]
    pub(super) fn visit_rows<const GRADIENT: bool>(
        &self,
        group: &Group<'_, T>,
        known: RowsKnown<T::Lanes<S>>,
        gradient: &mut [T],
    ) -> Seen<T::Lanes<S>> {
        let zero = known.classes.splat(0.0);
        let (mut total, mut total_slope, mut best, mut best_column) = (zero, zero, zero, zero);
        // NaN in the lane of a row that contains one.
        let mut unordered = zero;
        let mut gradient = gradient.chunks_exact_mut(self.columns);
        for (row, scores) in group.scores.chunks_exact(self.columns).enumerate() {
            let out = gradient.next().unwrap_or_default();
            if group.classes[row] == IGNORED {
                continue;
            }
            let of_row = Row {
                class: known.classes.lanes()[row],
                true_score: known.true_scores.lanes()[row],
                coefficient: known.coefficients.lanes()[row],
            };
            if M::COMBINATION == Combination::Sum {
                let sums = self.sum_row::<GRADIENT>(scores, of_row, out);
                total.lanes_mut()[row] = sums.total;
                total_slope.lanes_mut()[row] = sums.total_slope;
                best.lanes_mut()[row] = sums.best;
            } else {
                let (score, column, is_ordered) = self.best_of_row::<GRADIENT>(scores, of_row.class, out);
                best.lanes_mut()[row] = score;
                best_column.lanes_mut()[row] = column;
                unordered.lanes_mut()[row] = if is_ordered { T::ZERO } else { T::NAN };
            }
        }
        Seen { total, total_slope, best, best_column, is_ordered: unordered.equals(unordered) }
    }

    /// Sums over the columns of a row, and its rivals' highest score. Slopes go to `out` if gradients are asked for.
    #[inline(always)]
    fn sum_row<const GRADIENT: bool>(&self, scores: &[T], row: Row<T>, out: &mut [T]) -> RowSums<T> {
        self.rule.shape().run(SumRow::<_, _, _, _, GRADIENT> { walk: self, scores, row, out })
    }

    /// The highest score of a row's rivals, the lowest column that has it (if a gradient is asked for), and whether no
    /// score is NaN. Fills `out` with zeros, for the caller to add the slopes of single columns.
    #[inline(always)]
    fn best_of_row<const GRADIENT: bool>(&self, scores: &[T], class: T, out: &mut [T]) -> (T, T, bool) {
        let (zero, one, lowest) = (self.all(T::ZERO), self.all(T::ONE), self.all(T::NEG_INFINITY));
        let mut is_ordered = !T::Lanes::none(self.simd);
        let mut best = lowest;
        // The number of the current vector, and of the vector that holds each lane's best score.
        let (mut number, mut best_number) = (zero, zero);
        self.each_vector(
            scores,
            class,
            out,
            #[inline(always)]
            |Columns { scores, is_rival, .. }| {
                is_ordered = is_ordered & scores.equals(scores);
                let rivals = T::Lanes::select(is_rival, scores, lowest);
                if GRADIENT {
                    best_number = T::Lanes::select(best.below(rivals), number, best_number);
                    number = number + one;
                }
                best = rivals.max(best);
                zero
            },
        );
        let highest = best.highest();
        let mut column = T::ZERO;
        if GRADIENT {
            let columns = best_number * zero.splat(self.lanes() as f64) + self.first_columns;
            let is_highest = best.equals(self.all(highest));
            // The lowest index among equals. If every rival is minus infinity, no column gets a slope.
            column = T::Lanes::select(is_highest, columns, zero.splat(f64::INFINITY)).lowest();
        }
        (highest, column, !T::Lanes::any(!is_ordered))
    }

    /// Calls `visit` with each vector of a row and stores the results in `out`, which is as long as the row or empty.
    /// The class may be none of the columns.
    #[inline(always)]
    fn each_vector(
        &self,
        scores: &[T],
        class: T,
        out: &mut [T],
        mut visit: impl FnMut(Columns<T::Lanes<S>>) -> T::Lanes<S>,
    ) {
        let simd = self.simd;
        let (vectors, rest) = T::Lanes::<S>::vectors(scores);
        let (out_vectors, out_rest) = T::Lanes::<S>::vectors_mut(out);
        let mut out_vectors = out_vectors.iter_mut();
        // The lane of the class, if the vector contains it.
        let mut class_lane = self.all(class);
        let step = class_lane.splat(self.lanes() as f64);
        for (i, &raw) in vectors.iter().enumerate() {
            prefetch::ahead_of(vectors, i, AHEAD);
            let is_true = self.first_columns.equals(class_lane);
            let result = visit(Columns { scores: T::Lanes::new(simd, raw), is_true, is_rival: !is_true });
            if let Some(out) = out_vectors.next() {
                *out = result.raw();
            }
            class_lane = class_lane - step;
        }
        if !rest.is_empty() {
            // Beyond the row's columns the vector holds zeros, which belong to no column.
            let is_column = self.first_columns.below(step.splat(rest.len() as f64));
            let is_true = self.first_columns.equals(class_lane);
            let result =
                visit(Columns { scores: T::Lanes::load_part(simd, rest), is_true, is_rival: is_column & !is_true });
            if !out_rest.is_empty() {
                result.store_part(out_rest);
            }
        }
    }
}
