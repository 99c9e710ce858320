// Cosine embedding: phi(1 - cos) for a target of 1, phi(cos - margin) for -1, else 0.

const INPUTS: u32 = 2u;
const HAS_TARGETS: bool = true;

fn combine(distance: Real, unused_a: Real, unused_b: Real, sign: f32) -> Combined {
    let zero = real(0.0);
    if sign == 0.0 { return Combined(zero, zero, zero, zero, false); }
    var violation = distance;
    // cos - margin = (1 - margin) - (1 - cos).
    if sign < 0.0 { violation = real_subtract(real(1.0 - params.margin), distance); }
    let penalised = penalise(violation);
    let slope = real_select_negated(penalised.slope, sign < 0.0);
    return Combined(penalised.value, slope, zero, zero, real_is_positive(violation));
}
