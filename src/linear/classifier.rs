//! The options of a fit, and what follows from them for the rows that it is made on.

use super::OnGpu;
use std::time::{Duration, Instant};

use super::course::{FitEnd, Limits, OnProgress};
use super::fit::{Labelled, LinearFit, fit, labels_of};
use super::joint::Multiclass;
use super::loss::LinearLoss;
use super::model::LinearModel;
use super::rows::Rows;
use super::space::Intercept;
use crate::cpu::linear::Matrix;
use crate::data::tensor::Targets;
use crate::device::Device;
use crate::error::{Error, Input, Result};

/// Weights of classes: factors of C for the rows of a class. Where each of three classes or more is held against the rest,
/// its weight is that of its own rows, and the rest have 1, as in LIBLINEAR.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ClassWeights {
    /// 1 for every class.
    #[default]
    Equal,
    /// N / (K * rows of the class), as scikit-learn's `balanced`.
    Balanced,
    /// One per class, in ascending order of the labels.
    Given(Vec<f64>),
}

/// How to fit a linear model: minimises 1/2 ||w||^2 + C * the sum of weight times loss over the rows.
///
/// ```
/// use maxmargin::linear::{LinearClassifier, LinearLoss, Rows};
///
/// let features = [0.0f32, 1.0, 1.0, 3.0, 4.0, 1.0, 5.0, 3.0];
/// let rows = Rows::new(&features, 2)?;
/// let fit = LinearClassifier::new(LinearLoss::Hinge).c(10.0).gap(1e-6).fit(&rows, &[0i64, 0, 1, 1])?;
/// assert_eq!(fit.model.labels(&rows)?, [0, 0, 1, 1]);
/// assert!(fit.model.relative_gap() <= 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearClassifier {
    pub(super) loss: LinearLoss,
    pub(super) c: f64,
    pub(super) intercept: Intercept,
    standardize: bool,
    pub(super) class_weights: ClassWeights,
    pub(super) multiclass: Multiclass,
    pub(super) gap: f64,
    pub(super) max_passes: f64,
    pub(super) device: Device,
}

impl LinearClassifier {
    /// C = 1, an intercept that is penalised as a feature of value 1, no standardisation, equal weights of classes, a
    /// relative gap of 1e-4, and at most 1000 passes.
    pub fn new(loss: LinearLoss) -> Self {
        Self {
            loss,
            c: 1.0,
            intercept: Intercept::default(),
            standardize: false,
            class_weights: ClassWeights::Equal,
            multiclass: Multiclass::OneVsRest,
            gap: 1e-4,
            max_passes: 1000.0,
            device: Device::Cpu,
        }
    }

    /// The cost factor of the losses, as in scikit-learn's LinearSVC and SVC.
    pub fn c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// What the constant in the decision value costs.
    pub fn intercept(mut self, intercept: Intercept) -> Self {
        self.intercept = intercept;
        self
    }

    /// Whether features are solved for with mean 0 and standard deviation 1 (that of all rows, as scikit-learn's
    /// StandardScaler has it; constant columns stay). The model's weights are for the features as they were given.
    pub fn standardize(mut self, standardize: bool) -> Self {
        self.standardize = standardize;
        self
    }

    /// How more than two classes are solved. Two are one binary problem: of cost C against the rest, and of twice the cost
    /// in one problem, where half the difference of the two classes' weights costs.
    pub fn multiclass(mut self, multiclass: Multiclass) -> Self {
        self.multiclass = multiclass;
        self
    }

