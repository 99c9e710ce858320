//! The state of a metric, as a value that can be saved and compared.

use serde::{Deserialize, Serialize};

use super::totals::ExactTotals;
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Outputs, Precision, Reduction, Request, SumRequest, Totals};
use crate::error::{Error, Result};
use crate::loss::difference::first_difference;
use crate::loss::{Loss, Pattern};

/// The version of saved states. It grows where an older program would misread one.
const VERSION: u32 = 1;

/// Configuration and sums of a [`super::Metric`]. Serialisable with serde; text formats keep every bit of the sums.
///
/// ```
/// use maxmargin::{Batch, BinaryHinge, Device, metric::{Metric, MetricState}};
/// let mut metric = Metric::new(BinaryHinge::new());
/// metric.update(&Device::cpu(), &Batch::new(&[0.5f32, 0.1], &[1i8, -1]))?;
/// let text = serde_json::to_string(metric.state()?).unwrap();
/// let state: MetricState<BinaryHinge> = serde_json::from_str(&text).unwrap();
/// assert_eq!(Metric::from_state(state).compute()?.value, metric.compute()?.value);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    try_from = "SavedState<L>",
    into = "SavedState<L>",
    bound(deserialize = "L: Loss + Deserialize<'de>", serialize = "L: Loss + Clone + Serialize")
)]
pub struct MetricState<L> {
    pub(super) loss: L,
    pub(super) seen: SeenSamples,
}

/// The options and sums of a metric, the same type for every loss.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenSamples {
    pub(super) reduction: Reduction,
    pub(super) per_class: bool,
    pub(super) updates: u64,
    /// Samples seen, ignored ones included.
    pub(super) samples: u64,
    /// The lowest precision so far: f32 from the first f32 update on.
    pub(super) precision: Precision,
    pub(super) totals: ExactTotals,
}

/// A state as it is written, or as it was read and not yet checked.
#[derive(Serialize, Deserialize)]
struct SavedState<L> {
    version: u32,
    /// The loss's name, since two losses may have the same options.
    name: String,
    loss: L,
    reduction: Reduction,
    per_class: bool,
    updates: u64,
    samples: u64,
    precision: Precision,
    totals: ExactTotals,
}

impl<L: Loss> From<MetricState<L>> for SavedState<L> {
    fn from(state: MetricState<L>) -> Self {
        let MetricState { loss, seen: SeenSamples { reduction, per_class, updates, samples, precision, totals } } =
            state;
        Self {
            version: VERSION,
            name: loss.name().into(),
            loss,
            reduction,
            per_class,
            updates,
            samples,
            precision,
            totals,
        }
    }
}

impl<L: Loss> TryFrom<SavedState<L>> for MetricState<L> {
    type Error = Error;

    fn try_from(saved: SavedState<L>) -> Result<Self> {
        let SavedState { version, name, loss, reduction, per_class, updates, samples, precision, totals } = saved;
        if version != VERSION {
            let expected = format!("version {VERSION}");
            return Err(Error::File { what: "saved metric", expected, got: version.to_string() });
        }
        let seen = SeenSamples { reduction, per_class, updates, samples, precision, totals };
        seen.check(&name, &loss)?;
        Ok(Self { loss, seen })
    }
}

impl<L> MetricState<L> {
    pub(super) fn new(loss: L) -> Self {
        Self { loss, seen: SeenSamples::new() }
    }
}

impl SeenSamples {
    fn new() -> Self {
        let (reduction, per_class, precision) = (Reduction::Mean, false, Precision::F64);
        Self { reduction, per_class, updates: 0, samples: 0, precision, totals: ExactTotals::default() }
    }

