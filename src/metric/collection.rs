//! Several metrics over the same data, updated in one pass.

use super::Metric;
#[cfg(feature = "gpu")]
use super::accumulator::in_update;
use crate::data::batch::{Batch, ScoreKind};
use crate::data::evaluation::Evaluation;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::loss::Loss;

/// Scores per block on the CPU. All metrics visit a block before the next one, so memory is read once.
const BLOCK_SCORES: usize = 128 << 10;

/// Named metrics that see the same batches.
///
/// On the CPU the data is walked in blocks that stay in the cache for all metrics. On a GPU, host scores and weights
/// are uploaded once for all metrics. If any metric refuses an update, none changes.
///
/// ```
/// use maxmargin::{Batch, BinaryHinge, Device, Penalty, metric::{Metric, MetricCollection}};
/// let mut metrics = MetricCollection::new();
/// metrics.add("hinge", Metric::new(BinaryHinge::new()))?;
/// metrics.add("squared", Metric::new(BinaryHinge::new().penalty(Penalty::Squared)))?;
/// metrics.update(&Device::cpu(), &Batch::new(&[0.5f32, 0.5], &[1i8, -1]))?;
/// let values: Vec<_> = metrics.compute()?.into_iter().map(|(name, e)| (name, e.value)).collect();
/// assert_eq!(values, [("hinge".to_owned(), Some(1.0)), ("squared".to_owned(), Some(1.25))]);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Default)]
pub struct MetricCollection {
    metrics: Vec<(String, Metric<Box<dyn Loss>>)>,
}

impl std::fmt::Debug for MetricCollection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.metrics.iter().map(|(name, _)| name)).finish()
    }
}

impl MetricCollection {
    /// No metrics yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric.
    ///
    /// # Errors
    /// [`Error::Option`] if the name is taken.
    pub fn add(&mut self, name: impl Into<String>, metric: Metric<impl Loss>) -> Result<()> {
        self.add_boxed(name.into(), metric.boxed())
    }

    fn add_boxed(&mut self, name: String, metric: Metric<Box<dyn Loss>>) -> Result<()> {
        if self.metrics.iter().any(|(taken, _)| *taken == name) {
            return Err(Error::Option { option: "metric name", expected: "a new one".into(), got: name });
        }
        self.metrics.push((name, metric));
        Ok(())
    }

    /// Adds a batch to every metric.
    ///
    /// # Errors
    /// As [`Metric::update`]; no metric then changes.
    pub fn update(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        let before: Vec<_> = self.metrics.iter().map(|(_, metric)| metric.clone()).collect();
        let result = match device {
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => self.update_on_gpu(gpu, device, batch),
            Device::Cpu => self.update_on_cpu(device, batch),
        };
        if result.is_err() {
            for ((_, metric), before) in self.metrics.iter_mut().zip(before) {
                *metric = before;
            }
        }
        result
    }

    fn update_on_cpu(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        for (_, metric) in &self.metrics {
            metric.check_batch(batch)?;
        }
        // The guess must see the whole update, as a single metric does, not one block.
        if batch.score_kind == ScoreKind::Guessed {
            return self.update_whole(device, batch);
        }
        let samples = batch.samples();
        let block = (BLOCK_SCORES * samples / batch.len().max(1)).max(1);
        let mut blocks: Vec<_> = (0..samples).step_by(block).map(|start| start..(start + block).min(samples)).collect();
        if blocks.is_empty() {
            // An empty batch is also checked and counted as an update.
            blocks.push(0..0);
        }
        for range in blocks {
            let start = range.start;
            // Tensors on a GPU cannot be sliced; the metrics then report the wrong device.
            let Some(part) = batch.slice(range) else { return self.update_whole(device, batch) };
            for (_, metric) in &mut self.metrics {
                metric.update_part(device, &part, batch, start)?;
            }
        }
        self.metrics.iter_mut().for_each(|(_, metric)| metric.end_update());
        Ok(())
    }

    #[cfg(feature = "gpu")]
    fn update_on_gpu(&mut self, gpu: &crate::gpu::Gpu, device: &Device, batch: &Batch<'_>) -> Result<()> {
        use crate::data::tensor::Floats;
        use crate::data::weights;
        use crate::error::Input;
        // A batch too large for one buffer goes chunk by chunk, once per metric.
        let fits = 4 * batch.len() as u64 <= gpu.description().limits.max_buffer_size;
        // Scores that are not raw are prepared on the host.
        if !fits || batch.second_scores.is_some() || batch.score_kind != ScoreKind::Raw {
            return self.update_whole(device, batch);
        }
        let scores = match batch.scores {
            Floats::Device(_) => None,
            host => Some(gpu.upload_floats(host)?),
        };
        let resident_weights = match batch.sample_weights {
            Some(Floats::F32(of_samples)) => {
                let bad = |error| in_update(self.updates(), error);
                weights::check(of_samples, Input::SampleWeights).map_err(bad)?;
                Some(gpu.upload_f32(of_samples)?)
            }
            _ => None,
        };
        let mut resident = *batch;
        if let Some(scores) = &scores {
            resident.scores = Floats::Device(scores);
        }
        if let Some(weights) = &resident_weights {
            resident.sample_weights = Some(Floats::Device(weights));
        }
        self.update_whole(device, &resident)
    }

    #[cfg(feature = "gpu")]
    /// The number of the next update, taken from the first metric if they differ.
    fn updates(&self) -> u64 {
        self.metrics.first().map_or(0, |(_, metric)| metric.updates())
    }

    fn update_whole(&mut self, device: &Device, batch: &Batch<'_>) -> Result<()> {
        for (_, metric) in &mut self.metrics {
            metric.update(device, batch)?;
        }
        Ok(())
    }

    /// Each metric's name and value over everything seen, in the order in which they were added.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    pub fn compute(&mut self) -> Result<Vec<(String, Evaluation)>> {
        self.metrics.iter_mut().map(|(name, metric)| Ok((name.clone(), metric.compute()?))).collect()
    }

    /// Forgets everything seen.
    pub fn reset(&mut self) {
        self.metrics.iter_mut().for_each(|(_, metric)| metric.reset());
    }
}
