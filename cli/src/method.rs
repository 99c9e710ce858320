//! The methods of the multiclass hinge by name: one list for `eval --method` and `train --loss`.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::choices::{choices, text_of};

macro_rules! methods {
    ($($name:ident),+) => {
        choices! { Method { $($name),+ } }

        impl Method {
            /// All losses that `train` offers.
            const TRAINED: &[LossName] =
                &[LossName::Binary, LossName::Squared, LossName::Embedding, $(LossName::Multiclass(Method::$name)),+];
        }
    };
}
methods!(CrammerSinger, WestonWatkins, OneVsAll, LeeLinWahba, TopK);

/// Calls `$body` with `$loss` bound to the multiclass hinge of a method; `$k` is the value of --k, where it applies.
macro_rules! with_method {
    ($method:expr, $k:expr, $loss:ident => $body:expr) => {
        match $method {
            $crate::method::Method::CrammerSinger => {
                let $loss = maxmargin::MulticlassHinge::crammer_singer();
                $body
            }
            $crate::method::Method::WestonWatkins => {
                let $loss = maxmargin::MulticlassHinge::weston_watkins();
                $body
            }
            $crate::method::Method::OneVsAll => {
                let $loss = maxmargin::MulticlassHinge::one_vs_all();
                $body
            }
            $crate::method::Method::LeeLinWahba => {
                let $loss = maxmargin::MulticlassHinge::lee_lin_wahba();
                $body
            }
            $crate::method::Method::TopK => {
                let $loss = maxmargin::MulticlassHinge::top_k($k);
                $body
            }
        }
    };
}
pub(crate) use with_method;

/// `train --loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossName {
    Binary,
    Squared,
    Embedding,
    Multiclass(Method),
}

impl LossName {
    /// The loss as written on the command line.
    pub(crate) fn text(self) -> String {
        text_of(&self)
    }
}

impl ValueEnum for LossName {
    fn value_variants<'a>() -> &'a [Self] {
        Method::TRAINED
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Binary => Some(PossibleValue::new("binary")),
            Self::Squared => Some(PossibleValue::new("squared")),
            Self::Embedding => Some(PossibleValue::new("embedding")),
            Self::Multiclass(method) => method.to_possible_value(),
        }
    }
}
