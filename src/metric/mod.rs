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
//! On the CPU every loss is added in f64, so the value does not depend on how the data is split into batches but for the
//! order of f64 additions (1e-12 relative to the sum of the losses' magnitudes). On a GPU an update appends its
//! workgroups' sums to the state, on the device and without waiting for it; they are folded in f64 when computed. Counts
//! are u64. Scores are raw and labels are read by a stated encoding, so no batch decides for itself what it means.
//!
//! # Errors
//! A failed update leaves the state as it was. Labels and weights that live on a GPU are found bad when the sums are
//! folded: [`Metric::compute`] then names the update and the index, until [`Metric::reset`].

mod collection;
mod state;

use std::sync::Arc;

pub use collection::MetricCollection;
pub use state::MetricState;

use crate::batch::{Batch, BatchShape};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::evaluation::{Buffers, Evaluation, Outputs, Precision, Reduction, Request, Totals};
use crate::gpu::Pending;
use crate::loss::Loss;
use crate::scores::Prepared;

/// Bytes that may wait on a GPU before an update folds them, which waits for the device.
const MOST_PENDING_BYTES: u64 = 16 << 20;

/// A loss accumulated over batches.
#[derive(Clone, Debug)]
pub struct Metric<L> {
    state: MetricState<L>,
    /// Sums that are still on a GPU, with the number of the update that they belong to.
    pending: Vec<(u64, Arc<Pending>)>,
}

/// What [`Metric::forward`] returns. Values are `None` where a mean is over no samples or no weight.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of this batch alone.
    pub batch: Evaluation,
    /// Of all batches so far, this one included.
    pub running: Evaluation,
}

impl<L: Loss + Clone + PartialEq + std::fmt::Debug> Metric<L> {
    /// The mean of this loss over everything seen; sample weights count as in [`Reduction::Mean`].
    pub fn new(loss: L) -> Self {
        Self { state: MetricState::new(loss), pending: Vec::new() }
    }

