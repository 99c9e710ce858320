//! Crammer-Singer: the best rival alone is charged.

use serde::{Deserialize, Serialize};

use super::multiclass::rival_violation;
use super::{Combination, LossShader, MulticlassHinge, Pattern, RowsLoss};
use crate::real::Number;

pub(super) const SHADER: LossShader = LossShader {
    name: "crammer_singer",
    pattern: Pattern::Rows,
    source: include_str!("../../shaders/loss/crammer_singer.wgsl"),
    workgroup_bytes: 0,
};

/// phi(margin + max over i != y of (s_i - s_y)) (Crammer and Singer, 2001).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrammerSinger;

impl MulticlassHinge<CrammerSinger> {
    /// Crammer and Singer (2001): the best rival alone is charged.
    pub fn crammer_singer() -> Self {
        Self::with_method(CrammerSinger)
    }
}

impl RowsLoss for CrammerSinger {
    const SHADER: LossShader = SHADER;
    const COMBINATION: Combination = Combination::Max;
    const TRUE_COLUMN: bool = false;
    const RIVAL_SLOPE_ON_TRUE: f64 = -1.0;

    #[inline(always)]
    fn violation<T: Number>(margin: T, score: T, true_score: T, _: T::Mask) -> T {
        rival_violation(margin, score, true_score)
    }
}
