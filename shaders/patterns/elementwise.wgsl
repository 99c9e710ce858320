// The elementwise pattern: one score (or the difference of a pair of scores) and one target per sample. The loss gives
// value_and_slope(score, sign).
//
// Each lane adds chains of four samples: params.chains chains make a round, and each lane takes params.rounds rounds. Then
// the workgroup's tree adds the lanes: at most 4 + 16 + 16 + 12 roundings from a loss to its partial sum (34 instead of 12
// with subgroups of 8 lanes, fewer with larger ones). A chain's samples lie side by side: one load, one store.
//
// params.neighbours neighbouring lanes take neighbouring chains and walk a stretch of their own from beginning to end. Memory
// is fastest this way, even where a vector of lanes runs to its end before the next one starts. Where four words are one cell
// (shaders/common/loads_in_quads.wgsl), every shift is a multiple of four and the outputs have room for whole quads.

// Samples per chain.
const CHAIN: u32 = 4u;

// A sample's score is scores[i] - second_scores[i].
override PAIRS: bool = false;

// The inputs of a chain's samples, each as 32 bits.
struct Stored {
    scores: vec4<u32>,
    second_scores: vec4<u32>,
    labels: vec4<u32>,
    weights: vec4<u32>,
}

fn score_at(i: u32) -> u32 {
    let word = score_word(i);
    return widen_score(cell_word(scores[cell_index(word)], word), i);
}

fn second_score_at(i: u32) -> u32 {
    let word = score_word(i);
    return widen_score(cell_word(second_scores[cell_index(word)], word), i);
}

fn target_at(i: u32) -> u32 {
    let word = target_word(i);
    return widen_target(cell_word(targets[cell_index(word)], word), i);
}

// Loads four elements from i on. Where four words are one cell, i is a multiple of four: narrow elements lie in one word, or,
// if halves, in two words of one cell.
fn load_scores(i: u32) -> vec4<u32> {
    if SCORE_TYPE != 0u && CELLS_A_QUAD == 1u {
        let word = score_word(i);
        let cell = scores[cell_index(word)];
        return widen_four_scores(cell_word(cell, word), cell_word(cell, word + 1u));
    }
    if SCORE_TYPE != 0u { return vec4<u32>(score_at(i), score_at(i + 1u), score_at(i + 2u), score_at(i + 3u)); }
    return cells_quad(
        scores[cell_index(i)],
        scores[cell_index(i + 1u)],
        scores[cell_index(i + 2u)],
        scores[cell_index(i + 3u)],
    );
}

fn load_second_scores(i: u32) -> vec4<u32> {
    if SCORE_TYPE != 0u && CELLS_A_QUAD == 1u {
        let word = score_word(i);
        let cell = second_scores[cell_index(word)];
        return widen_four_scores(cell_word(cell, word), cell_word(cell, word + 1u));
    }
    if SCORE_TYPE != 0u {
        return vec4<u32>(
            second_score_at(i),
            second_score_at(i + 1u),
            second_score_at(i + 2u),
            second_score_at(i + 3u),
        );
    }
    return cells_quad(
        second_scores[cell_index(i)],
        second_scores[cell_index(i + 1u)],
        second_scores[cell_index(i + 2u)],
        second_scores[cell_index(i + 3u)],
    );
}

fn widen_four_scores(first: u32, second: u32) -> vec4<u32> {
    return vec4<u32>(
        widen_score(first, 0u),
        widen_score(first, 1u),
        widen_score(second, 0u),
        widen_score(second, 1u),
    );
}

fn load_targets(i: u32) -> vec4<u32> {
    if TARGET_TYPE >= 2u && CELLS_A_QUAD == 1u {
        let word = cell_word(targets[cell_index(target_word(i))], target_word(i));
        return vec4<u32>(
            widen_target(word, i),
            widen_target(word, i + 1u),
            widen_target(word, i + 2u),
            widen_target(word, i + 3u),
        );
    }
    if TARGET_TYPE >= 2u { return vec4<u32>(target_at(i), target_at(i + 1u), target_at(i + 2u), target_at(i + 3u)); }
    return cells_quad(
        targets[cell_index(i)],
        targets[cell_index(i + 1u)],
        targets[cell_index(i + 2u)],
        targets[cell_index(i + 3u)],
    );
}

fn load_weights(i: u32) -> vec4<u32> {
    return cells_quad(
        sample_weights[cell_index(i)],
        sample_weights[cell_index(i + 1u)],
        sample_weights[cell_index(i + 2u)],
        sample_weights[cell_index(i + 3u)],
    );
}

