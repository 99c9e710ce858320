//! Requests and results, the same for every loss on every device.

use serde::{Deserialize, Serialize};

use super::device_tensor::DeviceTensor;
use super::real::Real;
use crate::error::{Error, Result, number};
use crate::names::names;

/// How the per-sample losses become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reduction {
    /// The weighted sum divided by the sum of the sample weights, or by the number of kept samples if there are no
    /// weights. Class weights never enter the divisor.
    #[default]
    Mean,
    /// The weighted sum divided by the number of kept samples, whatever their weights (Keras's `sum_over_batch_size`).
    MeanOverCount,
    /// The weighted sum divided by the number of samples with a margin violation, whatever their weights; 0 where there
    /// are none. It has no gradient here, because its divisor changes with the scores.
    MeanOverActive,
    /// The weighted sum.
    Sum,
    /// No value, only per-sample losses. A gradient is then of the sum.
    None,
}

names!(Reduction, "reduction": Mean = "mean", Sum = "sum", None = "none", MeanOverCount = "mean-over-count",
    MeanOverActive = "mean-active");

/// What an evaluation returns in addition to the counters, which are always there.
///
/// ```
/// use maxmargin::{Reduction, Request};
/// let request = Request::new().reduction(Reduction::Sum).gradient().losses();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    pub(crate) reduction: Reduction,
    pub(crate) gradient: bool,
    pub(crate) losses: bool,
    pub(crate) per_class: bool,
    pub(crate) gradient_divisor: Option<f64>,
}

impl Request {
    #[inline]
    pub(crate) fn needs_divisor(&self) -> bool {
        let is_mean = matches!(self.reduction, Reduction::Mean | Reduction::MeanOverCount);
        self.gradient && self.gradient_divisor.is_none() && is_mean
    }

    /// The divisor of the gradient of the sum, in the precision of the computation. `totals` gives the whole batch's
    /// count and weight sum; only means call it. `samples` is only for the error message.
    #[inline]
    pub(crate) fn divisor_of_gradient<T: Real>(
        &self,
        samples: usize,
        totals: impl FnOnce() -> Result<Totals>,
    ) -> Result<T> {
        let divisor = match self.needs_divisor() {
            true => totals()?.divisor(self.reduction, samples)?,
            false => self.gradient_divisor.unwrap_or(1.0),
        };
        let rounded = T::from_f64(divisor);
        // Slopes are multiplied by the reciprocal: 0 * infinity would be NaN.
        if rounded.is_infinite() || (T::ONE / rounded).is_infinite() {
            let type_name = if size_of::<T>() == size_of::<f32>() { "f32" } else { "f64" };
            return Err(Error::Option {
                option: if self.needs_divisor() { "sum of the sample weights" } else { "divisor" },
                expected: format!("a number that is finite in {type_name}, and its reciprocal too"),
                got: number(divisor),
            });
        }
        Ok(rounded)
    }

