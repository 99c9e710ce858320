// The vectors pattern: two or three vectors per sample; the loss sees their distances. The loss gives combine: the value, and
// the slopes with respect to the distances of first and second, first and third, and (THIRD) second and third.
//
// params.lanes lanes, a power of two, form a team that walks a sample's vectors three times: for the largest magnitude in
// each difference (for a cosine, in each vector); for the sums, over components divided by that magnitude, so that they
// neither overflow nor underflow; and for the gradient.

// The kind of distance: src/gpu/losses/vectors.rs.
override DISTANCE: u32 = 0u;
// Whether the distance of second and third is needed too.
override THIRD: bool = false;

const NORM_1: u32 = 0u;
const NORM_2: u32 = 1u;
const NORM_INFINITY: u32 = 2u;
const NORM_P: u32 = 3u;
const COSINE: u32 = 4u;

// Bits of Row.flags. A distance is infinite if a component of the difference is.
const ROW_NAN: u32 = 1u;
const ROW_WILD: u32 = 2u;
const ROW_INFINITE_A: u32 = 4u;
const ROW_INFINITE_B: u32 = 8u;
const ROW_INFINITE_C: u32 = 16u;

// One number per distance (first and second, first and third, second and third), or one per vector.
struct Three {
    a: f32,
    b: f32,
    c: f32,
}

const ROW_SLOTS: u32 = MOST_SUBGROUPS;

// What has been accumulated over a sample's components.
struct Row {
    // The largest magnitudes: of the differences, or for a cosine of the vectors.
    highest: Three,
    // Sums of powers; for a cosine, the dot products; for the infinity norm, the number of components with the largest
    // magnitude.
    sums: Three,
    // For a cosine, the squared lengths.
    squares: Three,
    flags: u32,
}

struct Combined {
    value: Real,
    slope_a: Real,
    slope_b: Real,
    slope_c: Real,
    is_active: bool,
}

struct Sample {
    exists: bool,
    kept: bool,
    // Index of the sample's first component, without a shift.
    first: u32,
    sign: f32,
    weight: Real,
}

fn three_zero() -> Three { return Three(0.0, 0.0, 0.0); }
fn three_add(x: Three, y: Three) -> Three { return Three(x.a + y.a, x.b + y.b, x.c + y.c); }
fn three_max(x: Three, y: Three) -> Three { return Three(max(x.a, y.a), max(x.b, y.b), max(x.c, y.c)); }

fn row_zero() -> Row { return Row(three_zero(), three_zero(), three_zero(), 0u); }

fn row_merge(x: Row, y: Row) -> Row {
    return Row(three_max(x.highest, y.highest), three_add(x.sums, y.sums), three_add(x.squares, y.squares), x.flags | y.flags);
}

fn three_exchanged(x: Three, mask: u32) -> Three {
    return Three(f32_exchanged(x.a, mask), f32_exchanged(x.b, mask), f32_exchanged(x.c, mask));
}

fn row_exchanged(row: Row, mask: u32) -> Row {
    return Row(
        three_exchanged(row.highest, mask),
        three_exchanged(row.sums, mask),
        three_exchanged(row.squares, mask),
        exchanged(row.flags, mask),
    );
}

struct Components {
    x: Real,
    y: Real,
    z: Real,
    wild: bool,
}

fn components(sample: Sample, column: u32) -> Components {
    let element = sample.first + column;
    let i = element + params.scores_shift;
    let j = element + params.second_shift;
    let x = widen_score(scores[score_word(i)], i);
    let y = widen_score(second_scores[score_word(j)], j);
    var z = 0u;
    if INPUTS == 3u {
        let k = element + params.third_shift;
        z = widen_score(third_scores[score_word(k)], k);
    }
    return Components(real_from_bits(x), real_from_bits(y), real_from_bits(z), is_wild(x) || is_wild(y) || is_wild(z));
}

fn difference(x: Real, y: Real) -> Real { return real_add(real_subtract(x, y), real(params.epsilon)); }

// The magnitude of a finite number; 0 and a flag for others.
fn magnitude(x: Real, infinite: u32, row: ptr<function, Row>) -> f32 {
    if real_is_nan(x) {
        (*row).flags |= ROW_NAN;
        return 0.0;
    }
    if real_is_infinite(x) {
        (*row).flags |= infinite;
        return 0.0;
    }
    return abs(real_to_f32(x));
}

