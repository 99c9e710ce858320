// Multilabel margin: sum of phi(margin + s_i - s_j) over labels j and classes i that are not labels. Each such class pairs
// with every label: see column_slope. Each label pairs with every such class; the labels are distributed over the lanes of
// the team, several lanes per label where labels are few.

fn is_bad_target(label: i32) -> bool { return label >= i32(params.columns); }

// One bit per column of a row's window: whether it is a label. src/gpu/losses/target_rows.rs makes sure that the teams of a
// workgroup find room. A row longer than a window has the workgroup to itself.
const MEMBER_WORDS: u32 = WINDOW / 32u;
var<workgroup> members: array<atomic<u32>, MEMBER_WORDS>;
var<workgroup> has_repeated_label: atomic<u32>;
// Length of the row, if the workgroup has only one.
var<workgroup> row_length: u32;
// The same bits where each lane has a row to itself; no lane waits for another.
var<private> own_members: vec4<u32>;
var<private> has_own_repeated_label: bool;

fn words_a_row() -> u32 { return min((params.columns + 31u) / 32u, MEMBER_WORDS); }

fn mark_own_labels(sample: Sample) {
    own_members = vec4<u32>(0u);
    has_own_repeated_label = false;
    if !sample.kept { return; }
    for (var k = 0u; k < sample.length; k++) {
        let column = label_class(sample, k);
        has_own_repeated_label |= is_member(sample, column);
        own_members[column / 32u] |= 1u << (column % 32u);
    }
}

// Fills `members` for the rows of all teams and the window of columns that starts at `first`. If each lane has a row to
// itself, fills `own_members`, which has a bit for every column. Called by every lane of the workgroup.
fn mark_labels(lane: u32, sample: Sample, first: u32) {
    if params.lanes == 1u {
        mark_own_labels(sample);
        return;
    }
    workgroupBarrier();
    if first == 0u && lane == 0u { atomicStore(&has_repeated_label, 0u); }
    for (var word = lane; word < MEMBER_WORDS; word += WORKGROUP) { atomicStore(&members[word], 0u); }
    workgroupBarrier();
    if sample.kept {
        let first_word = sample.team * words_a_row();
        for (var k = lane % params.lanes; k < sample.length; k += params.lanes) {
            let column = u32(label_at(sample.first_target + k)) - first;
            if column < min(WINDOW, params.columns - first) {
                let bit = 1u << (column % 32u);
                let before = atomicOr(&members[first_word + column / 32u], bit);
                if (before & bit) != 0u { atomicStore(&has_repeated_label, 1u); }
            }
        }
    }
    workgroupBarrier();
}

fn is_member(sample: Sample, column: u32) -> bool {
    if params.lanes == 1u { return ((own_members[column / 32u] >> (column % 32u)) & 1u) != 0u; }
    let word = atomicLoad(&members[sample.team * words_a_row() + (column % WINDOW) / 32u]);
    return ((word >> (column % 32u)) & 1u) != 0u;
}

// write_label_slopes handles labels.
fn is_left_out(sample: Sample, column: u32) -> bool { return is_member(sample, column); }

struct Pairs {
    value: Cascade,
    slope: Cascade,
    violated: bool,
}

// Sums of eight pairs: the loops are short, and so are the chains.
struct Chain {
    value: Sum,
    slope: Sum,
    violated: bool,
}

fn pairs_zero() -> Pairs { return Pairs(cascade_zero(), cascade_zero(), false); }

fn pairs_add(pairs: Pairs, chain: Chain) -> Pairs {
    return Pairs(
        cascade_add(pairs.value, chain.value),
        cascade_add(pairs.slope, chain.slope),
        pairs.violated || chain.violated,
    );
}

fn chain_add(chain: Chain, rival: Real, labelled: Real) -> Chain {
    let violation = real_add(real(params.margin), real_subtract(rival, labelled));
    let penalised = penalise(violation);
    return Chain(
        sum_add(chain.value, penalised.value),
        sum_add(chain.slope, penalised.slope),
        chain.violated || real_is_positive(violation),
    );
}

// A bad label, which fails the whole evaluation anyway, counts as class 0.
fn label_class(sample: Sample, k: u32) -> u32 {
    let label = u32(label_at(sample.first_target + k));
    return select(0u, label, label < params.columns);
}

