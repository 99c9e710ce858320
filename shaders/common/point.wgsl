// One score with one target: how targets are read, and the hinge of one score. For the elementwise, list and vectors patterns.

// target_rule_number of src/gpu/losses/shader.rs: 0 for labels -1/+1, 1 for labels 0/1, 2 for any finite target.
override TARGET_RULE: u32 = 0u;

struct Point {
    value: Real,
    slope: Real,
    is_active: bool,
    correct: bool,
}

struct Target {
    // -1, 0 or +1.
    sign: f32,
    bad: bool,
}

// Compares bits, so that the result does not depend on a compiler's assumptions about floats.
fn read_target(bits: u32) -> Target {
    let one = bits == select(1u, 0x3f800000u, (TARGET_TYPE == 1u));
    let minus_one = bits == select(0xffffffffu, 0xbf800000u, (TARGET_TYPE == 1u));
    let zero = bits == 0u || ((TARGET_TYPE == 1u) && bits == 0x80000000u);
    let finite = !(TARGET_TYPE == 1u) || (bits & 0x7f800000u) != 0x7f800000u;
    if TARGET_RULE == 0u { return Target(select(-1.0, 1.0, one), !(one || minus_one)); }
    if TARGET_RULE == 1u { return Target(select(-1.0, 1.0, one), !(one || zero)); }
    return Target(select(select(0.0, -1.0, minus_one), 1.0, one), !finite);
}

// phi(margin - t*s); the sign of s is the prediction.
fn signed_hinge(score: Real, sign: f32) -> Point {
    let negative = sign < 0.0;
    let violation = real_subtract(real(params.margin), real_select_negated(score, negative));
    let penalised = penalise(violation);
    return Point(
        penalised.value,
        real_select_negated(penalised.slope, !negative),
        real_is_positive(violation),
        !real_is_nan(score) && real_is_positive(score) == !negative,
    );
}
