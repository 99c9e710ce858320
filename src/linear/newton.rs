//! The solver of one binary problem: an augmented Lagrangian of the dual whose steps are minimised by Newton's method.
//!
//! For multipliers `alpha` and a parameter `sigma`, the hinge is replaced by a smooth function whose slope in row i is
//! a = clip(alpha + sigma c z, 0, c). Its sum with the penalty is minimised over w by Newton's method, which only needs
//! the rows strictly inside their bounds; then `alpha` becomes a, `sigma` grows, and so on. The squared and the smooth
//! hinge are smooth themselves: there a = clip(slope c z, 0, cap), and one minimisation is all. See Yan and Li, "An
//! efficient augmented Lagrangian method for support vector machine" (2019), arXiv:1912.06800.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::certificate::{Certificate, certify, clamp};
use super::hessian::{Hessian, Inside};
use super::problem::{CHUNK, Problem, sums};
use crate::data::memory::{check_room, filled};
use crate::error::Result;

/// What `sigma` is multiplied by in every outer step.
const GROWTH: f64 = 3.0;

/// The inner minimisation of the hinge ends where the squared gradient is at most this share of what the multipliers
/// moved by.
const INNER: f64 = 0.09;

/// The slope along a direction at which its search ends, as a share of the slope at its beginning.
const FLAT: f64 = 0.05;

/// Rows inside their bounds at the beginning of a warm start, at least, as a share of the columns and of the rows.
const INSIDE_PER_COLUMN: f64 = 16.0;
const INSIDE_PER_ROW: f64 = 1.0 / 200.0;

/// Beyond this `sigma`, the hinge is as sharp as f64 allows.
const MOST_KAPPA: f64 = 1e13;

/// How often the certificate may fail to confirm a gap, before the numbers' precision counts as exhausted.
const MOST_FAILURES: usize = 4;

/// Where the solver stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FitProgress {
    /// Reads of all features so far; a part of the rows counts as that part.
    pub passes: f64,
    /// Newton steps so far.
    pub newton_steps: u64,
    /// The relative gap, not yet certified; infinite before it is known.
    pub gap: f64,
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitEnd {
    /// The certificate confirmed the gap that was asked for.
    Converged,
    /// The passes were used up.
    Passes,
    /// The caller asked for a stop.
    Stopped,
    /// Rounding allows no smaller gap.
    Precision,
}

/// A function that is told where the solver stands, and ends the fit by returning false. Problems of several classes may tell
/// it from several threads.
pub type OnProgress<'a> = dyn FnMut(FitProgress) -> bool + Send + 'a;

/// When to end, and whom to tell.
pub(super) struct Limits<'a> {
    pub(super) gap: f64,
    pub(super) max_passes: f64,
    /// Told where the solver stands; false ends it.
    pub(super) on_progress: &'a mut (dyn FnMut(FitProgress) -> bool + Send),
}

pub(super) struct Solution {
    pub(super) w: Vec<f64>,
    pub(super) multipliers: Vec<f64>,
    pub(super) certificate: Certificate,
    pub(super) end: FitEnd,
    /// Time that the certificates took.
    pub(super) certifying: Duration,
}

/// A bound of the multipliers' growth: a = clip(base + kappa c z, 0, cap).
struct Solver<'a, 'p> {
    problem: &'a Problem<'p>,
    /// Violations.
    z: Vec<f64>,
    /// Their change along the direction.
    dz: Vec<f64>,
    /// The hinge's multipliers of the outer step before; empty for smooth losses.
    alpha: Vec<f64>,
    kappa: f64,
    /// The multipliers at the current weights.
    a: Vec<f64>,
    w: Vec<f64>,
    /// The sum of a y x.
    image: Vec<f64>,
    is_inside: Vec<bool>,
    /// With a free intercept: the rows inside before the intercept moved. It moves a row that a step has just reached back to
    /// its bound, where the next step, which would not know of it, would be blocked by it at once.
    was_inside: Vec<bool>,
    progress: FitProgress,
}

/// The best weights and the best multipliers so far, which may come from different steps.
struct Best {
    w: Vec<f64>,
    primal: f64,
    a: Vec<f64>,
    dual: f64,
}

