// Sums of eight numbers over the lanes of a workgroup, in a fixed order.

struct Sums {
    first: vec4<f32>,
    second: vec4<f32>,
}

var<workgroup> lane_sums: array<Sums, LANES>;

// The sums; right in lane 0 alone.
fn sums_of_lanes(lane: u32, own: Sums) -> Sums {
    lane_sums[lane] = own;
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if lane < stride {
            let other = lane_sums[lane + stride];
            lane_sums[lane] = Sums(lane_sums[lane].first + other.first, lane_sums[lane].second + other.second);
        }
    }
    return lane_sums[lane];
}
