//! Crammer-Singer: the best rival alone is charged.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows, rival_violation};
use super::multiclass::{MulticlassHinge, RowsLoss};
use super::spec::{LossShader, Method, MethodSpec, Pattern};
use super::value::Sealed;
use crate::data::real::Number;

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

impl Sealed for CrammerSinger {}

impl RowsLoss for CrammerSinger {
    fn method(&self) -> MethodSpec {
        MethodSpec::of(*self, &SHADER, Method::CrammerSinger)
    }
}

impl Rows for CrammerSinger {
    const COMBINATION: Combination = Combination::Max;

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
