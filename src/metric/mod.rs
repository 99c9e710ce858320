//! Streaming metrics: a loss accumulated over batches. Update, compute, reset, merge, save.
//!
//! ```
//! use maxmargin::{Batch, BinaryHinge, Device, LabelEncoding, metric::Metric};
//!
//! let mut metric = Metric::new(BinaryHinge::new().labels(LabelEncoding::ZeroOne));
//! let device = Device::cpu();
//! metric.update(&device, &Batch::new(&[0.5f32, 0.7], &[0u8, 1]))?;
//! let step = metric.forward(&device, &Batch::new(&[0.1f32], &[1u8]))?;
//! assert!((step.batch.value.unwrap() - 0.9).abs() < 1e-6);
//! assert!((metric.compute()?.value.unwrap() - 0.9).abs() < 1e-6);
//! # Ok::<(), maxmargin::Error>(())
//! ```
//!
//! # Numbers
//! On the CPU every loss of a batch is added in f64. How the data is split into batches changes the value only by the order
//! of these additions (1e-12 relative to the sum of the losses' magnitudes). The sums of batches are added exactly: the same
//! batches give the same bits in any order, and so do metrics of parts of them that are merged in any order. On a GPU an update appends its workgroups' sums to
//! the state on the device, without waiting; computing the value folds them in f64. Counts are u64. Unless the batch
//! says otherwise scores are raw, and label encodings are stated, so no batch decides for itself what it means.
//!
//! # Errors
//! A failed update leaves the state unchanged. Bad labels and weights that live on a GPU are found when the sums are
//! folded: [`Metric::compute`] then names the update and the index, until [`Metric::reset`].

mod accumulator;
mod collection;
mod state;
mod totals;

use std::sync::Arc;

pub use collection::MetricCollection;
pub use state::MetricState;

use accumulator::{Accumulator, in_update};

use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Reduction};
use crate::data::shape::BatchShape;
use crate::device::Device;
use crate::engine::Pending;
use crate::error::Result;
use crate::loss::Loss;

/// A loss accumulated over batches. `L` is a loss, or `Box<dyn Loss>` for one chosen at run time.
#[derive(Clone, Debug)]
pub struct Metric<L> {
    state: MetricState<L>,
    /// Sums that are still on a GPU, each with the number of its update.
    pending: Vec<(u64, Arc<Pending>)>,
}

/// What [`Metric::forward`] returns. The value of a mean over no samples or zero weight is `None`.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of this batch alone.
    pub batch: Evaluation,
    /// Of all batches so far, this one included.
    pub running: Evaluation,
}

impl<L: Loss> Metric<L> {
    /// The mean of this loss over everything seen; sample weights count as in [`Reduction::Mean`].
    pub fn new(loss: L) -> Self {
        Self { state: MetricState::new(loss), pending: Vec::new() }
    }

