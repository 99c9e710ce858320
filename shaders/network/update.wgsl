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

// 0 for torch's SGD, 1 for Keras's, 2 for Adam.
override RULE: u32 = 0u;
override NESTEROV: bool = false;
// SGD remembers nothing without momentum.
override HAS_MEMORY: bool = false;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = (workgroup.y * params.groups_in_row + workgroup.x) * 256u + lane;
    if i >= params.count { return; }
    let before = weights[i];
    let g = gradient[i] + before * params.coupled_decay;
    let kept = before - before * params.decoupled_decay;
    if RULE == 2u {
        let m = params.first_decay * first[i] + params.first_gain * g;
        let v = params.second_decay * second[i] + params.second_gain * (g * g);
        first[i] = m;
        second[i] = v;
        weights[i] = kept - params.rate * m / (sqrt(v) * params.root_scale + params.epsilon);
        return;
    }
    if !HAS_MEMORY {
        weights[i] = kept - params.rate * g;
        return;
    }
    if RULE == 0u {
        let memory = params.first_decay * first[i] + g;
        first[i] = memory;
        weights[i] = kept - params.rate * select(memory, g + params.first_decay * memory, NESTEROV);
    } else {
        let memory = params.first_decay * first[i] - params.rate * g;
        first[i] = memory;
        weights[i] = kept + select(memory, params.first_decay * memory - params.rate * g, NESTEROV);
    }
}
