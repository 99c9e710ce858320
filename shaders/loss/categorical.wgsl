// Categorical hinge: phi(margin + max over i of (1 - y_i)*s_i - sum over i of y_i*s_i).

fn mark_labels(lane: u32, sample: Sample, first: u32) {}
fn is_left_out(sample: Sample, column: u32) -> bool { return false; }
fn write_label_slopes(lane: u32, sample: Sample, combined: Combined) {}
fn steps_of_row(length: u32) -> u32 { return 0u; }

fn is_bad_target(label: i32) -> bool {
    if params.target_width == 1u { return label < 0 || label >= i32(params.columns); }
    return label < -1 || label > 1;
}

// (1 - y)*s / 2, which cannot overflow; used to compare. A factor of 0 is left out, so that an infinite score gives no NaN.
fn half_slot(score: Real, label: i32) -> Real {
    if label == 1 { return real(0.0); }
    if label == 0 { return real_multiply(score, real(0.5)); }
    return score;
}

fn visit(sample: Sample, column: u32, score: Real, row: ptr<function, Row>) {
    let label = target_at(sample, column);
    var sum = sum_zero();
    if label != 0 { sum = sum_add(sum, real_select_negated(score, label > 0)); }
    *row = row_merge(*row, Row(sum, half_slot(score, label), column, 1u, score, column, params.columns, 0u));
}

fn combine(sample: Sample, row: Row) -> Combined {
    // Large scores cancel in the sum, where twice one of them would overflow. row.value is minus the sum of y*s.
    var sum = row.value;
    if row.best_index != NO_INDEX {
        let score = score_at(sample, row.best_index);
        for (var label = target_at(sample, row.best_index); label < 1; label++) { sum = sum_add(sum, score); }
    }
    let violation = sum_to_real(sum_add(sum, real(params.margin)));
    let penalised = penalise(violation);
    let correct = row.top_index != NO_INDEX && target_at(sample, row.top_index) == 1;
    return Combined(penalised.value, penalised.slope, real_is_positive(violation), correct);
}

fn column_slope(sample: Sample, column: u32, score: Real, row: Row, combined: Combined) -> Real {
    let label = target_at(sample, column);
    var share = 0.0;
    if SPLIT_TIES {
        if real_equal(half_slot(score, label), row.best) { share = 1.0 / f32(row.ties); }
    } else if column == row.best_index {
        share = 1.0;
    }
    let factor = share * f32(1 - label) - f32(label);
    // A factor of 0 times an infinite slope is 0, not NaN.
    if factor == 0.0 { return real(0.0); }
    return real_multiply(combined.slope, real(factor));
}