    /// The sum instead of the mean. [`Reduction::None`] is refused by the first update.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.state.reduction = reduction;
        self
    }

    /// One value a class, where the loss has such ([`crate::MulticlassHinge::one_vs_all`]).
    pub fn per_class(mut self) -> Self {
        self.state.per_class = true;
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

    /// Updates since the last reset, those of merged metrics included.
    pub fn updates(&self) -> u64 {
        self.state.updates
    }

    /// Checks that the inputs of a batch fit each other and the loss, without looking at their elements.
    ///
    /// # Errors
    /// [`Error::Update`] with what [`Loss::check_batch`] says.
    pub fn check_batch(&self, batch: &Batch<'_>) -> Result<BatchShape> {
        let shape = self.state.loss.check_batch(batch, &self.state.sum_request()?);
        shape.map_err(|error| in_update(self.state.updates, error))
    }

    /// Adds a batch. On a GPU it only submits work.
    ///
    /// # Errors
    /// [`Error::Update`] with what [`Device::evaluate`] says of the batch. The state is then unchanged.
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        pollster::block_on(self.update_async(device, batch))
    }

    /// As [`Metric::update`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::update`].
    pub async fn update_async(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        let Device::Gpu(gpu) = device else {
            let evaluation = self.evaluate(device, batch).await?;
            self.state.add(&evaluation, batch);
            return Ok(());
        };
        let number = self.state.updates;
        let request = self.state.sum_request()?;
        self.state.loss.check()?;
        let loss = &self.state.loss;
        let added = async {
            let prepared = Prepared::new(loss, batch)?;
            loss.accumulate_on_gpu(gpu, &prepared.batch(batch), &request).await
        };
        let added = added.await.map_err(|error| in_update(number, error))?;
        check_classes(self.classes(), added.first().map_or(0, Pending::classes))?;
        self.state.count(batch);
        self.state.precision = Precision::F32;
        self.pending.extend(added.into_iter().map(|pending| (number, Arc::new(pending))));
        if self.pending.iter().map(|(_, pending)| pending.bytes()).sum::<u64>() > MOST_PENDING_BYTES {
            // An error is kept for compute, which is where it is promised.
            let _ = self.fold().await;
        }
        Ok(())
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
    /// As [`Metric::update`], for the first batch that fails; those before it are in the state.
    pub fn update_all<'a>(&mut self, device: &Device, batches: impl IntoIterator<Item = Batch<'a>>) -> Result<()> {
        batches.into_iter().try_for_each(|batch| self.update(device, &batch))
    }

    /// Adds a batch, writes its losses and gradient to the caller's memory, and returns its sums. The gradient is that of the
    /// sum divided by `divisor`: by the weight of all batches together ([`Loss::weigh`]) it is the batch's part of the
    /// gradient of their mean.
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
        let mut request = self.state.sum_request()?;
        if buffers.gradient.is_some() {
            request = request.gradient_of_part(divisor);
        }
        let evaluation = device.evaluate_into(&self.state.loss, batch, &request, buffers);
        let evaluation = evaluation.map_err(|error| in_update(self.state.updates, error))?;
        check_classes(self.classes(), evaluation.per_class.as_ref().map_or(0, Vec::len))?;
        self.state.add(&evaluation, batch);
        Ok(evaluation)
    }

    /// Adds a batch and returns the batch's own value beside the running one. On a GPU it waits for both.
    ///
    /// # Errors
    /// As [`Metric::update`] and [`Metric::compute`], but a mean over nothing is a value of `None`.
    pub fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        pollster::block_on(self.forward_async(device, batch))
    }

    /// As [`Metric::forward`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::forward`].
    pub async fn forward_async(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        self.fold().await?;
        let evaluation = self.evaluate(device, batch).await?;
        let mut alone = self.state.clone();
        alone.reset();
        alone.add(&evaluation, batch);
        self.state.add(&evaluation, batch);
        Ok(Step { batch: alone.evaluation_or_none()?, running: self.state.evaluation_or_none()? })
    }

    /// The value over everything seen.
    ///
    /// # Errors
    /// [`Error::EmptyMean`] and [`Error::ZeroWeight`] for the mean of nothing, [`Error::Update`] for bad labels or
    /// weights that lived on a GPU, and the device's own failures.
    pub fn compute(&mut self) -> Result<Evaluation> {
        pollster::block_on(self.compute_async())
    }

    /// As [`Metric::compute`], without blocking.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub async fn compute_async(&mut self) -> Result<Evaluation> {
        self.fold().await?;
        self.state.evaluation()
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.state.reset();
    }

    /// Adds what another metric has seen.
    ///
    /// # Errors
    /// [`Error::Option`] where the other has another loss, other options, another reduction, or other classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let updates = self.state.updates;
        check_classes(self.classes(), other.classes())?;
        self.state.merge(&other.state)?;
        self.pending
            .extend(other.pending.iter().map(|(number, pending)| (updates.saturating_add(*number), pending.clone())));
        Ok(())
    }

    /// What is to be saved: configuration and sums, with nothing left on a GPU.
    ///
    /// # Errors
    /// As [`Metric::compute`], but empty states are fine.
    pub fn state(&mut self) -> Result<&MetricState<L>> {
        pollster::block_on(self.fold())?;
        Ok(&self.state)
    }

    /// The sums of one batch on any device.
    async fn evaluate(&self, device: &Device, batch: &Batch<'_>) -> Result<Evaluation> {
        let request = self.state.sum_request()?;
        let evaluation = device.evaluate_async(&self.state.loss, batch, &request).await;
        let evaluation = evaluation.map_err(|error| in_update(self.state.updates, error))?;
        check_classes(self.classes(), evaluation.per_class.as_ref().map_or(0, Vec::len))?;
        Ok(evaluation)
    }

    /// Columns of the per-class sums so far, wherever they are; 0 where there are none.
    fn classes(&self) -> usize {
        match (self.state.totals.per_class.len(), self.pending.first()) {
            (0, Some((_, pending))) => pending.classes(),
            (known, _) => known,
        }
    }

    /// Brings everything pending into the state, or changes nothing.
    async fn fold(&mut self) -> Result<()> {
        let mut totals = self.state.totals.clone();
        for (number, pending) in &self.pending {
            let part = pending.fold().await.map_err(|error| in_update(*number, error))?.totals;
            totals.merge(&part);
        }
        self.state.totals = totals;
        self.pending.clear();
        Ok(())
    }
}

fn in_update(update: u64, error: Error) -> Error {
    match error {
        // What is wrong with the options is no update's fault.
        Error::Option { .. } => error,
        source => Error::Update { update, source: Box::new(source) },
    }
}

/// Per-class sums of different lengths do not add up.
fn check_classes(known: usize, classes: usize) -> Result<()> {
    if known == 0 || classes == 0 || known == classes {
        return Ok(());
    }
    let expected = format!("{known}, as in the updates before");
    Err(Error::Option { option: "number of classes", expected, got: classes.to_string() })
}

/// An evaluation without outputs.
fn finish(
    totals: Totals,
    request: &Request,
    samples: u64,
    has_correct: bool,
    precision: Precision,
) -> Result<Evaluation> {
    let outputs = Outputs { losses: None, gradient: None, precision, upload_time: Default::default() };
    totals.finish(request, samples as usize, has_correct, outputs)
}
