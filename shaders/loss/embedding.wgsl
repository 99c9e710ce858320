// Embedding hinge: (t != 1 ? max(0, margin - x) : 0) + (t != -1 ? x : 0); a target outside {-1, +1} gets both terms,
// whose sum is max(margin, x).

fn value_and_slope(score: Real, sign: f32) -> Point {
    if real_is_nan(score) { return Point(score, score, false, false); }
    let margin = real(params.margin);
    let violation = real_subtract(margin, score);
    let hinge = penalise(violation);
    let violated = real_is_positive(violation);
    if sign > 0.0 { return Point(score, real(1.0), false, false); }
    if sign < 0.0 { return Point(hinge.value, real_negate(hinge.slope), violated, false); }
    var value = score;
    if violated { value = margin; }
    return Point(value, real_subtract(real(1.0), hinge.slope), violated, false);
}
