//! The steps of `newton/` for rows that lie elsewhere: on a GPU (`on_gpu.rs`), or in parts in several processes (`parts/`).
//!
//! What has a number per row stays where the rows are; here are the weights, and the factorization of Newton's equations. Rows are
//! asked for sums alone.
//!
//! A free intercept is a weight without a penalty: it is not set exactly after each step, as it is in `newton/`.

use nalgebra::DMatrix;

use super::course::{Course, GROWTH, Next};
use super::hessian::{conjugate_gradients, conjugate_gradients_of_free, factored};
use super::newton::{FLAT, descending};
use super::problem::Problem;
use crate::error::Result;

/// What is added to a free intercept's element of the diagonal of Newton's matrix, as a share of it: f32 knows no less.
const LITTLE: f64 = 1e-6;

/// Rounds of four steps that a search along a direction has at most.
const MOST_ROUNDS: usize = 12;

/// What is known of the multipliers that fit the violations. They are in units of C, and so are all sums of them.
pub(super) struct Followed {
    /// The sums of the losses, of the multipliers less their conjugates, and of what the multipliers moved by, squared.
    pub(super) sums: [f64; 3],
    /// Multipliers inside their bounds.
    pub(super) inside: f64,
    /// Those above 0.
    pub(super) above: f64,
    /// The sum of multiplier times label times row.
    pub(super) image: Vec<f64>,
}

/// Slopes of the objective's rows at four steps along a direction, each with its derivative.
pub(super) type Slopes = [[f64; 2]; 4];

/// Rows that are elsewhere, and what a solver asks of them.
pub(super) trait Steps {
    /// A vector as the rows are multiplied with it.
    fn rounded(&self, vector: Vec<f64>) -> Vec<f64> {
        vector
    }

    /// Moves the violations by `step` along the direction, and sets the multipliers that fit them. Where it `hardens`, the
    /// multipliers become the base of the new ones first.
    fn follow(&mut self, step: f64, kappa: f64, hardens: bool) -> Result<Followed>;

    /// What the rows add to the slope of the objective along the direction at four steps, and to its derivative. `direction` is
    /// given where it is a new one.
    fn slopes(&mut self, direction: Option<&[f64]>, kappa: f64, steps: [f64; 4]) -> Result<Slopes>;

    /// The lower half of the sum of weight times x x' over the rows inside their bounds.
    fn gram(&mut self, is_exact: bool) -> Result<DMatrix<f64>>;

    /// The most columns, with the intercept's, of a matrix that is brought here and factored. Beyond it, conjugate gradients ask for
    /// products.
    fn most_factored(&self) -> usize;

    /// Whether numbers are in f64. Then [`Steps::gram`] has an exact form beside the one in f32, and the objective's slope a sign at
    /// steps of any order.
    fn is_f64(&self) -> bool;

    /// The sum of weight times x (x v) over the rows inside their bounds.
    fn product(&mut self, vector: &[f64]) -> Result<Vec<f64>>;

    /// Keeps a copy of the multipliers.
    fn keep(&mut self) -> Result<()>;
}

/// Where a problem stands whose rows are elsewhere.
pub(super) struct Descent<'a, 'p> {
    /// Of the problem, only what is not of its rows.
    pub(super) problem: &'a Problem<'p>,
    pub(super) rows: f64,
    pub(super) w: Vec<f64>,
    pub(super) kappa: f64,
    pub(super) followed: Followed,
    pub(super) course: Course,
    /// The weights with the lowest objective so far.
    pub(super) best_w: Option<Vec<f64>>,
    /// Whether any multipliers were kept.
    pub(super) has_multipliers: bool,
}

