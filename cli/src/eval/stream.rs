//! Evaluates files block by block, in the same memory however large the files are.
//!
//! Threads take turns. Each reads the next block and then evaluates it, so that the block is still in the cache of its
//! core. Files that can only be read in one go (text, tables) are read by one thread at a time. Results are merged in
//! block order, so every run gives the same bits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use maxmargin::loss::Loss;
use maxmargin::metric::{Metric, MetricState};
use maxmargin::{Buffers, Device, Error, Evaluation, Reduction, weigh};

use super::inputs::{Block, Files, Inputs};
use super::outputs::{Outputs, Room};
use super::part::Part;
use super::settings::Settings;
use crate::failure::{Failure, Outcome};
use crate::progress;
use crate::report::MOST_BATCHES;

/// Bytes per block: small enough to be evaluated out of the cache after reading, large enough that handing over the
/// results takes no noticeable time. This was the fastest size from 256 KiB to 8 MiB.
///
/// One thread alone reads and evaluates a block. With one reading thread and all others evaluating, files in the page
/// cache went 0.63 times as fast as a plain read; in turns they go 1.0 times as fast. Blocks are read and not mapped,
/// so that a file truncated meanwhile gives an error and not a signal.
const CPU_BLOCK: u64 = 4 << 20;

/// On a GPU a block is one submission, so it must be large enough to outweigh the fixed cost.
const GPU_BLOCK: u64 = 64 << 20;

/// In an evaluation of this length, the start of threads makes no visible difference.
const SOON: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(crate) struct Batches {
    pub(crate) count: usize,
    /// The values of each batch, one or one per class; empty for the mean of nothing. Only those that are reported.
    pub(crate) values: Vec<Vec<f64>>,
}

pub(super) struct Streamed {
    pub(super) evaluation: Evaluation,
    /// The sums of the evaluation.
    pub(super) state: MetricState<Box<dyn Loss>>,
    /// Where batches were asked for.
    pub(super) batches: Option<Batches>,
    /// Mean time per thread spent waiting for files.
    pub(super) read_seconds: f64,
    /// Mean time per thread spent on transfers to a device.
    pub(super) upload_seconds: f64,
    /// Mean time per thread spent evaluating.
    pub(super) compute_seconds: f64,
}

fn block_samples(inputs: &Inputs<'_>, files: &Files, device: &Device) -> usize {
    let samples = inputs.shape.samples.max(1);
    if inputs.is_whole() {
        return samples;
    }
    let bytes = if matches!(device, Device::Cpu) { CPU_BLOCK } else { GPU_BLOCK };
    let of_sample = (files.bytes() / samples as u64).max(1);
    let block = usize::try_from(bytes / of_sample).unwrap_or(usize::MAX).clamp(1, samples);
    // A block holds whole batches.
    inputs.batch_size().map_or(block, |size| (block / size).max(1).saturating_mul(size))
}

/// The blocks that are evaluated: all, or those of a part.
#[derive(Clone)]
pub(super) struct Cut {
    /// Samples per block.
    pub(super) block: usize,
    blocks: Range<usize>,
    pub(super) samples: Range<usize>,
}

impl Cut {
    pub(super) fn of(inputs: &Inputs<'_>, files: &Files, device: &Device) -> Self {
        let (total, block) = (inputs.shape.samples, block_samples(inputs, files, device));
        // No samples still make one block, so that its shape is checked.
        let blocks = inputs.given.common.part.unwrap_or(Part::WHOLE).blocks(total.max(1).div_ceil(block));
        let [start, end] = [blocks.start, blocks.end].map(|blocks| blocks.saturating_mul(block).min(total));
        Self { block, blocks, samples: start..end }
    }
}

/// The most bytes of all threads' blocks together; two blocks are always allowed.
const IN_FLIGHT: u64 = 128 << 20;

/// Threads that take turns. Two overlap even on one core, if a file comes from a disk or the device is a GPU.
fn turns(device: &Device, blocks: usize, block_bytes: u64) -> usize {
    let cores = if matches!(device, Device::Cpu) { rayon::current_num_threads() } else { 2 };
    let room = usize::try_from(IN_FLIGHT / block_bytes.max(1)).unwrap_or(usize::MAX);
    cores.min(room).max(2).min(blocks.max(1))
}

