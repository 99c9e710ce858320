// Binary hinge: phi(margin - t*s).

fn value_and_slope(score: Real, sign: f32) -> Point {
    let negative = sign < 0.0;
    let signed_score = real_select_negated(score, negative);
    let violation = real_subtract(real(params.margin), signed_score);
    let penalised = penalise(violation);
    return Point(
        penalised.value,
        real_select_negated(penalised.slope, !negative),
        real_is_positive(violation),
        !real_is_nan(score) && real_is_positive(score) == !negative,
    );
}
