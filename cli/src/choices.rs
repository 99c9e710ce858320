//! The values that options accept, by their names on the command line.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use maxmargin::{LabelEncoding, Penalty, Targets};

use crate::failure::{Failure, Outcome};
use crate::words::{number_text, suggestion};

/// A parser for the names of one of the library's enums. It accepts the variants for which `is_offered` is true.
pub(crate) fn one_of<T: Copy + FromStr<Err = maxmargin::Error> + Send + Sync + 'static>(
    names: &'static [(T, &'static str)],
    is_offered: fn(T) -> bool,
) -> impl TypedValueParser<Value = T> {
    let offered = names.iter().filter(move |(choice, _)| is_offered(*choice)).map(|(_, name)| *name);
    PossibleValuesParser::new(offered).try_map(|text| text.parse())
}

/// A parser for a value of the library that has parts.
pub(crate) fn parsed<T: FromStr<Err = maxmargin::Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| match error {
        maxmargin::Error::Option { expected, got, .. } => format!("expected {expected}, got {got}"),
        other => other.to_string(),
    })
}

/// A positive, finite number.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|x| *x > 0.0 && x.is_finite());
    number.ok_or_else(|| format!("expected a positive number, got {text:?}"))
}

/// A number that counts something, of type [`std::num::NonZero`].
pub(crate) fn at_least_one<T: FromStr>(text: &str) -> Result<T, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let expected = if is_number && !text.trim_start_matches('0').is_empty() {
        "a smaller number"
    } else {
        "a whole number, 1 or more"
    };
    text.parse().map_err(|_| format!("expected {expected}"))
}

/// A whole number of either sign.
pub(crate) fn whole_number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected a whole number".into())
}

/// The choice as written on the command line.
pub(crate) fn text_of(choice: &impl clap::ValueEnum) -> String {
    choice.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

macro_rules! choices {
    ($($name:ident { $($(#[$attribute:meta])* $choice:ident),+ })+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
        pub(crate) enum $name { $($(#[$attribute])* $choice),+ }

        impl $name {
            /// The choice as written on the command line.
            #[allow(dead_code, reason = "not every choice is reported")]
            pub(crate) fn text(self) -> String {
                $crate::choices::text_of(&self)
            }
        }
    )+};
}
pub(crate) use choices;

choices! {
    Labels { PlusMinusOne, ZeroOne, Auto }
    Over { Sum, Mean }
    DistanceName { Norm, Cosine }
}

impl Labels {
    /// The encoding; `auto` finds it from the labels that are not ignored.
    pub(crate) fn encoding(self, labels: Targets<'_>, ignored: Option<i64>) -> maxmargin::Result<LabelEncoding> {
        match self {
            Self::PlusMinusOne => Ok(LabelEncoding::PlusMinusOne),
            Self::ZeroOne => Ok(LabelEncoding::ZeroOne),
            Self::Auto => LabelEncoding::detect_among_kept(labels, ignored),
        }
    }
}

impl From<LabelEncoding> for Labels {
    fn from(encoding: LabelEncoding) -> Self {
        match encoding {
            LabelEncoding::ZeroOne => Self::ZeroOne,
            _ => Self::PlusMinusOne,
        }
    }
}

/// `--penalty`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PenaltyName {
    Linear,
    Squared,
    Smooth(f64),
    Rennie,
    ModifiedHuber,
    Perceptron,
    SoftMargin,
}

const PENALTIES: &[(&str, PenaltyName)] = &[
    ("linear", PenaltyName::Linear),
    ("squared", PenaltyName::Squared),
    ("rennie", PenaltyName::Rennie),
    ("modified-huber", PenaltyName::ModifiedHuber),
    ("perceptron", PenaltyName::Perceptron),
    ("soft-margin", PenaltyName::SoftMargin),
];

impl FromStr for PenaltyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(gamma) = text.strip_prefix("smooth:") {
            return match gamma.parse() {
                Ok(gamma) if gamma > 0.0 => Ok(Self::Smooth(gamma)),
                _ => Err(format!("smooth:G needs a positive number G, got {gamma:?}")),
            };
        }
        PENALTIES.iter().find(|(name, _)| *name == text).map(|&(_, penalty)| penalty).ok_or_else(|| {
            let names: Vec<_> = PENALTIES.iter().map(|(name, _)| *name).collect();
            format!(
                "expected smooth:G or one of {}{}",
                names.join(", "),
                suggestion(text, &[&names[..], &["smooth:0.5"]].concat())
            )
        })
    }
}

impl PenaltyName {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Smooth(gamma) => format!("smooth:{}", number_text(gamma)),
            _ => PENALTIES.iter().find(|(_, penalty)| *penalty == self).map_or("", |(name, _)| name).into(),
        }
    }

    /// Refuses a margin that the penalty contradicts.
    pub(crate) fn check_margin(self, margin: f64) -> Outcome<()> {
        if self == Self::Perceptron && margin != 0.0 {
            let message = format!("--penalty perceptron is the linear penalty at margin 0, but --margin is {margin}");
            return Err(Failure::usage(message));
        }
        Ok(())
    }

    pub(crate) fn default_margin(self) -> f64 {
        if matches!(self, Self::Perceptron | Self::SoftMargin) { 0.0 } else { 1.0 }
    }
}

/// The library's penalty.
pub(crate) fn penalty_of(name: PenaltyName) -> Penalty {
    match name {
        PenaltyName::Linear | PenaltyName::Perceptron => Penalty::Linear,
        PenaltyName::Squared => Penalty::Squared,
        PenaltyName::Smooth(gamma) => Penalty::smooth(gamma),
        PenaltyName::Rennie => Penalty::RENNIE,
        PenaltyName::ModifiedHuber => Penalty::MODIFIED_HUBER,
        PenaltyName::SoftMargin => Penalty::Softplus,
    }
}
