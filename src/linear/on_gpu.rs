//! The solver of a binary problem whose rows are on a GPU.
//!
//! It takes the steps of `steps.rs`, in f32. It ends where its own gap is small enough, or where f32 allows no smaller one. Then
//! `newton/` certifies in f64, and goes on from there where that is needed.

use nalgebra::DMatrix;

use super::classifier::LinearClassifier;
use super::course::{Course, FitEnd, FitProgress, Limits};
use super::newton::{Start, kappa_of_distances};
use super::problem::Problem;
use super::rows::Rows;
use super::steps::{Descent, Followed, Slopes, Steps};
use crate::cpu::linear::{Elements, Matrix};
use crate::data::memory::{filled, reserved};
use crate::data::tensor::Floats;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::linear::{DeviceProblem, DeviceRows, HostRows, LossNumbers};

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
        let followed = Steps::follow(&mut self.rows, 0.0, kappa, false)?;
        let target = (TARGET * limits.gap).max(LEAST_GAP);
        let max_passes = progress.passes + SHARE * limits.max_passes;
        let mut course = Course::new(Limits { gap: target, max_passes }, *progress);
        course.progress.passes += 1.0;
        let FitProgress { newton_steps: steps, passes, gap } = course.progress;
        let mut patience = Patience { gap, steps, passes };
        let mut descent = Descent {
            problem,
            rows: problem.rows().max(1) as f64,
            w: w.into_iter().map(f64::from).collect(),
            kappa,
            followed,
            course,
            best_w: None,
            has_multipliers: false,
        };
        descent.run(&mut self.rows, &mut |course| {
            if !on_progress(course.progress) {
                course.end = Some(FitEnd::Stopped);
            }
            !patience.is_over(&course.progress)
        })?;
        let Descent { course, best_w, has_multipliers, kappa, .. } = descent;
        self.steps += course.progress.newton_steps - steps;
        *progress = FitProgress { gap: f64::INFINITY, ..course.progress };
        let is_reached = course.progress.gap <= target;
        let is_stopped = course.end == Some(FitEnd::Stopped);
        let is_useful = is_reached || is_stopped || course.progress.gap <= USEFUL_GAP;
        let Some(w) = best_w.filter(|_| has_multipliers && is_useful) else { return Ok(None) };
        let mut multipliers = reserved(problem.rows())?;
        multipliers.extend(self.rows.kept()?.into_iter().map(|a| problem.c * f64::from(a)));
        Ok(Some((Start::Near { w, multipliers, kappa }, is_reached)))
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
}

impl Steps for DeviceRows {
    fn rounded(&self, vector: Vec<f64>) -> Vec<f64> {
        rounded(&vector).into_iter().map(f64::from).collect()
    }

    fn follow(&mut self, step: f64, kappa: f64, hardens: bool) -> Result<Followed> {
        let ([losses, duals, moved, inside, above], image) = DeviceRows::follow(self, step, kappa, hardens)?;
        Ok(Followed { sums: [losses, duals, moved], inside, above, image })
    }

    fn slopes(&mut self, direction: Option<&[f64]>, kappa: f64, steps: [f64; 4]) -> Result<Slopes> {
        if let Some(direction) = direction {
            self.multiply(&rounded(direction), true)?;
        }
        DeviceRows::slopes(self, kappa, steps)
    }

    fn gram(&mut self, _: bool) -> Result<DMatrix<f64>> {
        let gram = DeviceRows::gram(self)?;
        let width = self.width();
        let mut lower = DMatrix::zeros(width, width);
        for (row, numbers) in gram.chunks_exact(width).enumerate() {
            numbers[..=row].iter().enumerate().for_each(|(column, &x)| lower[(row, column)] = x.into());
        }
        Ok(lower)
    }

    fn most_factored(&self) -> usize {
        MOST_FACTORED
    }

    fn is_f64(&self) -> bool {
        false
    }

    fn product(&mut self, vector: &[f64]) -> Result<Vec<f64>> {
        self.newton_product(&rounded(vector))
    }

    fn keep(&mut self) -> Result<()> {
        DeviceRows::keep(self)
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
