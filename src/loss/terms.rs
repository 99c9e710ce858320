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

/// The builder method and the getter of an option, with the same documentation, and the fields that lead to it.
macro_rules! loss_option {
    ($(#[$doc:meta])* $option:ident, $get:ident: $type:ty = [$($field:ident)+]) => {
        $(#[$doc])*
        pub fn $option(mut self, $option: $type) -> Self {
            self$(.$field)+ = $option;
            self
        }

        $(#[$doc])*
        pub fn $get(&self) -> $type {
            self$(.$field)+
        }
    };
}
pub(super) use loss_option;

/// The option `ignore_index`. The caller says what is left out.
macro_rules! ignore_index {
    ($what:literal) => {
        #[doc = $what]
        pub fn ignore_index(mut self, index: i64) -> Self {
            self.ignore_index = Some(index);
            self
        }

        /// The target that is ignored, if any.
        pub fn get_ignore_index(&self) -> Option<i64> {
            self.ignore_index
        }
    };
}
pub(super) use ignore_index;

/// The options of a loss with [`Terms`]. The caller words the documentation of the margin.
macro_rules! terms_builder {
    ($margin:literal) => {
        $crate::loss::terms::loss_option! { #[doc = $margin] margin, get_margin: f64 = [terms margin] }
        $crate::loss::terms::loss_option! {
            /// The penalty of a violation.
            penalty, get_penalty: $crate::loss::Penalty = [terms penalty]
        }
        $crate::loss::terms::loss_option! {
            /// The slope where a margin is met exactly.
            kink, get_kink: $crate::loss::Kink = [terms kink]
        }
    };
}
pub(super) use terms_builder;
