// Real numbers for any input: NaN, infinities and overflow follow IEEE 754. WGSL lets a compiler assume that no float is NaN
// or infinite, so such a value never enters a float operation here. A number is carried as its bits and classified with
// integers; a result beyond f32 is written as the bits of infinity.

alias Real = u32;

const SUMS_ARE_SMALL: bool = false;

const NAN_BITS: u32 = 0x7fc00000u;
const INFINITY_BITS: u32 = 0x7f800000u;
const MAGNITUDE: u32 = 0x7fffffffu;

fn is_wild(bits: u32) -> bool { return false; }

fn real(x: f32) -> Real { return bitcast<u32>(x); }
fn real_from_bits(bits: u32) -> Real { return bits; }
fn real_to_bits(x: Real) -> u32 { return x; }
// x is finite.
fn real_to_f32(x: Real) -> f32 { return bitcast<f32>(x); }
fn real_is_nan(x: Real) -> bool { return (x & MAGNITUDE) > INFINITY_BITS; }
fn real_is_infinite(x: Real) -> bool { return (x & MAGNITUDE) == INFINITY_BITS; }
fn real_is_zero(x: Real) -> bool { return (x & MAGNITUDE) == 0u; }
fn real_is_positive(x: Real) -> bool {
    return (x & SIGN_BIT) == 0u && !real_is_zero(x) && !real_is_nan(x);
}

fn real_less(a: Real, b: Real) -> bool { return order_key(a) < order_key(b); }
fn real_equal(a: Real, b: Real) -> bool { return order_key(a) == order_key(b); }

fn real_negate(a: Real) -> Real { return a ^ SIGN_BIT; }

fn real_add(a: Real, b: Real) -> Real {
    if real_is_nan(a) || real_is_nan(b) { return NAN_BITS; }
    if real_is_infinite(a) {
        return select(a, NAN_BITS, real_is_infinite(b) && a != b);
    }
    if real_is_infinite(b) { return b; }
    // Half the sum cannot overflow. Where it reaches 2^127, the sum itself overflows.
    let half_sum = 0.5 * bitcast<f32>(a) + 0.5 * bitcast<f32>(b);
    if abs(half_sum) >= 0x1p127f {
        return INFINITY_BITS | (bitcast<u32>(half_sum) & SIGN_BIT);
    }
    return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b));
}

fn real_subtract(a: Real, b: Real) -> Real { return real_add(a, real_negate(b)); }

fn real_multiply(a: Real, b: Real) -> Real {
    if real_is_nan(a) || real_is_nan(b) { return NAN_BITS; }
    let sign = (a ^ b) & SIGN_BIT;
    if real_is_infinite(a) || real_is_infinite(b) {
        return select(INFINITY_BITS | sign, NAN_BITS, real_is_zero(a) || real_is_zero(b));
    }
    // Scaled by 2^-130, the product cannot overflow and rounds alike. Where it reaches 2^-2, the product itself overflows.
    let scaled = (bitcast<f32>(a) * 0x1p-65f) * (bitcast<f32>(b) * 0x1p-65f);
    if abs(scaled) >= 0.25 { return INFINITY_BITS | sign; }
    return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b));
}

// b is finite and positive.
fn real_divide(a: Real, b: f32) -> Real {
    if real_is_nan(a) || real_is_infinite(a) { return a; }
    if b < 1.0 {
        // Scaled by 2^-128, the quotient cannot overflow. Where it reaches 1, the quotient itself overflows.
        let scaled = (bitcast<f32>(a) * 0x1p-64f) / (b * 0x1p64f);
        if abs(scaled) >= 1.0 { return INFINITY_BITS | (a & SIGN_BIT); }
    }
    // Devices differ in dividing by more than 2^126: some multiply by the inverse, which is not a normal number.
    let unit = select(1.0, 0.25, b > 0x1p126f);
    return bitcast<u32>((bitcast<f32>(a) * unit) / (b * unit));
}

fn real_lowest() -> Real { return INFINITY_BITS | SIGN_BIT; }

// Terms beyond 2^64 are summed separately, in units of 2^32, so that no partial sum of finite terms overflows.
const LARGE_LIMIT: f32 = 0x1p64f;
const LARGE_UNIT: f32 = 0x1p32f;

fn sum_add(sum: Sum, x: Real) -> Sum {
    if real_is_nan(x) { return Sum(sum.small, sum.large, sum.flags | FLAG_NAN); }
    if real_is_infinite(x) {
        let flag = select(FLAG_PLUS_INFINITY, FLAG_MINUS_INFINITY, (x & SIGN_BIT) != 0u);
        return Sum(sum.small, sum.large, sum.flags | flag);
    }
    let value = bitcast<f32>(x);
    if abs(value) > LARGE_LIMIT { return Sum(sum.small, sum.large + value / LARGE_UNIT, sum.flags); }
    return Sum(sum.small + value, sum.large, sum.flags);
}

fn sum_merge(a: Sum, b: Sum) -> Sum {
    return Sum(a.small + b.small, a.large + b.large, a.flags | b.flags);
}

fn sum_to_real(sum: Sum) -> Real {
    let infinities = sum.flags & (FLAG_PLUS_INFINITY | FLAG_MINUS_INFINITY);
    if (sum.flags & FLAG_NAN) != 0u || infinities == (FLAG_PLUS_INFINITY | FLAG_MINUS_INFINITY) { return NAN_BITS; }
    if infinities == FLAG_PLUS_INFINITY { return INFINITY_BITS; }
    if infinities == FLAG_MINUS_INFINITY { return INFINITY_BITS | SIGN_BIT; }
    return real_add(real_multiply(real(sum.large), real(LARGE_UNIT)), real(sum.small));
}