fn walk_highest(member: u32, sample: Sample) -> Row {
    var row = row_zero();
    if !sample.kept { return row; }
    for (var column = member; column < params.columns; column += params.lanes) {
        let c = components(sample, column);
        if c.wild { row.flags |= ROW_WILD; }
        var found = three_zero();
        if DISTANCE == COSINE {
            // The cosine of a vector with an infinite component is undefined.
            found = Three(magnitude(c.x, ROW_NAN, &row), magnitude(c.y, ROW_NAN, &row), magnitude(c.z, ROW_NAN, &row));
        } else {
            found.a = magnitude(difference(c.x, c.y), ROW_INFINITE_A, &row);
            if INPUTS == 3u { found.b = magnitude(difference(c.x, c.z), ROW_INFINITE_B, &row); }
            if THIRD { found.c = magnitude(difference(c.y, c.z), ROW_INFINITE_C, &row); }
        }
        row.highest = three_max(row.highest, found);
    }
    return row;
}

// What components are divided by: never subnormal, and for a cosine at least 1e-20, so that epsilon / scale^2 does not
// overflow.
fn scale(highest: f32) -> f32 { return max(highest, select(0x1p-126f, 1e-20, DISTANCE == COSINE)); }

// A component divided by the largest magnitude; 0 if it is not finite.
fn scaled(x: Real, highest: f32) -> f32 {
    if real_is_nan(x) || real_is_infinite(x) { return 0.0; }
    return real_to_f32(real_divide(x, scale(highest)));
}

// x^p for x in [0, 1].
fn power(x: f32, p: f32) -> f32 {
    if x <= 0.0 { return 0.0; }
    return exp2(p * log2(x));
}

// Compares bits, because the quotient of equal numbers need not be 1.
fn is_highest(x: Real, highest: f32) -> bool {
    let bits = bitcast<u32>(highest);
    return real_to_bits(x) == bits || real_to_bits(real_negate(x)) == bits;
}

fn term(x: Real, highest: f32) -> f32 {
    if DISTANCE == NORM_INFINITY { return f32(is_highest(x, highest)); }
    let t = abs(scaled(x, highest));
    if DISTANCE == NORM_1 { return t; }
    if DISTANCE == NORM_2 { return t * t; }
    return power(select(t, 1.0, is_highest(x, highest)), params.exponent);
}

fn walk_sums(member: u32, sample: Sample, highest: Three) -> Row {
    var row = row_zero();
    if !sample.kept { return row; }
    var chain = row_zero();
    var length = 0u;
    for (var column = member; column < params.columns; column += params.lanes) {
        let c = components(sample, column);
        if DISTANCE == COSINE {
            let x = scaled(c.x, highest.a);
            let y = scaled(c.y, highest.b);
            let z = scaled(c.z, highest.c);
            chain.sums = three_add(chain.sums, Three(x * y, x * z, y * z));
            chain.squares = three_add(chain.squares, Three(x * x, y * y, z * z));
        } else {
            chain.sums.a += term(difference(c.x, c.y), highest.a);
            if INPUTS == 3u { chain.sums.b += term(difference(c.x, c.z), highest.b); }
            if THIRD { chain.sums.c += term(difference(c.y, c.z), highest.c); }
        }
        length += 1u;
        if length == CHAIN {
            row = row_merge(row, chain);
            chain = row_zero();
            length = 0u;
        }
    }
    return row_merge(row, chain);
}

// The p-th root of a sum of powers, the largest of which is 1.
fn root(sum: f32) -> f32 {
    if DISTANCE == NORM_1 { return sum; }
    if DISTANCE == NORM_2 { return sqrt(sum); }
    if DISTANCE == NORM_INFINITY { return 1.0; }
    return exp2(log2(max(sum, 1.0)) / params.exponent);
}

fn norm(highest: f32, sum: f32, flags: u32, infinite: u32) -> Real {
    if (flags & infinite) != 0u { return real_from_bits(0x7f800000u); }
    if highest == 0.0 { return real(0.0); }
    return real_multiply(real(scale(highest)), real(root(sum)));
}

