// The rows pattern: one row of class scores and one class index per sample. The loss gives violation(margin, score,
// true_score, is_true) and says how columns are combined.
//
// params.lanes lanes, a power of two, form a team that shares a row. A workgroup holds WORKGROUP / lanes teams, and each team
// takes params.samples_per_team rows one after the other. A row's columns are added in chains of at most CHAIN terms, then by
// a tree over the lanes. A second walk over the row, which is cached by then, writes the gradient.
// shaders/common/rows_by_team.wgsl or rows_by_lane.wgsl defines the walk.
//
// Where a few long rows would leave most of a device idle, params.groups_per_sample workgroups share a row in two dispatches.
// First each looks at its part of the columns; then all know the whole row and write their parts.

override HAS_CLASS_WEIGHTS: bool = false;
override HAS_MARGIN_MATRIX: bool = false;
override WRITE_PER_CLASS: bool = false;
override SPLIT_TIES: bool = false;

// How columns are combined: the sum of their penalties, the penalty of the worst rival, or the penalty of the mean of the
// params.top largest violations, which include the true class's own zero.
const SUM: u32 = 0u;
const MAX: u32 = 1u;
const TOP: u32 = 2u;

// Steps of a row: all at once; or one dispatch stores what each workgroup knows of its part, and the next finishes the row.
const WHOLE: u32 = 0u;
const LOOK: u32 = 1u;
const FINISH: u32 = 2u;

const ROW_ACTIVE: u32 = 1u;
const ROW_BEATEN: u32 = 2u;
const ROW_NAN: u32 = 4u;
const ROW_WILD: u32 = 8u;

const ROW_SLOTS: u32 = MOST_SUBGROUPS;

// What has been accumulated over a row's columns.
struct Row {
    // Sums of the penalties and of the rivals' slopes. TOP: of the violations above rank k. MAX: unused.
    value: Sum,
    slope: Sum,
    // MAX: the worst rival's rank, its lowest index, and how many share the rank.
    // TOP: the violation at rank k, the last index taken among its ties, and the number of ties.
    best: Real,
    best_index: u32,
    ties: u32,
    flags: u32,
}

fn row_zero() -> Row {
    return Row(sum_zero(), sum_zero(), real_lowest(), NO_INDEX, 0u, 0u);
}

fn row_merge(a: Row, b: Row) -> Row {
    var best = a.best;
    var best_index = a.best_index;
    var ties = a.ties;
    if COMBINATION == TOP { ties += b.ties; }
    if COMBINATION == MAX && b.best_index != NO_INDEX {
        if a.best_index == NO_INDEX || real_less(a.best, b.best) {
            best = b.best;
            best_index = b.best_index;
            ties = b.ties;
        } else if real_equal(a.best, b.best) {
            best_index = min(best_index, b.best_index);
            ties += b.ties;
        }
    }
    return Row(sum_merge(a.value, b.value), sum_merge(a.slope, b.slope), best, best_index, ties, a.flags | b.flags);
}

// Exchanges only what row_merge reads, because each word is an instruction.
fn row_exchanged(row: Row, mask: u32) -> Row {
    var other = row;
    other.flags = exchanged(row.flags, mask);
    if COMBINATION != MAX { other.value = sum_exchanged(row.value, mask); }
    if COMBINATION == SUM && RIVALS_COMPARE_WITH_TRUE && WRITE_GRADIENT { other.slope = sum_exchanged(row.slope, mask); }
    if COMBINATION == TOP { other.ties = exchanged(row.ties, mask); }
    if COMBINATION == MAX {
        other.best = real_exchanged(row.best, mask);
        other.best_index = exchanged(row.best_index, mask);
        if SPLIT_TIES { other.ties = exchanged(row.ties, mask); }
    }
    return other;
}

// Elements of `sums` per Row; PART_SUMS of src/gpu/losses/rows.rs.
const PART_SUMS: u32 = 6u;

fn leave_part(group: u32, row: Row) {
    let first = group * PART_SUMS;
    sums[first] = row.value;
    sums[first + 1u] = row.slope;
    // As integers, because a float need not keep its bits.
    sums[first + 2u] = Sum(0.0, 0.0, real_to_bits(row.best));
    sums[first + 3u] = Sum(0.0, 0.0, row.best_index);
    sums[first + 4u] = Sum(0.0, 0.0, row.ties);
    sums[first + 5u] = Sum(0.0, 0.0, row.flags);
}

