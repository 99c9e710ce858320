// One step of the optimizer for all weights.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.grid_width + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    step_weight(i, gradient[i], params.rate, params.root_scale);
}
