//! The solver of a binary problem whose rows are on a GPU.
//!
//! It takes the steps of `newton/`. What has a number per row stays on the device, in f32; weights, and the factorization of
//! Newton's equations, are here in f64. It ends where its own gap is small enough, or where f32 allows no smaller one. Then
//! `newton/` certifies in f64, and goes on from there where that is needed.
//!
//! A free intercept is a weight without a penalty: it is not set exactly after each step, as it is there.

use std::cell::RefCell;

use nalgebra::DMatrix;

use super::classifier::LinearClassifier;
use super::course::{Course, FitEnd, FitProgress, GROWTH, Limits, Next};
use super::hessian::{conjugate_gradients, conjugate_gradients_of_free, factored};
use super::newton::{FLAT, Start, descending, kappa_of_distances};
use super::problem::Problem;
use super::rows::Rows;
use crate::cpu::linear::{Elements, Matrix};
use crate::data::memory::{filled, reserved};
use crate::data::tensor::Floats;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::linear::{DeviceProblem, DeviceRows, Followed, HostRows, LossNumbers};

/// The share of the gap that is asked for at which the device has done its part: rounding of its own must not cost a step.
const TARGET: f64 = 0.7;

/// The least gap that the device is asked for: its sums are in f32.
const LEAST_GAP: f64 = 3e-7;

/// Steps, and passes, within which the gap must fall by a tenth. Otherwise f32 allows no less, or conjugate gradients get
/// no further.
const PATIENCE: (u64, f64) = (12, 150.0);

/// The share of the passes that the device may use: the CPU can end any fit with the rest.
const SHARE: f64 = 0.5;

/// The most columns, with the intercept's, of a matrix that is read back and factored: 16 MB.
const MOST_FACTORED: usize = 2048;

/// The gap at which a start that fell short is still better than the CPU's own.
const USEFUL_GAP: f64 = 0.1;

/// Rows that the first `kappa` of a start from weights follows from.
const SAMPLED_ROWS: usize = 20_000;

/// What is added to a free intercept's element of the diagonal of Newton's matrix, as a share of it: f32 knows no less.
const LITTLE: f64 = 1e-6;

/// Rounds of four steps that a search along a direction has at most.
const MOST_ROUNDS: usize = 12;

/// The rows of a fit on a device.
pub(super) struct OnGpu {
    rows: DeviceRows,
    /// Newton steps that the device took.
    steps: u64,
}

/// When the gap last fell by a tenth: the gap, and what was done until then.
struct Patience {
    gap: f64,
    steps: u64,
    passes: f64,
}

impl Patience {
    fn is_over(&mut self, now: &FitProgress) -> bool {
        if now.gap < 0.9 * self.gap {
            *self = Self { gap: now.gap, steps: now.newton_steps, passes: now.passes };
        }
        now.newton_steps - self.steps >= PATIENCE.0 || now.passes - self.passes > PATIENCE.1
    }
}

/// Where a problem stands on the device.
struct State<'a, 'p> {
    problem: &'a Problem<'p>,
    w: Vec<f64>,
    kappa: f64,
}

