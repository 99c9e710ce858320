// C = A B for dense layers, in any of its three roles: A is m x k, B is k x n, both with strides; C is contiguous, but for
// the bias in role 2. Shared by product_tiles.wgsl and product_subgroup.wgsl, which define the walk over A and B. Both add a
// sum's terms in the same order. Elements outside a matrix are read as 0.

// src/gpu/network/kernel.rs: 0 for a layer's output, act(x W^T + bias), with the bias in `extra`;
// 1 for the gradient of the previous layer's weighted sums, (g W) * act'(y), where g is the gradient of this layer's
// weighted sums and y, in `extra`, the previous layer's output;
// 2 for the gradient of weights and bias, g^T x; the last column of C is the bias's, as if x ended in a column of ones.
override ROLE: u32 = 0u;
override ACTIVATION: u32 = 0u;

// Terms per chain of additions. Short chains keep rounding errors few.
const DEPTH: u32 = 16u;

// Column r of the result is row r of x y^T.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}

// Always loads from within the matrix, so that no lane branches.
fn load_a(i: u32, p: u32) -> f32 {
    let x = a[min(i, params.m - 1u) * params.a_row + min(p, params.k - 1u) * params.a_column];
    return select(0.0, x, i < params.m && p < params.k);
}

fn load_b(p: u32, j: u32) -> f32 {
    // The column of ones is not in memory.
    let last = select(params.n, params.n - 1u, ROLE == 2u) - 1u;
    let x = b[params.b_shift + min(p, params.k - 1u) * params.b_row + min(j, last) * params.b_column];
    let inside = j < params.n && p < params.k;
    return select(0.0, select(x, 1.0, ROLE == 2u && j > last), inside);
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
