// The elementwise pattern: one score (or the difference of a pair of scores) and one target a sample. The loss gives
// value_and_slope(score, sign).
//
// Each lane adds params.inner terms in a row and params.outer such rows, then the workgroup's tree takes over: at most
// 4 + 16 + 8 roundings on the way from a loss to its partial sum.

struct Params {
    // Samples in this dispatch and workgroups in a row of the grid.
    samples: u32,
    groups_in_row: u32,
    groups: u32,
    // Samples a lane: inner * outer.
    inner: u32,
    outer: u32,
    // Elements between the start of a binding and the first sample.
    scores_shift: u32,
    targets_shift: u32,
    weights_shift: u32,
    losses_shift: u32,
    second_shift: u32,
    gradient_shift: u32,
    margin: f32,
    kink_slope: f32,
    // Of the smooth hinge.
    penalty_gamma: f32,
    penalty_scale: f32,
    // What the gradient of the reduced value is divided by.
    divisor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> sample_weights: array<u32>;
@group(0) @binding(4) var<storage, read> second_scores: array<u32>;
@group(0) @binding(5) var<storage, read_write> losses: array<u32>;
@group(0) @binding(6) var<storage, read_write> gradient: array<u32>;
@group(0) @binding(7) var<storage, read_write> partials: array<Partial>;

override HAS_WEIGHTS: bool = false;
override WRITE_LOSSES: bool = false;
override WRITE_GRADIENT: bool = false;
// Only counts, weights and bad elements: what a weighted mean's gradient must know beforehand.
override ONLY_WEIGHTS: bool = false;
// A sample's score is scores[i] - second_scores[i].
override PAIRS: bool = false;

// One sample, added to the lane's partial; its outputs are written.
fn visit(i: u32, partial: ptr<function, Partial>) {
    var weight = real(1.0);
    if HAS_WEIGHTS {
        let weight_bits = sample_weights[i + params.weights_shift];
        if is_bad_weight(weight_bits) {
            (*partial).bad_weight = bad_first((*partial).bad_weight, Bad(i, weight_bits));
            return;
        }
        if is_wild(weight_bits) { (*partial).flags |= FLAG_WILD; }
        weight = real_from_bits(weight_bits);
        (*partial).weight = sum_add((*partial).weight, weight);
    }
    (*partial).count += 1u;
    if ONLY_WEIGHTS { return; }
    let target_index = i + params.targets_shift;
    let target_bits = widen_target(targets[target_word(target_index)], target_index);
    let target_value = read_target(target_bits);
    if target_value.bad {
        (*partial).bad_target = bad_first((*partial).bad_target, Bad(i, target_bits));
        return;
    }
    let score_index = i + params.scores_shift;
    let score_bits = widen_score(scores[score_word(score_index)], score_index);
    if is_wild(score_bits) { (*partial).flags |= FLAG_WILD; }
    var score = real_from_bits(score_bits);
    if PAIRS {
        let second_index = i + params.second_shift;
        let second_bits = widen_score(second_scores[score_word(second_index)], second_index);
        if is_wild(second_bits) { (*partial).flags |= FLAG_WILD; }
        score = real_subtract(score, real_from_bits(second_bits));
    }
    let point = value_and_slope(score, target_value.sign);
    let loss = real_multiply(point.value, weight);
    (*partial).loss = sum_add((*partial).loss, loss);
    (*partial).violating += u32(point.violating);
    (*partial).correct += u32(point.correct);
    if WRITE_LOSSES { losses[i + params.losses_shift] = real_to_bits(loss); }
    if WRITE_GRADIENT {
        let slope = real_multiply(point.slope, gradient_coefficient(weight));
        gradient[i + params.gradient_shift] = real_to_bits(slope);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.groups_in_row + workgroup.x;
    if group >= params.groups { return; }
    let first = group * params.inner * params.outer * WORKGROUP + lane;
    var partial = partial_zero();
    for (var outer = 0u; outer < params.outer; outer++) {
        var chain = partial_zero();
        for (var inner = 0u; inner < params.inner; inner++) {
            let i = first + (outer * params.inner + inner) * WORKGROUP;
            if i < params.samples { visit(i, &chain); }
        }
        partial = partial_merge(partial, chain);
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
