//! The columns of several rows at once, with one lane per row: only the final sums cross lanes. A block of columns is
//! transposed into a small tile, and each column is then visited for all rows.

use super::largest::{Largest, MOST_KEPT, top_of};
use crate::data::real::Real;
use crate::loss::penalty::PenaltyLoop;
use crate::loss::{Combination, PenaltyShape, Rows, Rule};

/// Rows per tile, if the compiler makes vectors of them.
pub(super) const ROWS: usize = 16;

/// Columns per block. Also the longest chain that is added in the precision of the computation before f64 takes over.
pub(super) const BLOCK: usize = 16;

pub(super) type Lanes<T, const R: usize> = [T; R];

/// Up to `R` rows of scores, with what is known before their columns are visited.
pub(super) struct Tile<'a, T, const R: usize> {
    pub(super) scores: &'a [T],
    pub(super) columns: usize,
    /// True classes; for an ignored row a number that is no column's index.
    pub(super) classes: Lanes<u32, R>,
    pub(super) true_scores: Lanes<T, R>,
    /// How many violations count (top).
    pub(super) top: usize,
}

/// The results of visiting the columns, per row. Flags are 0 or 1.
pub(super) struct TileSummary<T, const R: usize> {
    /// The loss before weights; NaN if any score is NaN.
    pub(super) loss: Lanes<T, R>,
    /// The slope of the penalty (maximum, top) or the sum of the rivals' slopes, if slopes are asked for.
    pub(super) rival_slope: Lanes<T, R>,
    /// Lowest index of the best rival (maximum), if slopes are asked for.
    pub(super) best_index: Lanes<u32, R>,
    /// The best rival's [`rank`] (maximum), or the violation at rank k (top).
    pub(super) best: Lanes<T, R>,
    /// How many of the violations that count equal the one at rank k (top).
    pub(super) equals: Lanes<u32, R>,
    /// Whether any margin is violated.
    pub(super) active: Lanes<u32, R>,
    /// Whether the true class wins the argmax and no score is NaN.
    pub(super) correct: Lanes<u32, R>,
}

pub(super) trait Margins<T>: Copy {
    /// Whether all columns have the same margin, so that the highest score is the worst rival.
    const UNIFORM: bool;
    /// The margin of a column in a row of this class.
    fn at(self, class: u32, column: usize) -> T;
}

#[derive(Clone, Copy)]
pub(super) struct Uniform<T>(pub(super) T);

impl<T: Copy> Margins<T> for Uniform<T> {
    const UNIFORM: bool = true;
    #[inline(always)]
    fn at(self, _: u32, _: usize) -> T {
        self.0
    }
}

/// One margin per pair of classes.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    /// C x C, where C is `classes`.
    pub(super) margins: &'a [T],
    pub(super) classes: usize,
}

impl<T: Real> Margins<T> for Matrix<'_, T> {
    const UNIFORM: bool = false;
    #[inline(always)]
    fn at(self, class: u32, column: usize) -> T {
        // An ignored row's class is no row of the matrix.
        (class as usize)
            .checked_mul(self.classes)
            .and_then(|row| self.margins.get(row + column))
            .map_or(T::ZERO, |&m| m)
    }
}

/// What rivals are ranked by if the worst one decides: the score, or the violation if margins differ. Beside an
/// infinite true score, margins have no effect.
#[inline(always)]
pub(super) fn rank<T: Real, M: Rows, G: Margins<T>>(method: M, margin: T, score: T, true_score: T) -> T {
    if G::UNIFORM || true_score.is_infinite() { score } else { method.violation(margin, score, true_score, false) }
}

/// The violation of the rival with this rank.
#[inline(always)]
fn ranked_violation<T: Real, M: Rows, G: Margins<T>>(method: M, margin: T, rank: T, true_score: T) -> T {
    if G::UNIFORM || true_score.is_infinite() { method.violation(margin, rank, true_score, false) } else { rank }
}

/// The violation of a class if the largest few count. The true class's is taken to be zero.
#[inline(always)]
fn top_violation<T: Real, M: Rows>(method: M, margin: T, score: T, true_score: T, is_true: bool) -> T {
    let v = method.violation(margin, score, true_score, false);
    if is_true { T::ZERO } else { v }
}

/// A score, its column, and the true class of its row.
#[derive(Clone, Copy)]
struct ScoreAt<T> {
    value: T,
    column: u32,
    class: u32,
}

/// The results of the columns visited so far, with one lane per row.
struct TileSeen<T, const R: usize> {
    /// Sums of penalties and of slopes: short chains, then f64.
    chain: Lanes<T, R>,
    slope_chain: Lanes<T, R>,
    total: Lanes<f64, R>,
    total_slope: Lanes<f64, R>,
    best: Lanes<T, R>,
    best_index: Lanes<u32, R>,
    nan: Lanes<u32, R>,
    beaten: Lanes<u32, R>,
    active: Lanes<u32, R>,
}

