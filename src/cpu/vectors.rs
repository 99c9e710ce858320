//! The driver of the vectors pattern: two or three vectors a sample, of which the loss sees the distances.
//!
//! Distances and gradients are computed in f64, whatever the vectors are stored in.

use crate::cpu::dispatch::dispatch;
use crate::cpu::elementwise::{other_scores, weight_totals};
use crate::cpu::outputs::Destinations;
use crate::cpu::{HostReal, Job, Stored, run_jobs, sum, weights, with_stored, wrong_device};
use crate::error::{Input, Result};
use crate::evaluation::{Buffers, Evaluation, Precision, Request, Totals};
use crate::loss::penalty::with_penalty;
use crate::loss::{Distance, PenaltyShape, Rule, VectorsLoss};
use crate::tensor::{Batch, BatchShape, with_targets};

/// Components a job: large enough to hide the scheduling, small enough to balance.
const JOB: usize = 16 << 10;

/// Independent partial sums of a reduction.
const LANES: usize = 8;

/// The vectors of each distance: first and second, first and third, second and third.
const ENDS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

/// Evaluates a loss over host data.
pub(crate) fn evaluate<L: VectorsLoss>(
    loss: &L,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let shape = loss.check_batch(batch, request)?;
    with_stored!(batch, (first, precision) => with_penalty!(loss.terms().penalty, penalty => {
        let second = other_scores(first, batch.second_scores, Input::SecondScores)?;
        let third = other_scores(first, batch.third_scores, Input::ThirdScores)?;
        let vectors = [Some(first), second, third];
        let rule = Rule::new(loss.terms().margin, loss.terms().kink, penalty);
        Driver { loss, rule, vectors, shape, batch, request }.evaluate(precision, buffers)
    }))
}

struct Driver<'a, L, P, T> {
    loss: &'a L,
    rule: Rule<T, P>,
    vectors: [Option<Stored<'a, T>>; 3],
    shape: BatchShape,
    batch: &'a Batch<'a>,
    request: &'a Request,
}

impl<L: VectorsLoss, P: PenaltyShape, T: HostReal> Driver<'_, L, P, T> {
    fn evaluate(&self, precision: Precision, buffers: Buffers<'_>) -> Result<Evaluation> {
        let BatchShape { samples, columns, .. } = self.shape;
        let divisor = self.request.divisor_of_gradient(samples, || weight_totals(self.batch, samples))?;
        let mut outputs = Destinations::new(self.shape, L::INPUTS, self.request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let job_samples = (JOB / (L::INPUTS * columns)).max(1);
        let totals = run_jobs(self.shape, job_samples, losses, gradient, |job| {
            dispatch(DriverJob { driver: self, job, divisor: T::from_f64(divisor) })
        })?;
        totals.finish(self.request, samples, false, outputs.finish(precision))
    }
}

/// One job, as a type that the run-time choice of instruction set can call.
struct DriverJob<'a, 'j, L, P, T> {
    driver: &'a Driver<'a, L, P, T>,
    job: Job<'j, T>,
    divisor: T,
}

impl<L: VectorsLoss, P: PenaltyShape, T: HostReal> pulp::NullaryFnOnce for DriverJob<'_, '_, L, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn call(mut self) -> Result<Totals> {
        let driver = self.driver;
        let dimensions = driver.shape.columns;
        let range = self.job.start..self.job.start + self.job.samples;
        let mut sample_weights = vec![T::ONE; range.len()];
        weights::read(driver.batch, range.clone(), &mut sample_weights)?;
        let mut signs = vec![T::ZERO; range.len()];
        if let Some(rule) = L::TARGETS {
            let targets = driver.batch.targets.part(range.clone());
            with_targets!(targets, x => rule.decode(x, &mut signs)?,
                _tensor => return Err(wrong_device(driver.batch)));
        }
        let (distance, has_third) = (driver.loss.distance(), driver.loss.has_third_distance());
        let mut widened = [const { Vec::new() }; 3];
        let mut slopes = [const { Vec::new() }; 3];
        let mut totals = Totals { count: range.len() as u64, weight_sum: sum(&sample_weights), ..Totals::default() };
        for (offset, (&weight, &sign)) in sample_weights.iter().zip(&signs).enumerate() {
            let span = (range.start + offset) * dimensions..(range.start + offset + 1) * dimensions;
            let mut vectors: [&[T]; 3] = [&[]; 3];
            for ((vector, stored), widened) in vectors.iter_mut().zip(driver.vectors).zip(&mut widened) {
                if let Some(stored) = stored {
                    *vector = stored.read(span.clone(), widened);
                }
            }
            let wanted = |pair: usize| pair == 0 || (pair == 1 && L::INPUTS == 3) || (pair == 2 && has_third);
            let measure = |pair: usize| match wanted(pair) {
                true => Measured::new(distance, ENDS[pair].map(|end| vectors[end])),
                false => Measured::default(),
            };
            let measured = [measure(0), measure(1), measure(2)];
            let distances = measured.each_ref().map(|m| T::from_f64(m.distance));
            let combined = L::combine(&driver.rule, distances, has_third, sign);
            let is_nan = vectors.iter().any(|vector| vector.iter().any(|x| x.is_nan()));
            let value = if is_nan { T::NAN } else { combined.value };
            let loss = value * weight;
            totals.sum += loss.to_f64();
            totals.active += u64::from(combined.active && !value.is_nan());
            if let Some(losses) = self.job.losses.as_deref_mut() {
                losses[offset] = loss;
            }
            let Some(first_gradient) = self.job.gradient.as_deref_mut() else { continue };
            // An infinite distance that has a part in the slope leaves no direction.
            let no_direction =
                distances.iter().zip(combined.slopes).any(|(d, slope)| d.is_infinite() && slope != T::ZERO);
            let undefined = value.is_nan() || no_direction;
            slopes.iter_mut().for_each(|slopes| {
                slopes.clear();
                slopes.resize(dimensions, 0.0);
            });
            for (pair, measured) in measured.iter().enumerate().filter(|&(pair, _)| wanted(pair) && !undefined) {
                let slope = combined.slopes[pair].to_f64();
                if slope != 0.0 {
                    let [from, to] = ENDS[pair];
                    measured.add_slopes(distance, [vectors[from], vectors[to]], slope, &mut slopes, ENDS[pair]);
                }
            }
            let coefficient = weight / self.divisor;
            let [second_gradient, third_gradient] = &mut self.job.other_gradients;
            let blocks = [Some(first_gradient), second_gradient.as_deref_mut(), third_gradient.as_deref_mut()];
            for (block, slopes) in blocks.into_iter().zip(&slopes) {
                let Some(block) = block else { continue };
                for (g, &slope) in block[offset * dimensions..][..dimensions].iter_mut().zip(slopes) {
                    *g = if undefined { T::NAN } else { T::from_f64(slope) * coefficient };
                }
            }
        }
        Ok(totals)
    }
}