pub(super) fn metric(loss: &dyn Loss, settings: &Settings) -> Metric<Box<dyn Loss>> {
    // Losses without a reduction can still be summed.
    let sums_only = settings.reduction == Reduction::None;
    let reduction = if sums_only { Reduction::Sum } else { settings.reduction };
    let metric = Metric::new(loss.boxed()).reduction(reduction);
    if settings.per_class { metric.per_class() } else { metric }
}

/// Bytes of the files that a device evaluates per second, with transfers both ways but without reading. The first block
/// is evaluated twice, since at first threads and kernels are not ready; on the CPU only if that was short.
pub(super) fn bytes_per_second(
    inputs: &Inputs<'_>,
    files: &mut Files,
    loss: &dyn Loss,
    device: &Device,
    settings: &Settings,
    outputs: &Outputs,
) -> Outcome<f64> {
    let samples = block_samples(inputs, files, device).min(inputs.shape.samples);
    let mut block = files.empty();
    files.read(0..samples, &inputs.shape, &mut block)?;
    let metric = || metric(loss, settings);
    let batch_size = inputs.batch_size();
    let work = Work { inputs, device, metric: &metric, divisor: 1.0, batch_size, block: samples, end: 1, threads: 1 };
    let mut done = work.evaluate(&block, outputs.room(), Duration::ZERO)?;
    if !matches!(device, Device::Cpu) || done.spent.compute < SOON {
        done = work.evaluate(&block, done.room, Duration::ZERO)?;
    }
    let share = samples as f64 / inputs.shape.samples as f64;
    Ok(files.bytes() as f64 * share / done.spent.compute.as_secs_f64())
}

/// Evaluates all blocks, and writes their losses and gradient as they are ready.
pub(super) fn run(
    inputs: &Inputs<'_>,
    mut files: Files,
    loss: &dyn Loss,
    device: &Device,
    settings: &Settings,
    cut: Cut,
    outputs: &mut Outputs,
) -> Outcome<Streamed> {
    let started = Instant::now();
    let total = inputs.shape.samples;
    let divisor = divisor(inputs, &mut files, loss, settings)?;
    let batch_size = inputs.batch_size();
    let Cut { block, blocks, samples } = cut;
    let common = inputs.given.common;
    let sums_only = settings.reduction == Reduction::None;
    let metric = || metric(loss, settings);
    let (mut running, mut batches) = (metric(), Batches::default());
    let most_kept = if common.place.json || common.plot_out.is_some() { usize::MAX } else { MOST_BATCHES };
    let bytes_of = |samples: usize, of: u64| (u128::from(of) * samples as u128 / total.max(1) as u128) as u64;
    let bytes_of_all = files.bytes();
    let bar = progress::bytes(bytes_of(samples.len(), bytes_of_all), &format!("evaluating on {}", device.name()));
    let threads = turns(device, blocks.len(), bytes_of(block, bytes_of_all));
    let work = Work { inputs, device, metric: &metric, divisor, batch_size, block, end: blocks.end, threads };
    let turn = Mutex::new(Turn { files, next: blocks.start });
    let mut spent = Spent { read: started.elapsed() * threads as u32, ..Spent::default() };
    let (to_workers, rooms) = channel();
    // One room for each thread, and one that waits to be written.
    for _ in 0..=threads {
        // This cannot fail: the receiver still exists.
        let _ = to_workers.send(outputs.room());
    }
    let rooms = Mutex::new(rooms);
    let mut finish = |done: Done| -> Outcome<Room> {
        running.merge(&done.metric).map_err(|error| inputs.explain_part(error, done.samples.start))?;
        batches.count += done.batches.len();
        let kept = most_kept.saturating_sub(batches.values.len()).min(done.batches.len());
        let no_memory = |_| Failure::data("the values of all batches do not fit in memory");
        batches.values.try_reserve(kept).map_err(no_memory)?;
        batches.values.extend(done.batches.into_iter().take(kept));
        spent.add(&done.spent);
        outputs.write(inputs, done.samples.clone(), &done.room)?;
        bar.set_position(bytes_of(done.samples.end - samples.start, bytes_of_all));
        Ok(done.room)
    };
    thread::scope(|scope| {
        // The end of this closure drops both channel ends, so that the threads end when an evaluation fails.
        let to_workers = to_workers;
        let (to_main, from_workers) = channel();
        let started = (0..threads).filter(|_| {
            let (to_main, work, turn, rooms) = (to_main.clone(), &work, &turn, &rooms);
            thread::Builder::new().spawn_scoped(scope, move || work.take_turns(turn, rooms, &to_main)).is_ok()
        });
        let started = started.count();
        drop(to_main);
        let mut early = BTreeMap::new();
        for index in blocks {
            if started == 0 {
                // The system gives no thread: this one evaluates.
                let room = lock(&rooms).recv().map_err(|_| Failure::data("no memory for results"))?;
                let room = finish(work.take_turn(&mut lock(&turn).files, index, room)?)?;
                let _ = to_workers.send(room);
                continue;
            }
            let done = loop {
                if let Some(done) = early.remove(&index) {
                    break done;
                }
                // A thread sends a result for every block that it takes.
                let ended = |_| Failure::data("a thread of the evaluation ended early");
                let (index, done) = from_workers.recv().map_err(ended)?;
                early.insert(index, done);
            };
            let done: Done = done?;
            let room = finish(done)?;
            // This fails once all threads have ended, which is no error.
            let _ = to_workers.send(room);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    let explain = |error| inputs.explain_part(error, 0);
    let mut evaluation = match running.compute() {
        // The other parts may have samples.
        Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. }) if common.state_out.is_some() => {
            let mut sums = running.clone().reduction(Reduction::Sum).compute().map_err(explain)?;
            (sums.value, sums.per_class) = (None, None);
            sums
        }
        evaluation => evaluation.map_err(explain)?,
    };
    if sums_only {
        evaluation.value = None;
    }
    let a_thread = |time: Duration| time.as_secs_f64() / threads as f64;
    Ok(Streamed {
        evaluation,
        state: running.state().map_err(explain)?.clone(),
        batches: batch_size.map(|_| batches),
        read_seconds: a_thread(spent.read),
        upload_seconds: a_thread(spent.upload),
        compute_seconds: a_thread(spent.compute.saturating_sub(spent.upload)),
    })
}

/// The files, and the next block to read.
struct Turn {
    files: Files,
    next: usize,
}

#[derive(Default)]
struct Spent {
    read: Duration,
    upload: Duration,
    compute: Duration,
}

impl Spent {
    fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.upload += other.upload;
        self.compute += other.compute;
    }
}

