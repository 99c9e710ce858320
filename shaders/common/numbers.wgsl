// Helpers over either kind of Real.

// -x where the condition holds, else x.
fn real_select_negated(x: Real, condition: bool) -> Real {
    if condition { return real_negate(x); }
    return x;
}

// The weight of a sample in the gradient: its share of the reduced value.
fn gradient_coefficient(weight: Real) -> Real { return real_divide(weight, params.divisor); }