fn scaled_length(highest: f32, squares: f32) -> f32 {
    let epsilon = sqrt(params.epsilon) / scale(highest);
    return sqrt(squares + epsilon * epsilon);
}

fn cosine_distance(product: f32, length_x: f32, length_y: f32) -> Real {
    return real(1.0 - product / length_x / length_y);
}

struct Distances {
    a: Real,
    b: Real,
    c: Real,
}

fn distances(row: Row) -> Distances {
    let h = row.highest;
    let s = row.sums;
    if DISTANCE == COSINE {
        let x = scaled_length(h.a, row.squares.a);
        let y = scaled_length(h.b, row.squares.b);
        let z = scaled_length(h.c, row.squares.c);
        var found = Distances(cosine_distance(s.a, x, y), real(0.0), real(0.0));
        if INPUTS == 3u { found.b = cosine_distance(s.b, x, z); }
        if THIRD { found.c = cosine_distance(s.c, y, z); }
        return found;
    }
    return Distances(
        norm(h.a, s.a, row.flags, ROW_INFINITE_A),
        norm(h.b, s.b, row.flags, ROW_INFINITE_B),
        norm(h.c, s.c, row.flags, ROW_INFINITE_C),
    );
}

// The slope of a norm with respect to a component of the difference.
fn norm_slope(x: Real, highest: f32, sum: f32) -> f32 {
    let t = scaled(x, highest);
    if t == 0.0 { return 0.0; }
    if DISTANCE == NORM_1 { return sign(t); }
    if DISTANCE == NORM_INFINITY { return select(0.0, sign(t) / sum, is_highest(x, highest)); }
    if DISTANCE == NORM_2 { return sign(t) * (abs(t) / root(sum)); }
    // (|t| / root)^(p - 1). For a large p the root rounds to 1, but its power does not.
    let p = params.exponent;
    let relative = select(abs(t), 1.0, is_highest(x, highest));
    return sign(t) * power(relative, p - 1.0) * exp2(-log2(max(sum, 1.0)) * ((p - 1.0) / p));
}

// The slope of 1 - cos(x, y) with respect to x.
fn cosine_slope(x: Real, y: Real, highest_x: f32, highest_y: f32, length_x: f32, length_y: f32, product: f32) -> Real {
    let along = scaled(x, highest_x) / length_x;
    let cosine = product / length_x / length_y;
    let across = scaled(y, highest_y) / length_y;
    return real_divide(real((cosine * along - across) / length_x), scale(highest_x));
}

// The chain rule: a slope times the distance's derivative with respect to a component. A slope of 0 gives 0 even if that
// derivative is infinite.
fn part(slope: Real, derivative: Real) -> Real {
    if real_is_zero(slope) { return real(0.0); }
    return real_multiply(slope, derivative);
}

fn write_gradient(member: u32, sample: Sample, row: Row, combined: Combined, undefined: bool) {
    let coefficient = gradient_coefficient(sample.weight);
    let h = row.highest;
    let s = row.sums;
    let length_x = scaled_length(h.a, row.squares.a);
    let length_y = scaled_length(h.b, row.squares.b);
    let length_z = scaled_length(h.c, row.squares.c);
    for (var column = member; column < params.columns; column += params.lanes) {
        let zero = real(0.0);
        var x = zero;
        var y = zero;
        var z = zero;
        if sample.kept && undefined {
            x = row_nan();
            y = row_nan();
            z = row_nan();
        } else if sample.kept {
            let c = components(sample, column);
            if DISTANCE == COSINE {
                x = part(combined.slope_a, cosine_slope(c.x, c.y, h.a, h.b, length_x, length_y, s.a));
                y = part(combined.slope_a, cosine_slope(c.y, c.x, h.b, h.a, length_y, length_x, s.a));
                if INPUTS == 3u {
                    x = real_add(x, part(combined.slope_b, cosine_slope(c.x, c.z, h.a, h.c, length_x, length_z, s.b)));
                    z = part(combined.slope_b, cosine_slope(c.z, c.x, h.c, h.a, length_z, length_x, s.b));
                }
                if THIRD {
                    y = real_add(y, part(combined.slope_c, cosine_slope(c.y, c.z, h.b, h.c, length_y, length_z, s.c)));
                    z = real_add(z, part(combined.slope_c, cosine_slope(c.z, c.y, h.c, h.b, length_z, length_y, s.c)));
                }
            } else {
                x = part(combined.slope_a, real(norm_slope(difference(c.x, c.y), h.a, s.a)));
                y = real_negate(x);
                if INPUTS == 3u {
                    let b = part(combined.slope_b, real(norm_slope(difference(c.x, c.z), h.b, s.b)));
                    x = real_add(x, b);
                    z = real_negate(b);
                }
                if THIRD {
                    let b = part(combined.slope_c, real(norm_slope(difference(c.y, c.z), h.c, s.c)));
                    y = real_add(y, b);
                    z = real_subtract(z, b);
                }
            }
            x = real_multiply(x, coefficient);
            y = real_multiply(y, coefficient);
            z = real_multiply(z, coefficient);
        }
        let element = sample.first + column;
        gradient[element + params.gradient_shift] = real_to_bits(x);
        second_gradient[element + params.second_gradient_shift] = real_to_bits(y);
        if INPUTS == 3u { third_gradient[element + params.third_gradient_shift] = real_to_bits(z); }
    }
}