    /// Replaces the mean by this reduction. The first update refuses [`Reduction::None`].
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.state.seen.reduction = reduction;
        self
    }

    /// One value per class, for losses that have them ([`crate::MulticlassHinge::one_vs_all`]).
    pub fn per_class(mut self) -> Self {
        self.state.seen.per_class = true;
        self
    }

    /// Continues from a saved state.
    pub fn from_state(state: MetricState<L>) -> Self {
        Self { state, pending: Vec::new() }
    }

    /// The loss.
    pub fn loss(&self) -> &L {
        &self.state.loss
    }

    /// Updates since the last reset, including those of merged metrics.
    pub fn updates(&self) -> u64 {
        self.state.seen.updates
    }

    /// Checks that the inputs of a batch fit each other and the loss, without looking at their elements.
    ///
    /// # Errors
    /// [`crate::Error::Update`] around the error of [`Loss::check_batch`].
    pub fn check_batch(&self, batch: &Batch<'_>) -> Result<BatchShape> {
        let shape = self.state.loss.check_batch(batch, self.state.seen.sum_request()?.request());
        shape.map_err(|error| in_update(self.state.seen.updates, error))
    }

    /// Adds a batch. On a GPU it only submits work.
    ///
    /// # Errors
    /// [`crate::Error::Update`] around the error of [`Device::evaluate`]. The state is then unchanged.
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        pollster::block_on(self.update_async(device, batch))
    }

    /// As [`Metric::update`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::update`].
    pub async fn update_async(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        self.accumulator().update(device, batch).await
    }

    /// Adds every batch of an iterator.
    ///
    /// ```
    /// use maxmargin::metric::Metric;
    /// use maxmargin::{Batch, BinaryHinge, Device};
    /// let (scores, labels) = ([0.5f32, 0.25, -1.0, 2.0], [1i8, 1, -1, 1]);
    /// let mut metric = Metric::new(BinaryHinge::new());
    /// metric.update_all(&Device::cpu(), scores.chunks(2).zip(labels.chunks(2)).map(|(s, t)| Batch::new(s, t)))?;
    /// assert_eq!(metric.compute()?.value, Some(1.25 / 4.0));
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Metric::update`], for the first batch that fails; the state keeps those before it.
    pub fn update_all<'a>(&mut self, device: &Device, batches: impl IntoIterator<Item = Batch<'a>>) -> Result<()> {
        batches.into_iter().try_for_each(|batch| self.update(device, &batch))
    }

    /// Adds a batch, writes its losses and gradient to the caller's memory, and returns its sums. The gradient is of
    /// the sum divided by `divisor`. With the weight of all batches together ([`crate::weigh`]) as divisor, it is this
    /// batch's part of the gradient of their mean.
    ///
    /// # Errors
    /// As [`Metric::update`] and [`Device::evaluate_into`].
    pub fn update_into(
        &mut self,
        device: &Device,
        batch: &Batch<'_>,
        divisor: f64,
        buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        self.accumulator().update_into(device, batch, divisor, buffers)
    }

    /// Adds a batch and returns its own value and the running one. On a GPU it waits for both.
    ///
    /// # Errors
    /// As [`Metric::update`] and [`Metric::compute`], except that a mean over nothing gives the value `None`.
    pub fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        pollster::block_on(self.forward_async(device, batch))
    }

    /// As [`Metric::forward`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::forward`].
    pub async fn forward_async(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        self.accumulator().forward(device, batch).await
    }

    /// The value over everything seen.
    ///
    /// # Errors
    /// [`crate::Error::EmptyMean`] and [`crate::Error::ZeroWeight`] for the mean of nothing, [`crate::Error::Update`]
    /// for bad labels or weights that lived on a GPU, and the device's own failures.
    pub fn compute(&mut self) -> Result<Evaluation> {
        pollster::block_on(self.compute_async())
    }

    /// As [`Metric::compute`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub async fn compute_async(&mut self) -> Result<Evaluation> {
        self.accumulator().compute().await
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.state.seen.reset();
    }

    /// Adds what another metric has seen.
    ///
    /// # Errors
    /// [`crate::Error::Option`] if the other's loss, options, reduction or number of classes differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let (other_loss, pending): (&dyn Loss, _) = (&other.state.loss, &other.pending);
        self.accumulator().merge(&other.state.seen, other_loss, pending)
    }

    /// The state to save: configuration and sums, with nothing left on a GPU.
    ///
    /// # Errors
    /// As [`Metric::compute`], but an empty state is no error.
    pub fn state(&mut self) -> Result<&MetricState<L>> {
        pollster::block_on(self.accumulator().fold())?;
        Ok(&self.state)
    }

    fn accumulator(&mut self) -> Accumulator<'_> {
        Accumulator { loss: &self.state.loss, seen: &mut self.state.seen, pending: &mut self.pending }
    }

    pub(crate) fn boxed(self) -> Metric<Box<dyn Loss>> {
        let state = MetricState { loss: self.state.loss.boxed(), seen: self.state.seen };
        Metric { state, pending: self.pending }
    }

    /// Adds the part of a checked batch that starts at sample `start`. [`Metric::end_update`] counts all parts as one
    /// update.
    fn update_part(&mut self, device: &Device, part: &Batch<'_>, whole: &Batch<'_>, start: usize) -> Result<()> {
        let number = self.updates();
        let result = self.update(device, part);
        self.state.seen.updates = number;
        let shape = self.check_batch(whole)?;
        // `start` counts rows. To an elementwise loss each score is a sample.
        let start = start * whole.columns.unwrap_or(1) / shape.columns;
        result.map_err(|error| shape.whole_index(error, start))
    }

    fn end_update(&mut self) {
        self.state.seen.updates += 1;
    }
}
