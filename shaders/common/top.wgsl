// The params.top largest violations of a row (TOP of shaders/patterns/rows.wgsl), without sorting, since sorting in workgroup
// memory would bound C. A small k is reached rank by rank. For a larger k the key at rank k is found bit by bit, each bit by
// counting: some 33 walks over the row (66 with the gradient) for any k. With k = 5, 4 Mi scores in rows of 64 take an H100
// 228 us by bits and 62 us by ranks.

const HIGHEST_KEY: u32 = 0xffffffffu;
// The largest k that is reached rank by rank.
const FEW: u32 = 16u;

fn top_violation(column: u32, score: Real, sample: Sample) -> Real {
    if column == sample.class_index { return real(0.0); }
    return rival_violation(column, score, sample);
}

fn key_at(column: u32, score: Real, sample: Sample) -> u32 {
    return order_key(real_to_bits(top_violation(column, score, sample)));
}

// A violation in the order of a row: larger keys first, then lower columns. Key 0 stands for none.
struct Ranked {
    key: u32,
    column: u32,
}

fn is_before(a: Ranked, b: Ranked) -> bool { return a.key > b.key || (a.key == b.key && a.column < b.column); }

// Merges the results of two lanes: adds their counts, which are in `key`, or takes the violation that comes first.
fn ranked_merge(a: Ranked, b: Ranked, counts: bool) -> Ranked {
    if counts { return Ranked(a.key + b.key, 0u); }
    if is_before(b, a) { return b; }
    return a;
}

var<workgroup> workgroup_ranked: array<Ranked, MOST_SUBGROUPS>;

// Like team_merge, but for fewer words.
fn team_ranked(lane: u32, ranked: Ranked, counts: bool) -> Ranked {
    var own = ranked;
    let near = min(params.lanes, SUBGROUP_LANES);
    for (var mask = 1u; mask < near; mask *= 2u) {
        own = ranked_merge(own, Ranked(exchanged(own.key, mask), exchanged(own.column, mask)), counts);
    }
    if params.lanes <= SUBGROUP_LANES { return own; }
    let slots = params.lanes / SUBGROUP_LANES;
    let slot = lane / SUBGROUP_LANES;
    if lane % SUBGROUP_LANES == 0u { workgroup_ranked[slot] = own; }
    workgroupBarrier();
    for (var stride = slots / 2u; stride > 0u; stride /= 2u) {
        if slot % slots < stride && lane % SUBGROUP_LANES == 0u {
            workgroup_ranked[slot] = ranked_merge(workgroup_ranked[slot], workgroup_ranked[slot + stride], counts);
        }
        workgroupBarrier();
    }
    let merged = workgroup_ranked[slot / slots * slots];
    workgroupBarrier();
    return merged;
}

// The row's first violation after `last`. Called by every lane of the workgroup.
fn ranked_after(last: Ranked, lane: u32, member: u32, sample: Sample) -> Ranked {
    var first = Ranked(0u, NO_INDEX);
    if sample.kept {
        let quads = quads_of(member, sample.first, sample.first + params.columns);
        for (var quad = quads.next; quad < quads.end; quad += params.lanes) {
            let words = load_quad(quad);
            for (var k = 0u; k < quad_length(); k++) {
                let column = quad * quad_length() + k - sample.first;
                if column >= params.columns { continue; }
                let own = Ranked(key_at(column, real_from_bits(quad_score_bits(words, k)), sample), column);
                if is_before(last, own) && is_before(own, first) { first = own; }
            }
        }
    }
    return team_ranked(lane, first, false);
}

// Counts the violations in columns before `end` with a key from `least` to `most`. Called by every lane of the workgroup.
fn count_keys(lane: u32, member: u32, sample: Sample, least: u32, most: u32, end: u32) -> u32 {
    var count = 0u;
    if sample.kept {
        let columns = min(end, params.columns);
        let quads = quads_of(member, sample.first, sample.first + columns);
        for (var quad = quads.next; quad < quads.end; quad += params.lanes) {
            let words = load_quad(quad);
            for (var k = 0u; k < quad_length(); k++) {
                let column = quad * quad_length() + k - sample.first;
                if column >= columns { continue; }
                let key = key_at(column, real_from_bits(quad_score_bits(words, k)), sample);
                count += u32(least <= key && key <= most);
            }
        }
    }
    return team_ranked(lane, Ranked(count, 0u), true).key;
}

