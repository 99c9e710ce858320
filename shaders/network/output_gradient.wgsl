// Turns the gradient with respect to the network's outputs into that with respect to the last layer's weighted sums.

override ACTIVATION: u32 = 0u;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.grid_width + workgroup.x) * 256u + lane;
    if i < params.count { gradient[i] *= activation_slope(outputs[i], ACTIVATION); }
}
