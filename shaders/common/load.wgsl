// Reads elements, as stored, from 32-bit words. The type numbers are those of src/data/device_tensor.rs.

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
    return widen_half(word, i, SCORE_TYPE);
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
