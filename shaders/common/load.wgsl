// Elements as they are stored, read from 32-bit words. src/gpu/tensor.rs: the numbers of the element types.
//
// Half precision is widened with integers: no feature is asked of the device, NaN and infinities pass, and what is read
// from memory is the same two bytes.

// 0 f32, 1 f16, 2 bf16.
override SCORE_TYPE: u32 = 0u;
// 0 i32, 1 f32, 2 i8, 3 u8, 4 bits.
override TARGET_TYPE: u32 = 0u;

fn score_word(i: u32) -> u32 {
    if SCORE_TYPE == 0u { return i; }
    return i / 2u;
}

// The f32 bits of score i, which lies in `word`.
fn widen_score(word: u32, i: u32) -> u32 {
    if SCORE_TYPE == 0u { return word; }
    let half = (word >> (16u * (i & 1u))) & 0xffffu;
    if SCORE_TYPE == 2u { return half << 16u; }
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 31u;
    let mantissa = half & 0x3ffu;
    if exponent == 31u { return sign | 0x7f800000u | (mantissa << 13u); }
    // Zero and subnormal numbers: units of 2^-24.
    if exponent == 0u { return sign | bitcast<u32>(f32(mantissa) * 0x1p-24f); }
    return sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
}

fn target_word(i: u32) -> u32 {
    if TARGET_TYPE < 2u { return i; }
    if TARGET_TYPE == 4u { return i / 32u; }
    return i / 4u;
}

// The i32 (or f32) bits of target i, which lies in `word`.
fn widen_target(word: u32, i: u32) -> u32 {
    if TARGET_TYPE < 2u { return word; }
    if TARGET_TYPE == 4u { return (word >> (i & 31u)) & 1u; }
    let shift = 8u * (i & 3u);
    if TARGET_TYPE == 3u { return (word >> shift) & 0xffu; }
    return bitcast<u32>(bitcast<i32>(word << (24u - shift)) >> 24u);
}
