// The penalty phi(v) of a margin violation v and its slope: composes with every loss.

// src/loss/penalty.rs: Linear, Squared.
override PENALTY_SQUARED: bool = false;

struct Penalised {
    value: Real,
    slope: Real,
}

fn penalise(violation: Real) -> Penalised {
    if real_is_nan(violation) { return Penalised(violation, violation); }
    if real_is_positive(violation) {
        if PENALTY_SQUARED {
            return Penalised(real_multiply(violation, violation), real_add(violation, violation));
        }
        return Penalised(violation, real(1.0));
    }
    // The squared hinge has no kink.
    let at_kink = real_is_zero(violation) && !PENALTY_SQUARED;
    return Penalised(real(0.0), real(select(0.0, params.kink_slope, at_kink)));
}
