// Activations, and their slopes computed from their values.

// The numbers, as src/gpu/network/kernel.rs gives them: 0 for identity, 1 for relu, 2 for tanh, 3 for sigmoid.
fn activate(z: f32, activation: u32) -> f32 {
    switch activation {
        // NaN is not below zero, so it stays.
        case 1u: { return select(z, 0.0, z < 0.0); }
        case 2u: { return tangent(z); }
        // e^87 is the last power that is a normal number.
        case 3u: { return 1.0 / (1.0 + exp(clamp(-z, -87.0, 87.0))); }
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

// tanh, accurate to a few units in the last place; WGSL's own may lose all digits near 0.
fn tangent(z: f32) -> f32 {
    let x = abs(z);
    if x < 0.3 {
        // The continued fraction z / (1 + z^2 / (3 + z^2 / (5 + ...))); the next term is below 2^-26.
        let w = z * z;
        return z / (1.0 + w / (3.0 + w / (5.0 + w / (7.0 + w / 9.0))));
    }
    // From 10 on, the difference to 1 is below half a unit. NaN fails every comparison and stays.
    if x >= 10.0 { return sign(z); }
    let t = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    return select(t, -t, z < 0.0);
}
