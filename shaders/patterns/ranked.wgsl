// The ranked pattern: the items of a list are sorted, and an item's result depends on how many items of either label precede
// it. The loss gives decode_target, an item's sort key (rank_key), the score with that key (key_score_bits) and an item's
// result (item_result). Equal keys keep the order of the list.
//
// Lists are sorted by merging entries, an item's key and index each. A lane sorts EACH entries. Then sorted runs are merged
// in pairs: each lane writes EACH entries of the merged run, and finds by bisection where they begin in both runs. Short
// lists fit a tile of workgroup memory, one or several together. A longer list takes several dispatches: STEP_SORT sorts its
// tiles; in STEP_SPLIT a lane finds which entries form a tile of a merged run; in STEP_MERGE a workgroup merges them, from
// one half of the scratch into the other; STEP_COUNT adds up the tiles' positives; STEP_FINISH computes losses and gradients,
// one or several sorted tiles per workgroup. No atomics, same order every time.

// One kernel per step: a single kernel for all took llvmpipe 9 seconds to compile.
override STEP: u32 = 0u;
const STEP_WHOLE: u32 = 0u;
const STEP_SORT: u32 = 1u;
const STEP_SPLIT: u32 = 2u;
const STEP_MERGE: u32 = 3u;
const STEP_COUNT: u32 = 4u;
const STEP_FINISH: u32 = 5u;

// Items per lane and per workgroup.
const EACH: u32 = 4u;
const TILE: u32 = EACH * WORKGROUP;

// x: the item's key. y: twice its index in the list, plus 1 for a positive item.
alias Entry = vec2<u32>;

// Beyond the end of a list; comes after all items.
const NO_ENTRY: Entry = Entry(0xffffffffu, 0xffffffffu);

// The number of items before an item, by label.
struct Before {
    positives: u32,
    negatives: u32,
}

fn is_positive(entry: Entry) -> bool { return (entry.y & 1u) == 1u; }
fn is_item(entry: Entry) -> bool { return entry.y != NO_ENTRY.y; }
fn entry_less(a: Entry, b: Entry) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }

fn entry_flags(entry: Entry) -> u32 {
    if !is_item(entry) { return 0u; }
    let bits = key_score_bits(entry.x, is_positive(entry));
    return select(0u, ROW_NAN, real_is_nan(real_from_bits(bits))) | select(0u, ROW_WILD, is_wild(bits));
}

fn entry_at(list: u32, index: u32) -> Entry {
    if list >= params.samples || index >= params.columns { return NO_ENTRY; }
    let element = list * params.columns + index;
    let positive = decode_target(bitcast<u32>(label_at(element + params.targets_shift))).value > 0;
    return Entry(rank_key(score_bits(element + params.scores_shift), positive), 2u * index + u32(positive));
}

var<workgroup> tile: array<Entry, TILE>;

alias Entries = array<Entry, EACH>;

fn put_in_order(entries: ptr<function, Entries>, first: u32, second: u32) {
    let a = (*entries)[first];
    let b = (*entries)[second];
    if entry_less(b, a) {
        (*entries)[first] = b;
        (*entries)[second] = a;
    }
}

fn own_entries(lane: u32) -> Entries {
    let first = EACH * lane;
    return Entries(tile[first], tile[first + 1u], tile[first + 2u], tile[first + 3u]);
}

fn put_own_entries(lane: u32, entries: Entries) {
    let first = EACH * lane;
    tile[first] = entries[0];
    tile[first + 1u] = entries[1];
    tile[first + 2u] = entries[2];
    tile[first + 3u] = entries[3];
}

// Two sorted runs; the second begins where the first ends.
struct Runs {
    first: u32,
    second: u32,
    end: u32,
}

fn sorted_entry(in_tile: bool, i: u32) -> Entry {
    if in_tile { return tile[i]; }
    return scratch[i];
}

// How many of the smallest `count` entries of two runs come from the first run.
fn taken_from_first(in_tile: bool, runs: Runs, count: u32) -> u32 {
    var low = count - min(count, runs.end - runs.second);
    var high = min(count, runs.second - runs.first);
    for (var step = 0u; step < 32u; step++) {
        if low >= high { break; }
        let middle = (low + high) / 2u;
        let other = sorted_entry(in_tile, runs.second + count - 1u - middle);
        if entry_less(sorted_entry(in_tile, runs.first + middle), other) { low = middle + 1u; } else { high = middle; }
    }
    return low;
}

