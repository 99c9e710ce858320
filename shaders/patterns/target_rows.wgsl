// The target rows pattern: one row of scores and one row of targets per sample. The loss gives visit (adds one column to the
// row), combine (the row's loss) and column_slope. For label targets it also marks the labels of a window (mark_labels),
// names the columns that write_slopes leaves out (is_left_out), writes their slopes (write_label_slopes), and counts loop
// steps (steps_of_row).
//
// params.lanes lanes, a power of two, form a team that shares a row. A workgroup holds WORKGROUP / lanes teams, and each team
// takes params.samples_per_team rows one after the other.

override SPLIT_TIES: bool = false;

const ROW_ACTIVE: u32 = 1u;
const ROW_NAN: u32 = 2u;
const ROW_WILD: u32 = 4u;

// One per lane, because losses also merge other things than rows there.
const ROW_SLOTS: u32 = WORKGROUP;

// What has been accumulated over a row's columns; a loss uses what it needs.
struct Row {
    value: Sum,
    // The largest term, its lowest index, and how many share it.
    best: Real,
    best_index: u32,
    ties: u32,
    // The highest score and its lowest index.
    top: Real,
    top_index: u32,
    // Column of the first negative target.
    length: u32,
    flags: u32,
}

// A row's loss before weights, the slope of its penalty, and whether the row counts as active and as correct.
struct Combined {
    value: Real,
    slope: Real,
    is_active: bool,
    correct: bool,
}

struct Sample {
    kept: bool,
    row: u32,
    team: u32,
    // Indices of the row's first score and first target.
    first_score: u32,
    first_target: u32,
    // Targets before the first negative one.
    length: u32,
    weight: Real,
}

fn row_zero() -> Row {
    return Row(sum_zero(), real_lowest(), NO_INDEX, 0u, real_lowest(), NO_INDEX, params.columns, 0u);
}

fn row_merge(a: Row, b: Row) -> Row {
    var row = a;
    row.value = sum_merge(a.value, b.value);
    row.length = min(a.length, b.length);
    row.flags = a.flags | b.flags;
    if b.best_index != NO_INDEX {
        if a.best_index == NO_INDEX || real_less(a.best, b.best) {
            row.best = b.best;
            row.best_index = b.best_index;
            row.ties = b.ties;
        } else if real_equal(a.best, b.best) {
            row.best_index = min(a.best_index, b.best_index);
            row.ties += b.ties;
        }
    }
    if b.top_index != NO_INDEX {
        let higher = a.top_index == NO_INDEX || real_less(a.top, b.top);
        if higher || (real_equal(a.top, b.top) && b.top_index < a.top_index) {
            row.top = b.top;
            row.top_index = b.top_index;
        }
    }
    return row;
}

fn row_exchanged(row: Row, mask: u32) -> Row {
    return Row(
        sum_exchanged(row.value, mask),
        real_exchanged(row.best, mask),
        exchanged(row.best_index, mask),
        exchanged(row.ties, mask),
        real_exchanged(row.top, mask),
        exchanged(row.top_index, mask),
        exchanged(row.length, mask),
        exchanged(row.flags, mask),
    );
}

fn score_at(sample: Sample, column: u32) -> Real { return real_from_bits(score_bits(sample.first_score + column)); }

// The target of a class: from the row of targets, or 1 at the class index and 0 elsewhere.
fn target_at(sample: Sample, column: u32) -> i32 {
    if params.target_width == 1u { return select(0, 1, label_at(sample.first_target) == i32(column)); }
    return label_at(sample.first_target + column);
}

// Columns walked before the loss marks the row's labels again.
const WINDOW: u32 = 32768u;

// Reads a row's weight, and records a bad one. `counts` is true for one lane of the team.
fn read_sample(row: u32, team: u32, counts: bool, partial: ptr<function, Partial>) -> Sample {
    let first_score = row * params.columns + params.scores_shift;
    let first_target = row * params.target_width + params.targets_shift;
    var sample = Sample(false, row, team, first_score, first_target, 0u, real(1.0));
    if row >= params.samples { return sample; }
    let weight = read_weight(row, counts, partial);
    if weight.is_bad { return sample; }
    sample.weight = weight.value;
    sample.kept = true;
    if counts { (*partial).count += 1u; }
    return sample;
}

// Scans a lane's part of a row's targets: finds the first negative one, and records bad ones.
fn scan_targets(member: u32, sample: Sample, partial: ptr<function, Partial>) -> Row {
    var row = row_zero();
    if !sample.kept { return row; }
    for (var column = member; column < params.target_width; column += params.lanes) {
        let label = label_at(sample.first_target + column);
        if is_bad_target(label) {
            let index = sample.row * params.target_width + column;
            (*partial).bad_target = bad_first((*partial).bad_target, Bad(index, bitcast<u32>(label)));
        }
        if label < 0 { row.length = min(row.length, column); }
    }
    return row;
}

