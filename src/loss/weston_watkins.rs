//! Weston-Watkins: every rival within the margin is charged.

use serde::{Deserialize, Serialize};

use super::multiclass::rival_violation;
use super::{Combination, LossShader, MulticlassHinge, Pattern, RowsLoss};
use crate::real::Number;

pub(super) const SHADER: LossShader = LossShader {
    name: "weston_watkins",
    pattern: Pattern::Rows,
    source: include_str!("../../shaders/loss/weston_watkins.wgsl"),
    workgroup_bytes: 0,
};

/// Sum over i != y of phi(margin + (s_i - s_y)) (Weston and Watkins, 1999); divided by C it is torch's MultiMarginLoss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WestonWatkins;

impl MulticlassHinge<WestonWatkins> {
    /// Weston and Watkins (1999): every rival within the margin is charged.
    pub fn weston_watkins() -> Self {
        Self::with_method(WestonWatkins)
    }
}

impl RowsLoss for WestonWatkins {
    const SHADER: LossShader = SHADER;
    const COMBINATION: Combination = Combination::Sum;
    const TRUE_COLUMN: bool = false;
    const RIVAL_SLOPE_ON_TRUE: f64 = -1.0;

    #[inline(always)]
    fn violation<T: Number>(margin: T, score: T, true_score: T, _: T::Mask) -> T {
        rival_violation(margin, score, true_score)
    }
}
