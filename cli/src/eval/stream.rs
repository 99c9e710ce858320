//! Block after block through a device: while one is evaluated the next one is read, and memory stays the same however
//! large the files are.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use maxmargin::{Buffers, Device, Evaluation, Reduction};

use super::inputs::{Block, Files, Inputs};
use super::outputs::Outputs;
use crate::failure::Outcome;
use crate::file::bar;
use crate::settings::Settings;
use crate::task::{ErasedLoss, ErasedMetric};

/// Bytes of a block: few enough to be evaluated out of the cache that they were just read into.
const CPU_BLOCK: u64 = 4 << 20;

/// On a GPU a block is one submission, which should be worth its while.
const GPU_BLOCK: u64 = 64 << 20;

/// Blocks in flight: one that is read, one that waits and one that is evaluated.
const IN_FLIGHT: usize = 3;

/// What came of all blocks.
pub(super) struct Streamed {
    pub(super) evaluation: Evaluation,
    /// Each batch's values where batches were asked for: one, or one a class; none for the mean of nothing.
    pub(super) batches: Option<Vec<Vec<f64>>>,
    /// Spent on waiting for files.
    pub(super) read_seconds: f64,
    pub(super) compute_seconds: f64,
}

/// The samples of a block.
pub(super) fn block_samples(inputs: &Inputs<'_>, files: &Files, device: &Device) -> usize {
    let samples = inputs.shape.samples.max(1);
    if inputs.is_whole() {
        return samples;
    }
    let bytes = if matches!(device, Device::Cpu) { CPU_BLOCK } else { GPU_BLOCK };
    let of_sample = (files.bytes() / samples as u64).max(1);
    usize::try_from(bytes / of_sample).unwrap_or(usize::MAX).clamp(1, samples)
}

/// Evaluates all blocks; losses and gradient go to their files as they come.
pub(super) fn run(
    inputs: &Inputs<'_>,
    mut files: Files,
    loss: &dyn ErasedLoss,
    device: &Device,
    settings: &Settings,
    outputs: &mut Outputs,
) -> Outcome<Streamed> {
    let started = Instant::now();
    let total = inputs.shape.samples;
    let divisor = divisor(inputs, &mut files, loss, settings, device)?;
    let batch_size = inputs.family.common().batch_size.map(usize::from);
    let block = block_samples(inputs, &files, device);
    // Whole batches.
    let block = batch_size.map_or(block, |size| (block / size).max(1).saturating_mul(size));
    // Losses have no reduction of their own, but their sums can be added all the same.
    let sums_only = settings.reduction == Reduction::None;
    let reduction = if sums_only { Reduction::Sum } else { settings.reduction };
    let mut evaluator = Evaluator {
        inputs,
        device,
        metric: loss.metric(reduction, settings.per_class),
        divisor,
        batch_size,
        batches: Vec::new(),
        upload: Duration::ZERO,
        compute: Duration::ZERO,
    };
    let bytes = files.bytes();
    let bar = bar(bytes, "evaluating");
    let (to_reader, from_main) = channel();
    let (to_main, from_reader) = channel();
    for _ in 0..IN_FLIGHT {
        // The receiver is still here.
        let _ = to_reader.send(files.empty());
    }
    let mut waited = started.elapsed();
    thread::scope(|scope| {
        // Dropped at the end of this closure, so that the reader ends when the evaluation fails.
        let (to_reader, from_reader): (Sender<Block>, Receiver<Outcome<Block>>) = (to_reader, from_reader);
        let shape = inputs.shape;
        scope.spawn(move || {
            // Nothing at all is a block too: its shape is checked.
            for start in (0..total.max(1)).step_by(block) {
                let Ok(mut next) = from_main.recv() else { return };
                let end = start.saturating_add(block).min(total);
                let read = files.read(start..end, &shape, &mut next).map(|()| next);
                let failed = read.is_err();
                if to_main.send(read).is_err() || failed {
                    return;
                }
            }
        });
        loop {
            let waiting = Instant::now();
            let Ok(block) = from_reader.recv() else { return Ok(()) };
            waited += waiting.elapsed();
            let block = block?;
            evaluator.add(&block, outputs)?;
            bar.set_position((bytes as u128 * block.samples.end as u128 / total.max(1) as u128) as u64);
            // The reader may be through.
            let _ = to_reader.send(block);
        }
    })?;
    bar.finish_and_clear();
    let mut evaluation = evaluator.metric.compute().map_err(|error| inputs.explain_part(error, 0))?;
    evaluation.upload_time = evaluator.upload;
    if sums_only {
        evaluation.value = None;
    }
    Ok(Streamed {
        evaluation,
        batches: batch_size.map(|_| evaluator.batches),
        read_seconds: waited.as_secs_f64(),
        compute_seconds: evaluator.compute.saturating_sub(evaluator.upload).as_secs_f64(),
    })
}