// EACH entries of the merge of two runs of the tile, from position `count` on.
fn merged_entries(runs: Runs, count: u32) -> Entries {
    let taken = taken_from_first(true, runs, count);
    var i = runs.first + taken;
    var j = runs.second + count - taken;
    var a = tile[min(i, TILE - 1u)];
    var b = tile[min(j, TILE - 1u)];
    var merged: Entries;
    for (var k = 0u; k < EACH; k++) {
        if j >= runs.end || (i < runs.second && entry_less(a, b)) {
            merged[k] = a;
            i += 1u;
            a = tile[min(i, TILE - 1u)];
        } else {
            merged[k] = b;
            j += 1u;
            b = tile[min(j, TILE - 1u)];
        }
    }
    return merged;
}

// Sorts the tile's entries in groups of `length`, a power of two and at least EACH. Called by every lane of the workgroup,
// after a barrier. Returns the lane's entries; the tile itself stays as it was before the last merge.
fn sorted_entries(lane: u32, length: u32) -> Entries {
    var own = own_entries(lane);
    put_in_order(&own, 0u, 1u);
    put_in_order(&own, 2u, 3u);
    put_in_order(&own, 0u, 2u);
    put_in_order(&own, 1u, 3u);
    put_in_order(&own, 1u, 2u);
    for (var run = EACH; run < length; run *= 2u) {
        put_own_entries(lane, own);
        workgroupBarrier();
        let count = EACH * lane % (2u * run);
        let first = EACH * lane - count;
        own = merged_entries(Runs(first, first + run, first + 2u * run), count);
        workgroupBarrier();
    }
    return own;
}

var<workgroup> lane_sums: array<u32, 2u * WORKGROUP>;

// The sum over a team's lanes up to and including this one, and over all of them.
struct Scan {
    up_to: u32,
    total: u32,
}

// Called by every lane of the workgroup, with a barrier between two calls.
fn team_scan(lane: u32, own: u32) -> Scan {
    let member = lane % params.lanes;
    var sum = own;
    var at = 0u;
    lane_sums[lane] = sum;
    workgroupBarrier();
    for (var stride = 1u; stride < params.lanes; stride *= 2u) {
        if member >= stride { sum += lane_sums[at + lane - stride]; }
        at = WORKGROUP - at;
        lane_sums[at + lane] = sum;
        workgroupBarrier();
    }
    return Scan(sum, lane_sums[at + lane - member + params.lanes - 1u]);
}

// The layout of the scratch: entries per list in a half, and where the splits, the tiles' and the lists' results begin.
fn tiled_items() -> u32 { return params.tiles * TILE; }
fn half_start(half: u32, list: u32) -> u32 { return (half * params.samples + list) * tiled_items(); }
fn splits_start() -> u32 { return half_start(2u, 0u); }
fn tiles_start() -> u32 { return splits_start() + params.samples * params.tiles; }
fn lists_start() -> u32 { return tiles_start() + params.samples * params.tiles; }

fn sort_step(lane: u32, group: u32) {
    let list = group / params.tiles;
    let first = group % params.tiles * TILE;
    for (var slot = lane; slot < TILE; slot += WORKGROUP) { tile[slot] = entry_at(list, first + slot); }
    workgroupBarrier();
    let own = sorted_entries(lane, TILE);
    let start = half_start(0u, list) + first + EACH * lane;
    for (var k = 0u; k < EACH; k++) { scratch[start + k] = own[k]; }
}

// A workgroup's tile of a merged run: the position of its first entry in that run, and the two runs that are merged.
struct MergedTile {
    count: u32,
    runs: Runs,
}

fn merged_tile(group: u32) -> MergedTile {
    let start = half_start(params.half_read, group / params.tiles);
    let number = group % params.tiles * TILE;
    // No run goes beyond the list's last tile.
    let first = number / params.run / 2u * 2u * params.run;
    let second = min(first + params.run, tiled_items());
    let end = min(second + params.run, tiled_items());
    return MergedTile(number - first, Runs(start + first, start + second, start + end));
}

