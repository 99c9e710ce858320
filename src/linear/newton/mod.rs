//! The solver of one binary problem: an augmented Lagrangian of the dual whose steps are minimised by Newton's method.
//!
//! For multipliers `alpha` and a parameter `sigma`, the hinge is replaced by a smooth function whose slope in row i is
//! a = clip(alpha + sigma c z, 0, c). Its sum with the penalty is minimised over w by Newton's method, which only needs
//! the rows strictly inside their bounds; then `alpha` becomes a, `sigma` grows, and so on. The squared and the smooth
//! hinge are smooth themselves: there a = clip(slope c z, 0, cap), and one minimisation is all. See Yan and Li, "An
//! efficient augmented Lagrangian method for support vector machine" (2019), arXiv:1912.06800.
//!
//! A solver asks for products of all rows with a vector, and goes on when it has them: `lockstep.rs` computes those of
//! several solvers together.

use std::mem::take;
use std::time::Duration;

use rayon::prelude::*;

use super::certificate::{Certificate, clamp};
use super::course::{Course, FitEnd, FitProgress, GROWTH, Limits, Next, Solution};
use super::hessian::{Hessian, Inside};
use super::problem::Problem;
use super::space::{CHUNK, sums, total};
use crate::data::memory::{check_room, filled};
use crate::error::Result;

mod center;
mod search;

use self::search::Crossing;
pub(super) use self::search::{FLAT, descending, search};

/// Rows inside their bounds at the beginning of a warm start, at least, as a share of the columns and of the rows.
const INSIDE_PER_COLUMN: f64 = 16.0;
const INSIDE_PER_ROW: f64 = 1.0 / 200.0;

/// Where a problem starts.
pub(super) enum Start {
    Zero,
    /// From these weights.
    Weights(Vec<f64>),
    /// From these multipliers, and the weights that are their image.
    Multipliers(Vec<f64>),
    /// From weights and multipliers that may be as good as those that are sought.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "where a GPU led to"))]
    Near {
        w: Vec<f64>,
        multipliers: Vec<f64>,
        kappa: f64,
    },
}

/// What a solver waits for.
#[derive(Clone, Copy, PartialEq)]
enum Awaits {
    /// The violations at its weights.
    Violations,
    /// The change of the violations along its direction.
    Changes,
    Certificate,
    /// It has ended.
    Nothing,
}

/// A product of all rows that a solver waits for: it becomes base - sign * (product + offset).
pub(super) struct Wanted<'p> {
    pub(super) vector: Vec<f64>,
    pub(super) offset: f64,
    pub(super) base: f64,
    pub(super) signs: &'p [i8],
}

/// The multipliers are a = clip(base + kappa cost z, 0, cap).
pub(super) struct Solver<'p> {
    pub(super) problem: Problem<'p>,
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
    /// Those that the Hessian has.
    is_summed: Vec<bool>,
    /// With a free intercept: the rows inside before the intercept moved. It moves a row that a step has just reached back to
    /// its bound, where the next step, which would not know of it, would be blocked by it at once.
    was_inside: Vec<bool>,
    /// The sums of the losses, of the multipliers less their conjugates, and of what the multipliers moved by in this outer
    /// step, squared.
    sums: [f64; 3],
    hessian: Hessian,
    direction: Vec<f64>,
    /// The slope at the beginning of the direction.
    steepness: f64,
    /// The best weights and the best multipliers so far, which may come from different steps.
    best_w: Vec<f64>,
    best_a: Vec<f64>,
    pub(super) course: Course,
    awaits: Awaits,
    certificate: Option<Certificate>,
    decisions: Vec<f64>,
    certifying: Duration,
}

/// What a chunk of rows adds.
#[derive(Default)]
struct Part {
    changes: Vec<(u32, f64)>,
    sums: [f64; 3],
}

