//! One against all: a binary hinge for each class.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, RowsLoss};
use super::spec::{LossShader, Method, MethodSpec, Pattern};
use super::value::Sealed;
use crate::data::real::Number;

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
    /// One against all: C binary hinges per row. In values per class a NaN stays in its class; the loss and the gradient of
    /// the row are NaN.
    pub fn one_vs_all() -> Self {
        Self::with_method(OneVsAll)
    }
}

impl Sealed for OneVsAll {}

impl RowsLoss for OneVsAll {
    fn method(&self) -> MethodSpec {
        MethodSpec::of(*self, &SHADER, Method::OneVsAll)
    }
}

impl Rows for OneVsAll {
    const COMBINATION: Combination = Combination::Sum;

    #[inline(always)]
    fn has_true_column(self) -> bool {
        true
    }

    #[inline(always)]
    fn compares(self) -> bool {
        false
    }

    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, _: T, is_true: T::Mask) -> T {
        margin + T::select(is_true, -score, score)
    }
}
