// Lee-Lin-Wahba: sum over i != y of phi(s_i + margin), where the host has divided the margin by C - 1.

const COMBINATION: u32 = SUM;
const TRUE_COLUMN: bool = false;
const RIVALS_COMPARE_WITH_TRUE: bool = false;

fn violation(margin: Real, score: Real, true_score: Real, is_true: bool) -> Real {
    return real_add(margin, score);
}
