//! torchmetrics.classification and torchmetrics.functional.classification: hinge losses as metrics.
//!
//! **The scores of a batch decide how they are read**: if any score of a kept sample lies outside [0, 1], sigmoid or
//! softmax is applied to the whole batch ([`ScoreKind::Guessed`](crate::ScoreKind::Guessed)). So a value depends on how
//! the data is split into batches, and a perfect binary classifier's hinge loss is the fraction of negatives, not 0.
//! The plain alternatives are [`crate::metric::Metric`], and [`BinaryHinge`] and [`MulticlassHinge`] on a batch with a
//! stated score kind.
//!
//! Scores and labels must be in host memory. The value is NaN where no sample is kept.

use super::{Peer, evaluate};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Request};
use crate::device::Device;
use crate::error::{Error, Input, Result};
use crate::loss::{BinaryHinge, CrammerSinger, LabelEncoding, Loss, MulticlassHinge, OneVsAll, Penalty, RowsLoss};
use crate::metric::{Metric, Step};

/// How torchmetrics treats several classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MulticlassMode {
    /// One value: the true class against its best rival.
    #[default]
    CrammerSinger,
    /// One value per class: the class against all others.
    OneVsAll,
}

/// The options of both tasks: `squared` and `ignore_index`, with torchmetrics's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the penalty is squared rather than linear.
    pub squared: bool,
    /// Samples with this target are left out.
    pub ignore_index: Option<i64>,
}

impl Options {
    fn penalty(self) -> Penalty {
        if self.squared { Penalty::Squared } else { Penalty::Linear }
    }

    fn binary(self) -> BinaryHinge {
        let loss =
            BinaryHinge::new().penalty(self.penalty()).kink(Peer::Torchmetrics.kink()).labels(LabelEncoding::ZeroOne);
        match self.ignore_index {
            Some(index) => loss.ignore_index(index),
            None => loss,
        }
    }

    fn multiclass<M: RowsLoss>(self, method: M) -> MulticlassHinge<M> {
        let loss = MulticlassHinge::with_method(method)
            .penalty(self.penalty())
            .kink(Peer::Torchmetrics.kink())
            .ties(Peer::Torchmetrics.ties());
        match self.ignore_index {
            Some(index) => loss.ignore_index(index),
            None => loss,
        }
    }
}

/// `binary_hinge_loss(preds, target, squared, ignore_index)`: labels 0/1, the mean over the kept samples.
///
/// ```
/// use maxmargin::{Batch, Device, compat::torchmetrics::{Options, binary_hinge_loss}};
/// let batch = Batch::new(&[0.25f32, 0.25, 0.55, 0.75, 0.75], &[0u8, 0, 1, 1, 1]);
/// let value = binary_hinge_loss(&Device::cpu(), &batch, Options::default())?.value.unwrap();
/// assert!((value - 0.69).abs() < 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
///
/// # Errors
/// As [`Device::evaluate`], but the mean of nothing is NaN.
pub fn binary_hinge_loss(device: &Device, batch: &Batch<'_>, options: Options) -> Result<Evaluation> {
    evaluate(device, &options.binary(), &guessed(batch), &Request::new(), f64::NAN)
}

/// The batch with torchmetrics's reading of scores.
fn guessed<'a>(batch: &Batch<'a>) -> Batch<'a> {
    batch.score_kind(Peer::Torchmetrics.score_kind())
}

/// `multiclass_hinge_loss(preds, target, num_classes, squared, multiclass_mode, ignore_index)` over a batch of rows:
/// one value for Crammer-Singer, one per class ([`Evaluation::per_class`]) for one-vs-all.
///
/// # Errors
/// As [`Device::evaluate`], but the mean of nothing is NaN.
pub fn multiclass_hinge_loss(
    device: &Device,
    batch: &Batch<'_>,
    mode: MulticlassMode,
    options: Options,
) -> Result<Evaluation> {
    let batch = guessed(batch);
    let request = Request::new();
    match mode {
        MulticlassMode::CrammerSinger => {
            evaluate(device, &options.multiclass(CrammerSinger), &batch, &request, f64::NAN)
        }
        MulticlassMode::OneVsAll => {
            evaluate(device, &options.multiclass(OneVsAll), &batch, &request.per_class(), f64::NAN)
        }
    }
}

