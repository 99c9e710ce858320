//! Weston-Watkins: every rival within the margin is charged.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, rows_loss};
use super::spec::{LossShader, shader};

pub(super) const SHADER: LossShader = shader!("weston_watkins", Rows);

/// Sum over i != y of phi(margin + (s_i - s_y)) (Weston and Watkins, 1999). Divided by C it is torch's MultiMarginLoss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WestonWatkins;

impl MulticlassHinge<WestonWatkins> {
    /// Weston and Watkins (1999): every rival within the margin is charged.
    pub fn weston_watkins() -> Self {
        Self::with_method(WestonWatkins)
    }
}

rows_loss!(WestonWatkins);

impl Rows for WestonWatkins {
    const COMBINATION: Combination = Combination::Sum;
}
