// C = A B through workgroup memory. 64 lanes compute a TILE x TILE tile of C; each holds BLOCKS x BLOCKS blocks of 4 x 4 in
// registers. DEPTH columns of A and rows of B are loaded at a time. The host puts `const BLOCKS: u32` in front: 1 or 2.

const LANES: u32 = 64u;
// Lanes along either side of the tile.
const SIDE: u32 = 8u;
// Groups of four along either side of the tile.
const FOURS: u32 = SIDE * BLOCKS;
const TILE: u32 = 4u * FOURS;

// Stored by column of A and by row of B, so that one load brings four numbers of a lane.
var<workgroup> tile_a: array<vec4<f32>, FOURS * DEPTH>;
var<workgroup> tile_b: array<vec4<f32>, FOURS * DEPTH>;

// Neighbouring lanes read neighbouring elements where one of the strides is 1.
fn fill(lane: u32, row: u32, column: u32, depth: u32) {
    for (var e = lane; e < FOURS * DEPTH; e += LANES) {
        var four = e / DEPTH;
        var p = e % DEPTH;
        if params.a_row == 1u {
            four = e % FOURS;
            p = e / FOURS;
        }
        tile_a[p * FOURS + four] = four_of_a(row + 4u * four, depth + p);
        four = e / DEPTH;
        p = e % DEPTH;
        if params.b_column == 1u {
            four = e % FOURS;
            p = e / FOURS;
        }
        tile_b[p * FOURS + four] = four_of_b(depth + p, column + 4u * four);
    }
}

fn four_of_a(i: u32, p: u32) -> vec4<f32> {
    return vec4<f32>(load_a(i, p), load_a(i + 1u, p), load_a(i + 2u, p), load_a(i + 3u, p));
}

fn four_of_b(p: u32, j: u32) -> vec4<f32> {
    return vec4<f32>(load_b(p, j), load_b(p, j + 1u), load_b(p, j + 2u), load_b(p, j + 3u));
}

fn store_block(row: u32, column: u32, block: mat4x4<f32>) {
    var rows = block;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) { store(row + i, column + j, rows[i][j]); }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y * TILE;
    let column = workgroup.x * TILE;
    // A lane's blocks lie SIDE fours apart, so that neighbouring lanes read neighbouring fours.
    let lane_row = lane / SIDE;
    let lane_column = lane % SIDE;
    var sum = mat4x4<f32>();
    var sum_right = mat4x4<f32>();
    var sum_below = mat4x4<f32>();
    var sum_beyond = mat4x4<f32>();
    for (var depth = 0u; depth < params.k; depth += DEPTH) {
        fill(lane, row, column, depth);
        workgroupBarrier();
        var part = mat4x4<f32>();
        var part_right = mat4x4<f32>();
        var part_below = mat4x4<f32>();
        var part_beyond = mat4x4<f32>();
        for (var p = 0u; p < DEPTH; p++) {
            let x = tile_a[p * FOURS + lane_row];
            let y = tile_b[p * FOURS + lane_column];
            part += outer(x, y);
            if BLOCKS == 2u {
                let x_below = tile_a[p * FOURS + SIDE + lane_row];
                let y_right = tile_b[p * FOURS + SIDE + lane_column];
                part_right += outer(x, y_right);
                part_below += outer(x_below, y);
                part_beyond += outer(x_below, y_right);
            }
        }
        sum += part;
        sum_right += part_right;
        sum_below += part_below;
        sum_beyond += part_beyond;
        workgroupBarrier();
    }
    let i = row + 4u * lane_row;
    let j = column + 4u * lane_column;
    store_block(i, j, sum);
    if BLOCKS == 2u {
        store_block(i, j + 4u * SIDE, sum_right);
        store_block(i + 4u * SIDE, j, sum_below);
        store_block(i + 4u * SIDE, j + 4u * SIDE, sum_beyond);
    }
}