impl<'p> Solver<'p> {
    pub(super) fn new(problem: Problem<'p>, start: Start, before: FitProgress, limits: Limits) -> Result<Self> {
        let (rows, width) = (problem.rows(), problem.space.width());
        let per_row = rows.saturating_mul(Self::BYTES_PER_ROW);
        check_room(per_row.saturating_add(width.saturating_mul(Self::BYTES_PER_COLUMN)))?;
        let slope = problem.loss.slope();
        let mut solver = Self {
            problem,
            z: filled(1.0, rows)?,
            dz: filled(0.0, rows)?,
            alpha: if slope.is_none() { filled(0.0, rows)? } else { Vec::new() },
            kappa: slope.unwrap_or(1.0),
            a: filled(0.0, rows)?,
            w: vec![0.0; width],
            image: vec![0.0; width],
            is_inside: filled(false, rows)?,
            is_summed: filled(false, rows)?,
            was_inside: filled(false, if problem.space.is_free() { rows } else { 0 })?,
            sums: [0.0; 3],
            hessian: Hessian::new(&problem)?,
            direction: vec![0.0; width],
            steepness: 0.0,
            best_w: vec![0.0; width],
            best_a: filled(0.0, rows)?,
            course: Course::new(limits, before),
            awaits: Awaits::Violations,
            certificate: None,
            decisions: Vec::new(),
            certifying: Duration::ZERO,
        };
        match start {
            // The violations are 1.
            Start::Zero => {
                solver.follow();
                solver.decide()?;
            }
            Start::Weights(w) => {
                solver.w = w;
                let half = |row| 0.5 * problem.cost(row);
                solver.alpha.iter_mut().enumerate().for_each(|(row, alpha)| *alpha = half(row));
                solver.kappa = slope.unwrap_or(f64::NAN);
            }
            Start::Multipliers(multipliers) => {
                solver.w = problem.image_of(&multipliers);
                if !problem.space.is_free() {
                    let dual =
                        |row: usize| [multipliers[row] - problem.loss.conjugate(problem.cost(row), multipliers[row])];
                    let [duals] = sums(problem.rows(), dual);
                    solver.course.improves(f64::INFINITY, duals - problem.space.penalty(&solver.w));
                    solver.best_a.copy_from_slice(&multipliers);
                }
                if solver.is_hinge() {
                    solver.alpha = multipliers;
                }
                solver.kappa = slope.unwrap_or(f64::NAN);
            }
            Start::Near { w, multipliers, kappa } => {
                solver.w = w;
                solver.best_a.copy_from_slice(&multipliers);
                clamp(&problem, &mut solver.best_a);
                if solver.is_hinge() {
                    solver.alpha.copy_from_slice(&solver.best_a);
                }
                solver.kappa = kappa;
                if !problem.space.is_free() {
                    solver.awaits = Awaits::Certificate;
                }
            }
        }
        solver.best_w.copy_from_slice(&solver.w);
        Ok(solver)
    }

    /// Bytes that a solver needs per row: the numbers and flags above, and lists of rows that changed.
    pub(super) const BYTES_PER_ROW: usize =
        5 * size_of::<f64>() + size_of::<Crossing>() + 2 * size_of::<(u32, f64)>() + 10;

    /// And per column, of its vectors and those of conjugate gradients.
    pub(super) const BYTES_PER_COLUMN: usize = 10 * size_of::<f64>();

    fn is_hinge(&self) -> bool {
        !self.alpha.is_empty()
    }

    /// The multiplier of a row before it is clipped.
    fn unclipped(&self, row: usize, z: f64) -> f64 {
        let base = self.alpha.get(row).copied().unwrap_or(0.0);
        base + self.kappa * self.problem.cost(row) * z
    }

    fn is_inside_at(&self, row: usize, z: f64) -> bool {
        let a = self.unclipped(row, z);
        a > 0.0 && a < self.problem.loss.cap(self.problem.cost(row))
    }

    fn count(&mut self, rows: usize) {
        self.course.progress.passes += rows as f64 / self.problem.rows().max(1) as f64;
    }

    pub(super) fn is_done(&self) -> bool {
        self.awaits == Awaits::Nothing
    }

