// The elementwise pattern: one score (or the difference of a pair of scores) and one target a sample. The loss gives
// value_and_slope(score, sign).
//
// Each lane adds chains of four samples, params.chains of them make a round, and it takes params.rounds; then the workgroup's
// tree takes over: at most 4 + 16 + 16 + 12 roundings on the way from a loss to its partial sum. The four samples of a chain are
// loaded together before the first is looked at, so that their loads are under way at once.
//
// params.neighbours lanes side by side take samples side by side and go through a stretch of their own from its beginning to its
// end, which is what memory likes best also where a vector of lanes runs to its end before the next one starts.

struct Params {
    // Samples in this dispatch and workgroups in a row of the grid.
    samples: u32,
    groups_in_row: u32,
    groups: u32,
    // Of each lane.
    chains: u32,
    rounds: u32,
    // Lanes that take samples side by side: a power of two.
    neighbours: u32,
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

// Samples of a chain. walk_chain visits them one by one.
const CHAIN: u32 = 4u;

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

// The words that hold a sample.
struct Stored {
    score: u32,
    second_score: u32,
    label: u32,
    weight: u32,
}

// Samples beyond the last are loaded as the last, and left out later.
fn load(sample: u32) -> Stored {
    let i = min(sample, params.samples - 1u);
    var stored = Stored(0u, 0u, 0u, 0u);
    if HAS_WEIGHTS { stored.weight = sample_weights[i + params.weights_shift]; }
    if ONLY_WEIGHTS { return stored; }
    stored.label = targets[target_word(i + params.targets_shift)];
    stored.score = scores[score_word(i + params.scores_shift)];
    if PAIRS { stored.second_score = second_scores[score_word(i + params.second_shift)]; }
    return stored;
}

// The sums of a chain or a round.
struct Sums {
    loss: Sum,
    weight: Sum,
}

fn sums_zero() -> Sums { return Sums(sum_zero(), sum_zero()); }

// One sample, added to the chain and to what else the lane knows; its outputs are written. Selects in the place of branches:
// nearly all lanes do the same.
fn visit(i: u32, stored: Stored, sums: ptr<function, Sums>, partial: ptr<function, Partial>) {
    let is_inside = i < params.samples;
    var weight = real(1.0);
    var is_counted = is_inside;
    var is_wild_sample = false;
    if HAS_WEIGHTS {
        let is_bad = is_bad_weight(stored.weight);
        is_counted = is_inside && !is_bad;
        (*partial).bad_weight =
            bad_first((*partial).bad_weight, Bad(select(NONE_BAD, i, is_inside && is_bad), stored.weight));
        is_wild_sample = is_wild(stored.weight);
        weight = real_from_bits(stored.weight);
        (*sums).weight = sum_add((*sums).weight, select(real(0.0), weight, is_counted));
    }
    (*partial).count += u32(is_counted);
    if ONLY_WEIGHTS {
        (*partial).flags |= select(0u, FLAG_WILD, is_counted && is_wild_sample);
        return;
    }
    let target_bits = widen_target(stored.label, i + params.targets_shift);
    let label = read_target(target_bits);
    (*partial).bad_target =
        bad_first((*partial).bad_target, Bad(select(NONE_BAD, i, is_counted && label.bad), target_bits));
    let is_kept = is_counted && !label.bad;
    let score_bits = widen_score(stored.score, i + params.scores_shift);
    is_wild_sample |= is_wild(score_bits);
    var score = real_from_bits(score_bits);
    if PAIRS {
        let second_bits = widen_score(stored.second_score, i + params.second_shift);
        is_wild_sample |= is_wild(second_bits);
        score = real_subtract(score, real_from_bits(second_bits));
    }
    (*partial).flags |= select(0u, FLAG_WILD, is_counted && is_wild_sample);
    let point = value_and_slope(score, label.sign);
    let loss = select(real(0.0), real_multiply(point.value, weight), is_kept);
    (*sums).loss = sum_add((*sums).loss, loss);
    (*partial).violating += u32(is_kept && point.violating);
    (*partial).correct += u32(is_kept && point.correct);
    if WRITE_LOSSES && is_kept { losses[i + params.losses_shift] = real_to_bits(loss); }
    if WRITE_GRADIENT && is_kept {
        let slope = real_multiply(point.slope, gradient_coefficient(weight));
        gradient[i + params.gradient_shift] = real_to_bits(slope);
    }
}

fn walk_chain(first: u32, sums: ptr<function, Sums>, partial: ptr<function, Partial>) {
    let second = first + params.neighbours;
    let third = second + params.neighbours;
    let fourth = third + params.neighbours;
    let of_first = load(first);
    let of_second = load(second);
    let of_third = load(third);
    let of_fourth = load(fourth);
    var own = sums_zero();
    visit(first, of_first, &own, partial);
    visit(second, of_second, &own, partial);
    visit(third, of_third, &own, partial);
    visit(fourth, of_fourth, &own, partial);
    *sums = Sums(sum_merge((*sums).loss, own.loss), sum_merge((*sums).weight, own.weight));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.groups_in_row + workgroup.x;
    if group >= params.groups { return; }
    let stretch = params.rounds * params.chains * CHAIN * params.neighbours;
    var next = (group * (WORKGROUP / params.neighbours) + lane / params.neighbours) * stretch + lane % params.neighbours;
    var partial = partial_zero();
    for (var round = 0u; round < params.rounds; round++) {
        var sums = sums_zero();
        for (var chain = 0u; chain < params.chains; chain++) {
            walk_chain(next, &sums, &partial);
            next += CHAIN * params.neighbours;
        }
        partial.loss = sum_merge(partial.loss, sums.loss);
        partial.weight = sum_merge(partial.weight, sums.weight);
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
