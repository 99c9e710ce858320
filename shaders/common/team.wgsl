// Shared by the patterns of rows: params.lanes lanes, a power of two, form a team that walks a row. The pattern defines Row,
// how two Rows merge, and how many fit in workgroup memory (ROW_SLOTS). A lane loads a quad at a time: four words side by
// side that begin at a multiple of four, wherever the row begins. So the quads at a row's ends may hold elements of its
// neighbours, and a walk skips those.

// Terms added in f32 before their sum joins a longer one.
const CHAIN: u32 = 16u;
// Terms per chain where a loop over them is unrolled by hand.
const STRIDE: u32 = 8u;
const NO_INDEX: u32 = 0xffffffffu;

fn score_bits(i: u32) -> u32 {
    let word = score_word(i);
    return widen_score(cell_word(scores[cell_index(word)], word), i);
}

// Scores per quad.
fn quad_length() -> u32 { return select(8u, 4u, SCORE_TYPE == 0u); }

// The quads that hold the elements from `first` to before `end`: a member's first quad, and the end.
struct Quads {
    next: u32,
    end: u32,
}

fn quads_of(member: u32, first: u32, end: u32) -> Quads {
    return Quads(first / quad_length() + member, (end - 1u) / quad_length() + 1u);
}

fn load_quad(quad: u32) -> vec4<u32> {
    let word = 4u * quad;
    return cells_quad(
        scores[cell_index(word)],
        scores[cell_index(word + 1u)],
        scores[cell_index(word + 2u)],
        scores[cell_index(word + 3u)],
    );
}

fn quad_score_bits(words: vec4<u32>, k: u32) -> u32 {
    if SCORE_TYPE == 0u { return words[k]; }
    return widen_half(words[k / 2u], k, SCORE_TYPE);
}

fn label_at(i: u32) -> i32 { return bitcast<i32>(widen_target(targets[target_word(i)], i)); }

// Fills an undefined row. Only wild rows are undefined, and for those the finite variant's result is thrown away.
fn row_nan() -> Real { return real_from_bits(0x7fc00000u); }

// A sum in three levels keeps rounding errors few: 16 chains make a short sum, 16 short sums a middle one; `long` adds these.
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

// One per subgroup, or more where a pattern needs them.
var<workgroup> workgroup_rows: array<Row, ROW_SLOTS>;

// Merges the Rows of each team; every lane of the team gets the result. Called by every lane of the workgroup.
fn team_merge(lane: u32, row: Row) -> Row {
    var own = row;
    let near = min(params.lanes, SUBGROUP_LANES);
    for (var mask = 1u; mask < near; mask *= 2u) { own = row_merge(own, row_exchanged(own, mask)); }
    if params.lanes <= SUBGROUP_LANES { return own; }
    // The team is larger than a subgroup: merge its Rows, one per subgroup.
    let member = lane % params.lanes / SUBGROUP_LANES;
    let slot = lane / SUBGROUP_LANES;
    if lane % SUBGROUP_LANES == 0u { workgroup_rows[slot] = own; }
    workgroupBarrier();
    for (var stride = params.lanes / SUBGROUP_LANES / 2u; stride > 0u; stride /= 2u) {
        if member < stride && lane % SUBGROUP_LANES == 0u {
            workgroup_rows[slot] = row_merge(workgroup_rows[slot], workgroup_rows[slot + stride]);
        }
        workgroupBarrier();
    }
    let merged = workgroup_rows[slot - member];
    workgroupBarrier();
    return merged;
}

struct Weight {
    is_bad: bool,
    value: Real,
}

fn is_noted_weight(sample: u32, bits: u32, partial: ptr<function, Partial>) -> bool {
    if !is_bad_weight(bits) { return false; }
    (*partial).bad_weight = bad_first((*partial).bad_weight, Bad(sample, bits));
    return true;
}

// Reads a sample's weight (1 without weights) and records a bad one. `counts` is true for one lane of the team.
fn read_weight(sample: u32, counts: bool, partial: ptr<function, Partial>) -> Weight {
    if !HAS_WEIGHTS { return Weight(false, real(1.0)); }
    let bits = sample_weights[sample + params.weights_shift];
    if is_noted_weight(sample, bits, partial) { return Weight(true, real(0.0)); }
    if is_wild(bits) { (*partial).flags |= FLAG_WILD; }
    let weight = real_from_bits(bits);
    if counts { (*partial).weight = sum_add((*partial).weight, weight); }
    return Weight(false, weight);
}
