// Adds up partial sums of vectors, in a fixed order: `blocks` vectors of `length` numbers.

const LANES: u32 = 256u;
// Numbers of a tile; the other lanes take other vectors.
const TILE: u32 = 32u;
const VECTORS: u32 = LANES / TILE;
const CHAIN: u32 = 32u;

var<workgroup> lane_sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (workgroup.y * workgroups.x + workgroup.x) * TILE + lane % TILE;
    var sum = 0.0;
    if number < params.length {
        for (var first = lane / TILE; first < params.blocks; first += CHAIN * VECTORS) {
            var chain = 0.0;
            for (var block = first; block < min(first + CHAIN * VECTORS, params.blocks); block += VECTORS) {
                chain += partials[block * params.length + number];
            }
            sum += chain;
        }
    }
    lane_sums[lane] = sum;
    for (var stride = LANES / 2u; stride >= TILE; stride /= 2u) {
        workgroupBarrier();
        if lane < stride { lane_sums[lane] += lane_sums[lane + stride]; }
    }
    if lane < TILE && number < params.length { out[number] = lane_sums[lane]; }
}
