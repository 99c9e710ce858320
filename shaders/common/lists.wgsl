// Shared by the list patterns: one list of scores and one of targets per sample. The pattern defines how items are compared.

const ROW_ACTIVE: u32 = 1u;
const ROW_NAN: u32 = 2u;
const ROW_WILD: u32 = 4u;

// The target of padding, and of an item beyond the end of the list.
const ABSENT: i32 = -0x7fffffff;

// A target as the loss uses it; ABSENT for padding.
struct Decoded {
    value: i32,
    bad: bool,
}

// An item's part of the list's loss, the derivative with respect to its score, and bits of Row.flags.
struct ItemResult {
    value: Sum,
    slope: Real,
    flags: u32,
}

const ROW_SLOTS: u32 = MOST_SUBGROUPS;

// What a team has accumulated for its list.
struct Row {
    value: Sum,
    flags: u32,
}

fn row_merge(a: Row, b: Row) -> Row { return Row(sum_merge(a.value, b.value), a.flags | b.flags); }
fn row_exchanged(row: Row, mask: u32) -> Row {
    return Row(sum_exchanged(row.value, mask), exchanged(row.flags, mask));
}

struct Sample {
    kept: bool,
    weight: Real,
}

// Reads a list's weight and records a bad one. `counts` is true for one lane of the list.
fn read_sample(list: u32, counts: bool, partial: ptr<function, Partial>) -> Sample {
    var sample = Sample(false, real(1.0));
    if list >= params.samples { return sample; }
    let weight = read_weight(list, counts, partial);
    if weight.is_bad { return sample; }
    sample.weight = weight.value;
    sample.kept = true;
    if counts { (*partial).count += 1u; }
    return sample;
}

fn note_bad_target(list: u32, index: u32, partial: ptr<function, Partial>) {
    if list >= params.samples || index >= params.columns { return; }
    let element = list * params.columns + index;
    let bits = bitcast<u32>(label_at(element + params.targets_shift));
    if decode_target(bits).bad { (*partial).bad_target = bad_first((*partial).bad_target, Bad(element, bits)); }
}

// Adds a list's result `row` to the partial of one of its lanes. `whole` is true if the list has no other workgroups.
fn take_list(list: u32, sample: Sample, row: Row, value: Real, whole: bool, partial: ptr<function, Partial>) {
    let loss = real_multiply(real_divide(value, params.sample_divisor), sample.weight);
    (*partial).loss = sum_add((*partial).loss, loss);
    (*partial).active_count += u32((row.flags & ROW_ACTIVE) != 0u && !real_is_nan(value));
    if (row.flags & ROW_WILD) != 0u { (*partial).flags |= FLAG_WILD; }
    if WRITE_LOSSES && whole { losses[list + params.losses_shift] = real_to_bits(loss); }
}

// The value of a list, or of a workgroup's part of it.
fn list_value(row: Row) -> Real {
    if (row.flags & ROW_NAN) != 0u { return row_nan(); }
    return sum_to_real(row.value);
}

// An item's element of the gradient. Padding has slope 0.
fn gradient_bits(sample: Sample, slope: Real, undefined: bool, padding: bool) -> u32 {
    if !sample.kept { return 0u; }
    if undefined { return real_to_bits(row_nan()); }
    if padding { return 0u; }
    return real_to_bits(real_multiply(slope, real_divide(gradient_coefficient(sample.weight), params.sample_divisor)));
}
