// Helpers for both kinds of Real.

fn real_select_negated(x: Real, condition: bool) -> Real {
    if condition { return real_negate(x); }
    return x;
}

fn real_exchanged(x: Real, mask: u32) -> Real { return real_from_bits(exchanged(real_to_bits(x), mask)); }

const SIGN_BIT: u32 = 0x80000000u;

// Integers in the same order as the numbers with these bits; both zeros map alike. A NaN without sign comes last.
fn order_key(number_bits: u32) -> u32 {
    let bits = select(number_bits, 0u, (number_bits & ~SIGN_BIT) == 0u);
    return select(bits | SIGN_BIT, ~bits, (bits & SIGN_BIT) != 0u);
}

// The bits of the number with this key.
fn key_bits(key: u32) -> u32 { return select(~key, key ^ SIGN_BIT, (key & SIGN_BIT) != 0u); }

// The weight of a sample in the gradient: its share of the reduced value.
fn gradient_coefficient(weight: Real) -> Real { return real_divide(weight, params.divisor); }