    /// The weights of the classes.
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.class_weights = weights;
        self
    }

    /// The relative gap to reach: the fit ends where (primal - dual) / primal is certified to be this or less.
    pub fn gap(mut self, gap: f64) -> Self {
        self.gap = gap;
        self
    }

    /// The most reads of all features, for each problem.
    pub fn max_passes(mut self, passes: f64) -> Self {
        self.max_passes = passes;
        self
    }

    /// Where the steps are taken that read every row: the CPU, unless this is called. On a GPU the features stay, as f32, f16,
    /// bf16 or u8 (f64 is rounded to f32), and f32 is what it computes in; the CPU ends the fit in f64, so the certificate says
    /// as much as without a GPU. Of dense rows alone, and not of one problem of all classes.
    pub fn device(mut self, device: impl Into<Device>) -> Self {
        self.device = device.into();
        self
    }

    /// Checks the options alone.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn check(&self) -> Result<()> {
        let positive = |option, x: f64| {
            let expected = "a positive, finite number".into();
            if x > 0.0 && x.is_finite() { Ok(()) } else { Err(Error::Option { option, expected, got: x.to_string() }) }
        };
        positive("c", self.c)?;
        positive("gap", self.gap)?;
        positive("max_passes", self.max_passes)?;
        if let LinearLoss::SmoothHinge(gamma) = self.loss {
            positive("gamma", gamma)?;
        }
        if let Intercept::Penalized(scale) = self.intercept {
            positive("intercept", scale)?;
        }
        if self.multiclass != Multiclass::OneVsRest && self.loss != LinearLoss::Hinge {
            let expected = "hinge, the only loss of Crammer-Singer and Weston-Watkins".into();
            return Err(Error::Option { option: "loss", expected, got: self.loss.name().into() });
        }
        Ok(())
    }

    /// Fits a model. Labels are any whole numbers; each that occurs is a class.
    ///
    /// # Errors
    /// As [`LinearClassifier::fit_with`].
    pub fn fit<'t>(&self, rows: &Rows<'_>, targets: impl Into<Targets<'t>>) -> Result<LinearFit> {
        self.fit_with(rows, targets, None, None, &mut |_| true)
    }

    /// Fits a model with one weight per row, from the weights of an earlier model, and with a function that is told
    /// where the solver stands and ends the fit by returning false.
    ///
    /// # Errors
    /// [`Error::Option`] for options without meaning; [`Error::Length`], [`Error::Shape`] for inputs that do not match;
    /// [`Error::Value`] for a feature that is not finite, a label with a fraction, a weight that is negative or not
    /// finite; [`Error::Shape`] for labels of one class only; [`Error::ZeroWeight`] where all weights are 0; [`Error::OutOfMemory`]; [`Error::Option`] for what only the CPU
    /// solves, and the device's own failures. A fit that does not converge is no
    /// error: its [`LinearFit::end`] and certificate say so.
    pub fn fit_with<'t>(
        &self,
        rows: &Rows<'_>,
        targets: impl Into<Targets<'t>>,
        sample_weights: Option<&[f64]>,
        start: Option<&LinearModel>,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<LinearFit> {
        self.check()?;
        let targets = targets.into();
        on_threads(|| {
            let data = Labelled::new(rows, targets, sample_weights)?;
            let mut on_gpu = OnGpu::new(self, &data.rows)?;
            fit(self, &data, start, on_gpu.as_mut(), on_progress)
        })
    }

    /// The rows per second that a fit on about `count` rows takes in, which are spread over all of them: what speaks for one
    /// device or another before a long fit. `None` where it takes longer than `most`. The first call on a GPU compiles its
    /// kernels.
    ///
    /// # Errors
    /// As [`LinearClassifier::fit_with`], and [`Error::Option`] where a GPU can take no step.
    pub fn rows_per_second<'t>(
        &self,
        rows: &Rows<'_>,
        targets: impl Into<Targets<'t>>,
        count: usize,
        most: Duration,
    ) -> Result<Option<f64>> {
        // The fit checks the features of its part.
        let labels = labels_of(rows, targets.into())?;
        let step = rows.len().div_ceil(count.max(1)).max(1);
        let list: Vec<u32> = (0..rows.len() as u32).step_by(step).collect();
        let copied = rows.0.copied(&list)?;
        let labels: Vec<i64> = list.iter().map(|&row| labels[row as usize]).collect();
        let part = Rows(Matrix { elements: copied.elements(), rows: list.len(), ..rows.0 });
        let started = Instant::now();
        let fit = self.fit_with(&part, &labels, None, None, &mut |_| started.elapsed() <= most)?;
        if fit.end == FitEnd::Stopped {
            return Ok(None);
        }
        if self.device != Device::Cpu && fit.steps_on_gpu == 0 {
            let expected = "the CPU, for numbers that f32 cannot hold".into();
            return Err(Error::Option { option: "device", expected, got: self.device.name().into() });
        }
        Ok(Some(list.len() as f64 / started.elapsed().as_secs_f64()))
    }

    /// The weights of the classes, by the rows that are kept.
    pub(super) fn weights_of(&self, classes: &[i64], labels: &[i64], kept: Option<&[bool]>) -> Result<Vec<f64>> {
        let mut counts = vec![0u64; classes.len()];
        if self.class_weights == ClassWeights::Balanced {
            for (row, label) in labels.iter().enumerate() {
                if let Ok(place) = classes.binary_search(label)
                    && kept.is_none_or(|kept| kept[row])
                {
                    counts[place] += 1;
                }
            }
        }
        self.weights_by_counts(&counts)
    }

    /// The weights of classes with so many rows.
    pub(super) fn weights_by_counts(&self, counts: &[u64]) -> Result<Vec<f64>> {
        match &self.class_weights {
            ClassWeights::Equal => Ok(vec![1.0; counts.len()]),
            ClassWeights::Balanced => {
                let (rows, classes) = (counts.iter().sum::<u64>() as f64, counts.len() as f64);
                Ok(counts.iter().map(|&count| rows / (classes * count.max(1) as f64)).collect())
            }
            ClassWeights::Given(weights) => {
                if weights.len() != counts.len() {
                    let (expected, got) = (counts.len(), weights.len());
                    return Err(Error::Length { input: Input::ClassWeights, expected, got, unit: "class" });
                }
                check_weights(Input::ClassWeights, weights)?;
                Ok(weights.clone())
            }
        }
    }

    pub(super) fn is_standardized(&self) -> bool {
        self.standardize
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { gap: self.gap, max_passes: self.max_passes }
    }

    /// What is taken from each column, and what the rest is multiplied by.
    pub(super) fn scaling(&self, rows: &Rows<'_>, kept: Option<&[bool]>) -> Result<[Vec<f64>; 2]> {
        let columns = rows.columns();
        if !self.standardize {
            return Ok([vec![0.0; columns], vec![1.0; columns]]);
        }
        let first = kept.map_or(Some(0), |kept| kept.iter().position(|&kept| kept)).filter(|_| !rows.is_empty());
        let count = kept.map_or(rows.len(), |kept| kept.iter().filter(|&&kept| kept).count()).max(1) as f64;
        let (zeros, ones) = (vec![0.0; columns], vec![1.0; columns]);
        // About the first row, a constant column has sums of exactly 0.
        let mut about = zeros.clone();
        if let Some(first) = first {
            rows.0.write_row((first, 1.0), [&zeros, &ones], &mut Vec::new(), &mut about);
        }
        scaling_by(count, &about, rows.0.sparse().is_some(), &mut |about| Ok(rows.0.moments(about, kept)))
    }
}

