//! Lee-Lin-Wahba: every rival's score is held below -margin/(C-1), whatever the true class's score.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, rows_loss};
use super::spec::{LossShader, shader};
use crate::data::real::Number;

pub(super) const SHADER: LossShader = shader!("lee_lin_wahba", Rows);

/// Sum over i != y of phi(s_i + margin/(C-1)) (Lee, Lin and Wahba, 2004).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeeLinWahba;

impl MulticlassHinge<LeeLinWahba> {
    /// Lee, Lin and Wahba (2004): sum over i != y of phi(s_i + margin/(C-1)).
    ///
    /// Its minimiser is the Bayes classifier. Those of Crammer-Singer and Weston-Watkins need not be where no class has
    /// a probability above one half. The true class's score does not enter the loss, so the model must make its scores
    /// sum to zero over the classes. Otherwise all scores sink and nothing is learned.
    pub fn lee_lin_wahba() -> Self {
        Self::with_method(LeeLinWahba)
    }
}

rows_loss!(LeeLinWahba);

impl Rows for LeeLinWahba {
    const COMBINATION: Combination = Combination::Sum;

    #[inline(always)]
    fn compares(self) -> bool {
        false
    }

    #[inline(always)]
    fn violation<T: Number>(self, margin: T, score: T, _: T, _: T::Mask) -> T {
        margin + score
    }
}
