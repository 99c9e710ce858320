// Copies the rows of a batch, in the order of training, from the data set to where the network reads them.

struct Params {
    // Elements of the batch.
    count: u32,
    columns: u32,
    groups_in_row: u32,
    // Where in `order` the batch begins.
    first: u32,
    // The rows that `data` holds: large data sets are bound in parts.
    data_first_row: u32,
    data_rows: u32,
    data_shift: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> batch: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.groups_in_row + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    let row = order[params.first + i / params.columns] - params.data_first_row;
    // Rows before the part wrap around to large numbers.
    if row >= params.data_rows { return; }
    batch[i] = feature_bits(row * params.columns + i % params.columns + params.data_shift);
}