impl Solver<'_, '_> {
    fn is_hinge(&self) -> bool {
        !self.alpha.is_empty()
    }

    /// The multiplier of a row before it is clipped.
    fn unclipped(&self, row: usize, z: f64) -> f64 {
        let base = self.alpha.get(row).copied().unwrap_or(0.0);
        base + self.kappa * self.problem.costs[row] * z
    }

    fn is_inside_at(&self, row: usize, z: f64) -> bool {
        let a = self.unclipped(row, z);
        a > 0.0 && a < self.problem.loss.cap(self.problem.costs[row])
    }

    fn multiplier(&self, row: usize, z: f64) -> f64 {
        self.unclipped(row, z).clamp(0.0, self.problem.loss.cap(self.problem.costs[row]))
    }

    fn count(&mut self, rows: usize) {
        self.progress.passes += rows as f64 / self.problem.rows().max(1) as f64;
    }

    /// Computes the violations anew from the weights.
    fn measure(&mut self) {
        self.problem.changes(&self.w, &mut self.z);
        self.z.par_iter_mut().for_each(|z| *z += 1.0);
        self.count(self.problem.rows());
    }

    /// Sets the multipliers that fit the violations, and their image.
    fn follow(&mut self) {
        if self.problem.is_free() {
            let mut was_inside = std::mem::take(&mut self.was_inside);
            was_inside.par_iter_mut().enumerate().for_each(|(row, flag)| *flag = self.is_inside_at(row, self.z[row]));
            self.was_inside = was_inside;
            self.center();
        }
        let mut a = std::mem::take(&mut self.a);
        let chunk = |(index, a): (usize, &mut [f64])| {
            let mut list = Vec::new();
            for (a, row) in a.iter_mut().zip(index * CHUNK..) {
                let new = self.multiplier(row, self.z[row]);
                if new != *a {
                    list.push((row as u32, new - *a));
                    *a = new;
                }
            }
            list
        };
        let lists: Vec<Vec<(u32, f64)>> = a.par_chunks_mut(CHUNK).enumerate().map(chunk).collect();
        self.a = a;
        let list = lists.concat();
        self.count(list.len());
        self.problem.add(list, &mut self.image);
    }

    /// Moves a free intercept to where the signed multipliers add up to 0, without reading features.
    fn center(&mut self) {
        let rows = self.problem.rows();
        let at = |shift: f64| {
            let [sum, slope] = sums(rows, |row| {
                let sign = self.problem.sign(row);
                let a = self.unclipped(row, self.z[row] - sign * shift);
                let (cost, cap) = (self.problem.costs[row], self.problem.loss.cap(self.problem.costs[row]));
                [sign * a.clamp(0.0, cap), if a > 0.0 && a < cap { self.kappa * cost } else { 0.0 }]
            });
            (sum, slope)
        };
        let scale: f64 = sums(rows, |row| [self.problem.costs[row]])[0];
        // The sum falls as the intercept grows: its root lies between two signs.
        let (mut low, mut high, mut shift) = (f64::NEG_INFINITY, f64::INFINITY, 0.0f64);
        let mut width = 1.0f64;
        for _ in 0..100 {
            let (sum, slope) = at(shift);
            if sum.abs() <= 1e-15 * scale {
                break;
            }
            if sum > 0.0 {
                low = shift
            } else {
                high = shift
            }
            let newton = shift + sum / slope;
            shift = if newton > low && newton < high {
                newton
            } else if low.is_finite() && high.is_finite() {
                0.5 * (low + high)
            } else {
                width *= 2.0;
                if sum > 0.0 { low + width } else { high - width }
            };
            if low.is_finite() && high.is_finite() && high - low <= 1e-15 * (1.0 + low.abs().max(high.abs())) {
                break;
            }
        }
        shift += self.middle(shift);
        let signs = self.problem.signs;
        self.z.par_iter_mut().zip(signs).for_each(|(z, &sign)| *z -= f64::from(sign) * shift);
        if let Some(last) = self.w.last_mut() {
            *last += shift;
        }
    }