// The violation at rank params.top: its key, and its column if found rank by rank.
fn select_ranked(lane: u32, member: u32, sample: Sample) -> Ranked {
    var last = Ranked(HIGHEST_KEY, 0u);
    if params.top <= FEW {
        for (var rank = 0u; rank < params.top; rank++) { last = ranked_after(last, lane, member, sample); }
        return last;
    }
    // The largest key that at least k violations reach.
    var key = 0u;
    for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
        if count_keys(lane, member, sample, key | bit, HIGHEST_KEY, params.columns) >= params.top { key |= bit; }
    }
    return Ranked(key, NO_INDEX);
}

// The mean of the largest violations as row.value, and what the gradient needs. Called by every lane of the workgroup.
fn select_top(lane: u32, member: u32, sample: Sample, flags: u32) -> Row {
    let ranked = select_ranked(lane, member, sample);
    var above = row_zero();
    if sample.kept {
        var chain = row_zero();
        var length = 0u;
        let quads = quads_of(member, sample.first, sample.first + params.columns);
        for (var quad = quads.next; quad < quads.end; quad += params.lanes) {
            let words = load_quad(quad);
            for (var k = 0u; k < quad_length(); k++) {
                let column = quad * quad_length() + k - sample.first;
                if column >= params.columns { continue; }
                let violation = top_violation(column, real_from_bits(quad_score_bits(words, k)), sample);
                if order_key(real_to_bits(violation)) > ranked.key {
                    // Divides first, so that no sum with a finite mean overflows.
                    chain.value = sum_add(chain.value, real_divide(violation, f32(params.top)));
                    chain.ties += 1u;
                    length += 1u;
                }
                if length == CHAIN {
                    above = row_merge(above, chain);
                    chain = row_zero();
                    length = 0u;
                }
            }
        }
        above = row_merge(above, chain);
    }
    var row = team_merge(lane, above);
    let left = params.top - min(row.ties, params.top);
    let last = real_from_bits(key_bits(ranked.key));
    row.value = sum_add(row.value, real_multiply(real_divide(last, f32(params.top)), real(f32(left))));
    row.best = last;
    row.best_index = left;
    row.flags = flags;
    if !WRITE_GRADIENT { return row; }
    if SPLIT_TIES {
        row.ties = count_keys(lane, member, sample, ranked.key, ranked.key, params.columns);
    } else if params.top <= FEW {
        row.best_index = ranked.column;
    } else {
        // The last column taken among the ties: the largest `end` with fewer than `left` ties before it.
        var end = 0u;
        for (var bit = 0x40000000u; bit > 0u; bit >>= 1u) {
            // Uniform: the same for all rows.
            if bit <= params.columns
                && count_keys(lane, member, sample, ranked.key, ranked.key, end | bit) < left { end |= bit; }
        }
        row.best_index = end;
    }
    return row;
}

// The slope of one column's score; `best` is the penalty of the mean.
fn top_slope(column: u32, score: Real, sample: Sample, row: Row, best: Penalised) -> Real {
    let violation = top_violation(column, score, sample);
    var share = 0.0;
    if real_equal(violation, row.best) {
        if SPLIT_TIES {
            share = f32(row.best_index) / f32(row.ties);
        } else if column <= row.best_index {
            share = 1.0;
        }
    } else if real_less(row.best, violation) {
        share = 1.0;
    }
    if column == sample.class_index { share -= f32(params.top); }
    // A share of 0 in an infinite slope is 0, not NaN.
    if share == 0.0 { return real(0.0); }
    return real_multiply(real_divide(best.slope, f32(params.top)), real(share));
}