/// The result of a block.
struct Done {
    samples: Range<usize>,
    metric: Metric<Box<dyn Loss>>,
    batches: Vec<Vec<f64>>,
    room: Room,
    spent: Spent,
}

/// A block that a thread took. Even a panic of the thread sends a failure, since the main thread waits for it.
struct Taken<'a> {
    index: usize,
    to_main: Option<&'a Sender<(usize, Outcome<Done>)>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(to_main) = self.to_main {
            let _ = to_main.send((self.index, Err(Failure::data("a thread of the evaluation panicked"))));
        }
    }
}

/// The values that all threads share.
struct Work<'a> {
    inputs: &'a Inputs<'a>,
    device: &'a Device,
    metric: &'a (dyn Fn() -> Metric<Box<dyn Loss>> + Sync),
    divisor: f64,
    batch_size: Option<usize>,
    block: usize,
    /// Behind the last block.
    end: usize,
    threads: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work<'_> {
    /// The samples of a block.
    fn samples(&self, index: usize) -> Range<usize> {
        let start = index * self.block;
        start..start.saturating_add(self.block).min(self.inputs.shape.samples)
    }

    /// Reads and evaluates one block.
    fn take_turn(&self, files: &mut Files, index: usize, room: Room) -> Outcome<Done> {
        let (reading, mut block) = (Instant::now(), files.empty());
        files.read(self.samples(index), &self.inputs.shape, &mut block)?;
        self.evaluate(&block, room, reading.elapsed())
    }

    /// Reads and evaluates blocks until none are left, one fails, or the main thread has stopped listening.
    fn take_turns(&self, turn: &Mutex<Turn>, rooms: &Mutex<Receiver<Room>>, to_main: &Sender<(usize, Outcome<Done>)>) {
        // If the threads keep all cores busy, an evaluation that wants more threads gets only this one. Without such a
        // pool it is only slower.
        let alone = || rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        let _alone = (self.threads > 1 && self.threads >= rayon::current_num_threads()).then(alone);
        let (mut own, mut block) = {
            let files = &lock(turn).files;
            (files.another(), files.empty())
        };
        loop {
            let Ok(room) = lock(rooms).recv() else { return };
            let reading = Instant::now();
            let mut turn = lock(turn);
            let index = turn.next;
            if index >= self.end {
                return;
            }
            turn.next += 1;
            let mut taken = Taken { index, to_main: Some(to_main) };
            let samples = self.samples(index);
            let read = match &mut own {
                Some(files) => {
                    drop(turn);
                    files.read(samples, &self.inputs.shape, &mut block)
                }
                None => {
                    let read = turn.files.read(samples, &self.inputs.shape, &mut block);
                    drop(turn);
                    read
                }
            };
            let read_time = reading.elapsed();
            let done = read.and_then(|()| self.evaluate(&block, room, read_time));
            let failed = done.is_err();
            taken.to_main = None;
            if to_main.send((index, done)).is_err() || failed {
                return;
            }
        }
    }

    fn evaluate(&self, block: &Block, mut room: Room, read: Duration) -> Outcome<Done> {
        let (inputs, samples) = (self.inputs, block.samples.clone());
        let batch = inputs.batch(block)?;
        let computing = Instant::now();
        let explain = |error| inputs.explain_part(error, samples.start);
        let (mut metric, mut batches, mut upload) = ((self.metric)(), Vec::new(), Duration::ZERO);
        if let Some(size) = self.batch_size {
            let found = metric.check_batch(&batch).map_err(explain)?.samples;
            for first in (0..found).step_by(size) {
                let last = first.saturating_add(size).min(found);
                // A checked batch from files can always be sliced.
                let part = batch.slice(first..last).unwrap_or(batch);
                let step = metric.forward(self.device, &part);
                let step = step.map_err(|error| inputs.explain_part(error, samples.start + first))?;
                batches.push(step.batch.per_class.unwrap_or_else(|| step.batch.value.into_iter().collect()));
            }
        } else {
            let (losses, gradient) = room.buffers(inputs, samples.len())?;
            let mut buffers = Buffers::new();
            if let Some(losses) = losses {
                buffers = buffers.losses(losses);
            }
            if let Some(gradient) = gradient {
                buffers = buffers.gradient(gradient);
            }
            upload = metric.update_into(self.device, &batch, self.divisor, buffers).map_err(explain)?.upload_time;
        }
        let spent = Spent { read, upload, compute: computing.elapsed() };
        Ok(Done { samples, metric, batches, room, spent })
    }
}