    /// The mean and the counters only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the reduction. [`Reduction::None`] asks for the per-sample losses.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self.losses |= reduction == Reduction::None;
        self
    }

    /// Asks for the gradient of the reduced value with respect to the scores, in the shape of the scores.
    pub fn gradient(mut self) -> Self {
        self.gradient = true;
        self
    }

    /// Asks for the gradient of the sum divided by `divisor`, whatever the reduction. With the divisor of a larger
    /// batch, each part gets its part of the gradient of that batch's mean. `divisor` must be positive and finite.
    ///
    /// ```
    /// use maxmargin::{Batch, BinaryHinge, Device, Output, Request};
    /// let batch = Batch::new(&[0.5f32, 0.25], &[1i8, 1]);
    /// let part = Device::cpu().evaluate(&BinaryHinge::new(), &batch, &Request::new().gradient_of_part(8.0))?;
    /// assert!(matches!(part.gradient, Some(Output::F32(g)) if g == [-0.125, -0.125]));
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    pub fn gradient_of_part(mut self, divisor: f64) -> Self {
        self.gradient = true;
        self.gradient_divisor = Some(divisor);
        self
    }

    /// Asks for the per-sample losses (N) after every weight; 0 for ignored samples.
    pub fn losses(mut self) -> Self {
        self.losses = true;
        self
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self.gradient_divisor {
            Some(x) if !(x > 0.0 && x.is_finite()) => Err(Error::Option {
                option: "divisor",
                expected: "a positive and finite number".into(),
                got: number(x),
            }),
            None if self.gradient && self.reduction == Reduction::MeanOverActive => Err(Error::Option {
                option: "reduction",
                expected: "mean, mean-over-count or sum, for a gradient".into(),
                got: self.reduction.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Asks for one value per class (one-vs-all only; reduction mean or sum, without a gradient).
    pub fn per_class(mut self) -> Self {
        self.per_class = true;
        self
    }
}

/// The precision of the per-sample arithmetic. Sums are finished in f64 either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Double precision (f64 scores on the CPU).
    F64,
}

/// Per-sample losses or a gradient, stored where the scores are: a host vector, or a tensor on the scores' device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Host memory, single precision.
    F32(Vec<f32>),
    /// Host memory, double precision.
    F64(Vec<f64>),
    /// Memory of the GPU that the scores live on.
    Device(DeviceTensor),
}

impl Output {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Output::F32(x) => x.len(),
            Output::F64(x) => x.len(),
            Output::Device(x) => x.len(),
        }
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, borrowed, if they are f32 on the host.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Output::F32(x) = self { Some(x) } else { None }
    }

    /// The elements, borrowed, if they are f64 on the host.
    pub fn as_f64(&self) -> Option<&[f64]> {
        if let Output::F64(x) = self { Some(x) } else { None }
    }

    /// The elements as f64 on the host. Reading back a device tensor blocks.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self {
            Output::F32(x) => x.iter().map(|&x| x.into()).collect(),
            Output::F64(x) => x.clone(),
            Output::Device(x) => x.read_f32()?.into_iter().map(f64::from).collect(),
        })
    }
}

/// Host memory for results.
#[derive(Debug)]
#[non_exhaustive]
pub enum FloatsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision, for f64 scores on the CPU.
    F64(&'a mut [f64]),
}

impl FloatsMut<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            FloatsMut::F32(_) => "f32",
            FloatsMut::F64(_) => "f64",
        }
    }
}

impl<'a> From<&'a mut [f32]> for FloatsMut<'a> {
    fn from(x: &'a mut [f32]) -> Self {
        FloatsMut::F32(x)
    }
}

impl<'a> From<&'a mut [f64]> for FloatsMut<'a> {
    fn from(x: &'a mut [f64]) -> Self {
        FloatsMut::F64(x)
    }
}

impl<'a> From<&'a mut Vec<f32>> for FloatsMut<'a> {
    fn from(x: &'a mut Vec<f32>) -> Self {
        FloatsMut::F32(x)
    }
}

impl<'a> From<&'a mut Vec<f64>> for FloatsMut<'a> {
    fn from(x: &'a mut Vec<f64>) -> Self {
        FloatsMut::F64(x)
    }
}

/// The caller's memory for losses and gradient, for [`crate::Device::evaluate_into`]. Reuse it in a loop: getting fresh
/// pages from the operating system takes longer than evaluating a large batch.
#[derive(Debug, Default)]
pub struct Buffers<'a> {
    pub(crate) losses: Option<FloatsMut<'a>>,
    pub(crate) gradient: Option<FloatsMut<'a>>,
}

impl<'a> Buffers<'a> {
    /// No memory: results come back in vectors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the losses go: one per sample, in the precision of the computation.
    pub fn losses(mut self, losses: impl Into<FloatsMut<'a>>) -> Self {
        self.losses = Some(losses.into());
        self
    }

    /// Where the gradient goes, in the precision of the computation. It has the shape of the scores; for several
    /// vectors per sample, one block per input, one after the other.
    pub fn gradient(mut self, gradient: impl Into<FloatsMut<'a>>) -> Self {
        self.gradient = Some(gradient.into());
        self
    }
}

/// The result of one evaluation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// The reduced value; `None` with [`Reduction::None`] and with per-class values.
    pub value: Option<f64>,
    /// One reduced value per class, if requested.
    pub per_class: Option<Vec<f64>>,
    /// Kept samples: all but the ignored ones, including those of weight 0.
    pub count: u64,
    /// Sum of the kept samples' weights, or their count if there are no weights.
    pub weight_sum: f64,
    /// Kept samples with any margin violation v > 0.
    pub active: u64,
    /// Kept samples predicted correctly: by the sign of the score for binary losses, by the lowest-index argmax for
    /// multiclass losses. `None` if the loss makes no prediction (embedding).
    pub correct: Option<u64>,
    /// Per-sample losses after every weight, if requested.
    pub losses: Option<Output>,
    /// Gradient with respect to the scores, if requested.
    pub gradient: Option<Output>,
    /// The precision of the per-sample arithmetic.
    pub precision: Precision,
    /// Time spent on bringing host data to the device: decoding, checking and staging. In a large batch the device
    /// evaluates one part meanwhile. 0 on the CPU.
    pub upload_time: std::time::Duration,
}