impl<T: Real, const R: usize> TileSeen<T, R> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            chain: [T::ZERO; R],
            slope_chain: [T::ZERO; R],
            total: [0.0; R],
            total_slope: [0.0; R],
            best: [T::NEG_INFINITY; R],
            best_index: [0; R],
            nan: [0; R],
            beaten: [0; R],
            active: [0; R],
        }
    }

    /// Visits one score in its lane. Returns its penalty (sum) or its violation (top).
    #[inline(always)]
    fn visit<M: Rows, P: PenaltyShape, G: Margins<T>, const SLOPES: bool>(
        &mut self,
        method: M,
        lane: usize,
        ScoreAt { value: score, column, class }: ScoreAt<T>,
        true_score: T,
        rule: &Rule<T, P>,
        margins: G,
    ) -> T {
        let is_true = class == column;
        self.nan[lane] |= u32::from(score.is_nan());
        // The lowest index wins the argmax, so an equal score before the true class beats it.
        self.beaten[lane] |=
            u32::from(score > true_score) | (u32::from(score == true_score) & u32::from(column < class));
        match M::COMBINATION {
            Combination::Max => {
                let margin = margins.at(class, column as usize);
                let rank = rank::<T, M, G>(method, margin, score, true_score);
                let better = !is_true & (rank > self.best[lane]);
                self.best[lane] = if better { rank } else { self.best[lane] };
                self.best_index[lane] = if SLOPES & better { column } else { self.best_index[lane] };
                T::ZERO
            }
            Combination::Top => {
                top_violation::<T, M>(method, margins.at(class, column as usize), score, true_score, is_true)
            }
            Combination::Sum => {
                let margin = margins.at(class, column as usize);
                let v = method.violation(margin, score, true_score, is_true);
                let (value, slope) = rule.penalise(v);
                let counts = method.has_true_column() | !is_true;
                let value = if counts { value } else { T::ZERO };
                self.chain[lane] += value;
                self.active[lane] |= u32::from(counts & (v > T::ZERO));
                if SLOPES {
                    self.slope_chain[lane] += if is_true { T::ZERO } else { slope };
                }
                value
            }
        }
    }

    /// Adds the chains to the totals in f64.
    #[inline(always)]
    fn carry<M: Rows, const SLOPES: bool>(&mut self) {
        if M::COMBINATION != Combination::Sum {
            return;
        }
        for lane in 0..R {
            self.total[lane] += self.chain[lane].to_f64();
            if SLOPES {
                self.total_slope[lane] += self.slope_chain[lane].to_f64();
            }
        }
        (self.chain, self.slope_chain) = ([T::ZERO; R], [T::ZERO; R]);
    }
}

struct VisitBlock<'v, 't, T, P, M, G, F, const R: usize, const SLOPES: bool> {
    tile: &'v Tile<'t, T, R>,
    seen: &'v mut TileSeen<T, R>,
    first: usize,
    block: &'v [Lanes<T, R>],
    method: M,
    rule: &'v Rule<T, P>,
    margins: G,
    per_class: &'v mut F,
}

impl<
    T: Real,
    P: PenaltyShape,
    M: Rows,
    G: Margins<T>,
    F: FnMut(usize, &Lanes<T, R>),
    const R: usize,
    const SLOPES: bool,
> PenaltyLoop for VisitBlock<'_, '_, T, P, M, G, F, R, SLOPES>
{
    type Output = ();

    #[inline(always)]
    fn run<Q: PenaltyShape>(self, shape: Q) {
        let Self { tile, seen, method, margins, .. } = self;
        let rule = self.rule.with_shape(shape);
        for (column, scores) in (self.first as u32..).zip(self.block) {
            let mut values = [T::ZERO; R];
            for row in 0..R {
                let score = ScoreAt { value: scores[row], column, class: tile.classes[row] };
                values[row] = seen.visit::<M, Q, G, SLOPES>(method, row, score, tile.true_scores[row], &rule, margins);
            }
            (self.per_class)(column as usize, &values);
        }
    }
}