    /// The product that this solver waits for, and where it belongs.
    pub(super) fn wanted(&mut self) -> Option<(Wanted<'p>, &mut [f64])> {
        let (w, base, to) = match self.awaits {
            Awaits::Violations => (&self.w, 1.0, &mut self.z),
            Awaits::Changes => (&self.direction, 0.0, &mut self.dz),
            _ => return None,
        };
        let (vector, offset) = self.problem.space.in_stored_units(w);
        Some((Wanted { vector, offset, base, signs: self.problem.signs }, to))
    }

    /// The problem, weights and multipliers whose certificate this solver waits for.
    pub(super) fn to_certify(&self) -> Option<(&Problem<'p>, &[f64], &[f64])> {
        (self.awaits == Awaits::Certificate).then_some((&self.problem, &self.best_w, &self.best_a))
    }

    /// Goes on with the product that it waited for.
    pub(super) fn advance(&mut self) -> Result<()> {
        match self.awaits {
            Awaits::Violations => {
                self.count(self.problem.rows());
                if self.kappa.is_nan() {
                    self.kappa = kappa_of_warm_start(&self.problem, &self.z);
                }
            }
            Awaits::Changes => {
                self.count(self.problem.rows());
                let length = self.search();
                self.w.iter_mut().zip(&self.direction).for_each(|(w, d)| *w += length * d);
                let add = |(z, dz): (&mut [f64], &[f64])| z.iter_mut().zip(dz).for_each(|(z, dz)| *z += length * dz);
                self.z.par_chunks_mut(CHUNK).zip(self.dz.par_chunks(CHUNK)).for_each(add);
                self.course.progress.newton_steps += 1;
            }
            _ => return Ok(()),
        }
        self.follow();
        self.decide()
    }

    /// Ends as it stands, once its certificate is known.
    pub(super) fn stop(&mut self) {
        if self.awaits != Awaits::Nothing {
            self.course.end = self.course.end.or(Some(FitEnd::Stopped));
            self.awaits = Awaits::Certificate;
            clamp(&self.problem, &mut self.best_a);
        }
    }

    /// Goes on with the certificate that it waited for, and the decision values that it found.
    pub(super) fn certified(&mut self, certificate: Certificate, decisions: Vec<f64>, took: Duration) {
        self.count(self.problem.rows());
        self.certifying += took;
        self.course.takes(&certificate);
        self.awaits = Awaits::Nothing;
        if self.course.end.is_none() {
            // What was carried along is off by its rounding.
            self.awaits = Awaits::Violations;
            self.image.fill(0.0);
            self.a.fill(0.0);
        }
        (self.certificate, self.decisions) = (Some(certificate), decisions);
    }

    /// Starts again with another C from where it ended: the multipliers are scaled, and stay within their bounds.
    pub(super) fn go_on_with(&mut self, c: f64, limits: Limits) -> Result<()> {
        let ratio = c / self.problem.c;
        self.problem.c = c;
        for x in [&mut self.a, &mut self.best_a] {
            x.par_chunks_mut(CHUNK).for_each(|x| x.iter_mut().for_each(|x| *x *= ratio));
        }
        self.image.iter_mut().for_each(|x| *x *= ratio);
        if self.is_hinge() {
            let problem = self.problem;
            self.alpha.iter_mut().enumerate().for_each(|(row, alpha)| *alpha = 0.5 * problem.cost(row));
            self.kappa = kappa_of_warm_start(&self.problem, &self.z);
        }
        self.course = Course::new(limits, FitProgress::NONE);
        (self.certificate, self.certifying) = (None, Duration::ZERO);
        self.follow();
        self.decide()
    }

    /// The certificate of the best weights, once the solver has ended.
    pub(super) fn certificate(&self) -> Certificate {
        self.certificate.unwrap_or(Certificate::new(f64::MAX, f64::MAX))
    }

    pub(super) fn best_weights(&self) -> &[f64] {
        &self.best_w
    }

    /// The best multipliers; the solver is of no use without them.
    pub(super) fn take_multipliers(&mut self) -> Vec<f64> {
        take(&mut self.best_a)
    }