/// Sum over the components in fixed lanes.
#[inline(always)]
fn sum_by<T: Copy>([x, y]: [&[T]; 2], term: impl Fn(T, T) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += term(x, y);
        }
    }
    lanes.iter().sum()
}

/// The distance of two vectors, and what its slope needs.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    distance: f64,
    /// The largest component of the difference (norms), 0 where it was not needed.
    highest: f64,
    /// How many components are the largest (infinite norm).
    ties: f64,
    /// The vectors' lengths (cosine).
    lengths: [f64; 2],
}

impl Measured {
    #[inline(always)]
    fn new<T: HostReal>(distance: Distance, ends: [&[T]; 2]) -> Self {
        let Distance::Norm { p, epsilon } = distance else { return Self::cosine(ends) };
        let difference = |x: T, y: T| (x.to_f64() - y.to_f64() + epsilon).abs();
        if p == 1.0 {
            return Self { distance: sum_by(ends, difference), ..Self::default() };
        }
        if p == 2.0 {
            let squares = sum_by(ends, |x, y| difference(x, y).powi(2));
            // Beyond f32's squares there may be overflow, and some of what vanishes does not vanish.
            if squares.is_nan() || (1e-200..1e200).contains(&squares) {
                return Self { distance: squares.sqrt(), ..Self::default() };
            }
        }
        let components = || ends[0].iter().zip(ends[1]).map(|(&x, &y)| difference(x, y));
        let highest = components().fold(0.0, f64::max);
        if highest == 0.0 || components().any(|d| !d.is_finite()) {
            let is_nan = components().any(f64::is_nan);
            return Self { distance: if is_nan { f64::NAN } else { highest }, ..Self::default() };
        }
        if p == f64::INFINITY {
            let ties = components().filter(|&d| d == highest).count() as f64;
            return Self { distance: highest, highest, ties, ..Self::default() };
        }
        // Divided by the largest, powers neither overflow nor vanish.
        let sum = sum_by(ends, |x, y| (difference(x, y) / highest).powf(p));
        Self { distance: highest * sum.powf(1.0 / p), highest, ..Self::default() }
    }

    #[inline(always)]
    fn cosine<T: HostReal>(ends: [&[T]; 2]) -> Self {
        let [x, y] = ends;
        // Divided by the largest, squares neither overflow nor vanish.
        let highest = |x: &[T]| x.iter().fold(1e-150, |highest: f64, x| highest.max(x.to_f64().abs()));
        let (highest_x, highest_y) = (highest(x), highest(y));
        let length = |ends: [&[T]; 2], highest: f64| {
            let squares = sum_by(ends, |x, _| (x.to_f64() / highest).powi(2));
            highest * (squares + Distance::COSINE_EPSILON / highest / highest).sqrt()
        };
        let lengths = [length([x, x], highest_x), length([y, y], highest_y)];
        let cosine = sum_by(ends, |x, y| (x.to_f64() / lengths[0]) * (y.to_f64() / lengths[1]));
        Self { distance: 1.0 - cosine, lengths, ..Self::default() }
    }

    /// Adds the slope of the distance with respect to its two vectors, times `weight`, to theirs among `slopes`.
    #[inline(always)]
    fn add_slopes<T: HostReal>(
        &self,
        distance: Distance,
        [x, y]: [&[T]; 2],
        weight: f64,
        slopes: &mut [Vec<f64>; 3],
        [from, to]: [usize; 2],
    ) {
        let components = || x.iter().zip(y).map(|(x, y)| (x.to_f64(), y.to_f64())).enumerate();
        let Distance::Norm { p, epsilon } = distance else {
            let ([length_x, length_y], cosine) = (self.lengths, 1.0 - self.distance);
            for (i, (x, y)) in components() {
                let (along_x, along_y) = (x / length_x, y / length_y);
                slopes[from][i] += weight * ((cosine * along_x - along_y) / length_x);
                slopes[to][i] += weight * ((cosine * along_y - along_x) / length_y);
            }
            return;
        };
        for (i, (x, y)) in components() {
            let d = x - y + epsilon;
            let slope = match p {
                _ if d == 0.0 || self.distance == 0.0 => 0.0,
                1.0 => d.signum(),
                2.0 => d / self.distance,
                f64::INFINITY if d.abs() == self.highest => d.signum() / self.ties,
                f64::INFINITY => 0.0,
                _ => d.signum() * (d.abs() / self.distance).powf(p - 1.0),
            };
            slopes[from][i] += weight * slope;
            slopes[to][i] -= weight * slope;
        }
    }
}