impl OnGpu {
    /// Uploads the rows of a fit; `None` on the CPU.
    ///
    /// # Errors
    /// [`Error::Option`] for sparse rows, and the device's own failures.
    pub(super) fn new(classifier: &LinearClassifier, rows: &Rows<'_>) -> Result<Option<Self>> {
        let Device::Gpu(gpu) = &classifier.device else { return Ok(None) };
        let Matrix { elements, columns, rows } = rows.0;
        let host = match elements {
            Elements::F32(x) => HostRows::Floats(Floats::F32(x)),
            Elements::F64(x) => HostRows::Floats(Floats::F64(x)),
            Elements::F16(x) => HostRows::Floats(Floats::F16(x)),
            Elements::BF16(x) => HostRows::Floats(Floats::BF16(x)),
            Elements::U8(x) => HostRows::Bytes(x),
            Elements::Sparse(_) => {
                let expected = "the CPU, for sparse rows".into();
                return Err(Error::Option { option: "device", expected, got: gpu.name().into() });
            }
        };
        let has_gram = columns < MOST_FACTORED;
        let rows = DeviceRows::new(gpu, host, (rows, columns), classifier.is_standardized(), has_gram)?;
        Ok(Some(Self { rows, steps: 0 }))
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Refuses a problem that only the CPU solves.
    pub(super) fn refuse_joint(&self) -> Error {
        let expected = "the CPU, for one problem of all classes".into();
        Error::Option { option: "device", expected, got: self.rows.gpu().name().into() }
    }

    /// Goes from a start towards the optimum. Also says whether the gap seems to be reached. `None` where f32 cannot hold the
    /// numbers, or led nowhere. `progress` is what was done before, and then what was done in all; `on_progress` is told it, and ends the
    /// approach by false.
    pub(super) fn approach(
        &mut self,
        problem: &Problem<'_>,
        start: Start,
        progress: &mut FitProgress,
        limits: Limits,
        on_progress: &mut dyn FnMut(FitProgress) -> bool,
    ) -> Result<Option<(Start, bool)>> {
        let slope = problem.loss.slope();
        let (w, starts_from_weights) = match start {
            Start::Weights(w) => (w, true),
            _ => (vec![0.0; problem.space.width()], false),
        };
        let kappa = match slope {
            Some(slope) => slope,
            None if starts_from_weights => kappa_of_sample(problem, &w)?,
            None => 1.0,
        };
        self.begin(problem, slope.is_none() && starts_from_weights)?;
        let w = rounded(&w);
        self.rows.multiply(&w, false)?;
        let mut state = State { problem, w: w.into_iter().map(f64::from).collect(), kappa };
        let mut followed = self.rows.follow(0.0, kappa, false)?;
        let target = (TARGET * limits.gap).max(LEAST_GAP);
        let max_passes = progress.passes + SHARE * limits.max_passes;
        let mut course = Course::new(Limits { gap: target, max_passes }, *progress);
        course.progress.passes += 1.0;
        let (mut best_w, mut has_multipliers) = (None, false);
        let FitProgress { newton_steps: steps, passes, gap } = course.progress;
        let mut patience = Patience { gap, steps, passes };
        let rows = problem.rows().max(1) as f64;
        loop {
            course.progress.passes += followed.above / rows;
            let [primal, dual] = state.values(&followed);
            if !(primal.is_finite() && dual.is_finite() && followed.image.iter().all(|x| x.is_finite())) {
                break;
            }
            let [is_better_w, is_better_a] = course.improves(primal, dual);
            if is_better_w {
                best_w = Some(state.w.clone());
            }
            if is_better_a {
                self.rows.keep()?;
                has_multipliers = true;
            }
            if !on_progress(course.progress) {
                course.end = Some(FitEnd::Stopped);
            }
            let gradient = state.gradient(&followed);
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            let moved = slope.is_none().then_some(problem.c * followed.sums[2]);
            followed = match course.next(square, moved, state.kappa) {
                Next::Certify => break,
                _ if patience.is_over(&course.progress) => break,
                Next::Harden => {
                    state.kappa *= GROWTH;
                    self.rows.follow(0.0, state.kappa, true)?
                }
                Next::Step => {
                    let Some((direction, read)) = self.direction(&state, &followed, &gradient)? else { break };
                    course.progress.passes += 1.0 + read * followed.inside / rows;
                    let (direction, steepness) = descending(direction, &gradient);
                    let direction = rounded(&direction);
                    self.rows.multiply(&direction, true)?;
                    let step = self.search(&state, &direction, steepness)?;
                    state.w.iter_mut().zip(&direction).for_each(|(w, &d)| *w += step * f64::from(d));
                    course.progress.newton_steps += 1;
                    self.steps += 1;
                    self.rows.follow(step, state.kappa, false)?
                }
            };
        }
        *progress = FitProgress { gap: f64::INFINITY, ..course.progress };
        let is_reached = course.progress.gap <= target;
        let is_stopped = course.end == Some(FitEnd::Stopped);
        let is_useful = is_reached || is_stopped || course.progress.gap <= USEFUL_GAP;
        let Some(w) = best_w.filter(|_| has_multipliers && is_useful) else { return Ok(None) };
        let mut multipliers = reserved(problem.rows())?;
        multipliers.extend(self.rows.kept()?.into_iter().map(|a| problem.c * f64::from(a)));
        Ok(Some((Start::Near { w, multipliers, kappa: state.kappa }, is_reached)))
    }

    /// Starts a problem on the device, with the hinge's multipliers at 0 or at half their caps.
    fn begin(&mut self, problem: &Problem<'_>, is_half: bool) -> Result<()> {
        let space = &problem.space;
        let (mut signed_weights, mut base) = (reserved(problem.rows())?, filled(0.0, problem.rows())?);
        signed_weights.extend(problem.weights.iter().zip(problem.signs).map(|(&weight, &sign)| {
            let weight = weight as f32;
            if sign < 0 { -weight } else { weight }
        }));
        if is_half {
            base.iter_mut().zip(problem.weights).for_each(|(base, &weight)| *base = 0.5 * weight as f32);
        }
        let units = space.shift.iter().zip(space.scale).map(|(&shift, &scale)| [shift as f32, scale as f32]).collect();
        let is_unbounded = problem.loss.cap(1.0).is_infinite();
        let loss = match problem.loss.slope() {
            None => LossNumbers::default(),
            Some(slope) => {
                LossNumbers { slope, bend: if is_unbounded { f64::INFINITY } else { 1.0 / slope }, is_unbounded }
            }
        };
        let problem =
            DeviceProblem { signed_weights: &signed_weights, base: &base, units, constant: space.constant(), loss };
        self.rows.begin(&problem)
    }

    /// The direction that Newton's equations give, and how often the rows inside were read for it. `None` where f32 left no
    /// definite matrix.
    fn direction(
        &self,
        state: &State<'_, '_>,
        followed: &Followed,
        gradient: &[f64],
    ) -> Result<Option<(Vec<f64>, f64)>> {
        let (width, factor) = (gradient.len(), state.kappa * state.problem.c);
        // Without a row inside, the intercept is as free as it can be.
        let of_intercept = if followed.inside > 0.0 { LITTLE * factor * followed.inside } else { 1.0 };
        let ridge = |k: usize| if state.is_free(k) { of_intercept } else { 1.0 };
        if width <= MOST_FACTORED {
            let gram = self.rows.gram()?;
            let mut lower = DMatrix::zeros(width, width);
            for (row, numbers) in gram.chunks_exact(width).enumerate() {
                numbers[..=row].iter().enumerate().for_each(|(column, &x)| lower[(row, column)] = x.into());
            }
            return Ok(factored(&lower, &|k, _| ridge(k), factor, gradient).map(|direction| (direction, 1.0)));
        }
        let failure = RefCell::new(None);
        let product = |v: &[f64]| -> Vec<f64> {
            let sum = self.rows.newton_product(&rounded(v)).unwrap_or_else(|error| {
                *failure.borrow_mut() = Some(error);
                vec![f64::NAN; width]
            });
            v.iter().zip(sum).enumerate().map(|(k, (v, x))| ridge(k) * v + factor * x).collect()
        };
        let is_free = state.problem.space.is_free();
        let solve = if is_free { conjugate_gradients_of_free } else { conjugate_gradients };
        let (direction, steps) = solve(&product, gradient, None);
        match failure.into_inner() {
            Some(error) => Err(error),
            None => Ok(direction.iter().all(|d| d.is_finite()).then_some((direction, 2.0 * steps as f64))),
        }
    }

    /// The step along a direction at which the objective is nearly lowest.
    fn search(&self, state: &State<'_, '_>, direction: &[f32], steepness: f64) -> Result<f64> {
        let (mut along, mut square) = (0.0, 0.0);
        for (k, (&w, &d)) in state.w.iter().zip(direction).enumerate() {
            let d = if state.is_free(k) { 0.0 } else { f64::from(d) };
            along += w * d;
            square += d * d;
        }
        let c = state.problem.c;
        search_by_fours(steepness, |steps| {
            let sums = self.rows.slopes(state.kappa, steps)?;
            Ok(std::array::from_fn(|place| {
                let [slope, curvature] = sums[place];
                [c * slope + along + steps[place] * square, c * curvature + square]
            }))
        })
    }
}

impl State<'_, '_> {
    /// Whether this is the weight of a free intercept.
    fn is_free(&self, index: usize) -> bool {
        self.problem.space.is_free() && index + 1 == self.w.len()
    }