fn add_label(chain: Chain, sample: Sample, score: Real, k: u32) -> Chain {
    if k >= sample.length { return chain; }
    return chain_add(chain, score, score_at(sample, label_class(sample, k)));
}

// The pairs of a class that is not a label.
fn rival_pairs(sample: Sample, score: Real) -> Pairs {
    var pairs = pairs_zero();
    for (var k = 0u; k < sample.length; k += STRIDE) {
        var chain = Chain(sum_zero(), sum_zero(), false);
        chain = add_label(chain, sample, score, k);
        chain = add_label(chain, sample, score, k + 1u);
        chain = add_label(chain, sample, score, k + 2u);
        chain = add_label(chain, sample, score, k + 3u);
        chain = add_label(chain, sample, score, k + 4u);
        chain = add_label(chain, sample, score, k + 5u);
        chain = add_label(chain, sample, score, k + 6u);
        chain = add_label(chain, sample, score, k + 7u);
        pairs = pairs_add(pairs, chain);
    }
    return pairs;
}

fn add_rival(chain: Chain, sample: Sample, labelled: Real, column: u32, end: u32) -> Chain {
    if column >= end || is_member(sample, column) { return chain; }
    return chain_add(chain, score_at(sample, column), labelled);
}

// Adds the pairs of a label with the classes first, first + step, ... before end.
fn label_slope(sample: Sample, label: u32, first: u32, step: u32, end: u32, before: Cascade) -> Cascade {
    let labelled = score_at(sample, label);
    var slope = before;
    for (var column = first; column < end; column += STRIDE * step) {
        var chain = Chain(sum_zero(), sum_zero(), false);
        chain = add_rival(chain, sample, labelled, column, end);
        chain = add_rival(chain, sample, labelled, column + step, end);
        chain = add_rival(chain, sample, labelled, column + 2u * step, end);
        chain = add_rival(chain, sample, labelled, column + 3u * step, end);
        chain = add_rival(chain, sample, labelled, column + 4u * step, end);
        chain = add_rival(chain, sample, labelled, column + 5u * step, end);
        chain = add_rival(chain, sample, labelled, column + 6u * step, end);
        chain = add_rival(chain, sample, labelled, column + 7u * step, end);
        slope = cascade_add(slope, chain.slope);
    }
    return slope;
}

fn divide_up(a: u32, b: u32) -> u32 { return (a + b - 1u) / b; }

// How many lanes share each of a row's labels: a power of two, as many as the team can spare.
fn sharing_lanes(labels: u32) -> u32 {
    var sharing = params.lanes;
    while sharing > 1u && sharing * labels > params.lanes { sharing /= 2u; }
    return sharing;
}

// The most loop steps that a lane takes for a row, including the pass that ends each loop. In f32, where nothing wraps.
fn steps_of_row(length: u32) -> u32 {
    let strides = f32(divide_up(length, STRIDE));
    let windows = divide_up(params.columns, WINDOW);
    let quads = f32(divide_up(params.columns / quad_length() + 2u * windows, params.lanes));
    let marking = f32(MEMBER_WORDS / WORKGROUP + divide_up(length, params.lanes) + 4u);
    let around = f32(windows) * (16.0 + marking);
    let walk = around + quads * (4.0 + f32(quad_length()) * (3.0 + strides));
    var steps = f32(divide_up(params.target_width, params.lanes) + 1u) + walk;
    if WRITE_GRADIENT {
        let labels = select(params.columns, length, params.lanes == WORKGROUP || params.lanes == 1u);
        let sharing = sharing_lanes(max(labels, 1u));
        let rounds = f32(divide_up(labels, params.lanes / sharing));
        let rivals = f32(divide_up(min(params.columns, WINDOW), STRIDE * sharing) + 2u);
        steps += walk + rounds * (16.0 + f32(windows) * (rivals + select(0.0, marking, windows > 1u)));
        // The search for labels that are given twice.
        steps += f32(divide_up(length, params.lanes)) * (strides + 2.0);
    }
    return u32(min(steps, 1e6));
}

fn visit(sample: Sample, column: u32, score: Real, row: ptr<function, Row>) {
    if is_member(sample, column) { return; }
    let pairs = rival_pairs(sample, score);
    (*row).value = sum_merge((*row).value, cascade_total(pairs.value));
    if pairs.violated { (*row).flags |= ROW_ACTIVE; }
}