fn walk(member: u32, sample: Sample, first: u32) -> Row {
    var row = row_zero();
    if !sample.kept { return row; }
    let columns = min(params.columns - first, WINDOW);
    let first_score = sample.first_score + first;
    var quads = quads_of(member, first_score, first_score + columns);
    while quads.next < quads.end {
        var long_chain = row_zero();
        for (var i = 0u; i < CHAIN && quads.next < quads.end; i++) {
            var chain = row_zero();
            for (var j = 0u; j < CHAIN && quads.next < quads.end; j += quad_length()) {
                let words = load_quad(quads.next);
                for (var k = 0u; k < quad_length(); k++) {
                    let element = quads.next * quad_length() + k;
                    if element - first_score >= columns { continue; }
                    let bits = quad_score_bits(words, k);
                    let score = real_from_bits(bits);
                    if is_wild(bits) { chain.flags |= ROW_WILD; }
                    if real_is_nan(score) {
                        chain.flags |= ROW_NAN;
                    } else {
                        visit(sample, element - sample.first_score, score, &chain);
                    }
                }
                quads.next += params.lanes;
            }
            long_chain = row_merge(long_chain, chain);
        }
        row = row_merge(row, long_chain);
    }
    return row;
}

// The factor that turns a row's slope into an element of the gradient.
fn row_coefficient(sample: Sample) -> Real {
    return real_divide(gradient_coefficient(sample.weight), params.sample_divisor);
}

// Writes the gradient of one lane's columns of a window, except the labels that the loss handles separately.
fn write_slopes(member: u32, sample: Sample, first: u32, row: Row, combined: Combined) {
    let undefined = real_is_nan(combined.value);
    let coefficient = row_coefficient(sample);
    let columns = min(params.columns - first, WINDOW);
    let first_score = sample.first_score + first;
    let quads = quads_of(member, first_score, first_score + columns);
    for (var quad = quads.next; quad < quads.end; quad += params.lanes) {
        let words = load_quad(quad);
        for (var k = 0u; k < quad_length(); k++) {
            let element = quad * quad_length() + k;
            if element - first_score >= columns { continue; }
            let column = element - sample.first_score;
            var slope = row_nan();
            if !sample.kept {
                slope = real(0.0);
            } else if is_left_out(sample, column) {
                continue;
            } else if !undefined {
                let score = real_from_bits(quad_score_bits(words, k));
                slope = real_multiply(column_slope(sample, column, score, row, combined), coefficient);
            }
            gradient[sample.row * params.columns + column + params.gradient_shift] = real_to_bits(slope);
        }
    }
}

// Computes a row's loss and counters. Called by the first lane of a team.
fn finish(sample: Sample, row: Row, combined: Combined, partial: ptr<function, Partial>) {
    let undefined = real_is_nan(combined.value);
    var loss = real(0.0);
    if sample.kept {
        loss = real_multiply(real_divide(combined.value, params.sample_divisor), sample.weight);
        (*partial).loss = sum_add((*partial).loss, loss);
        (*partial).active_count += u32(combined.is_active && !undefined);
        (*partial).correct += u32(combined.correct && (row.flags & ROW_NAN) == 0u);
        if (row.flags & ROW_WILD) != 0u { (*partial).flags |= FLAG_WILD; }
    }
    if WRITE_LOSSES { losses[sample.row + params.losses_shift] = real_to_bits(loss); }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    let teams = WORKGROUP / params.lanes;
    let member = lane % params.lanes;
    let team = lane / params.lanes;
    var partial = partial_zero();
    var steps = 0u;
    for (var turn = 0u; turn < params.samples_per_team; turn++) {
        let row_index = (group * params.samples_per_team + turn) * teams + team;
        var sample = read_sample(row_index, team, member == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        let scanned = team_merge(lane, scan_targets(member, sample, &partial));
        sample.length = scanned.length;
        if sample.kept {
            steps += steps_of_row(sample.length);
            if steps > params.most_steps {
                partial.flags |= FLAG_TOO_LONG;
                partial.longest = max(partial.longest, sample.length);
                sample.kept = false;
            }
        }
        var walked = row_zero();
        for (var first = 0u; first < params.columns; first += WINDOW) {
            mark_labels(lane, sample, first);
            walked = row_merge(walked, walk(member, sample, first));
        }
        let row = team_merge(lane, walked);
        var combined = combine(sample, row);
        if (row.flags & ROW_NAN) != 0u { combined.value = row_nan(); }
        let exists = row_index < params.samples;
        if WRITE_GRADIENT {
            for (var first = 0u; first < params.columns; first += WINDOW) {
                if params.columns > WINDOW { mark_labels(lane, sample, first); }
                if exists { write_slopes(member, sample, first, row, combined); }
            }
            write_label_slopes(lane, sample, combined);
        }
        if exists && member == 0u { finish(sample, row, combined, &partial); }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
