// One against all: sum over i of phi(margin - t_i*s_i), t_i = +1 for i = y and -1 otherwise.

const COMBINATION: u32 = SUM;
const TRUE_COLUMN: bool = true;
const RIVALS_COMPARE_WITH_TRUE: bool = false;

fn violation(margin: Real, score: Real, true_score: Real, is_true: bool) -> Real {
    return real_add(margin, real_select_negated(score, is_true));
}
