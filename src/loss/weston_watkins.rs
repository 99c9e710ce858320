//! Weston-Watkins: every rival within the margin is charged.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows, rival_violation};
use super::multiclass::{MulticlassHinge, RowsLoss};
use super::spec::{LossShader, Method, MethodSpec, Pattern};
use super::value::Sealed;
use crate::data::real::Number;

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

impl Sealed for WestonWatkins {}

impl RowsLoss for WestonWatkins {
    fn method(&self) -> MethodSpec {
        MethodSpec::of(*self, &SHADER, Method::WestonWatkins)
    }
}

impl Rows for WestonWatkins {
    const COMBINATION: Combination = Combination::Sum;

    #[inline(always)]
    fn has_true_column(self) -> bool {
        false
    }

    #[inline(always)]
    fn compares(self) -> bool {
        true
    }

    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, true_score: T, _: T::Mask) -> T {
        rival_violation(margin, score, true_score)
    }
}