impl Descent<'_, '_> {
    /// Takes steps until a certificate is due, numbers are not finite, Newton's equations have no solution, or `goes_on`, which is
    /// told the course at every step, says no.
    pub(super) fn run(&mut self, at: &mut dyn Steps, goes_on: &mut dyn FnMut(&mut Course) -> bool) -> Result<()> {
        let slope = self.problem.loss.slope();
        loop {
            self.course.progress.passes += self.followed.above / self.rows;
            let [primal, dual] = self.values();
            if !(primal.is_finite() && dual.is_finite() && self.followed.image.iter().all(|x| x.is_finite())) {
                return Ok(());
            }
            let [is_better_w, is_better_a] = self.course.improves(primal, dual);
            if is_better_w {
                self.best_w = Some(self.w.clone());
            }
            if is_better_a {
                at.keep()?;
                self.has_multipliers = true;
            }
            let may_go_on = goes_on(&mut self.course);
            let gradient = self.gradient();
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            let moved = slope.is_none().then_some(self.problem.c * self.followed.sums[2]);
            self.followed = match self.course.next(square, moved, self.kappa) {
                Next::Certify => return Ok(()),
                _ if !may_go_on => return Ok(()),
                Next::Harden => {
                    self.kappa *= GROWTH;
                    at.follow(0.0, self.kappa, true)?
                }
                Next::Step => {
                    let Some((direction, read)) = self.direction(at, &gradient)? else { return Ok(()) };
                    self.course.progress.passes += 1.0 + read * self.followed.inside / self.rows;
                    let (direction, steepness) = descending(direction, &gradient);
                    let direction = at.rounded(direction);
                    let step = self.search(at, &direction, steepness)?;
                    self.w.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
                    self.course.progress.newton_steps += 1;
                    at.follow(step, self.kappa, false)?
                }
            };
        }
    }

    /// The direction that Newton's equations give, and how often the rows inside were read for it. `None` where rounding left no
    /// definite matrix.
    fn direction(&self, at: &mut dyn Steps, gradient: &[f64]) -> Result<Option<(Vec<f64>, f64)>> {
        let (width, factor, inside) = (gradient.len(), self.kappa * self.problem.c, self.followed.inside);
        // Without a row inside, the intercept is as free as it can be.
        let of_intercept = if inside > 0.0 { LITTLE * factor * inside } else { 1.0 };
        let ridge = |k: usize| if self.is_free(k) { of_intercept } else { 1.0 };
        if width <= at.most_factored() {
            let solved = |lower: &DMatrix<f64>| factored(lower, &|k, _| ridge(k), factor, gradient);
            if let Some(direction) = solved(&at.gram(false)?) {
                return Ok(Some((direction, 1.0)));
            }
            let exact = if at.is_f64() { solved(&at.gram(true)?) } else { None };
            return Ok(exact.map(|direction| (direction, 2.0)));
        }
        let asked = std::cell::RefCell::new((at, None));
        let product = |v: &[f64]| -> Vec<f64> {
            let (at, failure) = &mut *asked.borrow_mut();
            let sum = at.product(v).unwrap_or_else(|error| {
                *failure = Some(error);
                vec![f64::NAN; width]
            });
            v.iter().zip(sum).enumerate().map(|(k, (v, x))| ridge(k) * v + factor * x).collect()
        };
        let solve = if self.problem.space.is_free() { conjugate_gradients_of_free } else { conjugate_gradients };
        let (direction, steps) = solve(&product, gradient, None);
        match asked.into_inner().1 {
            Some(error) => Err(error),
            None => Ok(direction.iter().all(|d| d.is_finite()).then_some((direction, 2.0 * steps as f64))),
        }
    }

    /// The step along a direction at which the objective is nearly lowest.
    fn search(&self, at: &mut dyn Steps, direction: &[f64], steepness: f64) -> Result<f64> {
        let (mut along, mut square) = (0.0, 0.0);
        for (k, (&w, &d)) in self.w.iter().zip(direction).enumerate() {
            let d = if self.is_free(k) { 0.0 } else { d };
            along += w * d;
            square += d * d;
        }
        let c = self.problem.c;
        let mut new = Some(direction);
        search_by_fours(steepness, at.is_f64(), |steps| {
            let sums = at.slopes(new.take(), self.kappa, steps)?;
            Ok(std::array::from_fn(|place| {
                let [slope, curvature] = sums[place];
                [c * slope + along + steps[place] * square, c * curvature + square]
            }))
        })
    }