/// Gives the sums of the elements of each column, and of their squares, about the numbers that it is given.
pub(super) type Moments<'a> = dyn FnMut(&[f64]) -> Result<[Vec<f64>; 2]> + 'a;

/// What is taken from each column, and what the rest is multiplied by. `about` is a row, `moments` gives the sums of the elements of
/// all rows, and of their squares, about the numbers that it is given.
pub(super) fn scaling_by(
    count: f64,
    about: &[f64],
    is_sparse: bool,
    moments: &mut Moments<'_>,
) -> Result<[Vec<f64>; 2]> {
    let [sums, squares] = moments(about)?;
    let mean: Vec<f64> = about.iter().zip(&sums).map(|(about, sum)| about + sum / count).collect();
    let is_constant: Vec<bool> = sums.iter().zip(&squares).map(|(sum, square)| *sum == 0.0 && *square == 0.0).collect();
    let [_, squares] = moments(&mean)?;
    let mut scale = vec![1.0; mean.len()];
    for (column, square) in squares.iter().enumerate().filter(|(column, _)| !is_constant[*column]) {
        let deviation = (square / count).sqrt();
        if !(deviation.is_normal() && (1.0 / deviation).is_normal()) {
            let expected = "columns whose variance f64 can hold, to standardize them".into();
            return Err(Error::Shape { input: Input::Features, expected, got: format!("column {column}") });
        }
        scale[column] = 1.0 / deviation;
    }
    // A shift would leave no element 0.
    Ok([if is_sparse { vec![0.0; mean.len()] } else { mean }, scale])
}

pub(super) fn check_weights(input: Input, weights: &[f64]) -> Result<()> {
    match weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
        None => Ok(()),
        Some(index) => Err(Error::Value {
            input,
            index: index as u64,
            value: weights[index].to_string(),
            expected: "a finite weight, 0 or more".into(),
        }),
    }
}

/// Runs a fit on one of the threads that it shares its loops with. From another one, each of its many short loops would
/// wait for them to wake up.
pub(super) fn on_threads<R: Send>(fit: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| fit())
}