fn part_of(group: u32) -> Row {
    let first = group * PART_SUMS;
    return Row(
        sums[first],
        sums[first + 1u],
        real_from_bits(sums[first + 2u].flags),
        sums[first + 3u].flags,
        sums[first + 4u].flags,
        sums[first + 5u].flags,
    );
}

fn column_margin(class_index: u32, column: u32) -> Real {
    if !HAS_MARGIN_MATRIX { return real(params.margin); }
    return real_from_bits(class_table[params.margins_shift + class_index * params.columns + column]);
}

fn rival_violation(column: u32, score: Real, sample: Sample) -> Real {
    return violation(column_margin(sample.class_index, column), score, sample.true_score, false);
}

// The value by which MAX ranks rivals: the score, or the violation if margins differ and the true score is finite, since
// beside an infinite true score margins mean nothing.
fn rank(column: u32, score: Real, sample: Sample) -> Real {
    if HAS_MARGIN_MATRIX && !real_is_infinite(sample.true_score) { return rival_violation(column, score, sample); }
    return score;
}

fn ranked_violation(best: Real, sample: Sample) -> Real {
    if HAS_MARGIN_MATRIX && !real_is_infinite(sample.true_score) { return best; }
    return violation(real(params.margin), best, sample.true_score, false);
}

// The lane in its workgroup, its number among the lanes that share its row, that row, and the row of per-class sums.
struct Place {
    lane: u32,
    member: u32,
    row: u32,
    team: u32,
}

struct Sample {
    kept: bool,
    class_index: u32,
    // Index of the row's first score.
    first: u32,
    true_score: Real,
    weight: Real,
}

// Reads a row's label and weights, and records what is bad. `counts` is true for one lane of the team.
fn read_sample(row: u32, counts: bool, partial: ptr<function, Partial>) -> Sample {
    var sample = Sample(false, 0u, row * params.columns + params.scores_shift, real(0.0), real(1.0));
    if row >= params.samples { return sample; }
    let label = label_at(row + params.targets_shift);
    if params.has_ignore_index != 0u && label == params.ignore_index {
        if HAS_WEIGHTS { _ = is_noted_weight(row, sample_weights[row + params.weights_shift], partial); }
        return sample;
    }
    if label < 0 || u32(label) >= params.columns {
        (*partial).bad_target = bad_first((*partial).bad_target, Bad(row, bitcast<u32>(label)));
        return sample;
    }
    sample.class_index = u32(label);
    let weight = read_weight(row, counts, partial);
    if weight.is_bad { return sample; }
    sample.weight = weight.value;
    sample.kept = true;
    if HAS_CLASS_WEIGHTS {
        sample.weight = real_multiply(sample.weight, real_from_bits(class_table[sample.class_index]));
    }
    if counts { (*partial).count += 1u; }
    if ONLY_WEIGHTS { return sample; }
    sample.true_score = real_from_bits(score_bits(sample.first + sample.class_index));
    return sample;
}

fn visit(column: u32, bits: u32, sample: Sample, team: u32, row: ptr<function, Row>) {
    let score = real_from_bits(bits);
    let is_true = column == sample.class_index;
    if is_wild(bits) { (*row).flags |= ROW_WILD; }
    if real_is_nan(score) || real_is_nan(sample.true_score) {
        (*row).flags |= ROW_NAN;
    } else if !is_true {
        // The lowest index wins the argmax, so an equal score before the true class beats it.
        if real_less(sample.true_score, score)
            || (column < sample.class_index && real_equal(sample.true_score, score)) {
            (*row).flags |= ROW_BEATEN;
        }
        if COMBINATION == MAX {
            let own = rank(column, score, sample);
            if (*row).best_index == NO_INDEX || real_less((*row).best, own) {
                (*row).best = own;
                (*row).best_index = column;
                (*row).ties = 1u;
            } else if real_equal((*row).best, own) {
                (*row).best_index = min((*row).best_index, column);
                (*row).ties += 1u;
            }
        }
    }
    if COMBINATION != SUM || (is_true && !TRUE_COLUMN) { return; }
    let column_violation = violation(column_margin(sample.class_index, column), score, sample.true_score, is_true);
    let penalised = penalise(column_violation);
    (*row).value = sum_add((*row).value, penalised.value);
    if WRITE_GRADIENT && RIVALS_COMPARE_WITH_TRUE { (*row).slope = sum_add((*row).slope, penalised.slope); }
    if real_is_positive(column_violation) { (*row).flags |= ROW_ACTIVE; }
    if WRITE_PER_CLASS {
        // No other lane touches this element before the next barrier.
        let cell = team * params.columns + column;
        sums[cell] = sum_add(sums[cell], real_multiply(penalised.value, sample.weight));
    }
}

