// Activations, and their slopes computed from their values.

// By bits: a compiler may assume that no float is NaN, and clamp, min, max and sign of NaN may be any number.
fn is_nan(z: f32) -> bool { return (bitcast<u32>(z) & 0x7fffffffu) > 0x7f800000u; }

// The numbers, as src/gpu/network/kernel.rs gives them: 0 for identity, 1 for relu, 2 for tanh, 3 for sigmoid.
fn activate(z: f32, activation: u32) -> f32 {
    if is_nan(z) { return z; }
    switch activation {
        case 1u: { return select(z, 0.0, z < 0.0); }
        case 2u: { return tangent(z); }
        case 3u: { return logistic(z); }
        default: { return z; }
    }
}

fn activation_slope(y: f32, activation: u32) -> f32 {
    switch activation {
        case 1u: { return select(0.0, 1.0, y > 0.0); }
        case 2u: { return 1.0 - y * y; }
        case 3u: { return y * (1.0 - y); }
        default: { return 1.0; }
    }
}

// 1 / (1 + e^-z). z is not NaN.
fn logistic(z: f32) -> f32 {
    // e^88 is the last power within f32, and e^-87 the last that is a normal number.
    if z < -88.0 { return 0.0; }
    return 1.0 / (1.0 + exp(-min(z, 87.0)));
}

// tanh of a z that is not NaN, accurate to a few units in the last place; WGSL's own may lose all digits near 0.
fn tangent(z: f32) -> f32 {
    let x = abs(z);
    if x < 0.3 {
        // The continued fraction z / (1 + z^2 / (3 + z^2 / (5 + ...))); the next term is below 2^-26.
        let w = z * z;
        return z / (1.0 + w / (3.0 + w / (5.0 + w / (7.0 + w / 9.0))));
    }
    // From 10 on, the difference to 1 is below half a unit.
    if x >= 10.0 { return sign(z); }
    let t = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    return select(t, -t, z < 0.0);
}
