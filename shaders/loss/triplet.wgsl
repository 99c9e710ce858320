// Triplet margin: phi(margin + d(a, p) - d(a, n)), or with THIRD the nearer of d(a, n) and d(p, n).

const INPUTS: u32 = 3u;
const HAS_TARGETS: bool = false;

// -slope * share; a share of 0 gives 0 even if the slope is infinite.
fn owed(slope: Real, share: f32) -> Real {
    if share == 0.0 { return real(0.0); }
    return real_negate(real_multiply(slope, real(share)));
}

fn combine(ap: Real, an: Real, pn: Real, sign: f32) -> Combined {
    var negative = an;
    var share = 1.0;
    if THIRD && real_equal(pn, an) { share = 0.5; }
    if THIRD && real_less(pn, an) {
        negative = pn;
        share = 0.0;
    }
    let violation = real_add(real(params.margin), real_subtract(ap, negative));
    let penalised = penalise(violation);
    let slope = penalised.slope;
    return Combined(penalised.value, slope, owed(slope, share), owed(slope, 1.0 - share), real_is_positive(violation));
}
