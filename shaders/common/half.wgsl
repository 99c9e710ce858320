// Half precision is widened with integers even where the device supports f16: no device feature is needed, NaN and infinities
// survive, memory delivers the same two bytes, and only one path needs tests.

// The f32 bits of element i, which lies in `word`: 1 f16, 2 bf16.
fn widen_half(word: u32, i: u32, element: u32) -> u32 {
    let half = (word >> (16u * (i & 1u))) & 0xffffu;
    if element == 2u { return half << 16u; }
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 31u;
    let mantissa = half & 0x3ffu;
    if exponent == 31u { return sign | 0x7f800000u | (mantissa << 13u); }
    // Zero and subnormal numbers: units of 2^-24.
    if exponent == 0u { return sign | bitcast<u32>(f32(mantissa) * 0x1p-24f); }
    return sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
}
