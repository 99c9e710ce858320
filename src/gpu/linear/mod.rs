//! Linear models on a device: features that stay there, and the steps of a solver that read every row. The solver itself,
//! which is in f64, is `src/linear/on_gpu.rs`.
//!
//! | file | contents |
//! |---|---|
//! | `mod.rs` | the steps |
//! | `part.rs` | rows that one binding holds |
//! | `layout.rs` | how rows are spread over bindings, workgroups and lanes |
//! | `kernel.rs` | the kernels |
//!
//! Rows lie in parts, as many as the bindings' limit asks for, each with its own violations and multipliers. Nothing that has
//! an element per row is read back but the multipliers at the end.

mod kernel;
mod layout;
mod part;

pub use self::kernel::LinearKernel;
use self::kernel::{FeatureType, ReduceParams, RowParams, Step};
use self::layout::Layout;
use self::part::{Part, Shared};
use super::device::command::{Command, OwnedWindow};
use super::device::context::Gpu;
use super::device::pool::PooledBuffer;
use super::device::readback::elements;
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::memory::reserved;
use crate::data::tensor::{Floats, Targets};
use crate::error::Result;

const OPERATION: &str = "fitting a linear model";

/// Bytes of shaders/linear/sums.wgsl's `Sums`.
const SUMS_BYTES: u64 = 32;

/// Dense rows on the host, row-major, in the type that they are stored in.
#[derive(Clone, Copy)]
pub(crate) enum HostRows<'a> {
    /// f64 is rounded to f32.
    Floats(Floats<'a>),
    /// 0 to 255.
    Bytes(&'a [u8]),
}

impl HostRows<'_> {
    fn element(&self) -> ElementType {
        match self {
            Self::Floats(Floats::F16(_)) => ElementType::F16,
            Self::Floats(Floats::BF16(_)) => ElementType::BF16,
            Self::Floats(_) => ElementType::F32,
            Self::Bytes(_) => ElementType::U8,
        }
    }

    async fn upload(&self, gpu: &Gpu, range: std::ops::Range<usize>) -> Result<DeviceTensor> {
        match *self {
            Self::Bytes(x) => gpu.upload_labels_async(Targets::U8(&x[range])).await,
            Self::Floats(x) => gpu.upload_floats_async(x.slice(range).unwrap_or(x)).await,
        }
    }
}

/// The numbers of a loss whose multipliers are clip(base + kappa weight z, 0, cap). A weight of 1 costs slope z^2/2 up to the
/// bend, and z - bend/2 beyond it.
#[derive(Clone, Copy, Default)]
pub(crate) struct LossNumbers {
    /// 0 where the bend is.
    pub(crate) slope: f64,
    pub(crate) bend: f64,
    /// Whether a multiplier may exceed its weight.
    pub(crate) is_unbounded: bool,
}

/// A problem on rows that are there already.
pub(crate) struct DeviceProblem<'a> {
    /// The weight of a row, negative where its label is.
    pub(crate) signed_weights: &'a [f32],
    /// The multipliers that the first ones start from.
    pub(crate) base: &'a [f32],
    /// Shift and scale per column.
    pub(crate) units: Vec<[f32; 2]>,
    /// The intercept's feature.
    pub(crate) constant: f64,
    pub(crate) loss: LossNumbers,
}

/// Rows on a device, and the state of a problem.
pub(crate) struct DeviceRows {
    gpu: Gpu,
    columns: usize,
    parts: Vec<Part>,
    units: PooledBuffer,
    vector: PooledBuffer,
    /// The sums of all segments, then the reduced sum of rows.
    results: PooledBuffer,
    sums_window: (u64, u64),
    image_window: (u64, u64),
    reduce_rows: Command,
    /// Where the columns are few enough for a matrix of them: it, and its kernel.
    gram: Option<(PooledBuffer, Command)>,
    _partials: PooledBuffer,
}

impl DeviceRows {
    /// Uploads rows. With `has_gram`, matrices of the columns are computed too.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::DeviceLimit`] for rows that a binding cannot hold, and the device's own
    /// failures.
    pub(crate) fn new(
        gpu: &Gpu,
        rows: HostRows<'_>,
        shape: (usize, usize),
        is_standardized: bool,
        has_gram: bool,
    ) -> Result<Self> {
        pollster::block_on(Self::new_async(gpu, rows, shape, is_standardized, has_gram))
    }