    /// Where the signed multipliers add up to 0 on a whole interval, since all of them are at their bounds: the way from
    /// `shift` to its middle. At an end of it, the next step would be blocked by the row that the end belongs to.
    fn middle(&self, shift: f64) -> f64 {
        let part = |index: usize| {
            let (mut inside, mut left, mut right) = (0u32, f64::INFINITY, f64::INFINITY);
            for row in index * CHUNK..((index + 1) * CHUNK).min(self.problem.rows()) {
                let (sign, cost) = (self.problem.sign(row), self.problem.costs[row]);
                let (cap, steepness) = (self.problem.loss.cap(cost), self.kappa * cost);
                if cost == 0.0 {
                    continue;
                }
                let a = self.unclipped(row, self.z[row] - sign * shift);
                let little = 1e-9 * cost;
                // How far the intercept may move until the multiplier leaves its bound.
                let (of_lower, of_upper) = (-a / steepness, (a - cap) / steepness);
                if a > little && a < cap - little {
                    inside += 1;
                } else if (a <= little) == (sign < 0.0) {
                    right = right.min(if a <= little { of_lower } else { of_upper }.max(0.0));
                } else {
                    left = left.min(if a <= little { of_lower } else { of_upper }.max(0.0));
                }
            }
            (inside, left, right)
        };
        let parts: Vec<(u32, f64, f64)> = (0..self.problem.rows().div_ceil(CHUNK)).into_par_iter().map(part).collect();
        let inside: u32 = parts.iter().map(|part| part.0).sum();
        let left = parts.iter().map(|part| part.1).fold(f64::INFINITY, f64::min);
        let right = parts.iter().map(|part| part.2).fold(f64::INFINITY, f64::min);
        if inside == 0 && left.is_finite() && right.is_finite() { 0.5 * (right - left) } else { 0.0 }
    }

    /// The gradient with respect to the weights. That of a free intercept is what the multipliers leave.
    fn gradient(&self) -> Vec<f64> {
        let last = self.w.len() - 1;
        let penalised = |k: usize| if self.problem.is_free() && k == last { 0.0 } else { self.w[k] };
        self.image.iter().enumerate().map(|(k, image)| penalised(k) - image).collect()
    }

    /// The primal and the dual value, and what the multipliers moved by in this outer step, squared.
    fn values(&self) -> [f64; 3] {
        let problem = self.problem;
        let [losses, dual, moved] = sums(problem.rows(), |row| {
            let (cost, a) = (problem.costs[row], self.a[row]);
            let moved = self.alpha.get(row).filter(|_| cost > 0.0).map_or(0.0, |alpha| (a - alpha) * (a - alpha));
            let moved = if moved > 0.0 { moved / (self.kappa * cost) } else { 0.0 };
            [problem.loss.value(cost, self.z[row]), a - problem.loss.conjugate(cost, a), moved]
        });
        [problem.penalty(&self.w) + losses, dual - problem.penalty(&self.image), moved]
    }

    /// The rows inside their bounds now.
    fn inside(&mut self) -> Inside {
        let mut is_inside = std::mem::take(&mut self.is_inside);
        let chunk = |(index, flags): (usize, &mut [bool])| {
            let mut inside = Inside::default();
            for (flag, row) in flags.iter_mut().zip(index * CHUNK..) {
                let was_inside = self.was_inside.get(row).copied().unwrap_or(false);
                let is_inside = was_inside || self.is_inside_at(row, self.z[row]);
                if is_inside {
                    inside.all.push(row as u32);
                }
                if is_inside != *flag {
                    if is_inside {
                        inside.entered.push(row as u32)
                    } else {
                        inside.left.push(row as u32)
                    }
                    *flag = is_inside;
                }
            }
            inside
        };
        let parts: Vec<Inside> = is_inside.par_chunks_mut(CHUNK).enumerate().map(chunk).collect();
        self.is_inside = is_inside;
        let mut inside = Inside::default();
        for part in parts {
            inside.all.extend(part.all);
            inside.entered.extend(part.entered);
            inside.left.extend(part.left);
        }
        inside
    }

