// The segments pattern: the items of a list are compared with each other. The loss gives decode_target; Seen and seen_zero,
// what a lane remembers of the list; watch, which every lane calls for each item; see, which a lane with an item of its own
// calls for each pair; and is_undefined, which reads Seen at the end.
//
// Each lane holds an item and meets all items of its list, tile by tile through workgroup memory: no sort, no atomics, and
// the same order every time. A list with more items than a workgroup has lanes takes several workgroups.

struct Item {
    score: Real,
    target_value: i32,
}

// Sums of eight pairs.
struct Chain {
    value: Sum,
    slope: Sum,
}

// One item of a list; ABSENT beyond the end.
fn item_at(list: u32, index: u32) -> Item {
    if list >= params.samples || index >= params.columns { return Item(real(0.0), ABSENT); }
    let element = list * params.columns + index;
    let decoded = decode_target(bitcast<u32>(label_at(element + params.targets_shift)));
    return Item(real_from_bits(score_bits(element + params.scores_shift)), decoded.value);
}

var<workgroup> tile_scores: array<u32, WORKGROUP>;
var<workgroup> tile_targets: array<i32, WORKGROUP>;

fn meet(own: Item, slot: u32, seen: ptr<function, Seen>, chain: ptr<function, Chain>) -> u32 {
    let other = Item(real_from_bits(tile_scores[slot]), tile_targets[slot]);
    if other.target_value == ABSENT { return 0u; }
    if is_wild(tile_scores[slot]) { return ROW_WILD; }
    if real_is_nan(other.score) { return ROW_NAN; }
    // Lanes whose own item is padding watch too: a workgroup that holds nothing else must also find out that the list is
    // undefined.
    watch(other, seen);
    if own.target_value == ABSENT || real_is_nan(own.score) { return 0u; }
    return see(own, other, chain);
}

// Compares the lane's item with all items of the list. Called by every lane of the workgroup.
fn meet_all(lane: u32, member: u32, list: u32, own: Item) -> ItemResult {
    var values = cascade_zero();
    var slopes = cascade_zero();
    var seen = seen_zero();
    var flags = 0u;
    for (var first = 0u; first < params.columns; first += params.lanes) {
        let loaded = item_at(list, first + member);
        tile_scores[lane] = real_to_bits(loaded.score);
        tile_targets[lane] = loaded.target_value;
        workgroupBarrier();
        let base = lane - member;
        let end = min(params.lanes, params.columns - first);
        for (var k = 0u; k < end; k += STRIDE) {
            var chain = Chain(sum_zero(), sum_zero());
            let slot = base + k;
            flags |= meet(own, slot, &seen, &chain);
            if k + 1u < end { flags |= meet(own, slot + 1u, &seen, &chain); }
            if k + 2u < end { flags |= meet(own, slot + 2u, &seen, &chain); }
            if k + 3u < end { flags |= meet(own, slot + 3u, &seen, &chain); }
            if k + 4u < end { flags |= meet(own, slot + 4u, &seen, &chain); }
            if k + 5u < end { flags |= meet(own, slot + 5u, &seen, &chain); }
            if k + 6u < end { flags |= meet(own, slot + 6u, &seen, &chain); }
            if k + 7u < end { flags |= meet(own, slot + 7u, &seen, &chain); }
            values = cascade_add(values, chain.value);
            slopes = cascade_add(slopes, chain.slope);
        }
        workgroupBarrier();
    }
    if is_undefined(seen) { flags |= ROW_NAN; }
    if own.target_value == ABSENT { return ItemResult(sum_zero(), real(0.0), flags); }
    return ItemResult(cascade_total(values), sum_to_real(cascade_total(slopes)), flags);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    let teams = WORKGROUP / params.lanes;
    let member = lane % params.lanes;
    var partial = partial_zero();
    for (var turn = 0u; turn < params.samples_per_team; turn++) {
        // Neighbouring teams take neighbouring lists; the workgroups of a long list follow each other.
        let unit = (group * params.samples_per_team + turn) * teams + lane / params.lanes;
        let list = unit / params.tiles;
        let tile = unit % params.tiles;
        let sample = read_sample(list, member == 0u && tile == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        let index = tile * params.lanes + member;
        let own = item_at(list, index);
        let exists = list < params.samples && index < params.columns;
        note_bad_target(list, index, &partial);
        let result = meet_all(lane, member, list, own);
        let row = team_merge(lane, Row(result.value, result.flags));
        let value = list_value(row);
        if WRITE_GRADIENT && exists {
            let bits = gradient_bits(sample, result.slope, real_is_nan(value), own.target_value == ABSENT);
            gradient[list * params.columns + index + params.gradient_shift] = bits;
        }
        if member == 0u && sample.kept { take_list(list, sample, row, value, params.tiles == 1u, &partial); }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
