// The product of every row with a vector, with LANES_PER_ROW lanes to a row, a power of two.

// src/gpu/linear/kernel.rs: 0 for violations, 1 - label * product; 1 for their change, -label * product; 2 for a product with
// Newton's matrix, weight * product where the multiplier is inside its bounds and 0 elsewhere, times the label.
override ROLE: u32 = 0u;
override LANES_PER_ROW: u32 = 1u;

var<workgroup> products: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows_of_group = LANES / LANES_PER_ROW;
    let row = (workgroup.y * workgroups.x + workgroup.x) * rows_of_group + lane / LANES_PER_ROW;
    var product = 0.0;
    if row < params.rows {
        let width = params.columns + 1u;
        for (var first = lane % LANES_PER_ROW; first < width; first += CHAIN * LANES_PER_ROW) {
            var chain = 0.0;
            let end = min(first + CHAIN * LANES_PER_ROW, width);
            for (var column = first; column < end; column += LANES_PER_ROW) {
                chain += feature(row, column) * vector[column];
            }
            product += chain;
        }
    }
    products[lane] = product;
    for (var stride = LANES_PER_ROW / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if lane % LANES_PER_ROW < stride { products[lane] += products[lane + stride]; }
    }
    if row >= params.rows || lane % LANES_PER_ROW != 0u { return; }
    let total = products[lane];
    if ROLE == 2u {
        let weight = abs(signed_weights[row]);
        out[row] = select(0.0, weight * total * label(row), is_inside(multipliers[row], cap_of(weight)));
    } else {
        out[row] = select(1.0, 0.0, ROLE == 1u) - label(row) * total;
    }
}
