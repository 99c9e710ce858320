//! Training on a GPU. Data, weights, the optimizer's memory and all sums stay there; one read per epoch gets the sums.
//!
//! | file | contents |
//! |---|---|
//! | `kernel.rs` | the kernels of shaders/network, and their parameters |
//! | `plan.rs` | the commands of a pass over a data set |
//! | `probe.rs` | how fast the device multiplies |
//! | `whole.rs` | whole steps of small networks in one workgroup |

mod kernel;
mod plan;
mod probe;
mod whole;

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use kernel::{NetworkKernel, Role};
use plan::{DeviceData, EpochPlan, WalkSetup, Weights};
pub use probe::ProductProbe;
use whole::Whole;

use crate::data::device_tensor::DeviceTensor;
use crate::data::shape::BatchShape;
use crate::error::{Error, Result};
use crate::gpu::device::command::Command;
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::losses::launch;
use crate::nn::{
    Accuracy, Dataset, Engine, EngineParts, EpochPart, EpochSums, Evaluated, Features, Memory, MemorySlot, Optimizer,
    Progress, RowCounter,
};

/// Most multiplications per submission: half a second at 10^11 per second, well clear of drivers' watchdogs.
const SUBMITTED_COST: u64 = 50_000_000_000;

/// Time of a submission where a progress bar watches: much longer than the gap until the next one.
const WATCHED_TIME: Duration = Duration::from_millis(50);

/// Multiplications of the first submission that a progress bar watches.
const FIRST_WATCHED_COST: u64 = 100_000_000;

/// Most steps per submission.
const SUBMITTED_STEPS: usize = 4096;

/// How a pass over a data set is dispatched.
#[expect(clippy::large_enum_variant, reason = "there are two of them")]
enum Walk {
    /// One dispatch per kernel.
    EpochPlan(EpochPlan),
    /// All kernels of many steps in one dispatch.
    Whole(Whole),
}

impl Walk {
    async fn new(setup: WalkSetup<'_>) -> Result<Self> {
        Ok(match Whole::new(setup).await? {
            Some(whole) => Walk::Whole(whole),
            None => Walk::EpochPlan(EpochPlan::new(setup).await?),
        })
    }
}

pub(crate) struct GpuEngine<'a> {
    gpu: Gpu,
    progress: RowCounter<'a>,
    /// Multiplications per submission where a progress bar watches: about as many as the device does in
    /// [`WATCHED_TIME`].
    watched_cost: Cell<u64>,
    optimizer: Optimizer,
    parameters: usize,
    weights: Weights,
    /// Two saved copies of the weights and both of the optimizer's moments.
    remembered: [[PooledBuffer; 3]; 2],
    has_memory: [bool; 2],
    order: Option<DeviceTensor>,
    training: Option<Walk>,
    evaluated_training: Option<Walk>,
    validation: Option<Walk>,
    _data: Vec<DeviceData>,
}

impl<'a> GpuEngine<'a> {
    pub(crate) fn new(gpu: &Gpu, parts: EngineParts<'a>) -> Result<Self> {
        pollster::block_on(Self::new_async(gpu, &parts))
    }