    fn check(&self, name: &str, loss: &dyn Loss) -> Result<()> {
        let Self { per_class, samples, totals, .. } = self;
        if name != loss.name() {
            return Err(Error::File { what: "saved metric", expected: loss.name().into(), got: name.into() });
        }
        loss.check()?;
        let counts = [totals.active, totals.correct].iter().all(|&part| part <= totals.count);
        let weight_sum = totals.weight_sum.value();
        let weights = weight_sum >= 0.0 && weight_sum.is_finite();
        let classes =
            if *per_class { totals.count == 0 || !totals.per_class.is_empty() } else { totals.per_class.is_empty() };
        if !counts || totals.count > *samples || !weights || !classes {
            let expected = "counts and sums that fit each other".into();
            let got = format!("{} of {samples} samples, {} active", totals.count, totals.active);
            return Err(Error::File { what: "saved metric", expected, got });
        }
        Ok(())
    }

    pub(super) fn reset(&mut self) {
        *self = Self { reduction: self.reduction, per_class: self.per_class, ..Self::new() };
    }

    pub(super) fn sum_request(&self) -> Result<SumRequest> {
        if self.reduction == Reduction::None {
            let expected = "mean or sum, to be one number over many batches".into();
            return Err(Error::Option { option: "reduction", expected, got: "none".into() });
        }
        Ok(SumRequest::new(self.per_class))
    }

    pub(super) fn add(&mut self, loss: &dyn Loss, sums: &Totals, precision: Precision, batch: &Batch<'_>) {
        self.totals.add(sums);
        self.count(loss, batch);
        if precision == Precision::F32 {
            self.precision = Precision::F32;
        }
    }

    /// Counts an update by this batch; its sums are added elsewhere.
    pub(super) fn count(&mut self, loss: &dyn Loss, batch: &Batch<'_>) {
        // Elementwise losses take scores of any shape.
        let samples = if loss.pattern() == Pattern::Elementwise { batch.len() } else { batch.samples() };
        self.updates = self.updates.saturating_add(1);
        self.samples = self.samples.saturating_add(samples as u64);
    }

    pub(super) fn merge(&mut self, loss: &dyn Loss, other: &Self, other_loss: &dyn Loss) -> Result<()> {
        let differ = |expected, got| Err(Error::Option { option: "merged metric", expected, got });
        if loss.name() != other_loss.name() {
            return differ(format!("a metric of the loss {}", loss.name()), other_loss.name().into());
        }
        if !loss.equals(other_loss) {
            let (own, other) = first_difference(&format!("{loss:?}"), &format!("{other_loss:?}"));
            return differ(format!("a metric of a loss with {own}"), other);
        }
        if self.reduction != other.reduction {
            return differ(format!("a metric with reduction {}", self.reduction), other.reduction.to_string());
        }
        if self.per_class != other.per_class {
            let words = |per_class| if per_class { "one value per class" } else { "one value" };
            return differ(format!("a metric with {}", words(self.per_class)), words(other.per_class).into());
        }
        self.totals.merge(&other.totals);
        self.updates = self.updates.saturating_add(other.updates);
        self.samples = self.samples.saturating_add(other.samples);
        if other.precision == Precision::F32 {
            self.precision = Precision::F32;
        }
        Ok(())
    }

    fn request(&self) -> Request {
        let request = Request::new().reduction(self.reduction);
        if self.per_class { request.per_class() } else { request }
    }

    pub(super) fn evaluation(&self, loss: &dyn Loss) -> Result<Evaluation> {
        self.finish(loss, &self.request())
    }

    /// As [`SeenSamples::evaluation`], but the mean of nothing is `None`.
    pub(super) fn evaluation_or_none(&self, loss: &dyn Loss) -> Result<Evaluation> {
        match self.evaluation(loss) {
            Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
                let evaluation = self.finish(loss, &self.request().reduction(Reduction::Sum))?;
                Ok(Evaluation { value: None, per_class: None, ..evaluation })
            }
            other => other,
        }
    }

    fn finish(&self, loss: &dyn Loss, request: &Request) -> Result<Evaluation> {
        let precision = self.precision;
        let outputs = Outputs { losses: None, gradient: None, precision, upload_time: Default::default() };
        self.totals.rounded().finish(request, self.samples as usize, loss.has_correct(), outputs)
    }
}