struct Evaluator<'a> {
    inputs: &'a Inputs<'a>,
    device: &'a Device,
    metric: Box<dyn ErasedMetric>,
    divisor: f64,
    batch_size: Option<usize>,
    batches: Vec<Vec<f64>>,
    upload: Duration,
    compute: Duration,
}

impl Evaluator<'_> {
    fn add(&mut self, block: &Block, outputs: &mut Outputs) -> Outcome<()> {
        let start = block.samples.start;
        let batch = self.inputs.batch(block)?;
        let computing = Instant::now();
        let explain = |error| self.inputs.explain_part(error, start);
        let Some(size) = self.batch_size else {
            let (losses, gradient) = outputs.buffers(self.inputs, block.samples.len());
            let mut buffers = Buffers::new();
            if let Some(losses) = losses {
                buffers = buffers.losses(losses);
            }
            if let Some(gradient) = gradient {
                buffers = buffers.gradient(gradient);
            }
            let sums = self.metric.update_into(self.device, &batch, self.divisor, buffers).map_err(explain)?;
            self.upload += sums.upload_time;
            self.compute += computing.elapsed();
            return outputs.write(self.inputs, block.samples.clone());
        };
        let samples = self.metric.check_batch(&batch).map_err(explain)?.samples;
        for first in (0..samples).step_by(size) {
            let last = first.saturating_add(size).min(samples);
            // A batch that was checked and came from files has slices.
            let part = batch.slice(first..last).unwrap_or(batch);
            let step = self.metric.forward(self.device, &part);
            let step = step.map_err(|error| self.inputs.explain_part(error, start + first))?;
            self.batches.push(step.batch.per_class.unwrap_or_else(|| step.batch.value.into_iter().collect()));
        }
        self.compute += computing.elapsed();
        Ok(())
    }
}

/// What the gradient of the sum is divided by; weights and ignored samples are looked through beforehand.
fn divisor(
    inputs: &Inputs<'_>,
    files: &mut Files,
    loss: &dyn ErasedLoss,
    settings: &Settings,
    device: &Device,
) -> Outcome<f64> {
    let is_mean = matches!(settings.reduction, Reduction::Mean | Reduction::MeanOverCount);
    if inputs.family.common().grad_out.is_none() || !is_mean {
        return Ok(1.0);
    }
    let samples = inputs.shape.samples;
    let (mut count, mut weight) = (samples as u64, samples as f64);
    if inputs.has_weights || loss.may_ignore() {
        (count, weight) = (0, 0.0);
        let step = block_samples(inputs, files, device);
        let mut block = files.empty();
        for start in (0..samples).step_by(step) {
            files.read_labels(start..start.saturating_add(step).min(samples), &inputs.shape, &mut block)?;
            let part = loss.weigh(&inputs.labels(&block)?).map_err(|error| inputs.explain_part(error, start))?;
            count += part.0;
            weight += part.1;
        }
    }
    let divisor = if settings.reduction == Reduction::Mean { weight } else { count as f64 };
    // A mean of nothing is refused where the sums are put together.
    Ok(if divisor > 0.0 { divisor } else { 1.0 })
}

/// The block of targets that tells an encoding from another one: the first with a label other than 1, or else the last.
pub(super) fn deciding_block(inputs: &Inputs<'_>, files: &mut Files, device: &Device) -> Outcome<Block> {
    let samples = inputs.shape.samples;
    let step = block_samples(inputs, files, device);
    let mut block = files.empty();
    for start in (0..samples).step_by(step) {
        files.read_labels(start..start.saturating_add(step).min(samples), &inputs.shape, &mut block)?;
        if !block.has_only_ones() {
            break;
        }
    }
    Ok(block)
}
