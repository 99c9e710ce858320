// What one workgroup knows of its samples: merged over the workgroup by a tree of fixed shape, written once, and
// finished in f64 by the host. No float atomics, so the same input gives the same bits.
//
// The host puts `const WORKGROUP: u32`, a power of two, in front: the lanes of a workgroup.

// Bits of Sum.flags and Partial.flags; src/gpu/partial.rs reads them.
const FLAG_NAN: u32 = 1u;
const FLAG_PLUS_INFINITY: u32 = 2u;
const FLAG_MINUS_INFINITY: u32 = 4u;
const FLAG_WILD: u32 = 8u;
const FLAG_TOO_LONG: u32 = 16u;

// Where no element is bad.
const NONE_BAD: u32 = 0xffffffffu;

// A sum of reals: small + large * 2^32, or what the flags say. real_finite.wgsl only uses `small`.
struct Sum {
    small: f32,
    large: f32,
    flags: u32,
}

struct Partial {
    // Weighted losses.
    loss: Sum,
    // Sample weights of the kept samples; all finite, so no flag is ever set.
    weight: Sum,
    // Kept samples; those with a violation; those predicted right.
    count: u32,
    violating: u32,
    correct: u32,
    // FLAG_WILD: this variant cannot compute these samples.
    // FLAG_TOO_LONG: the driver would cut the loops over a row short; `longest` is what the row was too long in.
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
        a.violating + b.violating,
        a.correct + b.correct,
        a.flags | b.flags,
        max(a.longest, b.longest),
        bad_first(a.bad_target, b.bad_target),
        bad_first(a.bad_weight, b.bad_weight),
    );
}

var<workgroup> workgroup_partials: array<Partial, WORKGROUP>;

// Merges one Partial a lane; the result is lane 0's. Called by every lane of the workgroup. A tree of four: half the
// barriers of a tree of two.
fn workgroup_merge(lane: u32, partial: Partial) -> Partial {
    workgroup_partials[lane] = partial;
    workgroupBarrier();
    for (var width = WORKGROUP; width > 1u; width = max(width / 4u, 1u)) {
        let stride = max(width / 4u, 1u);
        if lane < stride {
            var merged = workgroup_partials[lane];
            for (var other = lane + stride; other < width; other += stride) {
                merged = partial_merge(merged, workgroup_partials[other]);
            }
            workgroup_partials[lane] = merged;
        }
        workgroupBarrier();
    }
    return workgroup_partials[lane];
}

// A weight is finite and not negative.
fn is_bad_weight(bits: u32) -> bool {
    return (bits & 0x7fffffffu) >= 0x7f800000u || ((bits & 0x80000000u) != 0u && bits != 0x80000000u);
}