    async fn new_async(gpu: &Gpu, parts: &EngineParts<'a>) -> Result<Self> {
        let weights = upload_weights(gpu, parts.memory).await?;
        let parameters = parts.memory.parameters.len();
        let bytes = 4 * parameters as u64;
        let mut remembered = Vec::new();
        for _ in 0..6 {
            remembered.push(gpu.allocate_output(bytes).await?);
        }
        let mut remembered = remembered.into_iter();
        let mut three = || Some([remembered.next()?, remembered.next()?, remembered.next()?]);
        let (Some(one), Some(two)) = (three(), three()) else {
            return Err(Error::OutOfMemory { device: gpu.name().into(), operation: "allocating weights".into() });
        };
        let (mut training, mut order, mut all) = (None, None, Vec::new());
        let mut evaluated_training = None;
        if parts.batch_size.is_some() || parts.evaluates_training {
            let data = upload(gpu, parts, parts.training).await?;
            if let Some(batch_size) = parts.batch_size {
                // Training has its own order, which is rewritten every epoch.
                let shuffled = DeviceData { order: upload_order(gpu, data.samples).await?, ..data.clone() };
                let setup = WalkSetup::evaluation(gpu, parts, &weights, &shuffled);
                training = Some(Walk::new(WalkSetup { batch_size, trains: true, ..setup }).await?);
                order = Some(shuffled.order);
            }
            if parts.evaluates_training {
                evaluated_training = Some(Walk::new(WalkSetup::evaluation(gpu, parts, &weights, &data)).await?);
            }
            all.push(data);
        }
        let mut validation = None;
        if let Some(dataset) = parts.validation {
            let data = upload(gpu, parts, dataset).await?;
            validation = Some(Walk::new(WalkSetup::evaluation(gpu, parts, &weights, &data)).await?);
            all.push(data);
        }
        Ok(Self {
            gpu: gpu.clone(),
            progress: parts.progress,
            watched_cost: Cell::new(FIRST_WATCHED_COST),
            optimizer: parts.optimizer,
            parameters,
            weights,
            remembered: [one, two],
            has_memory: [!parts.memory.first.is_empty(), !parts.memory.second.is_empty()],
            order,
            training,
            evaluated_training,
            validation,
            _data: all,
        })
    }

    /// Copies the weights to a saved copy, or back.
    async fn copy(&self, slot: MemorySlot, remember: bool) -> Result<()> {
        let bytes = 4 * self.parameters as u64;
        let own = [&self.weights.parameters, &self.weights.first, &self.weights.second];
        self.gpu
            .submit("copying weights", |encoder| {
                for (own, kept) in own.into_iter().zip(&self.remembered[slot as usize]) {
                    let (from, to) = if remember { (own, kept) } else { (kept, own) };
                    encoder.copy_buffer_to_buffer(&from.buffer, 0, &to.buffer, 0, bytes);
                }
            })
            .await
            .map(drop)
    }

    async fn train_async(&self, part: &EpochPart<'_>) -> Result<Progress> {
        let gpu = &self.gpu;
        let Some(training) = &self.training else { return Ok(Progress::new()) };
        if let Some((buffer, offset)) = self.order.as_ref().and_then(DeviceTensor::buffer) {
            gpu.queue().write_buffer(buffer, offset, bytemuck::cast_slice(part.order));
        }
        let update = |step| self.optimizer.update(part.updates + step + 1);
        let sums = match training {
            Walk::EpochPlan(plan) => {
                plan.write_updates(gpu, part.first_batch, update)?;
                let mut done = part.first_batch;
                while done < plan.steps.len() {
                    done = self.submit(plan, done).await?;
                    if done < plan.steps.len() && self.is_stopped(part)? {
                        break;
                    }
                }
                plan.sums(gpu, part.first_batch..done).await?
            }
            Walk::Whole(whole) => {
                let mut done = part.first_batch;
                for (command, steps) in whole.commands(gpu, part.first_batch..whole.steps(), update) {
                    run(gpu, [command]).await?;
                    done = steps.end;
                    self.count(whole.rows(steps))?;
                    if done < whole.steps() && self.is_stopped(part)? {
                        break;
                    }
                }
                whole.sums(gpu, part.first_batch..done).await?
            }
        };
        let mut progress = Progress::new();
        for sums in sums {
            if !progress.add(sums, part.first_batch) {
                break;
            }
        }
        Ok(progress)
    }

