//! One part of the rows on a device: those that a binding holds, with all that belongs to them, and its kernels.

use super::HostRows;
use super::kernel::{FeatureType, LinearKernel, ProductRole, RowParams, Step};
use super::layout::Layout;
use crate::data::device_tensor::DeviceTensor;
use crate::error::Result;
use crate::gpu::device::command::{Command, OwnedWindow};
use crate::gpu::device::context::Gpu;
use crate::gpu::device::pool::PooledBuffer;
use crate::gpu::workgroups::WORKGROUP;

pub(super) struct Part {
    pub(super) first_row: usize,
    pub(super) rows: usize,
    pub(super) params: RowParams,
    pub(super) uniform: PooledBuffer,
    /// One number per row each, from here to the best multipliers so far.
    pub(super) signed_weights: PooledBuffer,
    pub(super) z: PooledBuffer,
    pub(super) dz: PooledBuffer,
    pub(super) base: PooledBuffer,
    pub(super) multipliers: PooledBuffer,
    pub(super) kept: PooledBuffer,
    pub(super) violations: Command,
    pub(super) changes: Command,
    /// A product with Newton's matrix; its numbers per row are in `dz`.
    pub(super) newton_product: Command,
    /// The sum of rows times multipliers, and times what `newton_product` left.
    pub(super) add_multiplied: Command,
    pub(super) add_newton: Command,
    pub(super) search: Command,
    pub(super) follow: Command,
    pub(super) gram: Option<Command>,
    _data: DeviceTensor,
    _list: PooledBuffer,
}

/// What the kernels of all parts share.
pub(super) struct Shared<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) layout: &'a Layout,
    pub(super) features: FeatureType,
    pub(super) units: OwnedWindow,
    pub(super) vector: OwnedWindow,
    pub(super) sums: OwnedWindow,
    pub(super) partials: OwnedWindow,
}

impl Shared<'_> {
    async fn command(
        &self,
        step: Step,
        uniform: &PooledBuffer,
        windows: &[OwnedWindow],
        groups: u32,
    ) -> Result<Command> {
        let pipeline = self.gpu.pipeline(&LinearKernel::of(step)).await?;
        let uniform = (uniform.buffer.clone(), 0, size_of::<RowParams>() as u64);
        let windows = [&[uniform], windows].concat();
        let bind = || Command::of_groups(self.gpu, &pipeline, &windows, groups);
        self.gpu.attempt("binding a kernel", bind).await
    }
}

impl Part {
    /// Uploads the rows from `first_row` on, and binds the kernels.
    pub(super) async fn new(
        shared: &Shared<'_>,
        rows: HostRows<'_>,
        first_row: usize,
        params: RowParams,
    ) -> Result<Self> {
        let Shared { gpu, layout, features, .. } = *shared;
        let (count, columns) = (params.rows as usize, params.columns as usize);
        let data = rows.upload(gpu, first_row * columns..(first_row + count) * columns).await?;
        let per_row = async || gpu.allocate_output(4 * count as u64).await;
        let (signed_weights, z, dz) = (per_row().await?, per_row().await?, per_row().await?);
        let (base, multipliers, kept) = (per_row().await?, per_row().await?, per_row().await?);
        let list_bytes = 4 * u64::from(params.segments * params.rows_per_lane * WORKGROUP);
        let list = gpu.allocate_output(list_bytes).await?;
        let listed = || (list.buffer.clone(), 0, list_bytes);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform = gpu.allocate(size_of::<RowParams>() as u64, usage).await?;
        let numbers = |buffer: &PooledBuffer| (buffer.buffer.clone(), 0, 4 * count as u64);
        let of_features = [data.window(0, data.len()).owned(), shared.units.clone(), numbers(&signed_weights)];
        let bind = async |step, windows: &[OwnedWindow], groups| shared.command(step, &uniform, windows, groups).await;
        let product = async |role, out| {
            let lanes_per_row = layout.lanes_per_row as u32;
            let others = [shared.vector.clone(), numbers(&multipliers), numbers(out)];
            let groups = params.rows.div_ceil(WORKGROUP / lanes_per_row);
            bind(Step::Product { role, lanes_per_row, features }, &[&of_features[..], &others].concat(), groups).await
        };
        let add_rows = async |coefficients| {
            let windows = [&of_features[..], &[numbers(coefficients), shared.partials.clone()]].concat();
            bind(Step::AddRows { features }, &windows, params.blocks * layout.tiles_of_columns() as u32).await
        };
        let of_violations = [numbers(&signed_weights), numbers(&z), numbers(&dz), numbers(&base)];
        let follow = [numbers(&multipliers), listed(), shared.sums.clone()];
        let gram = [listed(), shared.sums.clone(), shared.partials.clone()];
        Ok(Self {
            first_row,
            rows: count,
            params,
            violations: product(ProductRole::Violations, &z).await?,
            changes: product(ProductRole::Changes, &dz).await?,
            newton_product: product(ProductRole::NewtonMatrix, &dz).await?,
            add_multiplied: add_rows(&multipliers).await?,
            add_newton: add_rows(&dz).await?,
            search: bind(
                Step::Search,
                &[&of_violations[..], std::slice::from_ref(&shared.sums)].concat(),
                params.segments,
            )
            .await?,
            follow: bind(Step::Follow, &[&of_violations[..], &follow].concat(), params.segments).await?,
            gram: match layout.tiles_of_gram() {
                0 => None,
                tiles => {
                    let windows = [&of_features[..], &gram].concat();
                    Some(bind(Step::Gram { features }, &windows, params.chunks * tiles as u32).await?)
                }
            },
            uniform,
            signed_weights,
            z,
            dz,
            base,
            multipliers,
            kept,
            _data: data,
            _list: list,
        })
    }
}
