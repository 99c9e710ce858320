// The slope of the objective along a direction at four steps, and the slope's own derivative: what the rows add to them,
// one sum per segment of rows.

fn clipped(x: vec4<f32>, cap: f32) -> vec4<f32> { return clamp(x, vec4<f32>(), vec4<f32>(cap)); }

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let segment = workgroup.y * workgroups.x + workgroup.x;
    if segment >= params.segments { return; }
    let steps = vec4<f32>(params.step_a, params.step_b, params.step_c, params.step_d);
    let first = segment * LANES * params.rows_per_lane + lane;
    var own = Sums();
    for (var i = 0u; i < params.rows_per_lane; i++) {
        let row = first + i * LANES;
        if row < params.rows {
            let weight = abs(signed_weights[row]);
            let cap = cap_of(weight);
            let by_violation = params.kappa * weight;
            let change = dz[row];
            let a = base[row] + by_violation * z[row] + steps * (by_violation * change);
            own.first += clipped(a, cap) * change;
            let inside = (a > vec4<f32>()) & (a < vec4<f32>(cap));
            own.second += select(vec4<f32>(), vec4<f32>(by_violation * change * change), inside);
        }
    }
    let total = sums_of_lanes(lane, own);
    if lane == 0u { sums[params.first_segment + segment] = total; }
}