    /// Submits as many steps as a submission may have, from `done` on. Returns the first step that is left.
    async fn submit(&self, plan: &EpochPlan, done: usize) -> Result<usize> {
        let each = (SUBMITTED_COST / plan.cost.max(1)).clamp(1, SUBMITTED_STEPS as u64);
        let cost = self.watched_cost.get();
        let each = if self.progress.0.is_some() { each.min((cost / plan.cost.max(1)).max(1)) } else { each };
        let steps = &plan.steps[done..(done + each as usize).min(plan.steps.len())];
        let started = Instant::now();
        run(&self.gpu, steps.iter().flat_map(|step| &step.commands)).await?;
        self.count(steps.iter().map(|step| step.rows).sum())?;
        if started.elapsed() < WATCHED_TIME {
            self.watched_cost.set(cost.saturating_mul(2));
        } else if started.elapsed() > 4 * WATCHED_TIME {
            self.watched_cost.set((cost / 2).max(1));
        }
        Ok(done + steps.len())
    }

    /// Counts the rows of the last submission, once it is done.
    fn count(&self, rows: usize) -> Result<()> {
        if self.progress.0.is_some() {
            self.gpu.wait("running a network")?;
            self.progress.add(rows);
        }
        Ok(())
    }

    /// Whether to stop after the work submitted so far.
    fn is_stopped(&self, part: &EpochPart<'_>) -> Result<bool> {
        let Some(stop) = part.stop else { return Ok(false) };
        // Ask only when the submitted work is done, not when it is queued.
        self.gpu.wait("training")?;
        Ok(stop.load(Ordering::Relaxed))
    }

    async fn evaluate_async(&self, data: Evaluated) -> Result<Option<EpochSums>> {
        let gpu = &self.gpu;
        let course = match data {
            Evaluated::Training => &self.evaluated_training,
            Evaluated::Validation => &self.validation,
        };
        let sums = match course {
            None => return Ok(None),
            Some(Walk::EpochPlan(plan)) => {
                let mut done = 0;
                while done < plan.steps.len() {
                    done = self.submit(plan, done).await?;
                }
                plan.sums(gpu, 0..plan.steps.len()).await?
            }
            Some(Walk::Whole(whole)) => {
                let commands = whole.commands(gpu, 0..whole.steps(), |_| self.optimizer.update(1));
                run(gpu, commands.into_iter().map(|(command, _)| command)).await?;
                self.count(whole.rows(0..whole.steps()))?;
                whole.sums(gpu, 0..whole.steps()).await?
            }
        };
        let mut total = EpochSums::default();
        sums.into_iter().for_each(|sums| total.add(sums));
        Ok(Some(total))
    }

    async fn memory_async(&self) -> Result<Memory> {
        let read = async |pooled: &PooledBuffer| -> Result<Vec<f64>> {
            let bytes = self.gpu.read(&pooled.buffer, 0, 4 * self.parameters as u64).await?;
            Ok(bytemuck::pod_collect_to_vec::<_, f32>(&bytes).into_iter().map(f64::from).collect())
        };
        let [has_first, has_second] = self.has_memory;
        Ok(Memory {
            parameters: read(&self.weights.parameters).await?,
            first: if has_first { read(&self.weights.first).await? } else { vec![] },
            second: if has_second { read(&self.weights.second).await? } else { vec![] },
        })
    }
}

impl Engine for GpuEngine<'_> {
    fn train(&mut self, part: &EpochPart<'_>) -> Result<Progress> {
        pollster::block_on(self.train_async(part))
    }

    fn evaluate(&mut self, data: Evaluated) -> Result<Option<EpochSums>> {
        pollster::block_on(self.evaluate_async(data))
    }

    fn remember(&mut self, slot: MemorySlot) -> Result<()> {
        pollster::block_on(self.copy(slot, true))
    }

    fn recall(&mut self, slot: MemorySlot) -> Result<()> {
        pollster::block_on(self.copy(slot, false))
    }

    fn memory(&mut self) -> Result<Memory> {
        pollster::block_on(self.memory_async())
    }
}

async fn run<'a>(gpu: &Gpu, commands: impl IntoIterator<Item = &'a Command>) -> Result<()> {
    let record = |encoder: &mut wgpu::CommandEncoder| {
        let mut pass = gpu.begin_pass(encoder);
        commands.into_iter().for_each(|command| command.record(&mut pass));
    };
    gpu.submit("running a network", record).await.map(drop)
}

