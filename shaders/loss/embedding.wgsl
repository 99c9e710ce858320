// Embedding hinge: (t != 1 ? max(0, margin - x) : 0) + (t != -1 ? x : 0); a target outside {-1, +1} gets both terms,
// whose sum is max(margin, x).

fn value_and_slope(score: Real, sign: f32) -> Point {
    let margin = real(params.margin);
    let violation = real_subtract(margin, score);
    let hinge = penalise(violation);
    let is_violated = real_is_positive(violation);
    let has_rest = sign == 0.0;
    var value = select(score, hinge.value, sign < 0.0);
    value = select(value, margin, has_rest && is_violated);
    var slope = select(real(1.0), real_negate(hinge.slope), sign < 0.0);
    slope = select(slope, real_subtract(real(1.0), hinge.slope), has_rest);
    // NaN for every target, in value and slope.
    let is_nan = real_is_nan(score);
    return Point(
        select(value, score, is_nan), select(slope, score, is_nan), !is_nan && is_violated && sign <= 0.0, false);
}