    /// The primal and the dual value.
    fn values(&self, followed: &Followed) -> [f64; 2] {
        let (space, c) = (&self.problem.space, self.problem.c);
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

    fn gradient(&self, followed: &Followed) -> Vec<f64> {
        let of = |(k, (&w, &x)): (usize, (&f64, &f64))| (if self.is_free(k) { 0.0 } else { w }) - self.problem.c * x;
        self.w.iter().zip(&followed.image).enumerate().map(of).collect()
    }
}

fn rounded(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

/// The first `kappa` of the hinge from these weights, by rows that are spread over all.
fn kappa_of_sample(problem: &Problem<'_>, w: &[f64]) -> Result<f64> {
    let Matrix { rows, columns, .. } = problem.space.matrix;
    let list: Vec<u32> = (0..rows as u32).step_by(rows.div_ceil(SAMPLED_ROWS).max(1)).collect();
    let copied = problem.space.matrix.copied(&list)?;
    let matrix = Matrix { elements: copied.elements(), rows: list.len(), columns };
    let (vector, offset) = problem.space.in_stored_units(w);
    let mut products = filled(0.0, list.len())?;
    matrix.products(&vector, &mut products);
    let distances = products.iter().zip(&list).map(|(x, &row)| (1.0 - problem.sign(row as usize) * (x + offset)).abs());
    Ok(kappa_of_distances(distances.collect(), rows, columns))
}

/// The step at which a slope, which grows with it, is nearly 0, as a number of f32. `of` gives the slopes and their derivatives at
/// four steps; `steepness` is the slope at step 0, which is negative.
fn search_by_fours(steepness: f64, mut of: impl FnMut([f64; 4]) -> Result<[[f64; 2]; 4]>) -> Result<f64> {
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
