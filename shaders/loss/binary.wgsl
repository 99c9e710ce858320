// Binary hinge: phi(margin - t*s).

fn value_and_slope(score: Real, sign: f32) -> Point { return signed_hinge(score, sign); }