// Reads a sample's target and weight, and records what is bad. `counts` is true for one lane of the team.
fn read_sample(index: u32, counts: bool, partial: ptr<function, Partial>) -> Sample {
    var sample = Sample(index < params.samples, false, index * params.columns, 0.0, real(1.0));
    if !sample.exists { return sample; }
    if HAS_TARGETS {
        let bits = bitcast<u32>(label_at(index + params.targets_shift));
        let read = read_target(bits);
        if read.bad {
            (*partial).bad_target = bad_first((*partial).bad_target, Bad(index, bits));
            return sample;
        }
        sample.sign = read.sign;
    }
    let weight = read_weight(index, counts, partial);
    if weight.is_bad { return sample; }
    sample.weight = weight.value;
    sample.kept = true;
    if counts { (*partial).count += 1u; }
    return sample;
}

// An infinite distance with a nonzero slope leaves the gradient without a direction.
fn has_no_direction(row: Row, combined: Combined) -> bool {
    return ((row.flags & ROW_INFINITE_A) != 0u && !real_is_zero(combined.slope_a))
        || ((row.flags & ROW_INFINITE_B) != 0u && !real_is_zero(combined.slope_b))
        || ((row.flags & ROW_INFINITE_C) != 0u && !real_is_zero(combined.slope_c));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = workgroup.y * params.grid_width + workgroup.x;
    if group >= params.groups { return; }
    let teams = WORKGROUP / params.lanes;
    let member = lane % params.lanes;
    var partial = partial_zero();
    for (var turn = 0u; turn < params.samples_per_team; turn++) {
        let index = (group * params.samples_per_team + turn) * teams + lane / params.lanes;
        let sample = read_sample(index, member == 0u, &partial);
        if ONLY_WEIGHTS { continue; }
        let first = team_merge(lane, walk_highest(member, sample));
        var row = team_merge(lane, walk_sums(member, sample, first.highest));
        row.highest = first.highest;
        row.flags = first.flags;
        let measured = distances(row);
        var combined = combine(measured.a, measured.b, measured.c, sample.sign);
        if (row.flags & ROW_NAN) != 0u { combined.value = row_nan(); }
        let undefined = real_is_nan(combined.value);
        if WRITE_GRADIENT && sample.exists {
            write_gradient(member, sample, row, combined, undefined || has_no_direction(row, combined));
        }
        if member == 0u && sample.kept {
            let loss = real_multiply(combined.value, sample.weight);
            partial.loss = sum_add(partial.loss, loss);
            partial.active_count += u32(combined.is_active && !undefined);
            if (row.flags & ROW_WILD) != 0u { partial.flags |= FLAG_WILD; }
            if WRITE_LOSSES { losses[index + params.losses_shift] = real_to_bits(loss); }
        }
    }
    let merged = workgroup_merge(lane, partial);
    if lane == 0u { partials[group] = merged; }
}
