//! One against all: a binary hinge for each class.

use serde::{Deserialize, Serialize};

use super::{Combination, LossShader, MulticlassHinge, Pattern, RowsLoss};
use crate::real::Number;

pub(super) const SHADER: LossShader = LossShader {
    name: "one_vs_all",
    pattern: Pattern::Rows,
    source: include_str!("../../shaders/loss/one_vs_all.wgsl"),
    workgroup_bytes: 0,
};

/// Sum over i of phi(margin - t_i*s_i) with t_i = +1 for the true class and -1 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneVsAll;

impl MulticlassHinge<OneVsAll> {
    /// One against all: C binary hinges a row.
    pub fn one_vs_all() -> Self {
        Self::with_method(OneVsAll)
    }
}

impl RowsLoss for OneVsAll {
    const SHADER: LossShader = SHADER;
    const COMBINATION: Combination = Combination::Sum;
    const TRUE_COLUMN: bool = true;
    const RIVAL_SLOPE_ON_TRUE: f64 = 0.0;

    #[inline(always)]
    fn violation<T: Number>(margin: T, score: T, _: T, is_true: T::Mask) -> T {
        margin + T::select(is_true, -score, score)
    }
}