    /// The decision values of all rows at the best weights, once the solver has ended.
    pub(super) fn decisions(&self) -> &[f64] {
        &self.decisions
    }

    pub(super) fn solution(self) -> Solution {
        Solution {
            certificate: self.certificate(),
            w: self.best_w,
            multipliers: self.best_a,
            end: self.course.end.unwrap_or(FitEnd::Stopped),
            progress: self.course.progress,
            certifying: self.certifying,
        }
    }

    /// Sets the multipliers that fit the violations, their image, and what is known of them.
    fn follow(&mut self) {
        if self.problem.space.is_free() {
            let mut was_inside = take(&mut self.was_inside);
            was_inside.par_iter_mut().enumerate().for_each(|(row, flag)| *flag = self.is_inside_at(row, self.z[row]));
            self.was_inside = was_inside;
            self.center();
        }
        let (mut a, mut is_inside) = (take(&mut self.a), take(&mut self.is_inside));
        let (problem, factor) = (&self.problem, self.kappa * self.problem.c);
        let chunk = |(index, (a, is_inside)): (usize, (&mut [f64], &mut [bool]))| {
            let first = index * CHUNK;
            let rows = first..first + a.len();
            let (z, weights) = (&self.z[rows.clone()], &problem.weights[rows.clone()]);
            let (alpha, was_inside) = (self.alpha.get(rows.clone()), self.was_inside.get(rows));
            let mut part = Part::default();
            for (place, (a, flag)) in a.iter_mut().zip(is_inside).enumerate() {
                let (row, cost, z) = ((first + place) as u32, problem.c * weights[place], z[place]);
                let (base, cap) = (alpha.map_or(0.0, |alpha| alpha[place]), problem.loss.cap(cost));
                let unclipped = base + factor * weights[place] * z;
                let new = unclipped.clamp(0.0, cap);
                if new != *a {
                    part.changes.push((row, new - *a));
                    *a = new;
                }
                *flag = unclipped > 0.0 && unclipped < cap || was_inside.is_some_and(|was| was[place]);
                part.sums[0] += problem.loss.value(cost, z);
                part.sums[1] += new - problem.loss.conjugate(cost, new);
                if alpha.is_some() && new != base {
                    part.sums[2] += (new - base) * (new - base) / (factor * weights[place]);
                }
            }
            part
        };
        let chunks = a.par_chunks_mut(CHUNK).zip(is_inside.par_chunks_mut(CHUNK)).enumerate();
        let parts: Vec<Part> = chunks.map(chunk).collect();
        (self.a, self.is_inside) = (a, is_inside);
        self.sums = total(parts.iter().map(|part| part.sums));
        let mut changes = Vec::with_capacity(parts.iter().map(|part| part.changes.len()).sum());
        parts.into_iter().for_each(|part| changes.extend(part.changes));
        self.count(changes.len());
        self.problem.add(changes, &mut self.image);
    }

    /// The gradient with respect to the weights. That of a free intercept is what the multipliers leave.
    fn gradient(&self) -> Vec<f64> {
        let last = self.w.len() - 1;
        let penalised = |k: usize| if self.problem.space.is_free() && k == last { 0.0 } else { self.w[k] };
        self.image.iter().enumerate().map(|(k, image)| penalised(k) - image).collect()
    }

    /// Looks at the values reached, and prepares what comes next.
    fn decide(&mut self) -> Result<()> {
        loop {
            let [losses, duals, moved] = self.sums;
            let space = &self.problem.space;
            let (primal, dual) = (space.penalty(&self.w) + losses, duals - space.penalty(&self.image));
            let [is_better_w, is_better_a] = self.course.improves(primal, dual);
            if is_better_w {
                self.best_w.copy_from_slice(&self.w);
            }
            if is_better_a {
                self.best_a.copy_from_slice(&self.a);
            }
            let gradient = self.gradient();
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            match self.course.next(square, self.is_hinge().then_some(moved), self.kappa) {
                Next::Step => {
                    self.awaits = Awaits::Changes;
                    return self.aim(&gradient);
                }
                Next::Certify => {
                    self.awaits = Awaits::Certificate;
                    clamp(&self.problem, &mut self.best_a);
                    return Ok(());
                }
                Next::Harden => {
                    self.alpha.copy_from_slice(&self.a);
                    self.kappa *= GROWTH;
                    self.follow();
                }
            }
        }
    }

