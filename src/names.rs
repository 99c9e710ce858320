//! Names of options' choices on the command line and in files.

use crate::error::{Error, Result};

pub(crate) fn find<T: Copy>(option: &'static str, names: &[(T, &'static str)], name: &str) -> Result<T> {
    names.iter().find(|(_, known)| *known == name).map(|&(choice, _)| choice).ok_or_else(|| {
        let expected = names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
        Error::Option { option, expected: format!("one of {expected}"), got: name.into() }
    })
}

/// Gives an enum its list of names, and `Display` and `FromStr` by that list.
macro_rules! names {
    ($choices:ident, $option:literal: $($choice:ident = $name:literal),+ $(,)?) => {
        impl $choices {
            /// Every choice with its name on the command line and in files.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$choice, $name)),+];
        }

        impl std::fmt::Display for $choices {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    $(Self::$choice => $name),+
                })
            }
        }

        impl std::str::FromStr for $choices {
            type Err = $crate::error::Error;

            fn from_str(name: &str) -> $crate::error::Result<Self> {
                $crate::names::find($option, Self::NAMES, name)
            }
        }
    };
}
pub(crate) use names;
