// Margin ranking: phi(margin - t*(x1 - x2)); the pattern passes the difference.

fn value_and_slope(difference: Real, sign: f32) -> Point { return signed_hinge(difference, sign); }