    /// The rows inside their bounds now.
    fn inside(&mut self) -> Inside {
        let chunk = |(index, (is_summed, is_inside)): (usize, (&mut [bool], &[bool]))| {
            let mut inside = Inside::default();
            for ((flag, &is_inside), row) in is_summed.iter_mut().zip(is_inside).zip((index * CHUNK) as u32..) {
                if is_inside {
                    inside.all.push(row);
                }
                if is_inside != *flag {
                    let list = if is_inside { &mut inside.entered } else { &mut inside.left };
                    list.push(row);
                    *flag = is_inside;
                }
            }
            inside
        };
        let chunks = self.is_summed.par_chunks_mut(CHUNK).zip(self.is_inside.par_chunks(CHUNK)).enumerate();
        let parts: Vec<Inside> = chunks.map(chunk).collect();
        let mut inside = Inside::default();
        for part in parts {
            inside.all.extend(part.all);
            inside.entered.extend(part.entered);
            inside.left.extend(part.left);
        }
        inside
    }

    /// Sets the direction of the next step.
    fn aim(&mut self, gradient: &[f64]) -> Result<()> {
        let factor = self.kappa * self.problem.c;
        let inside = self.inside();
        self.hessian.update(&self.problem, &inside)?;
        self.count(inside.entered.len() + inside.left.len());
        let (direction, read) = self.hessian.direction(&self.problem, &inside, factor, gradient)?;
        self.count(read);
        (self.direction, self.steepness) = descending(direction, gradient);
        Ok(())
    }
}

/// Multipliers that fit the violations at these weights.
pub(super) fn multipliers_near(problem: &Problem<'_>, w: &[f64]) -> Result<Vec<f64>> {
    let (vector, offset) = problem.space.in_stored_units(w);
    let mut z = filled(0.0, problem.rows())?;
    problem.space.matrix.products(&vector, &mut z);
    z.iter_mut().enumerate().for_each(|(row, z)| *z = 1.0 - problem.sign(row) * (*z + offset));
    let hinge = || (0.5, kappa_of_warm_start(problem, &z));
    let (base, kappa) = problem.loss.slope().map_or_else(hinge, |slope| (0.0, slope));
    z.iter_mut().enumerate().for_each(|(row, z)| {
        let cost = problem.cost(row);
        *z = (cost * (base + kappa * *z)).clamp(0.0, problem.loss.cap(cost));
    });
    Ok(z)
}

/// The least kappa of the hinge with which about as many rows are inside their bounds as a factorization needs, where
/// the multipliers stand at half their caps.
fn kappa_of_warm_start(problem: &Problem<'_>, z: &[f64]) -> f64 {
    let distances = z.iter().step_by((z.len() / 20_000).max(1)).map(|z| z.abs()).collect();
    kappa_of_distances(distances, z.len(), problem.space.matrix.columns)
}

/// As above, from a sample of the rows' distances from where their loss bends.
pub(super) fn kappa_of_distances(mut sample: Vec<f64>, rows: usize, columns: usize) -> f64 {
    if sample.is_empty() {
        return 1.0;
    }
    kappa_where(rows as f64, columns, |wanted| {
        let place = (wanted / rows as f64 * sample.len() as f64) as usize;
        let place = place.min(sample.len() - 1);
        *sample.select_nth_unstable_by(place, f64::total_cmp).1
    })
}

/// As above, where `distance_of` gives the distance that so many rows are below.
pub(super) fn kappa_where(rows: f64, columns: usize, distance_of: impl FnOnce(f64) -> f64) -> f64 {
    let wanted = (INSIDE_PER_COLUMN * columns as f64).max(INSIDE_PER_ROW * rows);
    (0.5 / distance_of(wanted).max(1e-9)).max(1.0)
}
