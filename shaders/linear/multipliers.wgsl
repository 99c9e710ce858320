// The multipliers of rows, in units of C: clip(base + kappa * weight * z, 0, cap). A row's label is the sign of its weight.

const LANES: u32 = 256u;
const LARGEST: f32 = 0x1.fffffep+127f;

fn label(row: u32) -> f32 { return select(1.0, -1.0, bitcast<u32>(signed_weights[row]) >> 31u == 1u); }

fn cap_of(weight: f32) -> f32 { return select(weight, LARGEST, params.is_unbounded == 1u); }

fn is_inside(a: f32, cap: f32) -> bool { return a > 0.0 && a < cap; }