    /// Whether this is the weight of a free intercept.
    fn is_free(&self, index: usize) -> bool {
        self.problem.space.is_free() && index + 1 == self.w.len()
    }

    /// The primal and the dual value.
    fn values(&self) -> [f64; 2] {
        let (space, c, followed) = (&self.problem.space, self.problem.c, &self.followed);
        let [losses, duals, _] = followed.sums;
        let image: Vec<f64> = followed.image.iter().map(|x| c * x).collect();
        let mut dual = c * duals - space.penalty(&image);
        if let (true, Some(left), Some(intercept)) = (space.is_free(), image.last(), self.w.last()) {
            // About what is left once the intercept is set exactly: then the rows inside take up what the multipliers leave.
            dual -= intercept * left;
            dual -= match followed.inside {
                0.0 => left.abs(),
                inside => left * left / (2.0 * self.kappa * c * inside),
            };
        }
        [space.penalty(&self.w) + c * losses, dual]
    }

    fn gradient(&self) -> Vec<f64> {
        let of = |(k, (&w, &x)): (usize, (&f64, &f64))| (if self.is_free(k) { 0.0 } else { w }) - self.problem.c * x;
        self.w.iter().zip(&self.followed.image).enumerate().map(of).collect()
    }
}

/// The step at which a slope, which grows with it, is nearly 0, as a number of f32. `of` gives the slopes and their derivatives at
/// four steps; `steepness` is the slope at step 0, which is negative.
fn search_by_fours(steepness: f64, is_f64: bool, mut of: impl FnMut([f64; 4]) -> Result<[[f64; 2]; 4]>) -> Result<f64> {
    // Where the slope is known to be negative, and where positive, with the step that its derivative leads to.
    let (mut low, mut high) = ((0.0, f64::NAN), (f64::INFINITY, f64::NAN));
    let mut steps = [0.25, 0.5, 1.0, 2.0];
    let mut best = (f64::INFINITY, 0.0);
    for _ in 0..MOST_ROUNDS {
        steps = steps.map(|step| f64::from(step as f32));
        for ([slope, curvature], step) in of(steps)?.into_iter().zip(steps) {
            if slope.abs() < best.0 {
                best = (slope.abs(), step);
            }
            let next = step - slope / curvature;
            if slope < 0.0 && step > low.0 {
                low = (step, next);
            } else if slope >= 0.0 && step < high.0 {
                high = (step, next);
            }
        }
        if best.0 <= FLAT * steepness.abs() {
            break;
        }
        if high.0.is_infinite() {
            let far = low.0.max(2.0);
            steps = [2.0 * far, 4.0 * far, 16.0 * far, 64.0 * far];
            continue;
        }
        if is_f64 && low.0 == 0.0 {
            // A direction may be far too long: the next steps are of several orders.
            let newton = if high.1 > 0.0 && high.1 < high.0 { high.1 } else { high.0 / 8.0 };
            steps = [high.0 / 4096.0, high.0 / 64.0, newton, high.0 / 2.0];
            continue;
        }
        if high.0 - low.0 <= f64::from(f32::EPSILON) * high.0 {
            break;
        }
        // Newton's steps from both sides, and thirds.
        let within = |step: f64, other: f64| if step > low.0 && step < high.0 { step } else { other };
        let part = |share: f64| low.0 + share * (high.0 - low.0);
        steps = [within(low.1, part(0.2)), within(high.1, part(0.8)), part(0.4), part(0.6)];
    }
    Ok(best.1)
}
