// What the patterns of rows share: params.lanes lanes, a power of two, are a team that walks a row. The pattern says what
// a Row is and how two of them merge.

// Terms added in f32 before a partial sum is carried on.
const CHAIN: u32 = 16u;
// Terms of a chain where a loop over them is unrolled by hand.
const STRIDE: u32 = 8u;
const NO_INDEX: u32 = 0xffffffffu;

fn score_bits(i: u32) -> u32 { return widen_score(scores[score_word(i)], i); }
fn label_at(i: u32) -> i32 { return bitcast<i32>(widen_target(targets[target_word(i)], i)); }

// What an undefined row is filled with. Only wild rows are, so the finite variant's result is thrown away.
fn row_nan() -> Real { return real_from_bits(0x7fc00000u); }

// A sum of many chains: 16 short ones make a middle one, 16 middle ones a step of the long one, so that rounding errors
// stay few.
struct Cascade {
    short: Sum,
    middle: Sum,
    long: Sum,
    count: u32,
}

fn cascade_zero() -> Cascade { return Cascade(sum_zero(), sum_zero(), sum_zero(), 0u); }

fn cascade_add(cascade: Cascade, chain: Sum) -> Cascade {
    var next = cascade;
    next.short = sum_merge(next.short, chain);
    next.count += 1u;
    if next.count % CHAIN == 0u {
        next.middle = sum_merge(next.middle, next.short);
        next.short = sum_zero();
        if next.count % (CHAIN * CHAIN) == 0u {
            next.long = sum_merge(next.long, next.middle);
            next.middle = sum_zero();
        }
    }
    return next;
}

fn cascade_total(cascade: Cascade) -> Sum {
    return sum_merge(sum_merge(cascade.long, cascade.middle), cascade.short);
}

var<workgroup> workgroup_rows: array<Row, WORKGROUP>;

// Merges the Rows of each team; every lane of the team gets the result. Called by every lane of the workgroup.
fn team_merge(lane: u32, row: Row) -> Row {
    if params.lanes == 1u { return row; }
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
