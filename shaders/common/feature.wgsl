// Features as data sets store them, in `data`. The type numbers are those of src/gpu/device/tensor.rs.

// 0 words as they are, 1 f16, 2 bf16, 3 bytes that stand for x / 255, 4 bytes that stand for 0 to 255.
override FEATURE_TYPE: u32 = 0u;

fn feature_bits(at: u32) -> u32 {
    if FEATURE_TYPE == 0u { return data[at]; }
    if FEATURE_TYPE >= 3u {
        let byte = f32((data[at / 4u] >> (8u * (at % 4u))) & 0xffu);
        return bitcast<u32>(select(byte, byte / 255.0, FEATURE_TYPE == 3u));
    }
    return widen_half(data[at / 2u], at, FEATURE_TYPE);
}