fn combine(sample: Sample, row: Row) -> Combined {
    return Combined(sum_to_real(row.value), real(1.0), (row.flags & ROW_ACTIVE) != 0u, false);
}

fn column_slope(sample: Sample, column: u32, score: Real, row: Row, combined: Combined) -> Real {
    return sum_to_real(cascade_total(rival_pairs(sample, score).slope));
}

fn is_any_label_repeated() -> bool {
    if params.lanes == 1u { return has_own_repeated_label; }
    return atomicLoad(&has_repeated_label) != 0u;
}

// How often the row's k-th label occurs in the row, or 0 if it has occurred before.
fn label_times(sample: Sample, k: u32) -> u32 {
    if !is_any_label_repeated() { return 1u; }
    var equals = Equals(0u, NO_INDEX);
    for (var other = 0u; other < sample.length; other += STRIDE) {
        equals = add_equal(equals, sample, k, other);
        equals = add_equal(equals, sample, k, other + 1u);
        equals = add_equal(equals, sample, k, other + 2u);
        equals = add_equal(equals, sample, k, other + 3u);
        equals = add_equal(equals, sample, k, other + 4u);
        equals = add_equal(equals, sample, k, other + 5u);
        equals = add_equal(equals, sample, k, other + 6u);
        equals = add_equal(equals, sample, k, other + 7u);
    }
    return select(0u, equals.times, equals.first == k);
}

// Among the labels equal to a given one: how many, and the first.
struct Equals {
    times: u32,
    first: u32,
}

fn add_equal(equals: Equals, sample: Sample, k: u32, other: u32) -> Equals {
    if other >= sample.length || label_at(sample.first_target + other) != label_at(sample.first_target + k) {
        return equals;
    }
    return Equals(equals.times + 1u, min(equals.first, other));
}

fn write_label_slope(sample: Sample, k: u32, slope: Sum, undefined: bool) {
    let times = label_times(sample, k);
    if times == 0u { return; }
    var element = row_nan();
    if !undefined {
        // A label given twice counts twice.
        let slope_of_label = real_multiply(sum_to_real(slope), real(f32(times)));
        element = real_negate(real_multiply(slope_of_label, row_coefficient(sample)));
    }
    let index = sample.row * params.columns + label_class(sample, k);
    gradient[index + params.gradient_shift] = real_to_bits(element);
}

fn write_own_label_slopes(sample: Sample, undefined: bool) {
    for (var k = 0u; k < sample.length; k++) {
        var slope = cascade_zero();
        if !undefined { slope = label_slope(sample, label_class(sample, k), 0u, 1u, params.columns, slope); }
        write_label_slope(sample, k, cascade_total(slope), undefined);
    }
}

// Writes the gradient of a row's labels. Called by every lane of the workgroup.
fn write_label_slopes(lane: u32, sample: Sample, combined: Combined) {
    let undefined = real_is_nan(combined.value);
    if params.lanes == 1u {
        if sample.kept { write_own_label_slopes(sample, undefined); }
        return;
    }
    // A number of labels that is the same for the whole workgroup: the row's, or the largest possible.
    var most = params.columns;
    if params.lanes == WORKGROUP {
        if lane == 0u { row_length = sample.length; }
        most = workgroupUniformLoad(&row_length);
    }
    let member = lane % params.lanes;
    let sharing = sharing_lanes(most);
    let part = member % sharing;
    for (var first_label = 0u; first_label < most; first_label += params.lanes / sharing) {
        let k = first_label + member / sharing;
        let has_label = sample.kept && k < sample.length;
        var slope = cascade_zero();
        for (var first = 0u; first < params.columns; first += WINDOW) {
            if params.columns > WINDOW { mark_labels(lane, sample, first); }
            if has_label && !undefined {
                let end = min(params.columns, first + WINDOW);
                slope = label_slope(sample, label_class(sample, k), first + part, sharing, end, slope);
            }
        }
        workgroup_rows[lane].value = cascade_total(slope);
        workgroupBarrier();
        for (var stride = sharing / 2u; stride > 0u; stride /= 2u) {
            if part < stride {
                workgroup_rows[lane].value = sum_merge(workgroup_rows[lane].value, workgroup_rows[lane + stride].value);
            }
            workgroupBarrier();
        }
        let total = workgroup_rows[lane].value;
        workgroupBarrier();
        if part == 0u && has_label { write_label_slope(sample, k, total, undefined); }
    }
}
