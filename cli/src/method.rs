//! The methods of the multiclass hinge by name: one list for `eval --method` and `train --loss`.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::choices::{choices, text_of};

macro_rules! methods {
    ($($(#[$attribute:meta])* $name:ident),+) => {
        choices! { Method { $($(#[$attribute])* $name),+ } }

        impl Method {
            /// All losses that `train` offers.
            const TRAINED: &[LossName] = &[
                LossName::Binary,
                LossName::Squared,
                LossName::Embedding,
                LossName::ByMethod,
                $(LossName::Multiclass(Method::$name)),+
            ];
        }
    };
}
// One-vs-rest is the other common name of one-vs-all.
methods!(
    CrammerSinger,
    WestonWatkins,
    #[value(alias = "one-vs-rest")]
    OneVsAll,
    LeeLinWahba,
    TopK
);

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

/// `--loss` of `train` and `predict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossName {
    Binary,
    Squared,
    Embedding,
    /// `multiclass`, whose method another option names.
    ByMethod,
    Multiclass(Method),
}

impl LossName {
    /// The loss as written on the command line.
    pub(crate) fn text(self) -> String {
        text_of(&self)
    }

    /// Whether labels have an encoding.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::Squared)
    }

    /// Whether targets are class indices.
    pub(crate) fn has_classes(self) -> bool {
        matches!(self, Self::Multiclass(_) | Self::ByMethod)
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
            Self::ByMethod => Some(PossibleValue::new("multiclass")),
            Self::Multiclass(method) => method.to_possible_value(),
        }
    }
}
