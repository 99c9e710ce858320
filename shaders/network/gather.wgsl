// Copies the rows of a batch, in training order, from the data set to the network's input.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.grid_width + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    let row = order[params.first + i / params.columns] - params.data_first_row;
    // A row before this part of the data wraps around to a large number.
    if row >= params.data_rows { return; }
    batch[i] = feature_bits(row * params.columns + i % params.columns + params.data_shift);
}
