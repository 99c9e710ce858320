//! One against all: a binary hinge for each class.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, rows_loss};
use super::spec::{LossShader, shader};
use crate::data::real::Number;

pub(super) const SHADER: LossShader = shader!("one_vs_all", Rows);

/// Sum over i of phi(margin - t_i*s_i) with t_i = +1 for the true class and -1 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneVsAll;

impl MulticlassHinge<OneVsAll> {
    /// One against all: C binary hinges per row. A NaN score makes the row's loss and gradient NaN; among per-class
    /// values it affects only its own class.
    pub fn one_vs_all() -> Self {
        Self::with_method(OneVsAll)
    }
}

rows_loss!(OneVsAll);

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
