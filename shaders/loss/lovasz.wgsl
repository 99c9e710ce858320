// Lovasz: the errors margin - t*s in descending order, phi of each times what it adds to the Jaccard loss at its rank.

// Positive and negative items that come before an item, and all positive ones.
struct Seen {
    positives_before: u32,
    negatives_before: u32,
    positives: u32,
}

fn seen_zero() -> Seen { return Seen(0u, 0u, 0u); }

fn decode_target(bits: u32) -> Decoded {
    let decoded = read_target(bits);
    return Decoded(select(-1, 1, decoded.sign > 0.0), decoded.bad);
}

fn watch(other: Item, seen: ptr<function, Seen>) {}
fn is_undefined(seen: Seen) -> bool { return false; }

// t*s, which falls as the error rises.
fn agreement(item: Item) -> Real { return real_select_negated(item.score, item.target_value < 0); }

fn see(own: Item, other: Item, seen: ptr<function, Seen>, chain: ptr<function, Chain>) -> u32 {
    let positive = u32(other.target_value > 0);
    (*seen).positives += positive;
    // Equal errors keep their order.
    let before = real_less(agreement(other), agreement(own))
        || (other.index < own.index && real_equal(agreement(other), agreement(own)));
    if before {
        (*seen).positives_before += positive;
        (*seen).negatives_before += 1u - positive;
    }
    return 0u;
}

// The Jaccard loss is 1 - I/U, where the items before leave I positives and U = P + N in the union. A positive item takes
// one from I, a negative one adds one to U: the differences, without cancellation.
fn jaccard_step(item: Item, seen: Seen) -> f32 {
    let union_before = f32(seen.positives + seen.negatives_before);
    if item.target_value > 0 { return 1.0 / union_before; }
    if seen.positives == 0u { return select(0.0, 1.0, seen.negatives_before == 0u); }
    return f32(seen.positives - seen.positives_before) / (union_before * (union_before + 1.0));
}

fn item_result(own: Item, seen: Seen, value: Sum, slope: Sum) -> ItemResult {
    if real_is_nan(own.score) { return ItemResult(sum_zero(), real(0.0), ROW_NAN); }
    let point = signed_hinge(own.score, f32(own.target_value));
    let flags = select(0u, ROW_ACTIVE, point.violating);
    let step = jaccard_step(own, seen);
    // Zero times an infinite penalty is nothing, not NaN.
    if step == 0.0 { return ItemResult(sum_zero(), real(0.0), flags); }
    let product = sum_add(sum_zero(), real_multiply(point.value, real(step)));
    return ItemResult(product, real_multiply(point.slope, real(step)), flags);
}
