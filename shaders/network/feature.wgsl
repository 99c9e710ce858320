// Features as data sets hold them, in `data`.

// Bytes stand for x / 255; otherwise words are taken as they are.
override IS_BYTES: bool = false;

fn feature_bits(at: u32) -> u32 {
    if IS_BYTES {
        let byte = (data[at / 4u] >> (8u * (at % 4u))) & 0xffu;
        return bitcast<u32>(f32(byte) / 255.0);
    }
    return data[at];
}
