// The params.top largest violations of a row (TOP of shaders/patterns/rows.wgsl), without sorting: the violation at rank
// k is found bit by bit, each bit by counting.

const HIGHEST_KEY: u32 = 0xffffffffu;

fn top_violation(column: u32, score: Real, sample: Sample) -> Real {
    if column == sample.class_index { return real(0.0); }
    return rival_violation(column, score, sample);
}

// How many of a row's violations before the end have a key from `least` to `most`. Called by every lane of the workgroup.
fn count_keys(lane: u32, member: u32, sample: Sample, least: u32, most: u32, end: u32) -> u32 {
    var row = row_zero();
    if sample.kept {
        let columns = min(end, params.columns);
        let quads = quads_of(member, sample.first, sample.first + columns);
        for (var quad = quads.next; quad < quads.end; quad += params.lanes) {
            let words = load_quad(quad);
            for (var k = 0u; k < quad_length(); k++) {
                let column = quad * quad_length() + k - sample.first;
                if column >= columns { continue; }
                let key = order_key(real_to_bits(top_violation(column, real_from_bits(quad_score_bits(words, k)), sample)));
                row.ties += u32(least <= key && key <= most);
            }
        }
    }
    return team_merge(lane, row).ties;
}

// The mean of the largest violations as row.value, and what the gradient needs. Called by every lane of the workgroup.
fn select_top(lane: u32, member: u32, sample: Sample, flags: u32) -> Row {
    // The largest key that at least k violations reach.
    var key = 0u;
    for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
        if count_keys(lane, member, sample, key | bit, HIGHEST_KEY, params.columns) >= params.top { key |= bit; }
    }
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
                if order_key(real_to_bits(violation)) > key {
                    // Divided first, so that no sum of what has a finite mean overflows.
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
    let last = real_from_bits(key_bits(key));
    row.value = sum_add(row.value, real_multiply(real_divide(last, f32(params.top)), real(f32(left))));
    row.best = last;
    row.best_index = left;
    row.flags = flags;
    if WRITE_GRADIENT {
        row.ties = count_keys(lane, member, sample, key, key, params.columns);
        if !SPLIT_TIES {
            // The shortest run of columns that holds as many as are left: the largest end with fewer, plus one.
            var end = 0u;
            for (var bit = 0x40000000u; bit > 0u; bit >>= 1u) {
                // Uniform: the same for all rows.
                if bit <= params.columns && count_keys(lane, member, sample, key, key, end | bit) < left { end |= bit; }
            }
            row.best_index = end;
        }
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
    // Zero times an infinite slope is nothing owed, not NaN.
    if share == 0.0 { return real(0.0); }
    return real_multiply(real_divide(best.slope, f32(params.top)), real(share));
}
