// Real numbers for tame input: every score, weight and option is finite and at most 2^20 in magnitude, so no sum or product
// in a kernel overflows and plain f32 arithmetic is right. A kernel that meets a wild value raises FLAG_WILD; the host then
// runs the variant assembled with real_extended.wgsl over the same data.

alias Real = f32;

const SUMS_ARE_SMALL: bool = true;

// 2^20 as bits; src/gpu/losses/launcher.rs holds options to the same limit. The worst case stays below 2^127: a squared
// violation (2^44) summed over 2^30 classes, weighted twice (2^40) and summed over a workgroup's 2^13 rows.
const TAME_LIMIT: u32 = 0x49800000u;

fn is_wild(bits: u32) -> bool { return (bits & 0x7fffffffu) > TAME_LIMIT; }

fn real(x: f32) -> Real { return x; }
fn real_from_bits(bits: u32) -> Real { return bitcast<f32>(bits); }
fn real_to_bits(x: Real) -> u32 { return bitcast<u32>(x); }
fn real_to_f32(x: Real) -> f32 { return x; }
fn real_is_nan(x: Real) -> bool { return false; }
fn real_is_infinite(x: Real) -> bool { return false; }
fn real_is_positive(x: Real) -> bool { return x > 0.0; }
fn real_is_zero(x: Real) -> bool { return x == 0.0; }
fn real_less(a: Real, b: Real) -> bool { return a < b; }
fn real_equal(a: Real, b: Real) -> bool { return a == b; }
fn real_negate(a: Real) -> Real { return -a; }
fn real_add(a: Real, b: Real) -> Real { return a + b; }
fn real_subtract(a: Real, b: Real) -> Real { return a - b; }
fn real_multiply(a: Real, b: Real) -> Real { return a * b; }
// b is finite and positive.
fn real_divide(a: Real, b: f32) -> Real { return a / b; }

// Where a search for a maximum begins: below every tame score and violation.
fn real_lowest() -> Real { return -3.4028234e38; }

fn sum_add(sum: Sum, x: Real) -> Sum { return Sum(sum.small + x, 0.0, 0u); }
fn sum_merge(a: Sum, b: Sum) -> Sum { return Sum(a.small + b.small, 0.0, 0u); }
fn sum_to_real(sum: Sum) -> Real { return sum.small; }
