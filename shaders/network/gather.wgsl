// Copies the rows of a batch, in the order of training, from the data set to where the network reads them.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.groups_in_row + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    let row = order[params.first + i / params.columns] - params.data_first_row;
    // Rows before the part wrap around to large numbers.
    if row >= params.data_rows { return; }
    batch[i] = feature_bits(row * params.columns + i % params.columns + params.data_shift);
}