fn split_step(lane: u32, group: u32) {
    let tile_group = group * WORKGROUP + lane;
    if tile_group >= params.samples * params.tiles { return; }
    let to = merged_tile(tile_group);
    scratch[splits_start() + tile_group].x = taken_from_first(false, to.runs, to.count);
}

fn merge_step(lane: u32, group: u32) {
    let to = merged_tile(group);
    let runs = to.runs;
    let taken = scratch[splits_start() + group].x;
    // If the next tile belongs to another run, this tile takes the rest of its run.
    var taken_next = runs.second - runs.first;
    if to.count + TILE < runs.end - runs.first { taken_next = scratch[splits_start() + group + 1u].x; }
    let from_first = taken_next - taken;
    let first = runs.first + taken;
    let second = runs.second + (to.count - taken);
    for (var slot = lane; slot < TILE; slot += WORKGROUP) {
        tile[slot] = scratch[select(second + slot - from_first, first + slot, slot < from_first)];
    }
    workgroupBarrier();
    let own = merged_entries(Runs(0u, from_first, TILE), EACH * lane);
    let start = half_start(1u - params.half_read, group / params.tiles) + group % params.tiles * TILE + EACH * lane;
    for (var k = 0u; k < EACH; k++) { scratch[start + k] = own[k]; }
    // The last merge records a tile's positives and flags.
    if 2u * params.run < tiled_items() { return; }
    let flags = flags_of(own);
    // Packs three counts: at most 1024 positives, 256 lanes with a NaN and 256 lanes with a wild score.
    let knows_nan = u32((flags & ROW_NAN) != 0u);
    let knows_wild = u32((flags & ROW_WILD) != 0u);
    let total = team_scan(lane, positives_of(own) | (knows_nan << 12u) | (knows_wild << 22u)).total;
    if lane != 0u { return; }
    let found = select(0u, ROW_NAN, ((total >> 12u) & 0x3ffu) != 0u) | select(0u, ROW_WILD, (total >> 22u) != 0u);
    scratch[tiles_start() + group] = Entry(total & 0xfffu, found);
}

// Adds up a list's tiles: each tile's count becomes the number of positives before it.
fn count_step(lane: u32, list: u32) {
    let start = tiles_start() + list * params.tiles;
    var positives = 0u;
    var flags = 0u;
    for (var first = 0u; first < params.tiles; first += WORKGROUP) {
        var own = Entry(0u, 0u);
        if first + lane < params.tiles { own = scratch[start + first + lane]; }
        let scan = team_scan(lane, own.x);
        if first + lane < params.tiles { scratch[start + first + lane].x = positives + scan.up_to - own.x; }
        positives += scan.total;
        flags |= own.y;
        workgroupBarrier();
    }
    let row = team_merge(lane, Row(sum_zero(), flags));
    if lane == 0u { scratch[lists_start() + list] = Entry(positives, row.flags); }
}

struct Found {
    value: Sum,
    slopes: array<Real, EACH>,
    flags: u32,
}

// Computes the results from the list's number of positives and the items before the first entry.
fn found_in(entries: Entries, all_positives: u32, before_first: Before) -> Found {
    var found: Found;
    found.value = sum_zero();
    var before = before_first;
    for (var k = 0u; k < EACH; k++) {
        let entry = entries[k];
        if !is_item(entry) { continue; }
        let positive = is_positive(entry);
        let score = real_from_bits(key_score_bits(entry.x, positive));
        if !real_is_nan(score) {
            let result = item_result(score, positive, all_positives, before);
            found.value = sum_merge(found.value, result.value);
            found.slopes[k] = result.slope;
            found.flags |= result.flags;
        }
        before.positives += u32(positive);
        before.negatives += u32(!positive);
    }
    return found;
}

fn positives_of(entries: Entries) -> u32 {
    var positives = 0u;
    for (var k = 0u; k < EACH; k++) { positives += u32(is_item(entries[k]) && is_positive(entries[k])); }
    return positives;
}

fn flags_of(entries: Entries) -> u32 {
    var flags = 0u;
    for (var k = 0u; k < EACH; k++) { flags |= entry_flags(entries[k]); }
    return flags;
}