/// `BinaryHingeLoss(squared, ignore_index)`.
///
/// ```
/// use maxmargin::{Batch, Device, compat::torchmetrics::{BinaryHingeLoss, Options}};
/// // The same two samples: as two updates, and as one batch, of which 2.0 makes logits.
/// let (device, mut metric) = (Device::cpu(), BinaryHingeLoss::new(Options::default()));
/// metric.update(&device, &Batch::new(&[0.5f32], &[1u8]))?;
/// metric.update(&device, &Batch::new(&[2.0f32], &[1u8]))?;
/// assert!((metric.compute()?.value.unwrap() - 0.3096).abs() < 1e-4);
/// metric.reset();
/// metric.update(&device, &Batch::new(&[0.5f32, 2.0], &[1u8, 1]))?;
/// assert!((metric.compute()?.value.unwrap() - 0.2484).abs() < 1e-4);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BinaryHingeLoss {
    options: Options,
    metric: Metric<BinaryHinge>,
}

impl BinaryHingeLoss {
    /// An empty metric.
    pub fn new(options: Options) -> Self {
        Self { options, metric: Metric::new(options.binary()) }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// As [`Metric::update`]. With an `ignore_index`, [`Error::Value`] for a label that is neither 0, 1 nor ignored.
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        self.metric.update(device, &guessed(batch))
    }

    /// Adds a batch and returns its own value next to the running one.
    ///
    /// # Errors
    /// As [`Metric::forward`], and as [`BinaryHingeLoss::update`].
    pub fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        self.metric.forward(device, &guessed(batch))
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        self.metric.reset();
    }

    /// Adds what another metric of the same configuration has seen.
    ///
    /// # Errors
    /// [`Error::Option`] for another configuration, which torchmetrics does not notice.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        same(&self.options, &other.options)?;
        self.metric.merge(&other.metric)
    }

    /// The value over all samples so far; NaN for none.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub fn compute(&mut self) -> Result<Evaluation> {
        nan_where_empty(&mut self.metric, 0)
    }
}

/// `MulticlassHingeLoss(num_classes, squared, multiclass_mode, ignore_index)`.
#[derive(Clone, Debug)]
pub struct MulticlassHingeLoss {
    classes: usize,
    metric: MulticlassMetric,
}

#[derive(Clone, Debug)]
enum MulticlassMetric {
    CrammerSinger(Metric<MulticlassHinge<CrammerSinger>>),
    OneVsAll(Metric<MulticlassHinge<OneVsAll>>),
}

impl MulticlassHingeLoss {
    /// An empty metric over `num_classes` classes.
    pub fn new(num_classes: usize, mode: MulticlassMode, options: Options) -> Self {
        let metric = match mode {
            MulticlassMode::CrammerSinger => {
                MulticlassMetric::CrammerSinger(Metric::new(options.multiclass(CrammerSinger)))
            }
            MulticlassMode::OneVsAll => {
                MulticlassMetric::OneVsAll(Metric::new(options.multiclass(OneVsAll)).per_class())
            }
        };
        Self { classes: num_classes, metric }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// As [`Metric::update`], and [`Error::Shape`] for rows of another width.
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        let batch = self.checked(batch)?;
        match &mut self.metric {
            MulticlassMetric::CrammerSinger(metric) => metric.update(device, &batch),
            MulticlassMetric::OneVsAll(metric) => metric.update(device, &batch),
        }
    }