    async fn new_async(
        gpu: &Gpu,
        rows: HostRows<'_>,
        (count, columns): (usize, usize),
        is_standardized: bool,
        has_gram: bool,
    ) -> Result<Self> {
        let element = rows.element();
        let layout = Layout::new(gpu, element, count, columns, has_gram)?;
        let width = columns as u64 + 1;
        let units = gpu.allocate_output(8 * columns as u64).await?;
        let vector = gpu.allocate_output(4 * width).await?;
        let partials = gpu.allocate_output(layout.partials_bytes()).await?;
        let [sums_window, image_window] = layout.results(gpu);
        let results = gpu.allocate_output(image_window.0 + image_window.1).await?;
        let number = if element == ElementType::U8 { 4 } else { element.score_number() };
        let shared = Shared {
            gpu,
            layout: &layout,
            features: FeatureType { number, is_standardized },
            units: (units.buffer.clone(), 0, 8 * columns as u64),
            vector: (vector.buffer.clone(), 0, 4 * width),
            sums: (results.buffer.clone(), sums_window.0, sums_window.1),
            partials: (partials.buffer.clone(), 0, layout.partials_bytes()),
        };
        let mut parts = Vec::with_capacity(layout.parts.len());
        for &(first_row, params) in &layout.parts {
            parts.push(Part::new(&shared, rows, first_row, params).await?);
        }
        let image = (results.buffer.clone(), image_window.0, image_window.1);
        let reduce_rows = reduce(&shared, width, layout.blocks, image).await?;
        let mut gram = None;
        if has_gram {
            let bytes = 4 * width * width;
            let matrix = gpu.allocate_output(bytes).await?;
            let out = (matrix.buffer.clone(), 0, bytes);
            let reduce = reduce(&shared, width * width, layout.chunks, out).await?;
            gram = Some((matrix, reduce));
        }
        Ok(Self {
            gpu: gpu.clone(),
            columns,
            parts,
            units,
            vector,
            results,
            sums_window,
            image_window,
            reduce_rows,
            gram,
            _partials: partials,
        })
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The columns, with the intercept's.
    pub(crate) fn width(&self) -> usize {
        self.columns + 1
    }

    /// Starts a problem.
    pub(crate) fn begin(&mut self, problem: &DeviceProblem<'_>) -> Result<()> {
        let LossNumbers { slope, bend, is_unbounded } = problem.loss;
        for part in &mut self.parts {
            part.params = RowParams {
                constant: problem.constant as f32,
                slope: slope as f32,
                inverse_slope: if slope > 0.0 { (1.0 / slope) as f32 } else { 0.0 },
                bend: bend.min(f32::MAX.into()) as f32,
                is_unbounded: is_unbounded.into(),
                ..part.params
            };
        }
        pollster::block_on(async {
            self.gpu.write(&self.units.buffer, bytemuck::cast_slice(&problem.units)).await?;
            for part in &self.parts {
                let rows = part.first_row..part.first_row + part.rows;
                let signed_weights = bytemuck::cast_slice(&problem.signed_weights[rows.clone()]);
                self.gpu.write(&part.signed_weights.buffer, signed_weights).await?;
                self.gpu.write(&part.base.buffer, bytemuck::cast_slice(&problem.base[rows])).await?;
            }
            let clear = |encoder: &mut wgpu::CommandEncoder| {
                for part in &self.parts {
                    for vector in [&part.z, &part.dz, &part.multipliers, &part.kept] {
                        encoder.clear_buffer(&vector.buffer, 0, None);
                    }
                }
            };
            self.gpu.submit(OPERATION, clear).await.map(drop)
        })
    }

    fn write_vector(&self, vector: &[f32]) {
        self.gpu.queue().write_buffer(&self.vector.buffer, 0, bytemuck::cast_slice(vector));
    }

    /// Writes the parameters of every part; `change` sets those that differ from step to step.
    fn write_params(&self, change: impl Fn(&mut RowParams)) {
        for part in &self.parts {
            let mut params = part.params;
            change(&mut params);
            self.gpu.queue().write_buffer(&part.uniform.buffer, 0, bytemuck::bytes_of(&params));
        }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder, of_part: impl Fn(&Part) -> Option<&Command>) {
        let mut pass = self.gpu.begin_pass(encoder);
        self.parts.iter().filter_map(of_part).for_each(|command| command.record(&mut pass));
    }

    /// Sets the violations at these weights, or with `is_change` what they change by along a direction.
    pub(crate) fn multiply(&self, vector: &[f32], is_change: bool) -> Result<()> {
        self.write_vector(vector);
        self.write_params(|_| {});
        let record = |encoder: &mut wgpu::CommandEncoder| {
            self.record(encoder, |part| Some(if is_change { &part.changes } else { &part.violations }));
        };
        pollster::block_on(self.gpu.submit(OPERATION, record)).map(drop)
    }

    /// What the rows add to the slope of the objective along the direction at four steps, and to its derivative.
    pub(crate) fn slopes(&self, kappa: f64, steps: [f64; 4]) -> Result<[[f64; 2]; 4]> {
        self.write_params(|params| {
            params.kappa = kappa as f32;
            [params.step_a, params.step_b, params.step_c, params.step_d] = steps.map(|step| step as f32);
        });
        let record = |encoder: &mut wgpu::CommandEncoder| self.record(encoder, |part| Some(&part.search));
        let sums = self.read_sums(record, self.sums_window.1)?.0;
        Ok(std::array::from_fn(|place| [sums[place], sums[place + 4]]))
    }

    /// Moves the violations by `step` along the direction, and sets the multipliers that fit them. Where it `hardens`, the
    /// multipliers become the base of the new ones first. Returns sums, in units of C: of the losses, of the multipliers less
    /// their conjugates, of what the multipliers moved by, squared, of the multipliers inside their bounds, and above 0; and the
    /// sum of multiplier times label times row.
    pub(crate) fn follow(&self, step: f64, kappa: f64, hardens: bool) -> Result<([f64; 5], Vec<f64>)> {
        self.write_params(|params| {
            (params.kappa, params.step_a, params.hardens) = (kappa as f32, step as f32, hardens.into());
        });
        let record = |encoder: &mut wgpu::CommandEncoder| {
            self.record(encoder, |part| Some(&part.follow));
            self.record(encoder, |part| Some(&part.add_multiplied));
            self.reduce_rows.record(&mut self.gpu.begin_pass(encoder));
        };
        let (sums, image) = self.read_sums(record, self.image_window.0 + self.image_window.1)?;
        let [losses, duals, moved, inside, above, ..] = sums;
        Ok(([losses, duals, moved, inside, above], image))
    }

    /// Runs what is recorded, and reads so many bytes of a buffer.
    fn read(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
        from: (&wgpu::Buffer, u64),
        bytes: u64,
    ) -> Result<Vec<f32>> {
        pollster::block_on(async {
            let readback = self.gpu.submit_and_read(OPERATION, record, from, bytes).await?;
            readback.take(&self.gpu, |bytes| elements(bytes).into_owned()).await
        })
    }

    /// As above, of the results: the sums of all segments, and the sum of rows.
    fn read_sums(&self, record: impl FnOnce(&mut wgpu::CommandEncoder), bytes: u64) -> Result<([f64; 8], Vec<f64>)> {
        let all = self.read(record, (&self.results.buffer, 0), bytes)?;
        let mut sums = [0.0; 8];
        for segment in all[..self.sums_window.1 as usize / 4].chunks_exact(8) {
            sums.iter_mut().zip(segment).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let image = all.get(self.image_window.0 as usize / 4..).unwrap_or_default();
        Ok((sums, image.iter().map(|&x| x.into()).collect()))
    }

    /// The sum of weight times x x' over the rows inside their bounds: row-major, (columns + 1) squared, of which the lower half
    /// is set. Empty where no matrix was asked for.
    pub(crate) fn gram(&self) -> Result<Vec<f32>> {
        let Some((matrix, reduce)) = &self.gram else { return Ok(Vec::new()) };
        let width = self.columns as u64 + 1;
        let record = |encoder: &mut wgpu::CommandEncoder| {
            self.record(encoder, |part| part.gram.as_ref());
            reduce.record(&mut self.gpu.begin_pass(encoder));
        };
        self.read(record, (&matrix.buffer, 0), 4 * width * width)
    }

    /// The sum of weight times x (x v) over the rows inside their bounds. It overwrites what the violations change by.
    pub(crate) fn newton_product(&self, vector: &[f32]) -> Result<Vec<f64>> {
        self.write_vector(vector);
        self.write_params(|_| {});
        let record = |encoder: &mut wgpu::CommandEncoder| {
            self.record(encoder, |part| Some(&part.newton_product));
            self.record(encoder, |part| Some(&part.add_newton));
            self.reduce_rows.record(&mut self.gpu.begin_pass(encoder));
        };
        let (offset, bytes) = self.image_window;
        let sum = self.read(record, (&self.results.buffer, offset), bytes)?;
        Ok(sum.into_iter().map(f64::from).collect())
    }

    /// Keeps a copy of the multipliers.
    pub(crate) fn keep(&self) -> Result<()> {
        let copy = |encoder: &mut wgpu::CommandEncoder| {
            for part in &self.parts {
                let bytes = 4 * part.rows as u64;
                encoder.copy_buffer_to_buffer(&part.multipliers.buffer, 0, &part.kept.buffer, 0, bytes);
            }
        };
        pollster::block_on(self.gpu.submit(OPERATION, copy)).map(drop)
    }

    /// The multipliers that were kept.
    pub(crate) fn kept(&self) -> Result<Vec<f32>> {
        let mut all = reserved(self.parts.iter().map(|part| part.rows).sum())?;
        for part in &self.parts {
            let take = |bytes: &[u8]| all.extend_from_slice(&elements::<f32>(bytes));
            pollster::block_on(self.gpu.read_with(&part.kept.buffer, 0, 4 * part.rows as u64, take))?;
        }
        Ok(all)
    }
}

/// The kernel that adds up so many partial sums of `length` numbers.
async fn reduce(shared: &Shared<'_>, length: u64, blocks: usize, out: OwnedWindow) -> Result<Command> {
    let gpu = shared.gpu;
    let params = ReduceParams { length: length as u32, blocks: blocks as u32, padding: [0; 2] };
    let uniform = gpu.params(bytemuck::bytes_of(&params).to_vec()).await?;
    let pipeline = gpu.pipeline(&LinearKernel::of(Step::Reduce)).await?;
    let windows = [(uniform.clone(), 0, uniform.size()), shared.partials.clone(), out];
    let bind = || Command::of_groups(gpu, &pipeline, &windows, length.div_ceil(layout::TILE as u64) as u32);
    gpu.attempt("binding a kernel", bind).await
}
