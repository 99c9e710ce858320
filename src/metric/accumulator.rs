//! The work of a metric, compiled once for all losses.

use std::sync::Arc;

use super::Step;
use super::state::SeenSamples;
use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Precision, Totals};
use crate::device::Device;
use crate::engine::{self, Pending};
use crate::error::{Error, Result};
use crate::loss::Loss;

/// Bytes of sums that may wait on a GPU. Beyond it, an update folds them, which waits for the device.
const MOST_PENDING_BYTES: u64 = 16 << 20;

/// A metric without its loss type.
pub(super) struct Accumulator<'a> {
    pub(super) loss: &'a dyn Loss,
    pub(super) seen: &'a mut SeenSamples,
    pub(super) pending: &'a mut Vec<(u64, Arc<Pending>)>,
}

impl Accumulator<'_> {
    pub(super) async fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        let number = self.seen.updates;
        let request = self.seen.sum_request()?;
        let added = engine::accumulate(device.backend(), self.loss, batch, request.request()).await;
        let Some(added) = added.map_err(|error| in_update(number, error))? else {
            let (sums, precision) = self.sums(device, batch).await?;
            self.seen.add(self.loss, &sums, precision, batch);
            return Ok(());
        };
        check_classes(self.classes(), added.first().map_or(0, Pending::classes))?;
        self.seen.count(self.loss, batch);
        self.seen.precision = Precision::F32;
        self.pending.extend(added.into_iter().map(|pending| (number, Arc::new(pending))));
        if self.pending.iter().map(|(_, pending)| pending.bytes()).sum::<u64>() > MOST_PENDING_BYTES {
            // Drop the error: the sums stay pending, and compute promises to report it.
            let _ = self.fold().await;
        }
        Ok(())
    }

    pub(super) fn update_into(
        &mut self,
        device: &Device,
        batch: &Batch<'_>,
        divisor: f64,
        buffers: Buffers<'_>,
    ) -> Result<Evaluation> {
        let mut request = self.seen.sum_request()?;
        if buffers.gradient.is_some() {
            request = request.gradient_of_part(divisor);
        }
        let evaluation = device.evaluate_into(self.loss, batch, request.request(), buffers);
        let evaluation = evaluation.map_err(|error| in_update(self.seen.updates, error))?;
        check_classes(self.classes(), evaluation.per_class.as_ref().map_or(0, Vec::len))?;
        self.seen.add(self.loss, &request.totals(&evaluation), evaluation.precision, batch);
        Ok(evaluation)
    }

    pub(super) async fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step> {
        self.fold().await?;
        let (sums, precision) = self.sums(device, batch).await?;
        let mut alone = self.seen.clone();
        alone.reset();
        alone.add(self.loss, &sums, precision, batch);
        self.seen.add(self.loss, &sums, precision, batch);
        Ok(Step { batch: alone.evaluation_or_none(self.loss)?, running: self.seen.evaluation_or_none(self.loss)? })
    }

    pub(super) async fn compute(&mut self) -> Result<Evaluation> {
        self.fold().await?;
        self.seen.evaluation(self.loss)
    }

    pub(super) fn merge(
        &mut self,
        other: &SeenSamples,
        loss: &dyn Loss,
        pending: &[(u64, Arc<Pending>)],
    ) -> Result<()> {
        let updates = self.seen.updates;
        check_classes(self.classes(), classes(other, pending))?;
        self.seen.merge(self.loss, other, loss)?;
        self.pending.extend(pending.iter().map(|(number, pending)| (updates.saturating_add(*number), pending.clone())));
        Ok(())
    }

    /// The sums of one batch on any device, and the precision of the computation.
    async fn sums(&self, device: &Device, batch: &Batch<'_>) -> Result<(Totals, Precision)> {
        let request = self.seen.sum_request()?;
        let evaluation = device.evaluate_async(self.loss, batch, request.request()).await;
        let evaluation = evaluation.map_err(|error| in_update(self.seen.updates, error))?;
        let sums = request.totals(&evaluation);
        check_classes(self.classes(), sums.per_class.len())?;
        Ok((sums, evaluation.precision))
    }

    fn classes(&self) -> usize {
        classes(self.seen, self.pending)
    }

    /// Adds all pending sums to the state, or changes nothing.
    pub(super) async fn fold(&mut self) -> Result<()> {
        let mut totals = self.seen.totals.clone();
        for (number, pending) in &*self.pending {
            let part = pending.totals().await.map_err(|error| in_update(*number, error))?;
            totals.add(&part);
        }
        self.seen.totals = totals;
        self.pending.clear();
        Ok(())
    }
}

/// Number of per-class sums so far, in the state or pending; 0 if there are none.
fn classes(seen: &SeenSamples, pending: &[(u64, Arc<Pending>)]) -> usize {
    match (seen.totals.per_class.len(), pending.first()) {
        (0, Some((_, pending))) => pending.classes(),
        (known, _) => known,
    }
}

pub(super) fn in_update(update: u64, error: Error) -> Error {
    match error {
        // A bad option concerns the metric, not one update.
        Error::Option { .. } => error,
        source => Error::Update { update, source: Box::new(source) },
    }
}

fn check_classes(known: usize, classes: usize) -> Result<()> {
    if known == 0 || classes == 0 || known == classes {
        return Ok(());
    }
    let expected = format!("{known}, as in the updates before");
    Err(Error::Option { option: "classes", expected, got: classes.to_string() })
}