// For lists that fit a tile.
fn whole_step(lane: u32, group: u32) {
    let teams = WORKGROUP / params.lanes;
    let member = lane % params.lanes;
    // Slots per list in the tile, and the first slot of the lane's list.
    let length = EACH * params.lanes;
    let own_start = EACH * (lane - member);
    var partial = partial_zero();
    for (var turn = 0u; turn < params.samples_per_team; turn++) {
        let first_list = (group * params.samples_per_team + turn) * teams;
        let list = first_list + lane / params.lanes;
        let sample = read_sample(list, member == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        for (var slot = lane; slot < TILE; slot += WORKGROUP) {
            note_bad_target(first_list + slot / length, slot % length, &partial);
            tile[slot] = entry_at(first_list + slot / length, slot % length);
        }
        workgroupBarrier();
        let entries = sorted_entries(lane, length);
        let positives = positives_of(entries);
        let scan = team_scan(lane, positives);
        let before = scan.up_to - positives;
        let found = found_in(entries, scan.total, Before(before, EACH * member - before));
        let row = team_merge(lane, Row(found.value, found.flags | flags_of(entries)));
        let value = list_value(row);
        if WRITE_GRADIENT {
            // Back to the order of the list.
            for (var k = 0u; k < EACH; k++) {
                if !is_item(entries[k]) { continue; }
                let bits = gradient_bits(sample, found.slopes[k], real_is_nan(value), false);
                tile[own_start + entries[k].y / 2u].x = bits;
            }
            workgroupBarrier();
            for (var slot = lane; slot < TILE; slot += WORKGROUP) {
                let slot_list = first_list + slot / length;
                let index = slot % length;
                if slot_list < params.samples && index < params.columns {
                    gradient[slot_list * params.columns + index + params.gradient_shift] = tile[slot].x;
                }
            }
        }
        if member == 0u && sample.kept { take_list(list, sample, row, value, true, &partial); }
        workgroupBarrier();
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}

// Computes losses and gradients of this workgroup's tiles of a sorted list.
fn finish_step(lane: u32, group: u32) {
    let groups_a_list = (params.tiles + params.tiles_per_group - 1u) / params.tiles_per_group;
    let list = group / groups_a_list;
    let first_tile = group % groups_a_list * params.tiles_per_group;
    var partial = partial_zero();
    let sample = read_sample(list, lane == 0u && first_tile == 0u, &partial);
    if !ONLY_WEIGHTS {
        let known = scratch[lists_start() + list];
        var row = Row(sum_zero(), known.y);
        let end = min(first_tile + params.tiles_per_group, params.tiles);
        for (var number = first_tile; number < end; number++) {
            let first = number * TILE;
            for (var slot = lane; slot < TILE; slot += WORKGROUP) { note_bad_target(list, first + slot, &partial); }
            let start = half_start(params.half_read, list) + first + EACH * lane;
            let entries = Entries(scratch[start], scratch[start + 1u], scratch[start + 2u], scratch[start + 3u]);
            let positives = positives_of(entries);
            let before = scratch[tiles_start() + list * params.tiles + number].x + team_scan(lane, positives).up_to - positives;
            let found = found_in(entries, known.x, Before(before, first + EACH * lane - before));
            row = row_merge(row, Row(found.value, found.flags));
            if WRITE_GRADIENT {
                for (var k = 0u; k < EACH; k++) {
                    if !is_item(entries[k]) { continue; }
                    let bits = gradient_bits(sample, found.slopes[k], (known.y & ROW_NAN) != 0u, false);
                    gradient[list * params.columns + entries[k].y / 2u + params.gradient_shift] = bits;
                }
            }
            workgroupBarrier();
        }
        row = team_merge(lane, row);
        if lane == 0u && sample.kept {
            take_list(list, sample, row, list_value(row), groups_a_list == 1u, &partial);
        }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    if STEP == STEP_WHOLE {
        whole_step(lane, group);
    } else if STEP == STEP_SORT {
        sort_step(lane, group);
    } else if STEP == STEP_SPLIT {
        split_step(lane, group);
    } else if STEP == STEP_MERGE {
        merge_step(lane, group);
    } else if STEP == STEP_COUNT {
        count_step(lane, group);
    } else {
        finish_step(lane, group);
    }
}
