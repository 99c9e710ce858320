// The penalty phi(v) of a margin violation v, and its slope. Combines with every loss.

// src/loss/penalty.rs: 0 for Linear, 1 for Squared, 2 for Smooth, 3 for Softplus.
override PENALTY: u32 = 0u;

struct Penalised {
    value: Real,
    slope: Real,
}

fn penalise(violation: Real) -> Penalised {
    if real_is_nan(violation) { return Penalised(violation, violation); }
    if PENALTY == 3u { return softplus(violation); }
    if real_is_positive(violation) {
        if PENALTY == 1u {
            return Penalised(real_multiply(violation, violation), real_add(violation, violation));
        }
        if PENALTY == 2u { return smooth_hinge(violation); }
        return Penalised(violation, real(1.0));
    }
    // Only the linear penalty has a kink.
    let at_kink = real_is_zero(violation) && PENALTY == 0u;
    return Penalised(real(0.0), real(select(0.0, params.kink_slope, at_kink)));
}

// The violation is positive.
fn smooth_hinge(violation: Real) -> Penalised {
    let scale = real(params.penalty_scale);
    let gamma = params.penalty_gamma;
    if real_less(violation, real(gamma)) {
        // This order keeps the square of a large violation below a large gamma from overflowing.
        let ratio = real_divide(violation, gamma);
        let square = real_multiply(violation, real_multiply(real(0.5), ratio));
        return Penalised(real_multiply(scale, square), real_multiply(scale, ratio));
    }
    return Penalised(real_multiply(scale, real_subtract(violation, real(0.5 * gamma))), scale);
}

// ln(1 + e^v) = max(v, 0) + ln(1 + e^-|v|).
fn softplus(violation: Real) -> Penalised {
    let positive = real_is_positive(violation);
    var decay = 0.0;
    if !real_is_infinite(violation) {
        // e^-87 is the last power that is a normal number.
        decay = exp(-min(abs(real_to_f32(violation)), 87.0));
    }
    let tail = real(log_one_plus(decay));
    if positive { return Penalised(real_add(violation, tail), real(1.0 / (1.0 + decay))); }
    return Penalised(tail, real(decay / (1.0 + decay)));
}

// ln(1 + x) for x in [0, 1]: 2 artanh(x / (2 + x)) by its series. WGSL's log is only accurate to 2^-21 near 1.
fn log_one_plus(x: f32) -> f32 {
    let z = x / (2.0 + x);
    // w is at most 1/9, so the first omitted term is below 2^-29 of the sum.
    let w = z * z;
    var series = 1.0 / 15.0;
    series = series * w + 1.0 / 13.0;
    series = series * w + 1.0 / 11.0;
    series = series * w + 1.0 / 9.0;
    series = series * w + 1.0 / 7.0;
    series = series * w + 1.0 / 5.0;
    series = series * w + 1.0 / 3.0;
    return 2.0 * z * (1.0 + series * w);
}
