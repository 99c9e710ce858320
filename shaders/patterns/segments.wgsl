// The segments pattern: one list of scores and one list of targets a sample, whose items are compared with each other. The
// loss gives decode_target, what is seen of the items (Seen, seen_zero), by every lane (watch, is_undefined) and by a lane with an item of
// its own (see), and what follows for that (item_result).
//
// Each lane holds an item and meets all items of its list, tile by tile through workgroup memory: no sort, no atomics, and
// the same order every time. params.lanes lanes, a power of two, are a team. A short list has one team, which takes
// params.lists_per_team of them one after the other; a list of more items than a workgroup has lanes takes params.tiles
// workgroups, and the host adds up what they found.

struct Params {
    lists: u32,
    items: u32,
    groups_in_row: u32,
    groups: u32,
    lanes: u32,
    lists_per_team: u32,
    // Workgroups a list.
    tiles: u32,
    scores_shift: u32,
    targets_shift: u32,
    weights_shift: u32,
    losses_shift: u32,
    gradient_shift: u32,
    margin: f32,
    kink_slope: f32,
    // Of the smooth hinge.
    penalty_gamma: f32,
    penalty_scale: f32,
    // What the gradient of the reduced value is divided by.
    divisor: f32,
    // What a list's sum over items is divided by: 1 or L.
    list_divisor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<Cell>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> sample_weights: array<u32>;
@group(0) @binding(4) var<storage, read_write> losses: array<u32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>;
@group(0) @binding(6) var<storage, read_write> partials: array<Partial>;

override HAS_WEIGHTS: bool = false;
override WRITE_LOSSES: bool = false;
override WRITE_GRADIENT: bool = false;
override ONLY_WEIGHTS: bool = false;

// Bits of Row.flags.
const ROW_ACTIVE: u32 = 1u;
const ROW_NAN: u32 = 2u;
const ROW_WILD: u32 = 4u;

// A target that is no item's: padding, or beyond the end of the list.
const ABSENT: i32 = -0x7fffffff;

// What a target means to the loss, ABSENT where it is padding.
struct Decoded {
    value: i32,
    bad: bool,
}

struct Item {
    score: Real,
    target_value: i32,
    index: u32,
}

// Sums of eight pairs.
struct Chain {
    value: Sum,
    slope: Sum,
}

// An item's part of the list's loss, the derivative with respect to its score, and bits of Row.flags.
struct ItemResult {
    value: Sum,
    slope: Real,
    flags: u32,
}

const ROW_SLOTS: u32 = MOST_SUBGROUPS;

// What a team knows of its list.
struct Row {
    value: Sum,
    flags: u32,
}

fn row_merge(a: Row, b: Row) -> Row { return Row(sum_merge(a.value, b.value), a.flags | b.flags); }
fn row_exchanged(row: Row, mask: u32) -> Row {
    return Row(sum_exchanged(row.value, mask), exchanged(row.flags, mask));
}

struct Sample {
    kept: bool,
    weight: Real,
}

// Reads a list's weight, and notes what is bad. `counts` is true for one lane of the list.
fn read_sample(list: u32, counts: bool, partial: ptr<function, Partial>) -> Sample {
    var sample = Sample(false, real(1.0));
    if list >= params.lists { return sample; }
    if HAS_WEIGHTS {
        let weight_bits = sample_weights[list + params.weights_shift];
        if is_bad_weight(weight_bits) {
            (*partial).bad_weight = bad_first((*partial).bad_weight, Bad(list, weight_bits));
            return sample;
        }
        if is_wild(weight_bits) { (*partial).flags |= FLAG_WILD; }
        sample.weight = real_from_bits(weight_bits);
        if counts { (*partial).weight = sum_add((*partial).weight, sample.weight); }
    }
    sample.kept = true;
    if counts { (*partial).count += 1u; }
    return sample;
}

// One item of a list, ABSENT beyond its end.
fn item_at(list: u32, index: u32) -> Item {
    if list >= params.lists || index >= params.items { return Item(real(0.0), ABSENT, index); }
    let element = list * params.items + index;
    let decoded = decode_target(bitcast<u32>(label_at(element + params.targets_shift)));
    return Item(real_from_bits(score_bits(element + params.scores_shift)), decoded.value, index);
}

var<workgroup> tile_scores: array<u32, WORKGROUP>;
var<workgroup> tile_targets: array<i32, WORKGROUP>;

// Meets the item in a slot of the tile.
fn meet(own: Item, slot: u32, index: u32, seen: ptr<function, Seen>, chain: ptr<function, Chain>) -> u32 {
    let other = Item(real_from_bits(tile_scores[slot]), tile_targets[slot], index);
    if other.target_value == ABSENT { return 0u; }
    if is_wild(tile_scores[slot]) { return ROW_WILD; }
    if real_is_nan(other.score) { return ROW_NAN; }
    // Also by lanes without an item: whether the list is undefined is the same for all of its workgroups.
    watch(other, seen);
    if own.target_value == ABSENT || real_is_nan(own.score) { return 0u; }
    return see(own, other, seen, chain);
}

// Meets all items of the list. Called by every lane of the workgroup.
fn meet_all(lane: u32, member: u32, list: u32, own: Item) -> ItemResult {
    var values = cascade_zero();
    var slopes = cascade_zero();
    var seen = seen_zero();
    var flags = 0u;
    for (var first = 0u; first < params.items; first += params.lanes) {
        let loaded = item_at(list, first + member);
        tile_scores[lane] = real_to_bits(loaded.score);
        tile_targets[lane] = loaded.target_value;
        workgroupBarrier();
        let base = lane - member;
        let end = min(params.lanes, params.items - first);
        for (var k = 0u; k < end; k += STRIDE) {
            var chain = Chain(sum_zero(), sum_zero());
            let slot = base + k;
            let index = first + k;
            flags |= meet(own, slot, index, &seen, &chain);
            if k + 1u < end { flags |= meet(own, slot + 1u, index + 1u, &seen, &chain); }
            if k + 2u < end { flags |= meet(own, slot + 2u, index + 2u, &seen, &chain); }
            if k + 3u < end { flags |= meet(own, slot + 3u, index + 3u, &seen, &chain); }
            if k + 4u < end { flags |= meet(own, slot + 4u, index + 4u, &seen, &chain); }
            if k + 5u < end { flags |= meet(own, slot + 5u, index + 5u, &seen, &chain); }
            if k + 6u < end { flags |= meet(own, slot + 6u, index + 6u, &seen, &chain); }
            if k + 7u < end { flags |= meet(own, slot + 7u, index + 7u, &seen, &chain); }
            values = cascade_add(values, chain.value);
            slopes = cascade_add(slopes, chain.slope);
        }
        workgroupBarrier();
    }
    if is_undefined(seen) { flags |= ROW_NAN; }
    if own.target_value == ABSENT { return ItemResult(sum_zero(), real(0.0), flags); }
    var result = item_result(own, seen, cascade_total(values), cascade_total(slopes));
    result.flags |= flags;
    return result;
}

// One lane's element of the gradient.
fn write_gradient(element: u32, sample: Sample, own: Item, slope: Real, undefined: bool) {
    var element_slope = real(0.0);
    if sample.kept && undefined {
        element_slope = row_nan();
    } else if sample.kept && own.target_value != ABSENT {
        let coefficient = real_divide(gradient_coefficient(sample.weight), params.list_divisor);
        element_slope = real_multiply(slope, coefficient);
    }
    gradient[element + params.gradient_shift] = real_to_bits(element_slope);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.groups_in_row + workgroup.x;
    if group >= params.groups { return; }
    let teams = WORKGROUP / params.lanes;
    let member = lane % params.lanes;
    var partial = partial_zero();
    for (var turn = 0u; turn < params.lists_per_team; turn++) {
        // Neighbouring teams take neighbouring lists; the workgroups of a long list follow each other.
        let unit = (group * params.lists_per_team + turn) * teams + lane / params.lanes;
        let list = unit / params.tiles;
        let tile = unit % params.tiles;
        let sample = read_sample(list, member == 0u && tile == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        let index = tile * params.lanes + member;
        let own = item_at(list, index);
        let exists = list < params.lists && index < params.items;
        if exists {
            let element = list * params.items + index;
            let bits = bitcast<u32>(label_at(element + params.targets_shift));
            if decode_target(bits).bad { partial.bad_target = bad_first(partial.bad_target, Bad(element, bits)); }
        }
        let result = meet_all(lane, member, list, own);
        let row = team_merge(lane, Row(result.value, result.flags));
        var value = sum_to_real(row.value);
        if (row.flags & ROW_NAN) != 0u { value = row_nan(); }
        let undefined = real_is_nan(value);
        if WRITE_GRADIENT && exists {
            write_gradient(list * params.items + index, sample, own, result.slope, undefined);
        }
        if member == 0u && sample.kept {
            let loss = real_multiply(real_divide(value, params.list_divisor), sample.weight);
            partial.loss = sum_add(partial.loss, loss);
            partial.violating += u32((row.flags & ROW_ACTIVE) != 0u && !undefined);
            if (row.flags & ROW_WILD) != 0u { partial.flags |= FLAG_WILD; }
            if WRITE_LOSSES && params.tiles == 1u { losses[list + params.losses_shift] = real_to_bits(loss); }
        }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
