// C = A B for dense layers, in any of its three roles: A is m x k, B is k x n, both with strides, C is contiguous.
//
// A workgroup of 64 lanes computes a tile of 32 x 32; a lane holds 4 x 4 of it in registers. Tiles of A and B pass through
// workgroup memory, 16 columns and rows at a time. What lies outside a matrix is read as 0.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_row: u32,
    a_column: u32,
    b_row: u32,
    b_column: u32,
    b_shift: u32,
    extra_shift: u32,
    out_shift: u32,
    bias_shift: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> extra: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// src/gpu/network/kernel.rs: 0 for a layer's output, act(x W^T + bias), with the bias in `extra`;
// 1 for the gradient of the layer before's sums, (g W) * act'(y), with y in `extra`;
// 2 for the gradient of weights and bias, g^T x; the last column of C is the bias's, as if x ended in a 1.
override ROLE: u32 = 0u;
override ACTIVATION: u32 = 0u;

const TILE: u32 = 32u;
const DEPTH: u32 = 16u;
const LANES: u32 = 64u;

// By column of A and by row of B, so that a lane's four numbers lie together.
var<workgroup> tile_a: array<f32, 512>;
var<workgroup> tile_b: array<f32, 512>;

fn load_a(i: u32, p: u32) -> f32 {
    if i >= params.m || p >= params.k { return 0.0; }
    return a[i * params.a_row + p * params.a_column];
}

fn load_b(p: u32, j: u32) -> f32 {
    if j >= params.n || p >= params.k { return 0.0; }
    if ROLE == 2u && j == params.n - 1u { return 1.0; }
    return b[params.b_shift + p * params.b_row + j * params.b_column];
}

// Neighbouring lanes read neighbouring elements where one of the strides is 1.
fn fill(lane: u32, row: u32, column: u32, depth: u32) {
    for (var step = 0u; step < TILE * DEPTH / LANES; step++) {
        let e = step * LANES + lane;
        var i = e / DEPTH;
        var p = e % DEPTH;
        if params.a_row == 1u {
            i = e % TILE;
            p = e / TILE;
        }
        tile_a[p * TILE + i] = load_a(row + i, depth + p);
        var j = e / DEPTH;
        p = e % DEPTH;
        if params.b_column == 1u {
            j = e % TILE;
            p = e / TILE;
        }
        tile_b[p * TILE + j] = load_b(depth + p, column + j);
    }
}

fn store(i: u32, j: u32, x: f32) {
    if i >= params.m || j >= params.n { return; }
    if ROLE == 0u {
        out[i * params.n + j] = activate(x + extra[params.extra_shift + j], ACTIVATION);
    } else if ROLE == 1u {
        out[i * params.n + j] = x * activation_slope(extra[i * params.n + j], ACTIVATION);
    } else if j == params.n - 1u {
        out[params.bias_shift + i] = x;
    } else {
        out[params.out_shift + i * (params.n - 1u) + j] = x;
    }
}

fn store_row(i: u32, j: u32, x: vec4<f32>) {
    store(i, j, x.x);
    store(i, j + 1u, x.y);
    store(i, j + 2u, x.z);
    store(i, j + 3u, x.w);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y * TILE;
    let column = workgroup.x * TILE;
    let lane_row = lane / 8u * 4u;
    let lane_column = lane % 8u * 4u;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var depth = 0u; depth < params.k; depth += DEPTH) {
        fill(lane, row, column, depth);
        workgroupBarrier();
        // Short chains, so that rounding errors stay few.
        var part0 = vec4<f32>();
        var part1 = vec4<f32>();
        var part2 = vec4<f32>();
        var part3 = vec4<f32>();
        for (var p = 0u; p < DEPTH; p++) {
            let at_a = p * TILE + lane_row;
            let at_b = p * TILE + lane_column;
            let x = vec4<f32>(tile_b[at_b], tile_b[at_b + 1u], tile_b[at_b + 2u], tile_b[at_b + 3u]);
            part0 += tile_a[at_a] * x;
            part1 += tile_a[at_a + 1u] * x;
            part2 += tile_a[at_a + 2u] * x;
            part3 += tile_a[at_a + 3u] * x;
        }
        sum0 += part0;
        sum1 += part1;
        sum2 += part2;
        sum3 += part3;
        workgroupBarrier();
    }
    let i = row + lane_row;
    let j = column + lane_column;
    store_row(i, j, sum0);
    store_row(i + 1u, j, sum1);
    store_row(i + 2u, j, sum2);
    store_row(i + 3u, j, sum3);
}
