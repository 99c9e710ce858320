// What the patterns of rows share: params.lanes lanes, a power of two, are a team that walks a row. The pattern says what
// a Row is and how two of them merge.

// Terms added in f32 before a partial sum is carried on.
const CHAIN: u32 = 16u;
const NO_INDEX: u32 = 0xffffffffu;

fn score_bits(i: u32) -> u32 { return widen_score(scores[score_word(i)], i); }
fn label_at(i: u32) -> i32 { return bitcast<i32>(widen_target(targets[target_word(i)], i)); }

// What an undefined row is filled with. Only wild rows are, so the finite variant's result is thrown away.
fn row_nan() -> Real { return real_from_bits(0x7fc00000u); }

var<workgroup> workgroup_rows: array<Row, WORKGROUP>;

// Merges the Rows of each team; every lane of the team gets the result. Called by every lane of the workgroup.
fn team_merge(lane: u32, row: Row) -> Row {
    let member = lane % params.lanes;
    workgroup_rows[lane] = row;
    workgroupBarrier();
    for (var stride = params.lanes / 2u; stride > 0u; stride /= 2u) {
        if member < stride {
            workgroup_rows[lane] = row_merge(workgroup_rows[lane], workgroup_rows[lane + stride]);
        }
        workgroupBarrier();
    }
    let merged = workgroup_rows[lane - member];
    workgroupBarrier();
    return merged;
}