/// The divisor of the sum's gradient. It needs a first pass over weights and ignored samples.
fn divisor(inputs: &Inputs<'_>, files: &mut Files, loss: &dyn Loss, settings: &Settings) -> Outcome<f64> {
    let is_mean = matches!(settings.reduction, Reduction::Mean | Reduction::MeanOverCount);
    if inputs.given.common.grad_out.is_none() || !is_mean {
        return Ok(1.0);
    }
    let samples = inputs.shape.samples;
    let (mut count, mut weight) = (samples as u64, samples as f64);
    if inputs.has_weights || inputs.given.ignores_samples() {
        (count, weight) = (0, 0.0);
        let step = block_samples(inputs, files, &Device::Cpu);
        let mut block = files.empty();
        for start in (0..samples).step_by(step) {
            files.read_labels(start..start.saturating_add(step).min(samples), &inputs.shape, &mut block)?;
            let part = weigh(loss, &inputs.labels(&block)?).map_err(|error| inputs.explain_part(error, start))?;
            count += part.0;
            weight += part.1;
        }
    }
    let divisor = if settings.reduction == Reduction::Mean { weight } else { count as f64 };
    let single = divisor as f32;
    if let Some(path) = &inputs.given.common.sample_weights
        && !inputs.is_double
        && divisor > 0.0
        && !(single.is_finite() && (1.0 / single).is_finite())
    {
        return Err(Failure::file(path, format!("the weights' sum is {divisor}, which f32 cannot divide by")));
    }
    // The mean of nothing is refused later, where the sums are merged.
    Ok(if divisor > 0.0 { divisor } else { 1.0 })
}

/// The block of targets that tells the label encoding: the first with a label other than 1, otherwise the last.
pub(super) fn deciding_block(inputs: &Inputs<'_>, files: &mut Files) -> Outcome<Block> {
    let samples = inputs.shape.samples;
    let step = block_samples(inputs, files, &Device::Cpu);
    let mut block = files.empty();
    for start in (0..samples).step_by(step) {
        files.read_labels(start..start.saturating_add(step).min(samples), &inputs.shape, &mut block)?;
        // Rows of width 0 have no labels, however many rows there are.
        if !block.has_only_ones(inputs.given.ignore_index) || inputs.shape.target_width == 0 {
            break;
        }
    }
    Ok(block)
}
