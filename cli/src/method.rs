//! The methods of the multiclass hinge by their names: one list for `eval --method` and `train --loss`.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use maxmargin::loss::RowsLoss;
use maxmargin::{CrammerSinger, LeeLinWahba, OneVsAll, TopK, WestonWatkins};

use crate::arguments::{choices, text_of};

/// What is done with a method, whose type is only known once its name is.
pub(crate) trait WithMethod {
    type Output;
    fn call<M>(self, method: M) -> Self::Output
    where
        M: RowsLoss + PartialEq + std::fmt::Debug + Send + 'static;
}

macro_rules! methods {
    ($($name:ident => $method:expr),+ $(,)?) => {
        choices! { Method { $($name),+ } }

        impl Method {
            /// Every loss of `train`.
            const TRAINED: &[LossName] =
                &[LossName::Binary, LossName::Squared, LossName::Embedding, $(LossName::Multiclass(Method::$name)),+];

            /// Hands over the method as a value. `k` is what --k says, for those that take it.
            pub(crate) fn with<W: WithMethod>(self, k: usize, then: W) -> W::Output {
                match self {
                    $(Method::$name => then.call($method(k))),+
                }
            }
        }
    };
}
methods! {
    CrammerSinger => |_| CrammerSinger,
    WestonWatkins => |_| WestonWatkins,
    OneVsAll => |_| OneVsAll,
    LeeLinWahba => |_| LeeLinWahba,
    TopK => TopK::new,
}

/// `train --loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossName {
    Binary,
    Squared,
    Embedding,
    Multiclass(Method),
}

impl LossName {
    /// The loss as it is written on the command line.
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
