// C = A B without workgroup memory. A workgroup is eight lanes of one subgroup (the host makes sure that it has at least
// eight) and computes 32 rows and 32 columns of C. A lane loads four numbers of A, which its neighbours get from its
// registers, and four of B for its own columns. Meant for adapters that run a subgroup as one vector of the CPU: there loads
// go lane by lane, and broadcasts are free.

const LANES: u32 = 8u;
const TILE: u32 = 32u;

// The product of eight rows of A and a lane's columns.
struct Eight {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

// Adds the terms of one more column of A: x is its element in the lane's own row, y a row of B.
fn add_terms(sum: Eight, x: f32, y: vec4<f32>) -> Eight {
    let low = vec4<f32>(
        subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u), subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u));
    let high = vec4<f32>(
        subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u), subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u));
    return Eight(sum.low + outer(low, y), sum.high + outer(high, y));
}

fn add(a: Eight, b: Eight) -> Eight { return Eight(a.low + b.low, a.high + b.high); }

// The lane's columns lie LANES apart: neighbouring lanes take neighbouring elements.
fn store_eight(row: u32, column: u32, sum: Eight) {
    var halves = array<mat4x4<f32>, 2>(sum.low, sum.high);
    for (var i = 0u; i < 8u; i++) {
        for (var j = 0u; j < 4u; j++) { store(row + i, column + LANES * j, halves[i / 4u][i % 4u][j]); }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.y * TILE;
    let column = workgroup.x * TILE + lane;
    var sum0 = Eight();
    var sum1 = Eight();
    var sum2 = Eight();
    var sum3 = Eight();
    for (var depth = 0u; depth < params.k; depth += DEPTH) {
        var part0 = Eight();
        var part1 = Eight();
        var part2 = Eight();
        var part3 = Eight();
        for (var p = depth; p < min(depth + DEPTH, params.k); p++) {
            let y = vec4<f32>(
                load_b(p, column), load_b(p, column + LANES), load_b(p, column + 2u * LANES), load_b(p, column + 3u * LANES));
            part0 = add_terms(part0, load_a(row + lane, p), y);
            part1 = add_terms(part1, load_a(row + 8u + lane, p), y);
            part2 = add_terms(part2, load_a(row + 16u + lane, p), y);
            part3 = add_terms(part3, load_a(row + 24u + lane, p), y);
        }
        sum0 = add(sum0, part0);
        sum1 = add(sum1, part1);
        sum2 = add(sum2, part2);
        sum3 = add(sum3, part3);
    }
    store_eight(row, column, sum0);
    store_eight(row + 8u, column, sum1);
    store_eight(row + 16u, column, sum2);
    store_eight(row + 24u, column, sum3);
}
