//! How the rows of a linear model are spread over bindings, workgroups and lanes.

use super::SUMS_BYTES;
use super::kernel::RowParams;
use crate::data::device_tensor::ElementType;
use crate::error::{Error, Result};
use crate::gpu::device::command::BufferLayout;
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{SCORES_EACH, WORKGROUP, Walks, busy_groups, check_row, team_lanes};

/// Columns of a tile of shaders/linear/add_rows.wgsl and reduce.wgsl.
pub(super) const TILE: usize = 32;

/// Columns of a tile of shaders/linear/gram.wgsl.
const GRAM_TILE: usize = 64;

/// Rows of a segment, per lane, at most: a lane has a bit for each.
const MOST_ROWS_PER_LANE: usize = 32;

/// Rows of a block, at least: a workgroup's fixed cost is that of some rows.
const LEAST_ROWS_OF_BLOCK: usize = 256;

/// Bytes of the partial Gram matrices, at most.
const MOST_GRAM_BYTES: usize = 64 << 20;

/// Loop steps of a lane for 16 rows of a Gram matrix: 4 rounds of loads, 16 of sums, and 2.
const GRAM_STEPS_OF_16_ROWS: usize = 22;

/// Two loops for each element of a row: over chains, and over the terms of one.
const WALKS: Walks = Walks::by_elements(2);

pub(super) struct Layout {
    width: usize,
    has_gram: bool,
    /// The first row of each part, and its parameters.
    pub(super) parts: Vec<(usize, RowParams)>,
    pub(super) lanes_per_row: usize,
    /// Of all parts.
    pub(super) blocks: usize,
    pub(super) chunks: usize,
    segments: usize,
}

impl Layout {
    pub(super) fn new(gpu: &Gpu, element: ElementType, rows: usize, columns: usize, has_gram: bool) -> Result<Self> {
        let width = columns + 1;
        check_row(gpu, width, WALKS)?;
        // Vectors of a part have four bytes per row.
        let bytes_of_row = element.bytes(columns as u64).max(4);
        let most = (gpu.max_binding_bytes() / bytes_of_row) as usize;
        let whole = WORKGROUP as usize * MOST_ROWS_PER_LANE;
        let rows_of_part = if most > whole { most / whole * whole } else { most };
        if rows_of_part == 0 {
            let limit = gpu.max_binding_bytes() * 8 / element.bits();
            return Err(Error::DeviceLimit { what: "features in one row", limit, got: columns as u64 });
        }
        let lanes_per_row = team_lanes(gpu, rows, width, SCORES_EACH, WALKS);
        let groups = busy_groups(gpu);
        let rows_per_lane = rows.div_ceil(WORKGROUP as usize * groups).next_power_of_two().clamp(1, MOST_ROWS_PER_LANE);
        let rows_of_segment = WORKGROUP as usize * rows_per_lane;
        let limit = gpu.description().loop_limit().map_or(usize::MAX, |limit| limit as usize);
        // Two loops for each of a lane's rows, of which there is one in eight.
        let most_of_block = (limit / 2).saturating_mul(WORKGROUP as usize / TILE);
        let blocks_wanted = (groups / width.div_ceil(TILE)).max(1);
        let rows_of_block = rows.div_ceil(blocks_wanted).clamp(LEAST_ROWS_OF_BLOCK, most_of_block);
        let (tiles, longest_part) = (width.div_ceil(GRAM_TILE), rows.min(rows_of_part));
        let most_of_chunk = (limit / GRAM_STEPS_OF_16_ROWS).saturating_mul(16) / rows_of_segment * rows_of_segment;
        let chunks = (2 * groups / (tiles * (tiles + 1)))
            .min(MOST_GRAM_BYTES / (4 * width * width))
            .min(longest_part.div_ceil(rows_of_segment))
            .max(longest_part.div_ceil(most_of_chunk.max(rows_of_segment)))
            .max(1);
        let (mut parts, mut segments, mut blocks) = (Vec::new(), 0, 0);
        for first in (0..rows).step_by(rows_of_part) {
            let rows = rows_of_part.min(rows - first);
            let (segments_of_part, blocks_of_part) = (rows.div_ceil(rows_of_segment), rows.div_ceil(rows_of_block));
            let params = RowParams {
                rows: rows as u32,
                columns: columns as u32,
                rows_per_lane: rows_per_lane as u32,
                segments: segments_of_part as u32,
                first_segment: segments as u32,
                blocks: blocks_of_part as u32,
                rows_of_block: rows_of_block.min(rows) as u32,
                first_block: blocks as u32,
                chunks: chunks as u32,
                segments_of_chunk: segments_of_part.div_ceil(chunks) as u32,
                is_first_part: u32::from(first == 0),
                ..RowParams::default()
            };
            parts.push((first, params));
            segments += segments_of_part;
            blocks += blocks_of_part;
        }
        Ok(Self { width, has_gram, parts, lanes_per_row, blocks, chunks, segments })
    }

    pub(super) fn tiles_of_columns(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    /// Those above the diagonal too, which are left out; 0 where there is no matrix.
    pub(super) fn tiles_of_gram(&self) -> usize {
        if self.has_gram { self.width.div_ceil(GRAM_TILE).pow(2) } else { 0 }
    }

    pub(super) fn partials_bytes(&self) -> u64 {
        let of_gram = if self.has_gram { self.chunks * self.width * self.width } else { 0 };
        4 * (self.blocks * self.width).max(of_gram) as u64
    }

    /// Offsets and bytes of the segments' sums and of the sum of rows in one buffer.
    pub(super) fn results(&self, gpu: &Gpu) -> [(u64, u64); 2] {
        let bytes = [SUMS_BYTES * self.segments as u64, 4 * self.width as u64];
        let layout = BufferLayout::new(gpu.storage_alignment(), bytes.into_iter());
        [layout.parts[0], layout.parts[1]]
    }
}
