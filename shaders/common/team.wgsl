// What the patterns of rows share: params.lanes lanes, a power of two, are a team that walks a row. The pattern says what
// a Row is, how two of them merge, and how many have room in workgroup memory (ROW_SLOTS).
//
// A lane loads a quad at a time: four words side by side, which begin at a multiple of four wherever the row begins. So the
// quads at a row's ends may hold elements of its neighbours, and a walk leaves out what is none of its columns.

// Terms added in f32 before a partial sum is carried on.
const CHAIN: u32 = 16u;
// Terms of a chain where a loop over them is unrolled by hand.
const STRIDE: u32 = 8u;
const NO_INDEX: u32 = 0xffffffffu;

fn score_bits(i: u32) -> u32 {
    let word = score_word(i);
    return widen_score(cell_word(scores[cell_index(word)], word), i);
}

// Scores of a quad.
fn quad_length() -> u32 { return select(8u, 4u, SCORE_TYPE == 0u); }

// The quads from that of `first` to that of the element before `end`, and the first of them that is a member's.
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

// The f32 bits of score k of a quad.
fn quad_score_bits(words: vec4<u32>, k: u32) -> u32 {
    if SCORE_TYPE == 0u { return words[k]; }
    return widen_half(words[k / 2u], k, SCORE_TYPE);
}

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

// One a subgroup, or more where a pattern has its own use for them.
var<workgroup> workgroup_rows: array<Row, ROW_SLOTS>;

// Merges the Rows of each team; every lane of the team gets the result. Called by every lane of the workgroup.
fn team_merge(lane: u32, row: Row) -> Row {
    var own = row;
    let near = min(params.lanes, SUBGROUP_LANES);
    for (var mask = 1u; mask < near; mask *= 2u) { own = row_merge(own, row_exchanged(own, mask)); }
    if params.lanes <= SUBGROUP_LANES { return own; }
    // The rest of a larger team, which has one Row a subgroup now.
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

// Notes a weight that is not allowed.
fn is_noted_weight(sample: u32, bits: u32, partial: ptr<function, Partial>) -> bool {
    if !is_bad_weight(bits) { return false; }
    (*partial).bad_weight = bad_first((*partial).bad_weight, Bad(sample, bits));
    return true;
}

// Reads a sample's weight, 1 where there are none, and notes a bad one. `counts` is true for one lane of the team.
fn read_weight(sample: u32, counts: bool, partial: ptr<function, Partial>) -> Weight {
    if !HAS_WEIGHTS { return Weight(false, real(1.0)); }
    let bits = sample_weights[sample + params.weights_shift];
    if is_noted_weight(sample, bits, partial) { return Weight(true, real(0.0)); }
    if is_wild(bits) { (*partial).flags |= FLAG_WILD; }
    let weight = real_from_bits(bits);
    if counts { (*partial).weight = sum_add((*partial).weight, weight); }
    return Weight(false, weight);
}
