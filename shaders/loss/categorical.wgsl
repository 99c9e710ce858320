// Categorical hinge: phi(margin + max over i of (1 - y_i)*s_i - sum over i of y_i*s_i).

const NEEDS_MEMBERS: bool = false;

fn is_bad_target(label: i32) -> bool {
    if params.target_width == 1u { return label < 0 || label >= i32(params.columns); }
    return label < -1 || label > 1;
}

// (1 - y)*s. A factor of 0 is left out, so that an infinite score is no NaN.
fn slot(score: Real, label: i32) -> Real {
    if label == 1 { return real(0.0); }
    if label == 0 { return score; }
    return real_add(score, score);
}

fn visit(sample: Sample, column: u32, row: ptr<function, Row>) {
    let score = score_at(sample, column);
    let label = target_at(sample, column);
    var sum = sum_zero();
    if label != 0 { sum = sum_add(sum, real_select_negated(score, label < 0)); }
    *row = row_merge(*row, Row(sum, slot(score, label), column, 1u, score, column, params.columns, 0u));
}

fn combine(sample: Sample, row: Row) -> Combined {
    let violation = real_add(real(params.margin), real_subtract(row.best, sum_to_real(row.value)));
    let penalised = penalise(violation);
    let correct = row.top_index != NO_INDEX && target_at(sample, row.top_index) == 1;
    return Combined(penalised.value, penalised.slope, real_is_positive(violation), correct);
}

fn column_slope(sample: Sample, column: u32, row: Row, combined: Combined) -> Real {
    let label = target_at(sample, column);
    var share = 0.0;
    if SPLIT_TIES {
        if real_equal(slot(score_at(sample, column), label), row.best) { share = 1.0 / f32(row.ties); }
    } else if column == row.best_index {
        share = 1.0;
    }
    let factor = share * f32(1 - label) - f32(label);
    // Zero times an infinite slope is nothing owed, not NaN.
    if factor == 0.0 { return real(0.0); }
    return real_multiply(combined.slope, real(factor));
}
