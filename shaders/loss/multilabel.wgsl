// Multilabel margin: sum over labels j and classes i that are none of phi(margin + s_i - s_j).

const NEEDS_MEMBERS: bool = true;

fn is_bad_target(label: i32) -> bool { return label >= i32(params.columns); }

fn pair(rival: Real, labelled: Real) -> Penalised {
    return penalise(pair_violation(rival, labelled));
}

fn pair_violation(rival: Real, labelled: Real) -> Real {
    return real_add(real(params.margin), real_subtract(rival, labelled));
}

// The k-th label's score; a bad label, which fails the whole evaluation, reads the first one.
fn label_score(sample: Sample, k: u32) -> Real {
    let label = u32(label_at(sample.first_target + k));
    return score_at(sample, select(0u, label, label < params.columns));
}

fn visit(sample: Sample, column: u32, row: ptr<function, Row>) {
    if is_member(sample, column) { return; }
    let score = score_at(sample, column);
    var k = 0u;
    while k < sample.length {
        var chain = sum_zero();
        for (var i = 0u; i < CHAIN && k < sample.length; i++) {
            let violation = pair_violation(score, label_score(sample, k));
            chain = sum_add(chain, penalise(violation).value);
            if real_is_positive(violation) { (*row).flags |= ROW_ACTIVE; }
            k++;
        }
        (*row).value = sum_merge((*row).value, chain);
    }
}

fn combine(sample: Sample, row: Row) -> Combined {
    return Combined(sum_to_real(row.value), real(1.0), (row.flags & ROW_ACTIVE) != 0u, false);
}

fn column_slope(sample: Sample, column: u32, row: Row, combined: Combined) -> Real {
    let score = score_at(sample, column);
    let labelled = is_member(sample, column);
    // A class that is no label answers to every label, a label to every class that is none.
    let terms = select(sample.length, params.columns, labelled);
    var total = sum_zero();
    var k = 0u;
    while k < terms {
        var chain = sum_zero();
        for (var i = 0u; i < CHAIN && k < terms; i++) {
            if !labelled {
                chain = sum_add(chain, pair(score, label_score(sample, k)).slope);
            } else if !is_member(sample, k) {
                chain = sum_add(chain, pair(score_at(sample, k), score).slope);
            }
            k++;
        }
        total = sum_merge(total, chain);
    }
    let slope = sum_to_real(total);
    if !labelled { return slope; }
    // A label given twice counts twice.
    var times = 0.0;
    for (var n = 0u; n < sample.length; n++) {
        if label_at(sample.first_target + n) == i32(column) { times += 1.0; }
    }
    return real_negate(real_multiply(slope, real(times)));
}
