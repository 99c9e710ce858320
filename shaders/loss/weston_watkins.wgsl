// Weston-Watkins: sum over i != y of phi(margin + (s_i - s_y)).

const COMBINATION: u32 = SUM;
const TRUE_COLUMN: bool = false;
const RIVALS_COMPARE_WITH_TRUE: bool = true;

fn violation(margin: Real, score: Real, true_score: Real, is_true: bool) -> Real {
    return real_add(margin, real_subtract(score, true_score));
}
