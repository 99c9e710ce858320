//! The numbers that every loss has: margin, penalty and kink.

use serde::{Deserialize, Serialize};

use super::penalty::{Kink, Penalty};
use crate::data::exact;
use crate::error::{Error, Result, number};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terms {
    #[serde(with = "exact::number")]
    pub(crate) margin: f64,
    pub(crate) penalty: Penalty,
    pub(crate) kink: Kink,
}

impl Terms {
    pub(crate) fn new() -> Self {
        Self { margin: 1.0, penalty: Penalty::Linear, kink: Kink::Zero }
    }

    /// Checks the penalty's numbers, and that the margin is finite also in f32.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.penalty.check()?;
        if (self.margin as f32).is_finite() {
            Ok(())
        } else {
            Err(Error::Option {
                option: "margin",
                expected: "a finite number in f32's range".into(),
                got: number(self.margin),
            })
        }
    }
}

/// The builder methods of a loss with [`Terms`]. The caller words the documentation of the margin.
macro_rules! terms_builder {
    ($margin:literal) => {
        #[doc = $margin]
        pub fn margin(mut self, margin: f64) -> Self {
            self.terms.margin = margin;
            self
        }

        /// The penalty of a violation.
        pub fn penalty(mut self, penalty: $crate::loss::Penalty) -> Self {
            self.terms.penalty = penalty;
            self
        }

        /// The slope where a margin is met exactly.
        pub fn kink(mut self, kink: $crate::loss::Kink) -> Self {
            self.terms.kink = kink;
            self
        }

        /// The margin.
        pub fn get_margin(&self) -> f64 {
            self.terms.margin
        }

        /// The penalty.
        pub fn get_penalty(&self) -> $crate::loss::Penalty {
            self.terms.penalty
        }

        /// The slope where a margin is met exactly.
        pub fn get_kink(&self) -> $crate::loss::Kink {
            self.terms.kink
        }
    };
}
pub(super) use terms_builder;
