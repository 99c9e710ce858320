// One step of the optimizer for all weights.

// Update of src/nn/optimizer.rs.
struct Params {
    count: u32,
    groups_in_row: u32,
    coupled_decay: f32,
    decoupled_decay: f32,
    rate: f32,
    first_decay: f32,
    first_gain: f32,
    second_decay: f32,
    second_gain: f32,
    root_scale: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> first: array<f32>;
@group(0) @binding(4) var<storage, read_write> second: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.groups_in_row + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    step_weight(i, gradient[i], params.rate, params.root_scale);
}