// The slope of one column's score in a kept and defined row; `best` is the penalty of the combined columns.
fn column_slope(column: u32, score: Real, sample: Sample, row: Row, best: Penalised) -> Real {
    let is_true = column == sample.class_index;
    if COMBINATION == TOP { return top_slope(column, score, sample, row, best); }
    if COMBINATION == MAX {
        if is_true { return real_negate(best.slope); }
        if SPLIT_TIES {
            if real_equal(rank(column, score, sample), row.best) { return real_divide(best.slope, f32(row.ties)); }
        } else if column == row.best_index {
            return best.slope;
        }
        return real(0.0);
    }
    if !is_true { return penalise(rival_violation(column, score, sample)).slope; }
    var slope = real(0.0);
    if TRUE_COLUMN {
        slope = real_negate(penalise(violation(real(params.margin), score, sample.true_score, true)).slope);
    }
    if RIVALS_COMPARE_WITH_TRUE { slope = real_subtract(slope, sum_to_real(row.slope)); }
    return slope;
}

// The gradient's element for one column: its slope times `coefficient`.
fn written_slope(
    column: u32,
    score: Real,
    sample: Sample,
    row: Row,
    best: Penalised,
    undefined: bool,
    coefficient: Real,
) -> Real {
    if !sample.kept { return real(0.0); }
    if undefined { return row_nan(); }
    return real_multiply(column_slope(column, score, sample, row, best), coefficient);
}

// Computes a row's loss, counters and outputs once all its columns are known. Called by every lane of the workgroup.
fn finish(place: Place, sample: Sample, row: Row, partial: ptr<function, Partial>) {
    var value = sum_to_real(row.value);
    var best = Penalised(real(0.0), real(0.0));
    var is_active = (row.flags & ROW_ACTIVE) != 0u;
    if COMBINATION != SUM {
        var best_violation = sum_to_real(row.value);
        if COMBINATION == MAX { best_violation = ranked_violation(row.best, sample); }
        best = penalise(best_violation);
        value = best.value;
        is_active = real_is_positive(best_violation);
    }
    if (row.flags & ROW_NAN) != 0u { value = row_nan(); }
    let undefined = real_is_nan(value);
    if WRITE_GRADIENT { write_gradient(place, sample, row, best, undefined); }
    if place.member != 0u || place.row >= params.samples { return; }
    var loss = real(0.0);
    if sample.kept {
        loss = real_multiply(real_divide(value, params.sample_divisor), sample.weight);
        (*partial).loss = sum_add((*partial).loss, loss);
        (*partial).active_count += u32(is_active && !undefined);
        (*partial).correct += u32((row.flags & (ROW_BEATEN | ROW_NAN)) == 0u);
        if (row.flags & ROW_WILD) != 0u { (*partial).flags |= FLAG_WILD; }
    }
    if WRITE_LOSSES { losses[place.row + params.losses_shift] = real_to_bits(loss); }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    let teams = WORKGROUP / params.lanes;
    // The first workgroup that takes these rows, and the lane's number among all that share its row.
    let first_group = group / params.groups_per_sample * params.groups_per_sample;
    let member = (group - first_group) * params.lanes + lane % params.lanes;
    let team = group * teams + lane / params.lanes;
    var partial = partial_zero();
    if WRITE_PER_CLASS {
        for (var column = member; column < params.columns; column += params.lanes) {
            sums[team * params.columns + column] = sum_zero();
        }
    }
    for (var turn = 0u; turn < params.samples_per_team; turn++) {
        // Needed because the lane that takes a column depends on where its row begins.
        if WRITE_PER_CLASS { storageBarrier(); }
        let rows_before = group / params.groups_per_sample * params.samples_per_team + turn;
        let place = Place(lane, member, rows_before * teams + lane / params.lanes, team);
        let sample = read_sample(place.row, member == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        var row = row_zero();
        if params.step != FINISH {
            row = walk(place, sample);
        } else if lane < params.groups_per_sample {
            row = part_of(first_group + lane);
        }
        row = team_merge(lane, row);
        if COMBINATION == TOP { row = select_top(lane, member, sample, row.flags); }
        if params.step == LOOK {
            if lane == 0u { leave_part(group, row); }
        } else {
            finish(place, sample, row, &partial);
        }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u && params.step != LOOK { partials[group] = merged; }
}
