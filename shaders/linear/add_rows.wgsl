// The sum of coefficient * label * row, for a block of rows and a tile of columns per workgroup.

// Columns of a tile; the other lanes take other rows.
const TILE: u32 = 32u;
const ROWS: u32 = LANES / TILE;

var<workgroup> columns: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = params.columns + 1u;
    let tiles = (width + TILE - 1u) / TILE;
    let group = workgroup.y * workgroups.x + workgroup.x;
    let block = group / tiles;
    if block >= params.blocks { return; }
    let column = (group % tiles) * TILE + lane % TILE;
    let begin = block * params.rows_of_block;
    let end = min(begin + params.rows_of_block, params.rows);
    var sum = 0.0;
    for (var first = begin + lane / TILE; first < end; first += CHAIN * ROWS) {
        var chain = 0.0;
        for (var row = first; row < min(first + CHAIN * ROWS, end); row += ROWS) {
            let coefficient = coefficients[row];
            // Most are 0, and their rows are not read.
            if coefficient != 0.0 { chain += coefficient * label(row) * feature(row, column); }
        }
        sum += chain;
    }
    columns[lane] = sum;
    for (var stride = LANES / 2u; stride >= TILE; stride /= 2u) {
        workgroupBarrier();
        if lane < stride { columns[lane] += columns[lane + stride]; }
    }
    if lane < TILE && column < width { partials[(params.first_block + block) * width + column] = columns[lane]; }
}
