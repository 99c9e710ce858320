// Whole training steps in one workgroup (batch, forward, loss, backward, update), for networks so small that the time between
// two dispatches is longer than a step. The loss gives value_and_slope(score, sign), as in the elementwise pattern.

const MOST_LAYERS: u32 = 8u;
const MOST_STEPS: u32 = 256u;

// If false, batches are only evaluated.
override TRAINS: bool = true;

// Terms per chain of additions.
const CHAIN: u32 = 16u;

// params.layer has two entries per layer, `shape` and `place`: see WholeStepsParams in src/gpu/network/kernel.rs.
fn input(l: u32, start: u32, row: u32, column: u32) -> f32 {
    if l == 0u {
        return bitcast<f32>(feature_bits(order[start + row] * params.columns + column + params.data_shift));
    }
    let before = params.layer[2u * l - 2u];
    return work[before.w + row * before.y + column];
}

fn forward(lane: u32, l: u32, start: u32, rows: u32) {
    let shape = params.layer[2u * l];
    let place = params.layer[2u * l + 1u];
    for (var e = lane; e < rows * shape.y; e += WORKGROUP) {
        let row = e / shape.y;
        let output = e % shape.y;
        var sum = weights[place.y + output];
        for (var link = 0u; link < shape.x; link += CHAIN) {
            var part = 0.0;
            for (var p = link; p < min(link + CHAIN, shape.x); p++) {
                part += input(l, start, row, p) * weights[place.x + output * shape.x + p];
            }
            sum += part;
        }
        work[shape.w + e] = activate(sum, shape.z);
    }
}

// The loss of the last layer's outputs. Stores the slopes with respect to that layer's weighted sums.
fn objective(lane: u32, start: u32, rows: u32) -> Partial {
    let shape = params.layer[2u * params.layers - 2u];
    let place = params.layer[2u * params.layers - 1u];
    let count = rows * shape.y;
    let share = real_divide(real(1.0), f32(count));
    var partial = partial_zero();
    for (var e = lane; e < count; e += WORKGROUP) {
        let target_index = order[start + e / shape.y] * shape.y + e % shape.y + params.targets_shift;
        let target_value = read_target(widen_target(targets[target_word(target_index)], target_index));
        let score = work[shape.w + e];
        let point = value_and_slope(real_from_bits(bitcast<u32>(score)), target_value.sign);
        partial.count += 1u;
        partial.loss = sum_add(partial.loss, point.value);
        partial.active_count += u32(point.is_active);
        partial.correct += u32(point.correct);
        let slope = bitcast<f32>(real_to_bits(real_multiply(point.slope, share)));
        work[place.z + e] = slope * activation_slope(score, shape.z);
    }
    return partial;
}

fn backward(lane: u32, l: u32, rows: u32) {
    let shape = params.layer[2u * l];
    let place = params.layer[2u * l + 1u];
    let before = params.layer[2u * l - 2u];
    let place_before = params.layer[2u * l - 1u];
    for (var e = lane; e < rows * shape.x; e += WORKGROUP) {
        let row = e / shape.x;
        let column = e % shape.x;
        var sum = 0.0;
        for (var link = 0u; link < shape.y; link += CHAIN) {
            var part = 0.0;
            for (var j = link; j < min(link + CHAIN, shape.y); j++) {
                part += work[place.z + row * shape.y + j] * weights[place.x + j * shape.x + column];
            }
            sum += part;
        }
        work[place_before.z + e] = sum * activation_slope(work[before.w + e], before.z);
    }
}

fn update(lane: u32, l: u32, start: u32, rows: u32, rate: vec4<f32>) {
    let shape = params.layer[2u * l];
    let place = params.layer[2u * l + 1u];
    let width = shape.x + 1u;
    for (var e = lane; e < shape.y * width; e += WORKGROUP) {
        let output = e / width;
        let column = e % width;
        var sum = 0.0;
        for (var link = 0u; link < rows; link += CHAIN) {
            var part = 0.0;
            for (var row = link; row < min(link + CHAIN, rows); row++) {
                let slope = work[place.z + row * shape.y + output];
                if column == shape.x {
                    part += slope;
                } else {
                    part += slope * input(l, start, row, column);
                }
            }
            sum += part;
        }
        let index = select(place.x + output * shape.x + column, place.y + output, column == shape.x);
        step_weight(index, sum, rate.x, rate.y);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var step = 0u; step < params.steps; step++) {
        let start = params.first + step * params.batch;
        let rows = min(params.batch, params.samples - start);
        for (var l = 0u; l < params.layers; l++) {
            forward(lane, l, start, rows);
            storageBarrier();
        }
        let merged = workgroup_merge(lane, objective(lane, start, rows));
        if lane == 0u { partials[params.first_partial + step] = merged; }
        storageBarrier();
        for (var back = 1u; TRAINS && back <= params.layers; back++) {
            let l = params.layers - back;
            if l > 0u { backward(lane, l, rows); }
            // The update must not begin before every weight of this layer has been read.
            storageBarrier();
            update(lane, l, start, rows, params.rates[step]);
        }
        storageBarrier();
        // Lane 0 must have read workgroup_partials before the next step's merge overwrites them.
        workgroupBarrier();
    }
}