    /// The step along `direction` at which the objective is nearly lowest, by Newton's method on its slope, which grows
    /// with the step. `steepness` is the slope at step 0, which is negative.
    fn search(&self, direction: &[f64], steepness: f64) -> f64 {
        let penalised = if self.problem.is_free() { direction.len() - 1 } else { direction.len() };
        let along: f64 = self.w[..penalised].iter().zip(direction).map(|(w, d)| w * d).sum();
        let square: f64 = direction[..penalised].iter().map(|d| d * d).sum();
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..60 {
            let [slope, curvature] = sums(self.problem.rows(), |row| {
                let (cost, dz) = (self.problem.costs[row], self.dz[row]);
                let (a, cap) = (self.unclipped(row, self.z[row] + step * dz), self.problem.loss.cap(cost));
                [a.clamp(0.0, cap) * dz, if a > 0.0 && a < cap { self.kappa * cost * dz * dz } else { 0.0 }]
            });
            let (slope, curvature) = (slope + along + step * square, curvature + square);
            if slope.abs() <= FLAT * steepness.abs() {
                break;
            }
            if slope > 0.0 {
                high = step
            } else {
                low = step
            }
            let newton = step - slope / curvature;
            step = match (newton > low && newton < high, high.is_finite()) {
                (true, _) => newton,
                (false, true) => 0.5 * (low + high),
                (false, false) => 2.0 * step,
            };
        }
        step
    }

    /// Takes a Newton step.
    fn step(&mut self, hessian: &mut Hessian, gradient: &[f64]) -> Result<()> {
        let inside = self.inside();
        hessian.update(self.problem, &inside)?;
        self.count(inside.entered.len() + inside.left.len());
        let (mut direction, read) = hessian.direction(self.problem, &inside, self.kappa, gradient)?;
        self.count(read);
        let mut steepness: f64 = direction.iter().zip(gradient).map(|(d, g)| d * g).sum();
        if steepness >= 0.0 || steepness.is_nan() {
            // Rounding only: the steepest descent always descends.
            direction.iter_mut().zip(gradient).for_each(|(d, g)| *d = -g);
            steepness = -gradient.iter().map(|g| g * g).sum::<f64>();
        }
        let mut dz = std::mem::take(&mut self.dz);
        self.problem.changes(&direction, &mut dz);
        self.dz = dz;
        self.count(self.problem.rows());
        let length = self.search(&direction, steepness);
        self.w.iter_mut().zip(&direction).for_each(|(w, d)| *w += length * d);
        self.z.par_iter_mut().zip(&self.dz).for_each(|(z, dz)| *z += length * dz);
        self.follow();
        self.progress.newton_steps += 1;
        Ok(())
    }
}

/// The least kappa of the hinge with which about as many rows are inside their bounds as a factorization needs, where
/// the multipliers stand at half their caps.
fn kappa_of_warm_start(problem: &Problem<'_>, z: &[f64]) -> f64 {
    let rows = z.len();
    let mut sample: Vec<f64> = z.iter().step_by((rows / 20_000).max(1)).map(|z| z.abs()).collect();
    let wanted = (INSIDE_PER_COLUMN * problem.matrix.columns as f64).max(INSIDE_PER_ROW * rows as f64);
    let place = (wanted / rows as f64 * sample.len() as f64) as usize;
    let place = place.min(sample.len().saturating_sub(1));
    if sample.is_empty() {
        return 1.0;
    }
    let (_, &mut margin, _) = sample.select_nth_unstable_by(place, f64::total_cmp);
    (0.5 / margin.max(1e-9)).max(1.0)
}

/// Where a problem starts.
pub(super) enum Start {
    Zero,
    /// From these weights.
    Weights(Vec<f64>),
    /// From these multipliers, and the weights that are their image.
    Multipliers(Vec<f64>),
}

