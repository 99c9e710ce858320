//! Crammer-Singer: only the best rival is charged.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, rows_loss};
use super::spec::{LossShader, shader};

pub(super) const SHADER: LossShader = shader!("crammer_singer", Rows);

/// phi(margin + max over i != y of (s_i - s_y)) (Crammer and Singer, 2001).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrammerSinger;

impl MulticlassHinge<CrammerSinger> {
    /// Crammer and Singer (2001): only the best rival is charged.
    pub fn crammer_singer() -> Self {
        Self::with_method(CrammerSinger)
    }
}

rows_loss!(CrammerSinger);

impl Rows for CrammerSinger {
    const COMBINATION: Combination = Combination::Max;
}