impl<T: Real, const R: usize> Tile<'_, T, R> {
    /// Copies `width` columns from `first` on, transposed. Lanes without a row keep their values.
    #[inline(always)]
    fn transpose(&self, first: usize, width: usize, block: &mut [Lanes<T, R>; BLOCK]) {
        for (row, scores) in (0..R).zip(self.scores.chunks_exact(self.columns)) {
            let scores = &scores[first..first + width];
            match scores.first_chunk::<BLOCK>() {
                // The length is known at compile time, so no element is checked.
                Some(scores) => (0..BLOCK).for_each(|column| block[column][row] = scores[column]),
                None => block.iter_mut().zip(scores).for_each(|(lanes, &score)| lanes[row] = score),
            }
        }
    }

    /// Visits every column of each row once. `SLOPES` asks for what the gradient needs. If penalties are added up,
    /// `per_class` receives each column with its penalties, one per lane.
    #[inline(always)]
    pub(super) fn summarise<M: Rows, P: PenaltyShape, G: Margins<T>, const SLOPES: bool>(
        &self,
        method: M,
        rule: &Rule<T, P>,
        margins: G,
        per_class: impl FnMut(usize, &Lanes<T, R>),
    ) -> TileSummary<T, R> {
        let keeps_largest = M::COMBINATION == Combination::Top && self.top <= MOST_KEPT;
        let mut largest = Largest::<T, R>::new(self.top);
        let seen = if keeps_largest {
            self.visit_columns::<M, P, G, SLOPES>(
                method,
                rule,
                margins,
                #[inline(always)]
                |_, violations| largest.insert(violations),
            )
        } else {
            self.visit_columns::<M, P, G, SLOPES>(method, rule, margins, per_class)
        };
        let TileSeen { total, total_slope, best, best_index, nan, beaten, active, .. } = seen;
        let mut summary = TileSummary {
            loss: total.map(T::from_f64),
            rival_slope: total_slope.map(T::from_f64),
            best_index,
            best,
            equals: [0; R],
            active,
            correct: [0; R],
        };
        let mut selected = Vec::new();
        for row in 0..R {
            if M::COMBINATION == Combination::Max {
                // A matrix needs no margin here: the rank is the violation, or infinite.
                let margin = if G::UNIFORM { margins.at(0, 0) } else { T::ZERO };
                let v = ranked_violation::<T, M, G>(method, margin, best[row], self.true_scores[row]);
                (summary.loss[row], summary.rival_slope[row]) = rule.penalise(v);
                summary.active[row] = u32::from(v > T::ZERO);
            }
            if M::COMBINATION == Combination::Top && (row + 1) * self.columns <= self.scores.len() {
                let taken = if keeps_largest {
                    largest.taken(row)
                } else {
                    let scores = self.scores[row * self.columns..][..self.columns].iter().enumerate();
                    let violations =
                        scores.map(|(column, &score)| self.top_violation::<M, G>(method, row, column, score, margins));
                    top_of(self.top, violations, &mut selected)
                };
                (summary.loss[row], summary.rival_slope[row]) = rule.penalise(taken.mean);
                (summary.best[row], summary.equals[row]) = (taken.last, taken.equals);
                summary.active[row] = u32::from(taken.mean > T::ZERO);
            }
            summary.loss[row] = if nan[row] != 0 { T::NAN } else { summary.loss[row] };
            summary.active[row] &= u32::from(!summary.loss[row].is_nan());
            summary.correct[row] = (beaten[row] | nan[row]) ^ 1;
        }
        summary
    }

    #[inline(always)]
    fn visit_columns<M: Rows, P: PenaltyShape, G: Margins<T>, const SLOPES: bool>(
        &self,
        method: M,
        rule: &Rule<T, P>,
        margins: G,
        mut per_class: impl FnMut(usize, &Lanes<T, R>),
    ) -> TileSeen<T, R> {
        let mut seen = TileSeen::new();
        let mut block = [[T::ZERO; R]; BLOCK];
        self.each_block(
            &mut block,
            #[inline(always)]
            |first, block| {
                let visit = VisitBlock::<_, _, _, _, _, R, SLOPES> {
                    tile: self,
                    seen: &mut seen,
                    first,
                    block,
                    method,
                    rule,
                    margins,
                    per_class: &mut per_class,
                };
                match M::COMBINATION {
                    Combination::Sum => rule.shape().run(visit),
                    // The penalty is taken after all columns were seen.
                    Combination::Max | Combination::Top => visit.run(rule.shape()),
                }
                seen.carry::<M, SLOPES>();
            },
        );
        seen
    }

    /// Calls `visit` with each block: the index of its first column, and its columns, transposed.
    #[inline(always)]
    pub(super) fn each_block(
        &self,
        block: &mut [Lanes<T, R>; BLOCK],
        mut visit: impl FnMut(usize, &mut [Lanes<T, R>]),
    ) {
        for first in (0..self.columns).step_by(BLOCK) {
            let width = BLOCK.min(self.columns - first);
            self.transpose(first, width, block);
            visit(first, &mut block[..width]);
        }
    }

    /// The violation of a class in a row, if the largest few count.
    #[inline(always)]
    pub(super) fn top_violation<M: Rows, G: Margins<T>>(
        &self,
        method: M,
        row: usize,
        column: usize,
        score: T,
        margins: G,
    ) -> T {
        let class = self.classes[row];
        let is_true = column == class as usize;
        top_violation::<T, M>(method, margins.at(class, column), score, self.true_scores[row], is_true)
    }
}
