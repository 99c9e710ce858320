// Features in the units that are solved for.

// Whether these are (x - shift) * scale of the stored x.
override STANDARDIZED: bool = false;

// Terms added in f32 before their sum joins a longer one.
const CHAIN: u32 = 32u;

// The column after the last one has the constant of the intercept, those after it zeros.
fn feature(row: u32, column: u32) -> f32 {
    if column >= params.columns { return select(0.0, params.constant, column == params.columns); }
    let x = bitcast<f32>(feature_bits(row * params.columns + column));
    if STANDARDIZED { return (x - units[column].x) * units[column].y; }
    return x;
}
