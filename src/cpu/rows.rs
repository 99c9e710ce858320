//! The driver of the rows pattern: one row of class scores and one class index a sample.

use crate::cpu::{HostReal, Job, LANES, SCRATCH, run_jobs, weights, wrong_device};
use crate::error::Result;
use crate::evaluation::{Evaluation, Outputs, Precision, Reduction, Request, Totals};
use crate::loss::labels::{IGNORED, decode_class_indices};
use crate::loss::penalty::with_penalty;
use crate::loss::{Combination, MulticlassHinge, PenaltyShape, RowsLoss, Rule, Ties};
use crate::real::Real;
use crate::tensor::{Batch, Floats, with_targets};

/// Scores a job: large enough to hide the scheduling, small enough to balance.
const JOB_SCORES: usize = 16 * SCRATCH;

/// Jobs at most where each keeps per-class sums, so that those stay small beside the scores.
const PER_CLASS_JOBS: usize = 256;

/// Evaluates a multiclass hinge over host data.
pub(crate) fn evaluate<M: RowsLoss>(
    loss: &MulticlassHinge<M>,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Evaluation> {
    let (rows, columns) = loss.check_batch(batch, request)?;
    match batch.scores {
        Floats::F32(scores) => with_penalty!(loss.terms.penalty, shape => {
            Driver::new(loss, shape, scores, columns, batch, request).evaluate(rows, Precision::F32)
        }),
        Floats::F64(scores) => with_penalty!(loss.terms.penalty, shape => {
            Driver::new(loss, shape, scores, columns, batch, request).evaluate(rows, Precision::F64)
        }),
        Floats::Device(_) => Err(wrong_device(batch)),
    }
}

struct Driver<'a, M, P, T> {
    loss: &'a MulticlassHinge<M>,
    rule: Rule<T, P>,
    scores: &'a [T],
    columns: usize,
    class_weights: Option<Vec<T>>,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<'a, M: RowsLoss, P: PenaltyShape, T: HostReal> Driver<'a, M, P, T> {
    fn new(
        loss: &'a MulticlassHinge<M>,
        shape: P,
        scores: &'a [T],
        columns: usize,
        batch: &'a Batch<'a>,
        request: &'a Request,
    ) -> Self {
        let class_weights = loss.class_weights.as_ref().map(|w| w.iter().map(|&w| T::from_f64(w)).collect());
        let rule = Rule::new(loss.terms.margin, loss.terms.kink, shape);
        Self { loss, rule, scores, columns, class_weights, batch, request }
    }

    fn evaluate(&self, rows: usize, precision: Precision) -> Result<Evaluation> {
        let job_rows = (JOB_SCORES / self.columns).clamp(1, SCRATCH);
        let job_rows = if self.request.per_class { job_rows.max(rows.div_ceil(PER_CLASS_JOBS)) } else { job_rows };
        let divisor = self.gradient_divisor(rows)?;
        let mut losses = self.request.losses.then(|| vec![T::ZERO; rows]);
        let mut gradient = self.request.gradient.then(|| vec![T::ZERO; self.scores.len()]);
        let arch = pulp::Arch::new();
        let mut totals =
            run_jobs(rows, job_rows, self.columns, losses.as_deref_mut(), gradient.as_deref_mut(), |job| {
                arch.dispatch(DriverJob { driver: self, job, divisor })
            })?;
        if self.request.per_class && totals.per_class.is_empty() {
            totals.per_class = vec![0.0; self.columns];
        }
        let (losses, gradient) = (losses.map(T::output), gradient.map(T::output));
        let outputs = Outputs { losses, gradient, precision, upload_time: Default::default() };
        totals.finish(self.request, rows, true, outputs)
    }

    /// What the gradient of the reduced value is divided by; a mean needs a pass over labels and weights.
    fn gradient_divisor(&self, rows: usize) -> Result<T> {
        if !self.request.gradient || self.request.reduction != Reduction::Mean {
            return Ok(T::ONE);
        }
        let totals = weight_totals(self.batch, self.columns, self.loss.ignore_index)?;
        totals.divisor(Reduction::Mean, rows).map(T::from_f64)
    }
}

/// Reads the class indices and weights of the rows `start..end`; weights are 1 where none were given.
#[inline(always)]
fn decode<T: Real>(
    batch: &Batch<'_>,
    columns: usize,
    ignore_index: Option<i64>,
    (start, end): (usize, usize),
    scratch: &mut Scratch<T>,
) -> Result<()> {
    let classes = &mut scratch.classes[..end - start];
    with_targets!(batch.targets, x => decode_class_indices(&x[start..end], columns, ignore_index, classes)?,
        _tensor => return Err(wrong_device(batch)));
    let weights = &mut scratch.weights[..end - start];
    match batch.sample_weights {
        None => Ok(()),
        Some(Floats::F32(w)) => weights::decode(&w[start..end], weights),
        Some(Floats::F64(w)) => weights::decode(&w[start..end], weights),
        Some(Floats::Device(_)) => Err(wrong_device(batch)),
    }
}

/// Count and weight sum of the rows that are not ignored, labels and weights validated.
pub(crate) fn weight_totals(batch: &Batch<'_>, columns: usize, ignore_index: Option<i64>) -> Result<Totals> {
    run_jobs::<f64>(batch.targets.len(), SCRATCH, 1, None, None, |job| {
        let mut scratch = Scratch::<f64>::new();
        decode(batch, columns, ignore_index, (job.start, job.start + job.samples), &mut scratch)?;
        let kept = |&(class, _): &(&i32, &f64)| *class != IGNORED;
        let mut totals = Totals::default();
        for (_, weight) in scratch.classes[..job.samples].iter().zip(&scratch.weights).filter(kept) {
            totals.count += 1;
            totals.weight_sum += weight;
        }
        Ok(totals)
    })
}

/// Class indices and weights of one chunk of rows.
struct Scratch<T> {
    classes: [i32; SCRATCH],
    weights: [T; SCRATCH],
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        Self { classes: [0; SCRATCH], weights: [T::ONE; SCRATCH] }
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, M, P, T> {
    driver: &'a Driver<'a, M, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<M: RowsLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for DriverJob<'_, '_, M, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(mut self) -> Result<Totals> {
        let driver = self.driver;
        let columns = driver.columns;
        let class_divisor = T::from_f64(driver.loss.class_divisor(columns));
        let per_class = if driver.request.per_class { vec![0.0; columns] } else { Vec::new() };
        let mut totals = Totals { per_class, ..Totals::default() };
        let mut scratch = Scratch::new();
        for start in (0..self.job.samples).step_by(SCRATCH) {
            let end = (start + SCRATCH).min(self.job.samples);
            let first = self.job.start + start;
            let span = (first, self.job.start + end);
            decode(driver.batch, columns, driver.loss.ignore_index, span, &mut scratch)
                .map_err(|error| error.shifted(start as u64))?;
            for row in start..end {
                let class = scratch.classes[row - start];
                if class == IGNORED {
                    // Losses and gradient were allocated as zeros.
                    continue;
                }
                let class = class as usize;
                let scores = &driver.scores[(self.job.start + row) * columns..][..columns];
                let sample_weight = scratch.weights[row - start];
                let weight = driver.class_weights.as_ref().map_or(sample_weight, |w| sample_weight * w[class]);
                let gradient = self.job.gradient.as_deref_mut().map(|g| &mut g[row * columns..][..columns]);
                let outcome = RowKernel::<M, P, T> {
                    rule: &driver.rule,
                    scores,
                    class,
                    ties: driver.loss.ties,
                    _method: driver.loss.method,
                }
                .evaluate(
                    gradient,
                    weight / self.divisor,
                    class_divisor,
                    &mut totals.per_class,
                    weight,
                );
                let loss = outcome.loss / class_divisor * weight;
                totals.sum += loss.to_f64();
                totals.weight_sum += sample_weight.to_f64();
                totals.count += 1;
                totals.active += u64::from(outcome.active);
                totals.correct += u64::from(outcome.correct);
                if let Some(losses) = self.job.losses.as_deref_mut() {
                    losses[row] = loss;
                }
            }
        }
        Ok(totals)
    }
}

struct RowOutcome<T> {
    loss: T,
    active: bool,
    correct: bool,
}

/// One row.
struct RowKernel<'a, M, P, T> {
    rule: &'a Rule<T, P>,
    scores: &'a [T],
    class: usize,
    ties: Ties,
    _method: M,
}

impl<M: RowsLoss, P: PenaltyShape, T: Real> RowKernel<'_, M, P, T> {
    #[inline(always)]
    fn violation(&self, score: T, is_true: bool) -> T {
        M::violation(self.rule.margin, score, self.scores[self.class], is_true)
    }

    /// The row's loss before weights; writes the gradient row and adds to the per-class sums where they are there.
    #[inline(always)]
    fn evaluate(
        &self,
        gradient: Option<&mut [T]>,
        coefficient: T,
        class_divisor: T,
        per_class: &mut [f64],
        weight: T,
    ) -> RowOutcome<T> {
        let true_score = self.scores[self.class];
        let (before, after) = (&self.scores[..self.class], &self.scores[self.class + 1..]);
        let (best_before, nan_before) = maximum(before);
        let (best_after, nan_after) = maximum(after);
        let has_nan = nan_before | nan_after | true_score.is_nan();
        let correct = !has_nan
            && (before.is_empty() || best_before < true_score)
            && (after.is_empty() || best_after <= true_score);
        let best = if best_after > best_before { best_after } else { best_before };

        let (loss, active, rival_slopes) = if has_nan {
            (T::NAN, false, 0.0)
        } else {
            match M::COMBINATION {
                Combination::Max => {
                    let v = self.violation(best, false);
                    let (value, slope) = self.rule.penalise(v);
                    (value, v > T::ZERO, slope.to_f64())
                }
                Combination::Sum => self.sum_columns(before, after),
            }
        };
        for (column, (sum, &score)) in per_class.iter_mut().zip(self.scores).enumerate() {
            // A class's value depends on its own column alone, so a NaN stays in its class.
            let value = self.rule.penalise(self.violation(score, column == self.class)).0;
            *sum += (value * weight).to_f64();
        }
        if let Some(gradient) = gradient {
            if loss.is_nan() {
                gradient.fill(T::NAN);
            } else {
                self.write_gradient(gradient, best, T::from_f64(rival_slopes), coefficient / class_divisor);
            }
        }
        RowOutcome { loss, active: active & !loss.is_nan(), correct }
    }

    /// (sum of the penalties, any violation, sum of the rivals' slopes).
    #[inline(always)]
    fn sum_columns(&self, before: &[T], after: &[T]) -> (T, bool, f64) {
        let mut values = [0f64; LANES];
        let mut slopes = [0f64; LANES];
        let mut active = [0u32; LANES];
        let mut add = |lane: usize, score: T| {
            let v = self.violation(score, false);
            let (value, slope) = self.rule.penalise(v);
            values[lane] += value.to_f64();
            slopes[lane] += slope.to_f64();
            active[lane] |= u32::from(v > T::ZERO);
        };
        for segment in [before, after] {
            let (chunks, rest) = segment.as_chunks::<LANES>();
            for chunk in chunks {
                for (lane, &score) in chunk.iter().enumerate() {
                    add(lane, score);
                }
            }
            for (lane, &score) in rest.iter().enumerate() {
                add(lane, score);
            }
        }
        let mut total: f64 = values.iter().sum();
        let mut any_active = active.iter().any(|&a| a != 0);
        if M::TRUE_COLUMN {
            let v = self.violation(self.scores[self.class], true);
            total += self.rule.penalise(v).0.to_f64();
            any_active |= v > T::ZERO;
        }
        (T::from_f64(total), any_active, slopes.iter().sum())
    }

    /// The gradient of a row whose loss is not NaN. `rival_slopes` is the sum of the rivals' slopes.
    #[inline(always)]
    fn write_gradient(&self, gradient: &mut [T], best: T, rival_slopes: T, coefficient: T) {
        match M::COMBINATION {
            Combination::Max => {
                let is_best = |i: usize| i != self.class && self.scores[i] == best;
                match self.ties {
                    Ties::First => {
                        gradient.fill(T::ZERO);
                        if let Some(first) = (0..gradient.len()).find(|&i| is_best(i)) {
                            gradient[first] = rival_slopes * coefficient;
                        }
                    }
                    Ties::Split => {
                        let ties = (0..gradient.len()).filter(|&i| is_best(i)).count();
                        let share = rival_slopes / T::from_f64(ties as f64) * coefficient;
                        for (i, g) in gradient.iter_mut().enumerate() {
                            *g = if is_best(i) { share } else { T::ZERO };
                        }
                    }
                }
            }
            Combination::Sum => {
                for (g, &score) in gradient.iter_mut().zip(self.scores) {
                    *g = self.rule.penalise(self.violation(score, false)).1 * coefficient;
                }
            }
        }
        // The true class: its own column where it has one, and what the rivals' violations owe to its score.
        let mut slope = T::ZERO;
        if M::TRUE_COLUMN {
            slope += -self.rule.penalise(self.violation(self.scores[self.class], true)).1;
        }
        if M::RIVAL_SLOPE_ON_TRUE != 0.0 {
            slope += T::from_f64(M::RIVAL_SLOPE_ON_TRUE) * rival_slopes;
        }
        gradient[self.class] = slope * coefficient;
    }
}

/// The largest element (minus infinity where there is none) and whether any is NaN.
#[inline(always)]
fn maximum<T: Real>(values: &[T]) -> (T, bool) {
    let mut best = [T::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut take = |lane: usize, x: T| {
        best[lane] = if x > best[lane] { x } else { best[lane] };
        nan[lane] |= x.is_nan();
    };
    for chunk in chunks {
        for (lane, &x) in chunk.iter().enumerate() {
            take(lane, x);
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        take(lane, x);
    }
    let best = best.into_iter().fold(T::NEG_INFINITY, |a, b| if b > a { b } else { a });
    (best, nan.contains(&true))
}
