// The optimizer's step for one weight: Update of src/nn/optimizer.rs. `rate` and `root_scale` change with every step.

// 0 for torch's SGD, 1 for Keras's, 2 for Adam.
override RULE: u32 = 0u;
override NESTEROV: bool = false;
// SGD without momentum has no memory.
override HAS_MEMORY: bool = false;

fn step_weight(i: u32, gradient: f32, rate: f32, root_scale: f32) {
    let before = weights[i];
    let g = gradient + before * params.coupled_decay;
    let kept = before - before * params.decoupled_decay;
    if RULE == 2u {
        let m = params.first_decay * first[i] + params.first_gain * g;
        let v = params.second_decay * second[i] + params.second_gain * (g * g);
        first[i] = m;
        second[i] = v;
        weights[i] = kept - rate * m / (sqrt(v) * root_scale + params.epsilon);
        return;
    }
    if !HAS_MEMORY {
        weights[i] = kept - rate * g;
        return;
    }
    if RULE == 0u {
        let memory = params.first_decay * first[i] + g;
        first[i] = memory;
        weights[i] = kept - rate * select(memory, g + params.first_decay * memory, NESTEROV);
    } else {
        let memory = params.first_decay * first[i] - rate * g;
        first[i] = memory;
        weights[i] = kept + select(memory, params.first_decay * memory - rate * g, NESTEROV);
    }
}
