//! The solver: an augmented Lagrangian of the dual whose steps are minimised by Newton's method, as for binary problems.
//!
//! A row's multipliers are the nearest ones to alpha + kappa c u. A free intercept has a proximal term,
//! rho/2 (b - b of the outer step before)^2, in the place of a penalty; rho falls as kappa grows.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::descent::descend;
use super::hessian::{Inside, per_multiplier};
use super::{Change, JointProblem};
use crate::data::memory::{check_room, filled};
use crate::error::Result;
use crate::linear::course::{Course, FitEnd, FitProgress, GROWTH, Limits, Next, OnProgress, Solution};
use crate::linear::newton::{descending, kappa_of_distances, search};
use crate::linear::space::total;

/// The least weight of a free intercept's proximal term.
const LEAST_RHO: f64 = 1e-9;

/// Arrays of the size of the multipliers that a fit needs at a time.
const ARRAYS: usize = 7;

/// Vectors of as many numbers as there are weights, with those of conjugate gradients.
const VECTORS: usize = 12;

/// Where a problem starts.
pub(in crate::linear) enum Start {
    /// From these multipliers, or from 0: dual coordinate descent leads on from there.
    Multipliers(Option<Vec<f64>>),
    /// From the weights of all classes.
    Weights(Vec<f64>),
}

/// Two arrays of the size of the multipliers, in part.
type Two<'a> = (&'a [f64], &'a [f64]);

/// Multipliers, and whether their sum is at its bound, in part.
type Moved<'a> = (&'a mut [f64], &'a mut [bool]);

struct Solver<'a, 'p> {
    problem: &'a JointProblem<'p>,
    /// Violations, (rows x classes), and their change along the direction.
    z: Vec<f64>,
    dz: Vec<f64>,
    /// The multipliers of the outer step before.
    alpha: Vec<f64>,
    kappa: f64,
    /// The multipliers at the current weights.
    m: Vec<f64>,
    /// The rows whose sum of multipliers is at its bound.
    keeps_sum: Vec<bool>,
    w: Vec<f64>,
    /// V.
    image: Vec<f64>,
    /// The sums of the losses, of the multipliers, and of what these moved by in this outer step, squared.
    sums: [f64; 3],
    /// The weight of the proximal term, and the weights that it is about; only a free intercept's count.
    rho: f64,
    about: Vec<f64>,
    /// The largest norm of a row, for a free intercept.
    norm: f64,
    course: Course,
}

impl Solver<'_, '_> {
    fn count(&mut self, rows: usize) {
        self.course.progress.passes += rows as f64 / self.problem.rows().max(1) as f64;
    }

    /// Elements of a chunk of rows.
    fn size(&self) -> usize {
        self.problem.chunk() * self.problem.classes
    }

    fn measure(&mut self) {
        self.problem.violations(&self.w, false, &mut self.z);
        self.count(self.problem.rows());
    }

    /// Sets the multipliers that fit the violations, where `moves` is true, and all that is known of them.
    fn follow(&mut self, moves: bool) {
        let (problem, size, classes) = (self.problem, self.size(), self.problem.classes);
        let (mut m, mut keeps_sum) = (std::mem::take(&mut self.m), std::mem::take(&mut self.keeps_sum));
        let chunk = |(index, ((m, keeps_sum), (z, alpha))): (usize, (Moved<'_>, Two<'_>))| {
            let (mut sums, mut list, mut new) = ([0.0; 3], Vec::new(), vec![0.0; classes]);
            let rows = z.chunks_exact(classes).zip(alpha.chunks_exact(classes));
            let rows = m.chunks_exact_mut(classes).zip(keeps_sum).zip(rows);
            for (row, ((m, keeps_sum), (z, alpha))) in (index * problem.chunk()..).zip(rows) {
                let cost = problem.cost(row);
                sums[0] += problem.value(cost, z);
                if cost == 0.0 {
                    continue;
                }
                if moves {
                    let factor = self.kappa * cost;
                    new.iter_mut().zip(z).zip(alpha).for_each(|((new, z), alpha)| *new = alpha + factor * z);
                    *keeps_sum = problem.project(cost, &mut new);
                    for (class, (old, new)) in m.iter_mut().zip(&new).enumerate().filter(|(_, (old, new))| *old != *new)
                    {
                        list.push(Change { class: class as u32, row: row as u32, by: new - *old });
                        *old = *new;
                    }
                    let moved: f64 = m.iter().zip(alpha).map(|(m, alpha)| (m - alpha) * (m - alpha)).sum();
                    sums[2] += moved / factor;
                }
                sums[1] += m.iter().sum::<f64>();
            }
            (sums, list)
        };
        let rows = m.par_chunks_mut(size).zip(keeps_sum.par_chunks_mut(problem.chunk()));
        let rows = rows.zip(self.z.par_chunks(size).zip(self.alpha.par_chunks(size)));
        let parts: Vec<([f64; 3], Vec<Change>)> = rows.enumerate().map(chunk).collect();
        (self.m, self.keeps_sum) = (m, keeps_sum);
        self.sums = total(parts.iter().map(|part| part.0));
        let changes: Vec<Change> = parts.into_iter().flat_map(|part| part.1).collect();
        self.count(changes.len() / self.problem.classes);
        self.problem.add(&changes, &mut self.image);
    }