    /// Sets torchmetrics's score kind, after a check of the row width.
    fn checked<'a>(&self, batch: &Batch<'a>) -> Result<Batch<'a>> {
        if batch.columns != Some(self.classes) {
            let got = batch.columns.map_or("(N)".into(), |columns| format!("(N, {columns})"));
            return Err(Error::Shape { input: Input::Scores, expected: format!("(N, {})", self.classes), got });
        }
        Ok(batch.score_kind(Peer::Torchmetrics.score_kind()))
    }

    /// Adds a batch of rows and returns its own value next to the running one.
    ///
    /// # Errors
    /// As [`Metric::forward`], and [`Error::Shape`] for rows of another width.
    pub fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        let batch = self.checked(batch)?;
        match &mut self.metric {
            MulticlassMetric::CrammerSinger(metric) => metric.forward(device, &batch),
            MulticlassMetric::OneVsAll(metric) => metric.forward(device, &batch),
        }
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        match &mut self.metric {
            MulticlassMetric::CrammerSinger(metric) => metric.reset(),
            MulticlassMetric::OneVsAll(metric) => metric.reset(),
        }
    }

    /// Adds what another metric of the same configuration has seen.
    ///
    /// # Errors
    /// [`Error::Option`] for another configuration, which torchmetrics does not notice.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        same(&self.classes, &other.classes)?;
        match (&mut self.metric, &other.metric) {
            (MulticlassMetric::CrammerSinger(metric), MulticlassMetric::CrammerSinger(other)) => metric.merge(other),
            (MulticlassMetric::OneVsAll(metric), MulticlassMetric::OneVsAll(other)) => metric.merge(other),
            _ => same(&"one multiclass mode", &"the other"),
        }
    }

    /// The value over all samples so far; NaN for none.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub fn compute(&mut self) -> Result<Evaluation> {
        match &mut self.metric {
            MulticlassMetric::CrammerSinger(metric) => nan_where_empty(metric, 0),
            MulticlassMetric::OneVsAll(metric) => nan_where_empty(metric, self.classes),
        }
    }
}

/// `HingeLoss(task=...)`: either of the two.
#[derive(Clone, Debug)]
pub enum HingeLoss {
    /// `task="binary"`.
    Binary(BinaryHingeLoss),
    /// `task="multiclass"`.
    Multiclass(MulticlassHingeLoss),
}

impl HingeLoss {
    /// `HingeLoss(task="binary", squared, ignore_index)`.
    pub fn binary(options: Options) -> Self {
        Self::Binary(BinaryHingeLoss::new(options))
    }

    /// `HingeLoss(task="multiclass", num_classes, squared, multiclass_mode, ignore_index)`.
    pub fn multiclass(num_classes: usize, mode: MulticlassMode, options: Options) -> Self {
        Self::Multiclass(MulticlassHingeLoss::new(num_classes, mode, options))
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// As [`Metric::update`].
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        match self {
            Self::Binary(metric) => metric.update(device, batch),
            Self::Multiclass(metric) => metric.update(device, batch),
        }
    }

    /// Adds a batch and returns its own value next to the running one.
    ///
    /// # Errors
    /// As [`Metric::forward`].
    pub fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        match self {
            Self::Binary(metric) => metric.forward(device, batch),
            Self::Multiclass(metric) => metric.forward(device, batch),
        }
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        match self {
            Self::Binary(metric) => metric.reset(),
            Self::Multiclass(metric) => metric.reset(),
        }
    }

    /// Adds what another metric of the same configuration has seen.
    ///
    /// # Errors
    /// [`Error::Option`] for another configuration.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Binary(metric), Self::Binary(other)) => metric.merge(other),
            (Self::Multiclass(metric), Self::Multiclass(other)) => metric.merge(other),
            _ => same(&"one task", &"the other"),
        }
    }

    /// The value over all samples so far; NaN for none.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub fn compute(&mut self) -> Result<Evaluation> {
        match self {
            Self::Binary(metric) => metric.compute(),
            Self::Multiclass(metric) => metric.compute(),
        }
    }
}

fn same<T: PartialEq>(own: &T, other: &T) -> Result<()> {
    if own == other {
        return Ok(());
    }
    let (expected, got) = ("a metric with the same arguments".into(), "one with others".into());
    Err(Error::Option { option: "merged metric", expected, got })
}

fn nan_where_empty<L: Loss + Clone + PartialEq + std::fmt::Debug>(
    metric: &mut Metric<L>,
    classes: usize,
) -> Result<Evaluation> {
    match metric.compute() {
        Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
            let mut evaluation = metric.clone().reduction(crate::Reduction::Sum).compute()?;
            match classes {
                0 => evaluation.value = Some(f64::NAN),
                _ => evaluation.per_class = Some(vec![f64::NAN; classes]),
            }
            Ok(evaluation)
        }
        other => other,
    }
}
