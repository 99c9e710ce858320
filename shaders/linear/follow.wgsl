// Moves the violations along the direction, and sets the multipliers that fit them. Per segment of rows: the sums of losses, of
// multipliers less their conjugates, and of what the multipliers moved by, squared; the number of multipliers inside their
// bounds and of those above 0; and the list of the rows inside.

var<workgroup> places: array<u32, LANES>;

fn clipped(x: f32, cap: f32) -> f32 { return clamp(x, 0.0, cap); }

// The loss of a weight of 1: slope * z^2 / 2 up to the bend, then a straight line.
fn loss(z: f32) -> f32 {
    if z <= 0.0 { return 0.0; }
    if z < params.bend { return 0.5 * params.slope * z * z; }
    return z - 0.5 * params.bend;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let segment = workgroup.y * workgroups.x + workgroup.x;
    if segment >= params.segments { return; }
    let start = segment * LANES * params.rows_per_lane;
    // A bit per row of this lane: 32 at most.
    var inside = 0u;
    var own = Sums();
    for (var i = 0u; i < params.rows_per_lane; i++) {
        let row = start + lane + i * LANES;
        if row < params.rows {
            let weight = abs(signed_weights[row]);
            let cap = cap_of(weight);
            let violation = z[row] + params.step_a * dz[row];
            z[row] = violation;
            if params.hardens == 1u { base[row] = multipliers[row]; }
            let from_base = base[row];
            let a = clipped(from_base + params.kappa * weight * violation, cap);
            multipliers[row] = a;
            if weight > 0.0 {
                let moved = a - from_base;
                own.first += vec4<f32>(
                    weight * loss(violation),
                    a - 0.5 * params.inverse_slope * a * a / weight,
                    moved * moved / (params.kappa * weight),
                    0.0,
                );
                if is_inside(a, cap) { inside |= 1u << i; }
                own.second.x += select(0.0, 1.0, a > 0.0);
            }
        }
    }
    let count = countOneBits(inside);
    own.first.w = f32(count);
    let total = sums_of_lanes(lane, own);
    if lane == 0u { sums[params.first_segment + segment] = total; }
    // Where each lane's rows begin in the list.
    places[lane] = count;
    for (var stride = 1u; stride < LANES; stride *= 2u) {
        workgroupBarrier();
        var before = 0u;
        if lane >= stride { before = places[lane - stride]; }
        workgroupBarrier();
        places[lane] += before;
    }
    var place = start + places[lane] - count;
    for (var i = 0u; i < params.rows_per_lane; i++) {
        if ((inside >> i) & 1u) == 1u {
            list[place] = start + lane + i * LANES;
            place += 1u;
        }
    }
}