async fn upload_weights(gpu: &Gpu, memory: &Memory) -> Result<Weights> {
    let count = memory.parameters.len();
    let limit = gpu.max_binding_bytes() / 4;
    if count as u64 > limit {
        return Err(Error::DeviceLimit { what: "weights of a network", limit, got: count as u64 });
    }
    let upload = async |numbers: &[f64]| -> Result<PooledBuffer> {
        let pooled = gpu.allocate_output(4 * count as u64).await?;
        let mut rounded: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
        rounded.resize(count, 0.0);
        gpu.queue().write_buffer(&pooled.buffer, 0, bytemuck::cast_slice(&rounded));
        Ok(pooled)
    };
    Ok(Weights {
        parameters: upload(&memory.parameters).await?,
        gradient: upload(&[]).await?,
        first: upload(&memory.first).await?,
        second: upload(&memory.second).await?,
    })
}

async fn upload_features(gpu: &Gpu, features: &Features) -> Result<DeviceTensor> {
    match features {
        Features::F32(x) => gpu.upload_floats_async(x.into()).await,
        Features::F64(x) => gpu.upload_floats_async(x.into()).await,
        Features::F16(x) => gpu.upload_floats_async(x.into()).await,
        Features::BF16(x) => gpu.upload_floats_async(x.into()).await,
        Features::U8(x) => gpu.upload_labels_async(x.into()).await,
    }
}

/// Uploads a data set with the targets in the loss's format.
async fn upload(gpu: &Gpu, parts: &EngineParts<'_>, data: &Dataset) -> Result<DeviceData> {
    let outputs = parts.shapes.last().map_or(1, |shape| shape.outputs);
    let width = data.target_width();
    let shape = data.shape(&parts.loss.spec(), outputs)?;
    let wants_raw = parts.accuracy == Accuracy::Keras && outputs == 1;
    let raw: Vec<f32> = data.targets().iter().map(|&t| t as f32).collect();
    Ok(DeviceData {
        targets: Some(launch::upload_targets(gpu, parts.loss, shape, data.targets()).await?),
        raw_targets: if wants_raw { Some(gpu.upload_f32_async(&raw).await?) } else { None },
        target_width: width,
        shape,
        ..upload_rows(gpu, data).await?
    })
}

/// Uploads a data set without targets.
async fn upload_rows(gpu: &Gpu, data: &Dataset) -> Result<DeviceData> {
    // Features are bound in parts; the order of rows is not.
    let limit = gpu.max_binding_bytes() / 4;
    if data.len() as u64 > limit {
        return Err(Error::DeviceLimit { what: "rows to train on", limit, got: data.len() as u64 });
    }
    Ok(DeviceData {
        features: upload_features(gpu, data.features()).await?,
        columns: data.columns(),
        samples: data.len(),
        targets: None,
        target_width: 1,
        shape: BatchShape::elementwise(data.len()),
        raw_targets: None,
        order: upload_order(gpu, data.len()).await?,
    })
}

/// All rows in their own order.
async fn upload_order(gpu: &Gpu, rows: usize) -> Result<DeviceTensor> {
    let order: Vec<i32> = (0..rows as u32).map(|row| row as i32).collect();
    gpu.upload_i32_async(&order).await
}

/// The network's outputs for all rows of the training data.
pub(crate) fn predict(gpu: &Gpu, parts: &EngineParts<'_>) -> Result<Vec<f32>> {
    pollster::block_on(async {
        let weights = upload_weights(gpu, parts.memory).await?;
        let data = upload_rows(gpu, parts.training).await?;
        let plan = EpochPlan::new(WalkSetup::evaluation(gpu, parts, &weights, &data)).await?;
        let outputs = parts.shapes.last().map_or(1, |shape| shape.outputs);
        let mut all = Vec::with_capacity(data.samples * outputs);
        for step in &plan.steps {
            run(gpu, &step.commands).await?;
            let mut batch = plan.outputs.read_f32_async().await?;
            batch.truncate(step.rows * outputs);
            all.append(&mut batch);
        }
        Ok(all)
    })
}
