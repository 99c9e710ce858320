// The sum of weight * x x' over the listed rows, for a tile of 64 x 64 columns and a chunk of the segments per workgroup. Each
// lane holds four blocks of 4 x 4. Tiles above the diagonal are left out.

const LANES_OF_TILE: u32 = 64u;
// Lanes along either side of the tile.
const SIDE: u32 = 8u;
// Groups of four columns along either side.
const FOURS: u32 = 16u;
const TILE: u32 = 64u;
// Rows that are loaded at a time.
const DEPTH: u32 = 16u;

// By row: one load brings four columns of a lane.
var<workgroup> left: array<vec4<f32>, FOURS * DEPTH>;
var<workgroup> right: array<vec4<f32>, FOURS * DEPTH>;

// Column r of the result is row r of x y^T.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}

fn four(row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        feature(row, column), feature(row, column + 1u), feature(row, column + 2u), feature(row, column + 3u));
}

fn store(chunk: u32, row: u32, column: u32, block: mat4x4<f32>) {
    let width = params.columns + 1u;
    var rows = block;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            if row + i < width && column + j < width {
                let place = (chunk * width + row + i) * width + column + j;
                // Parts of the rows come one after the other.
                let before = select(partials[place], 0.0, params.is_first_part == 1u);
                partials[place] = before + rows[i][j];
            }
        }
    }
}

@compute @workgroup_size(LANES_OF_TILE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (params.columns + TILE) / TILE;
    let group = workgroup.y * workgroups.x + workgroup.x;
    let chunk = group / (tiles * tiles);
    let row = group / tiles % tiles * TILE;
    let column = group % tiles * TILE;
    if chunk >= params.chunks || column > row { return; }
    // A lane's blocks lie SIDE fours apart, so that neighbouring lanes read neighbouring fours.
    let lane_row = lane / SIDE;
    let lane_column = lane % SIDE;
    var sum = mat4x4<f32>();
    var sum_right = mat4x4<f32>();
    var sum_below = mat4x4<f32>();
    var sum_beyond = mat4x4<f32>();
    let last = min((chunk + 1u) * params.segments_of_chunk, params.segments);
    for (var segment = chunk * params.segments_of_chunk; segment < last; segment++) {
        let start = segment * LANES * params.rows_per_lane;
        let count = u32(sums[params.first_segment + segment].first.w);
        for (var depth = 0u; depth < count; depth += DEPTH) {
            for (var e = lane; e < FOURS * DEPTH; e += LANES_OF_TILE) {
                let place = depth + e / FOURS;
                let of_row = list[start + min(place, count - 1u)];
                let weight = select(0.0, abs(signed_weights[of_row]), place < count);
                left[e] = weight * four(of_row, row + 4u * (e % FOURS));
                right[e] = four(of_row, column + 4u * (e % FOURS));
            }
            workgroupBarrier();
            var part = mat4x4<f32>();
            var part_right = mat4x4<f32>();
            var part_below = mat4x4<f32>();
            var part_beyond = mat4x4<f32>();
            for (var p = 0u; p < DEPTH; p++) {
                let x = left[p * FOURS + lane_row];
                let y = right[p * FOURS + lane_column];
                let x_below = left[p * FOURS + SIDE + lane_row];
                let y_right = right[p * FOURS + SIDE + lane_column];
                part += outer(x, y);
                part_right += outer(x, y_right);
                part_below += outer(x_below, y);
                part_beyond += outer(x_below, y_right);
            }
            sum += part;
            sum_right += part_right;
            sum_below += part_below;
            sum_beyond += part_beyond;
            workgroupBarrier();
        }
    }
    let i = row + 4u * lane_row;
    let j = column + 4u * lane_column;
    store(chunk, i, j, sum);
    store(chunk, i, j + 4u * SIDE, sum_right);
    store(chunk, i + 4u * SIDE, j, sum_below);
    store(chunk, i + 4u * SIDE, j + 4u * SIDE, sum_beyond);
}