/// Solves a problem.
pub(super) fn solve(
    problem: &Problem<'_>,
    start: Start,
    before: FitProgress,
    limits: &mut Limits<'_>,
) -> Result<(Solution, FitProgress)> {
    let (rows, width) = (problem.rows(), problem.width());
    // The numbers per row below, and lists of rows that changed.
    check_room(rows.saturating_mul(6 * size_of::<f64>() + 2 * size_of::<(u32, f64)>() + 8))?;
    let slope = problem.loss.slope();
    let mut solver = Solver {
        problem,
        z: filled(1.0, rows)?,
        dz: filled(0.0, rows)?,
        alpha: if slope.is_none() { filled(0.0, rows)? } else { Vec::new() },
        kappa: slope.unwrap_or(1.0),
        a: filled(0.0, rows)?,
        w: vec![0.0; width],
        image: vec![0.0; width],
        is_inside: filled(false, rows)?,
        was_inside: filled(false, if problem.is_free() { rows } else { 0 })?,
        progress: before,
    };
    match start {
        Start::Zero => {}
        Start::Weights(w) => {
            solver.w = w;
            solver.measure();
            if solver.is_hinge() {
                solver.alpha.iter_mut().zip(problem.costs).for_each(|(alpha, cost)| *alpha = 0.5 * cost);
                solver.kappa = kappa_of_warm_start(problem, &solver.z);
            }
        }
        Start::Multipliers(multipliers) => {
            let list = multipliers.iter().zip(0u32..).filter(|(a, _)| **a != 0.0).map(|(&a, row)| (row, a)).collect();
            problem.add(list, &mut solver.w);
            solver.measure();
            if solver.is_hinge() {
                solver.kappa = kappa_of_warm_start(problem, &solver.z);
                solver.alpha = multipliers;
            }
        }
    }
    let mut best = Best { w: solver.w.clone(), primal: f64::INFINITY, a: filled(0.0, rows)?, dual: f64::NEG_INFINITY };
    let mut hessian = Hessian::new(problem)?;
    let floor = problem.floor();
    let (mut target, mut failures, mut certifying) = (limits.gap, 0, Duration::ZERO);
    let end = 'outer: loop {
        solver.follow();
        loop {
            let gradient = solver.gradient();
            let [primal, dual, moved] = solver.values();
            if primal < best.primal {
                best.primal = primal;
                best.w.copy_from_slice(&solver.w);
            }
            if dual > best.dual {
                best.dual = dual;
                best.a.copy_from_slice(&solver.a);
            }
            let gap = (best.primal - best.dual).max(0.0) / best.primal.max(floor);
            solver.progress.gap = gap;
            if !(limits.on_progress)(solver.progress) {
                break 'outer FitEnd::Stopped;
            }
            if gap <= target {
                clamp(problem, &mut best.a);
                solver.count(rows);
                let started = Instant::now();
                let certificate = certify(problem, &best.w, &best.a);
                certifying += started.elapsed();
                if certificate.relative_gap <= limits.gap {
                    let (w, multipliers, end) = (best.w, best.a, FitEnd::Converged);
                    let solution = Solution { w, multipliers, certificate, end, certifying };
                    return Ok((solution, solver.progress));
                }
                failures += 1;
                if failures == MOST_FAILURES {
                    break 'outer FitEnd::Precision;
                }
                // What was carried along is off by its rounding: measure anew, and aim lower.
                target *= 0.25;
                solver.measure();
                solver.image.fill(0.0);
                solver.a.fill(0.0);
                solver.follow();
                (best.primal, best.dual) = (f64::INFINITY, f64::NEG_INFINITY);
                continue;
            }
            if solver.progress.passes >= limits.max_passes {
                break 'outer FitEnd::Passes;
            }
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            if solver.is_hinge() && square <= INNER * moved {
                break;
            }
            if square == 0.0 {
                break 'outer FitEnd::Precision;
            }
            solver.step(&mut hessian, &gradient)?;
        }
        solver.alpha.copy_from_slice(&solver.a);
        solver.kappa *= GROWTH;
        if solver.kappa > MOST_KAPPA {
            break FitEnd::Precision;
        }
    };
    clamp(problem, &mut best.a);
    let started = Instant::now();
    let certificate = certify(problem, &best.w, &best.a);
    certifying += started.elapsed();
    Ok((Solution { w: best.w, multipliers: best.a, certificate, end, certifying }, solver.progress))
}