// A chain beyond the last loads the last one; its samples are left out later.
fn load(chain: u32) -> Stored {
    let i = min(chain, (params.samples - 1u) / CHAIN) * CHAIN;
    var stored = Stored(vec4<u32>(), vec4<u32>(), vec4<u32>(), vec4<u32>());
    if HAS_WEIGHTS { stored.weights = load_weights(i + params.weights_shift); }
    if ONLY_WEIGHTS { return stored; }
    stored.labels = load_targets(i + params.targets_shift);
    stored.scores = load_scores(i + params.scores_shift);
    if PAIRS { stored.second_scores = load_second_scores(i + params.second_shift); }
    return stored;
}

struct Sums {
    loss: Sum,
    weight: Sum,
}

fn sums_zero() -> Sums { return Sums(sum_zero(), sum_zero()); }

struct Written {
    loss: Real,
    slope: Real,
}

// Adds sample i, number k of its chain. Selects replace branches, because nearly all lanes do the same.
fn visit(i: u32, k: u32, stored: Stored, sums: ptr<function, Sums>, partial: ptr<function, Partial>) -> Written {
    let is_inside = i < params.samples;
    var weight = real(1.0);
    var is_counted = is_inside;
    var is_wild_sample = false;
    if HAS_WEIGHTS {
        let weight_bits = stored.weights[k];
        let is_bad = is_bad_weight(weight_bits);
        is_counted = is_inside && !is_bad;
        (*partial).bad_weight =
            bad_first((*partial).bad_weight, Bad(select(NONE_BAD, i, is_inside && is_bad), weight_bits));
        is_wild_sample = is_wild(weight_bits);
        weight = real_from_bits(weight_bits);
        (*sums).weight = sum_add((*sums).weight, select(real(0.0), weight, is_counted));
    }
    (*partial).count += u32(is_counted);
    if ONLY_WEIGHTS {
        (*partial).flags |= select(0u, FLAG_WILD, is_counted && is_wild_sample);
        return Written(real(0.0), real(0.0));
    }
    let target_bits = stored.labels[k];
    let label = read_target(target_bits);
    (*partial).bad_target =
        bad_first((*partial).bad_target, Bad(select(NONE_BAD, i, is_counted && label.bad), target_bits));
    let is_kept = is_counted && !label.bad;
    is_wild_sample |= is_wild(stored.scores[k]);
    var score = real_from_bits(stored.scores[k]);
    if PAIRS {
        is_wild_sample |= is_wild(stored.second_scores[k]);
        score = real_subtract(score, real_from_bits(stored.second_scores[k]));
    }
    (*partial).flags |= select(0u, FLAG_WILD, is_counted && is_wild_sample);
    let point = value_and_slope(score, label.sign);
    let loss = select(real(0.0), real_multiply(point.value, weight), is_kept);
    (*sums).loss = sum_add((*sums).loss, loss);
    (*partial).active_count += u32(is_kept && point.is_active);
    (*partial).correct += u32(is_kept && point.correct);
    var slope = real(0.0);
    if WRITE_GRADIENT { slope = real_multiply(point.slope, gradient_coefficient(weight)); }
    return Written(loss, slope);
}

fn walk_chain(chain: u32, sums: ptr<function, Sums>, partial: ptr<function, Partial>) {
    let stored = load(chain);
    let first = chain * CHAIN;
    var own = sums_zero();
    var loss_bits = vec4<u32>();
    var slope_bits = vec4<u32>();
    for (var k = 0u; k < CHAIN; k++) {
        let written = visit(first + k, k, stored, &own, partial);
        loss_bits[k] = real_to_bits(written.loss);
        slope_bits[k] = real_to_bits(written.slope);
    }
    *sums = Sums(sum_merge((*sums).loss, own.loss), sum_merge((*sums).weight, own.weight));
    for (var k = 0u; k < CELLS_A_QUAD && first + k < params.samples; k++) {
        if WRITE_LOSSES { losses[cell_index(first + k + params.losses_shift)] = quad_cell(loss_bits, k); }
        if WRITE_GRADIENT { gradient[cell_index(first + k + params.gradient_shift)] = quad_cell(slope_bits, k); }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    let stretch = params.rounds * params.chains * params.neighbours;
    // The index of a chain; the index of its first sample is CHAIN times as large.
    var next = (group * (WORKGROUP / params.neighbours) + lane / params.neighbours) * stretch + lane % params.neighbours;
    var partial = partial_zero();
    for (var round = 0u; round < params.rounds; round++) {
        var sums = sums_zero();
        for (var chain = 0u; chain < params.chains; chain++) {
            walk_chain(next, &sums, &partial);
            next += params.neighbours;
        }
        partial.loss = sum_merge(partial.loss, sums.loss);
        partial.weight = sum_merge(partial.weight, sums.weight);
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
