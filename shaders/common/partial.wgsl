// What one workgroup has computed of its samples: merged over the workgroup by a tree of fixed shape, written once, and
// finished in f64 by the host. There are no float atomics, so the same input gives the same bits.
// The host puts `const WORKGROUP: u32` in front: the lanes per workgroup, a power of two.

// Bits of Sum.flags and Partial.flags; src/gpu/losses/partial.rs reads them.
const FLAG_NAN: u32 = 1u;
const FLAG_PLUS_INFINITY: u32 = 2u;
const FLAG_MINUS_INFINITY: u32 = 4u;
const FLAG_WILD: u32 = 8u;
const FLAG_TOO_LONG: u32 = 16u;
const FLAG_SCATTERED: u32 = 32u;

const NONE_BAD: u32 = 0xffffffffu;

// A sum of reals: small + large * 2^32, unless the flags say otherwise. real_finite.wgsl uses only `small`.
struct Sum {
    small: f32,
    large: f32,
    flags: u32,
}

struct Partial {
    // Sum of the weighted losses.
    loss: Sum,
    // Sum of the kept samples' weights, 0 without weights; all are finite, so no flag is ever set.
    weight: Sum,
    // Numbers of samples: kept (neither ignored nor invalid), with a violation, and predicted right.
    count: u32,
    active_count: u32,
    correct: u32,
    // FLAG_WILD: this variant cannot compute these samples.
    // FLAG_SCATTERED: the lanes of a subgroup do not lie side by side, so this partial is invalid.
    // FLAG_TOO_LONG: the driver would cut the loops over a row short; `longest` is the largest number of labels of such a row.
    flags: u32,
    longest: u32,
    bad_target: Bad,
    bad_weight: Bad,
}

// The first element that is not allowed: its index within the dispatch, and its bits.
struct Bad {
    index: u32,
    bits: u32,
}

fn bad_first(a: Bad, b: Bad) -> Bad {
    if b.index < a.index { return b; }
    return a;
}

fn sum_zero() -> Sum { return Sum(0.0, 0.0, 0u); }

fn partial_zero() -> Partial {
    return Partial(sum_zero(), sum_zero(), 0u, 0u, 0u, 0u, 0u, Bad(NONE_BAD, 0u), Bad(NONE_BAD, 0u));
}

fn partial_merge(a: Partial, b: Partial) -> Partial {
    return Partial(
        sum_merge(a.loss, b.loss),
        sum_merge(a.weight, b.weight),
        a.count + b.count,
        a.active_count + b.active_count,
        a.correct + b.correct,
        a.flags | b.flags,
        max(a.longest, b.longest),
        bad_first(a.bad_target, b.bad_target),
        bad_first(a.bad_weight, b.bad_weight),
    );
}

fn f32_exchanged(x: f32, mask: u32) -> f32 { return bitcast<f32>(exchanged(bitcast<u32>(x), mask)); }

fn sum_exchanged(sum: Sum, mask: u32) -> Sum {
    let small = f32_exchanged(sum.small, mask);
    if SUMS_ARE_SMALL { return Sum(small, 0.0, 0u); }
    return Sum(small, f32_exchanged(sum.large, mask), exchanged(sum.flags, mask));
}

fn bad_exchanged(bad: Bad, mask: u32) -> Bad {
    return Bad(exchanged(bad.index, mask), exchanged(bad.bits, mask));
}

fn partial_exchanged(partial: Partial, mask: u32) -> Partial {
    return Partial(
        sum_exchanged(partial.loss, mask),
        sum_exchanged(partial.weight, mask),
        exchanged(partial.count, mask),
        exchanged(partial.active_count, mask),
        exchanged(partial.correct, mask),
        exchanged(partial.flags, mask),
        exchanged(partial.longest, mask),
        bad_exchanged(partial.bad_target, mask),
        bad_exchanged(partial.bad_weight, mask),
    );
}

var<workgroup> workgroup_partials: array<Partial, MOST_SUBGROUPS>;

// Merges one Partial per lane; lane 0 gets the result. Every lane of the workgroup must call it; the caller puts a barrier
// between two calls. Within a subgroup the tree is binary; between subgroups a step merges MERGED_AT_ONCE partials.
fn workgroup_merge(lane: u32, partial: Partial) -> Partial {
    var merged = partial;
    for (var mask = 1u; mask < SUBGROUP_LANES; mask *= 2u) {
        merged = partial_merge(merged, partial_exchanged(merged, mask));
    }
    if !is_in_order(lane) { merged.flags |= FLAG_SCATTERED; }
    if lane % SUBGROUP_LANES == 0u { workgroup_partials[lane / SUBGROUP_LANES] = merged; }
    workgroupBarrier();
    // Each lane that goes on holds workgroup_partials[lane]: without subgroups all lanes stored their own, with them only
    // lane 0 goes on.
    for (var width = WORKGROUP / SUBGROUP_LANES; width > 1u; width = max(width / MERGED_AT_ONCE, 1u)) {
        let stride = max(width / MERGED_AT_ONCE, 1u);
        if lane < stride {
            for (var other = lane + stride; other < width; other += stride) {
                merged = partial_merge(merged, workgroup_partials[other]);
            }
            workgroup_partials[lane] = merged;
        }
        if stride > 1u { workgroupBarrier(); }
    }
    return merged;
}

// Whether a weight is negative or not finite. -0 is allowed.
fn is_bad_weight(bits: u32) -> bool {
    return (bits & 0x7fffffffu) >= 0x7f800000u || ((bits & 0x80000000u) != 0u && bits != 0x80000000u);
}
