// Listwise: sum over pairs with a higher and a lower target of phi(margin + s_lower - s_higher).

// The lowest and the highest target among the scores of each infinity.
struct Seen {
    plus: vec2<i32>,
    minus: vec2<i32>,
}

fn seen_zero() -> Seen {
    return Seen(vec2<i32>(0x7fffffff, ABSENT), vec2<i32>(0x7fffffff, ABSENT));
}

// Relevances are floats; nonnegative ones have the order of their bits. TARGET_RULE: 1 for a caller's integers, 0 if decoded.
fn decode_target(bits: u32) -> Decoded {
    let is_float = TARGET_TYPE == 1u;
    if is_float && (bits & 0x7f800000u) == 0x7f800000u { return Decoded(ABSENT, true); }
    if is_float && bits == 0x80000000u { return Decoded(0, false); }
    if bitcast<i32>(bits) < 0 { return Decoded(ABSENT, false); }
    if TARGET_RULE == 1u && !is_float { return Decoded(bitcast<i32>(f32(bitcast<i32>(bits))), false); }
    return Decoded(bitcast<i32>(bits), false);
}

fn widened(range: vec2<i32>, target_value: i32) -> vec2<i32> {
    return vec2<i32>(min(range.x, target_value), max(range.y, target_value));
}

fn watch(other: Item, seen: ptr<function, Seen>) {
    if !real_is_infinite(other.score) { return; }
    if real_is_positive(other.score) {
        (*seen).plus = widened((*seen).plus, other.target_value);
    } else {
        (*seen).minus = widened((*seen).minus, other.target_value);
    }
}

// Two equal infinities with different targets: their difference has no limit.
fn is_undefined(seen: Seen) -> bool { return seen.plus.x < seen.plus.y || seen.minus.x < seen.minus.y; }

fn see(own: Item, other: Item, chain: ptr<function, Chain>) -> u32 {
    if own.target_value == other.target_value { return 0u; }
    let is_higher = own.target_value > other.target_value;
    let difference = real_select_negated(real_subtract(own.score, other.score), is_higher);
    let violation = real_add(real(params.margin), difference);
    let penalised = penalise(violation);
    (*chain).slope = sum_add((*chain).slope, real_select_negated(penalised.slope, is_higher));
    if !is_higher { return 0u; }
    (*chain).value = sum_add((*chain).value, penalised.value);
    return select(0u, ROW_ACTIVE, real_is_positive(violation));
}
