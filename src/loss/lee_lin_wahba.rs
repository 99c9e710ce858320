//! Lee-Lin-Wahba: every rival's score is held below -margin/(C-1), whatever the true class's is.

use serde::{Deserialize, Serialize};

use super::{Combination, LossShader, MulticlassHinge, Pattern, RowsLoss};
use crate::real::Number;

pub(super) const SHADER: LossShader = LossShader {
    name: "lee_lin_wahba",
    pattern: Pattern::Rows,
    source: include_str!("../../shaders/loss/lee_lin_wahba.wgsl"),
    workgroup_bytes: 0,
};

/// Sum over i != y of phi(s_i + margin/(C-1)) (Lee, Lin and Wahba, 2004).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeeLinWahba;

impl MulticlassHinge<LeeLinWahba> {
    /// Lee, Lin and Wahba (2004): sum over i != y of phi(s_i + margin/(C-1)).
    ///
    /// Its minimum finds the Bayes classifier, which Crammer-Singer's and Weston-Watkins's need not where no class has a
    /// probability above one half. The true class's score does not enter: the loss is meant for models whose scores sum
    /// to zero over the classes, which is the model's affair. Without that the scores all sink and nothing is learned.
    pub fn lee_lin_wahba() -> Self {
        Self::with_method(LeeLinWahba)
    }
}

impl RowsLoss for LeeLinWahba {
    const SHADER: LossShader = SHADER;
    const COMBINATION: Combination = Combination::Sum;
    const TRUE_COLUMN: bool = false;
    const RIVAL_SLOPE_ON_TRUE: f64 = 0.0;

    fn column_margin(margin: f64, classes: usize) -> f64 {
        // There are at least two classes.
        margin / classes.saturating_sub(1).max(1) as f64
    }

    #[inline(always)]
    fn violation<T: Number>(margin: T, score: T, _: T, _: T::Mask) -> T {
        margin + score
    }
}
