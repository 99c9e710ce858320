// Lovasz: sum over the errors margin - t*s in descending order of phi(error) times the Jaccard loss's step at its rank.

fn decode_target(bits: u32) -> Decoded {
    let decoded = read_target(bits);
    return Decoded(select(-1, 1, decoded.sign > 0.0), decoded.bad);
}

// Turns the bits of s into those of t*s, which falls as the error rises, or back.
fn with_sign(bits: u32, positive: bool) -> u32 { return select(bits ^ SIGN_BIT, bits, positive); }

// Ascending keys are descending errors.
fn rank_key(bits: u32, positive: bool) -> u32 { return order_key(with_sign(bits, positive)); }
fn key_score_bits(key: u32, positive: bool) -> u32 { return with_sign(key_bits(key), positive); }

// The Jaccard loss is 1 - I/U. The items before this one leave I positives, and U = P + N in the union. A positive item takes
// one from I, a negative one adds one to U; these differences are computed without cancellation.
fn jaccard_step(positive: bool, positives: u32, before: Before) -> f32 {
    let union_before = f32(positives + before.negatives);
    if positive { return 1.0 / union_before; }
    if positives == 0u { return select(0.0, 1.0, before.negatives == 0u); }
    return f32(positives - before.positives) / (union_before * (union_before + 1.0));
}

fn item_result(score: Real, positive: bool, positives: u32, before: Before) -> ItemResult {
    let point = signed_hinge(score, select(-1.0, 1.0, positive));
    let flags = select(0u, ROW_ACTIVE, point.is_active);
    let step = jaccard_step(positive, positives, before);
    // A step of 0 times an infinite penalty is 0, not NaN.
    if step == 0.0 { return ItemResult(sum_zero(), real(0.0), flags); }
    let product = sum_add(sum_zero(), real_multiply(point.value, real(step)));
    return ItemResult(product, real_multiply(point.slope, real(step)), flags);
}