impl Evaluation {
    /// `correct / count`; `None` if the loss makes no prediction or no sample was counted.
    pub fn accuracy(&self) -> Option<f64> {
        self.correct.filter(|_| self.count > 0).map(|correct| correct as f64 / self.count as f64)
    }
}

/// A request for sums, so that its evaluations can be added up.
#[derive(Clone, Debug)]
pub(crate) struct SumRequest(Request);

impl SumRequest {
    pub(crate) fn new(per_class: bool) -> Self {
        let request = Request::new().reduction(Reduction::Sum);
        Self(if per_class { request.per_class() } else { request })
    }

    pub(crate) fn gradient_of_part(self, divisor: f64) -> Self {
        Self(self.0.gradient_of_part(divisor))
    }

    pub(crate) fn request(&self) -> &Request {
        &self.0
    }

    pub(crate) fn totals(&self, evaluation: &Evaluation) -> Totals {
        Totals {
            sum: evaluation.value.unwrap_or(0.0),
            weight_sum: evaluation.weight_sum,
            count: evaluation.count,
            active: evaluation.active,
            correct: evaluation.correct.unwrap_or(0),
            per_class: evaluation.per_class.clone().unwrap_or_default(),
        }
    }
}

/// The sums of one pass over the samples, from which an [`Evaluation`] is made. Parts are merged in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) sum: f64,
    pub(crate) weight_sum: f64,
    pub(crate) count: u64,
    pub(crate) active: u64,
    pub(crate) correct: u64,
    pub(crate) per_class: Vec<f64>,
}

impl Totals {
    pub(crate) fn merge(&mut self, other: &Totals) {
        self.sum += other.sum;
        self.weight_sum += other.weight_sum;
        // Saturate: counts read from a file may be arbitrary.
        self.count = self.count.saturating_add(other.count);
        self.active = self.active.saturating_add(other.active);
        self.correct = self.correct.saturating_add(other.correct);
        if self.per_class.is_empty() {
            self.per_class.clone_from(&other.per_class);
        } else {
            for (total, part) in self.per_class.iter_mut().zip(&other.per_class) {
                *total += part;
            }
        }
    }

    /// The divisor of the reduction; 1 unless a mean is requested. `samples`, which includes ignored ones, is only for
    /// the error message.
    #[inline]
    pub(crate) fn divisor(&self, reduction: Reduction, samples: usize) -> Result<f64> {
        match reduction {
            Reduction::Sum | Reduction::None => Ok(1.0),
            Reduction::Mean | Reduction::MeanOverCount if self.count == 0 => {
                Err(Error::EmptyMean { got: samples as u64 })
            }
            Reduction::Mean if self.weight_sum == 0.0 => Err(Error::ZeroWeight { count: self.count }),
            Reduction::Mean => Ok(self.weight_sum),
            Reduction::MeanOverCount => Ok(self.count as f64),
            // Without violations the sum is 0, and so is the mean.
            Reduction::MeanOverActive => Ok(self.active.max(1) as f64),
        }
    }

    /// Finishes an evaluation, with the same arithmetic on every device.
    #[inline(always)]
    pub(crate) fn finish(
        self,
        request: &Request,
        samples: usize,
        has_correct: bool,
        outputs: Outputs,
    ) -> Result<Evaluation> {
        let divisor = self.divisor(request.reduction, samples)?;
        let per_class = request.per_class.then(|| self.per_class.iter().map(|sum| sum / divisor).collect());
        let scalar = request.reduction != Reduction::None && !request.per_class;
        Ok(Evaluation {
            value: scalar.then_some(self.sum / divisor),
            per_class,
            count: self.count,
            weight_sum: self.weight_sum,
            active: self.active,
            correct: has_correct.then_some(self.correct),
            losses: outputs.losses,
            gradient: outputs.gradient,
            precision: outputs.precision,
            upload_time: outputs.upload_time,
        })
    }
}

pub(crate) struct Outputs {
    pub(crate) losses: Option<Output>,
    pub(crate) gradient: Option<Output>,
    pub(crate) precision: Precision,
    pub(crate) upload_time: std::time::Duration,
}
