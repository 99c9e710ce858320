//! What a metric knows, as a value that can be saved and compared.

use serde::{Deserialize, Serialize};

use super::finish;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, Precision, Reduction, Request, Totals};
use crate::loss::{Loss, Pattern};

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
#[serde(try_from = "SavedState<L>", bound(deserialize = "L: Loss + Deserialize<'de>"))]
pub struct MetricState<L> {
    /// The loss's name: two losses may have the same options.
    name: String,
    pub(super) loss: L,
    pub(super) reduction: Reduction,
    pub(super) per_class: bool,
    pub(super) updates: u64,
    /// Samples seen, ignored ones included.
    pub(super) samples: u64,
    pub(super) precision: Precision,
    pub(super) totals: Totals,
}

/// A state as it was read, before it is known to make sense.
#[derive(Deserialize)]
struct SavedState<L> {
    name: String,
    loss: L,
    reduction: Reduction,
    per_class: bool,
    updates: u64,
    samples: u64,
    precision: Precision,
    totals: Totals,
}

impl<L: Loss> TryFrom<SavedState<L>> for MetricState<L> {
    type Error = Error;

    fn try_from(saved: SavedState<L>) -> Result<Self> {
        let SavedState { name, loss, reduction, per_class, updates, samples, precision, totals } = saved;
        if name != loss.name() {
            return Err(Error::Option { option: "saved metric", expected: loss.name().into(), got: name });
        }
        loss.check()?;
        let counts = [totals.active, totals.correct].iter().all(|&part| part <= totals.count);
        let weights = totals.weight_sum >= 0.0 && totals.weight_sum.is_finite();
        let classes =
            if per_class { totals.count == 0 || !totals.per_class.is_empty() } else { totals.per_class.is_empty() };
        if !counts || totals.count > samples || !weights || !classes {
            let expected = "counts that fit each other".into();
            return Err(Error::Option { option: "saved metric", expected, got: format!("{totals:?}") });
        }
        Ok(Self { name, loss, reduction, per_class, updates, samples, precision, totals })
    }
}

impl<L: Loss + Clone + PartialEq + std::fmt::Debug> MetricState<L> {
    pub(super) fn new(loss: L) -> Self {
        Self {
            name: loss.name().into(),
            loss,
            reduction: Reduction::Mean,
            per_class: false,
            updates: 0,
            samples: 0,
            // The weakest so far: f32 from the first update in f32 on.
            precision: Precision::F64,
            totals: Totals::default(),
        }
    }

    pub(super) fn reset(&mut self) {
        (self.updates, self.samples, self.precision) = (0, 0, Precision::F64);
        self.totals = Totals::default();
    }

    /// What is asked of a device: the sums.
    pub(super) fn sum_request(&self) -> Result<Request> {
        if self.reduction == Reduction::None {
            let expected = "mean or sum, to be one number over many batches".into();
            return Err(Error::Option { option: "reduction", expected, got: "none".into() });
        }
        let request = Request::new().reduction(Reduction::Sum);
        Ok(if self.per_class { request.per_class() } else { request })
    }

    /// Adds the sums of one batch.
    pub(super) fn add(&mut self, sums: &Evaluation, batch: &Batch<'_>) {
        self.totals.merge(&sums.totals());
        self.count(batch);
        if sums.precision == Precision::F32 {
            self.precision = Precision::F32;
        }
    }

    /// Counts an update by this batch, whose sums go their own way.
    pub(super) fn count(&mut self, batch: &Batch<'_>) {
        // Losses of single scores take them in any shape.
        let samples = if self.loss.pattern() == Pattern::Elementwise { batch.len() } else { batch.samples() };
        self.updates = self.updates.saturating_add(1);
        self.samples = self.samples.saturating_add(samples as u64);
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        let configuration = |state: &Self| {
            let per_class = if state.per_class { ", per class" } else { "" };
            format!("{:?} by {:?}{per_class}", state.loss, state.reduction)
        };
        if self.loss != other.loss || self.reduction != other.reduction || self.per_class != other.per_class {
            return Err(Error::Option {
                option: "merged metric",
                expected: configuration(self),
                got: configuration(other),
            });
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

    /// The value of what was seen.
    pub(super) fn evaluation(&self) -> Result<Evaluation> {
        let has_correct = self.loss.has_correct();
        finish(self.totals.clone(), &self.request(), self.samples, has_correct, self.precision)
    }

    /// As [`MetricState::evaluation`], where the mean of nothing is no value.
    pub(super) fn evaluation_or_none(&self) -> Result<Evaluation> {
        match self.evaluation() {
            Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. }) => {
                let sums = self.request().reduction(Reduction::Sum);
                let has_correct = self.loss.has_correct();
                let evaluation = finish(self.totals.clone(), &sums, self.samples, has_correct, self.precision)?;
                Ok(Evaluation { value: None, per_class: None, ..evaluation })
            }
            other => other,
        }
    }
}
