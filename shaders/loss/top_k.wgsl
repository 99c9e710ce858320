// Top-k: phi(mean of the k largest a_j), where a_j = margin + s_j - s_y for a rival and 0 for the true class.

const COMBINATION: u32 = TOP;
const TRUE_COLUMN: bool = false;
const RIVALS_COMPARE_WITH_TRUE: bool = true;

fn violation(margin: Real, score: Real, true_score: Real, is_true: bool) -> Real {
    return real_add(margin, real_subtract(score, true_score));
}