    /// The primal and the dual value.
    fn values(&self) -> [f64; 2] {
        let primal = self.problem.penalty(&self.w) + self.sums[0];
        let left = self.problem.left_of(&self.image);
        let bound = self.problem.bound_of(&left, primal, self.norm);
        [primal, self.sums[1] - self.problem.penalty(&self.image) - bound]
    }

    /// What free intercepts moved by in this outer step: twice their proximal term.
    fn shifted(&self) -> f64 {
        let classes = if self.problem.space.is_free() { self.problem.classes } else { 0 };
        let by = |class: usize| self.w[self.problem.last(class)] - self.about[self.problem.last(class)];
        (0..classes).map(|class| self.rho * by(class) * by(class)).sum()
    }

    /// R: what the gradient grows by with each weight.
    fn ridges(&self) -> Vec<f64> {
        (0..self.w.len()).map(|k| if self.problem.ridge(k) > 0.0 { 1.0 } else { self.rho }).collect()
    }

    fn gradient(&self) -> Vec<f64> {
        let of = |k: usize| {
            let own = if self.problem.ridge(k) > 0.0 { self.w[k] } else { self.rho * (self.w[k] - self.about[k]) };
            own - self.image[k]
        };
        (0..self.w.len()).map(of).collect()
    }

    /// Takes a Newton step.
    fn step(&mut self, gradient: &[f64]) -> Result<()> {
        let inside = Inside::new(self.problem, self.kappa, &self.m, &self.keeps_sum);
        let ridges = self.ridges();
        let (direction, read) = inside.direction(self.problem, &ridges, gradient)?;
        self.count(read);
        let (direction, steepness) = descending(direction, gradient);
        self.problem.violations(&direction, true, &mut self.dz);
        self.count(self.problem.rows());
        let length = self.length(&direction, &ridges, steepness);
        self.w.iter_mut().zip(&direction).for_each(|(w, d)| *w += length * d);
        let size = self.size();
        let add = |(z, dz): (&mut [f64], &[f64])| z.iter_mut().zip(dz).for_each(|(z, dz)| *z += length * dz);
        self.z.par_chunks_mut(size).zip(self.dz.par_chunks(size)).for_each(add);
        self.course.progress.newton_steps += 1;
        self.follow(true);
        Ok(())
    }

    /// How long the step along a direction is.
    fn length(&self, direction: &[f64], ridges: &[f64], steepness: f64) -> f64 {
        let (mut along, mut square) = (0.0, 0.0);
        for (k, (d, ridge)) in direction.iter().zip(ridges).enumerate() {
            let about = if self.problem.ridge(k) > 0.0 { 0.0 } else { self.about[k] };
            along += ridge * (self.w[k] - about) * d;
            square += ridge * d * d;
        }
        let (problem, size, classes) = (self.problem, self.size(), self.problem.classes);
        search(steepness, |step| {
            let chunk = |(index, (z, (dz, alpha))): (usize, (&[f64], Two<'_>))| {
                let (mut sums, mut m) = ([0.0; 2], vec![0.0; classes]);
                let rows = z.chunks_exact(classes).zip(dz.chunks_exact(classes).zip(alpha.chunks_exact(classes)));
                for (row, (z, (dz, alpha))) in (index * problem.chunk()..).zip(rows) {
                    let (cost, mut most) = (problem.cost(row), 0.0f64);
                    let factor = self.kappa * cost;
                    for (m, (alpha, (z, dz))) in m.iter_mut().zip(alpha.iter().zip(z.iter().zip(dz))) {
                        *m = alpha + factor * (z + step * dz);
                        most = most.max(*m);
                    }
                    if most <= 0.0 {
                        continue;
                    }
                    let keeps_sum = problem.project(cost, &mut m);
                    let cap = if problem.bounds_sum { f64::INFINITY } else { cost };
                    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
                    for (m, dz) in m.iter().zip(dz).filter(|(m, _)| **m > 0.0) {
                        sums[0] += m * dz;
                        if *m < cap {
                            count += 1.0;
                            sum += dz;
                            squares += dz * dz;
                        }
                    }
                    let kept = if keeps_sum { sum * sum / count } else { 0.0 };
                    sums[1] += if count > 0.0 { factor * (squares - kept) } else { 0.0 };
                }
                sums
            };
            let rows = self.z.par_chunks(size).zip(self.dz.par_chunks(size).zip(self.alpha.par_chunks(size)));
            let parts: Vec<[f64; 2]> = rows.enumerate().map(chunk).collect();
            let [slope, curvature] = total(parts);
            [slope + along + step * square, curvature + square]
        })
    }

    /// The least kappa with which few enough rows are inside their bounds.
    fn kappa_of_start(&self) -> f64 {
        let (classes, rows) = (self.problem.classes, self.problem.rows());
        let rows_of_sample = self.z.chunks_exact(classes).step_by((rows / 20_000).max(1));
        let sample = rows_of_sample.map(|z| z.iter().copied().fold(f64::NEG_INFINITY, f64::max).abs()).collect();
        kappa_of_distances(sample, rows, self.problem.space.matrix.columns * classes)
    }
}

/// Solves a problem. The multipliers of the solution are (rows x classes), and so are the decision values.
pub(in crate::linear) fn solve(
    problem: &JointProblem<'_>,
    start: Start,
    limits: Limits,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Solution, Vec<f64>)> {
    let per_row = problem.rows().saturating_mul(problem.classes).saturating_mul(ARRAYS * size_of::<f64>());
    let per_weight = problem.width().saturating_mul(VECTORS * size_of::<f64>());
    check_room(per_row.saturating_add(per_weight))?;
    let mut course = Course::new(limits, FitProgress::NONE);
    let (mut m, mut weights) = match start {
        Start::Multipliers(m) => (m, None),
        Start::Weights(w) => (None, Some(w)),
    };
    if weights.is_none() {
        let mut multipliers = m.map_or_else(|| per_multiplier(problem), Ok)?;
        descend(problem, &mut multipliers, limits.gap, &mut |passes, gap| {
            course.progress.passes = passes;
            let goes_on = on_progress(FitProgress { passes, newton_steps: 0, gap });
            if !goes_on {
                course.end = Some(FitEnd::Stopped);
            }
            goes_on && passes < limits.max_passes
        })?;
        m = Some(multipliers);
    }
    let has_multipliers = m.is_some();
    let m = m.map_or_else(|| per_multiplier(problem), Ok)?;
    let mut image = vec![0.0; problem.width()];
    problem.add(&problem.changes_of(&m), &mut image);
    let w = weights.take().unwrap_or_else(|| image.clone());
    let norm = if problem.space.is_free() { problem.largest_norm() } else { 0.0 };
    let mut solver = Solver {
        problem,
        z: per_multiplier(problem)?,
        dz: per_multiplier(problem)?,
        alpha: m.clone(),
        kappa: 1.0,
        m,
        keeps_sum: filled(false, problem.rows())?,
        about: w.clone(),
        w,
        image,
        sums: [0.0; 3],
        rho: 1.0,
        norm,
        course,
    };
    solver.measure();
    solver.kappa = solver.kappa_of_start();
    // The multipliers that the descent found may be good enough.
    solver.follow(!has_multipliers);
    let (mut best_w, mut best_m, mut follows) = (solver.w.clone(), solver.m.clone(), has_multipliers);
    let mut certifying = Duration::ZERO;
    loop {
        let [primal, dual] = solver.values();
        let [is_better_w, is_better_m] = solver.course.improves(primal, dual);
        if is_better_w {
            best_w.copy_from_slice(&solver.w);
        }
        if is_better_m {
            best_m.copy_from_slice(&solver.m);
        }
        if !on_progress(solver.course.progress) {
            solver.course.end = Some(FitEnd::Stopped);
        }
        let gradient = solver.gradient();
        let square: f64 = gradient.iter().map(|g| g * g).sum();
        // The weights of the descent are the image of its multipliers: their gradient says nothing yet.
        let (square, moved) =
            if follows { (f64::INFINITY, None) } else { (square, Some(solver.sums[2] + solver.shifted())) };
        match solver.course.next(square, moved, solver.kappa) {
            Next::Certify => {
                problem.clamp(&mut best_m);
                let started = Instant::now();
                let (certificate, decisions) = problem.certify(&best_w, &best_m)?;
                certifying += started.elapsed();
                solver.count(problem.rows());
                solver.course.takes(&certificate);
                if let Some(end) = solver.course.end {
                    let progress = solver.course.progress;
                    let (w, multipliers) = (best_w, best_m);
                    return Ok((Solution { w, multipliers, certificate, end, progress, certifying }, decisions));
                }
                // What was carried along is off by its rounding.
                solver.measure();
                solver.image.fill(0.0);
                solver.m.fill(0.0);
                solver.follow(true);
            }
            Next::Step if follows => solver.follow(true),
            Next::Step => solver.step(&gradient)?,
            Next::Harden => {
                solver.alpha.copy_from_slice(&solver.m);
                solver.about.copy_from_slice(&solver.w);
                solver.kappa *= GROWTH;
                solver.rho = (solver.rho / GROWTH).max(LEAST_RHO);
                solver.follow(true);
            }
        }
        follows = false;
    }
}
