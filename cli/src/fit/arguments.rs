//! The arguments of `maxmargin fit`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use maxmargin::linear::{self, Intercept, LinearLoss};

use crate::choices::{choices, positive};
use crate::file::TextOptions;
use crate::file::sparse::Base;
use crate::place::Where;

/// Fit a linear max-margin model (a support vector machine), with a certificate of how close to the optimum it is.
///
/// Minimises 1/2 ||w||^2 + C * sum of weight * loss, as scikit-learn's LinearSVC does, until the relative duality gap is
/// confirmed to be --gap or less. Several C are judged on --folds or on validation data, and the best is fitted again on
/// all rows.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, after_help = EXAMPLES)]
pub(crate) struct FitArguments {
    /// File with features, one row per sample. Further axes are flattened. Bytes are 0 to 255. Sparse rows: svmlight text
    /// (.svm, .libsvm, .svmlight), or SciPy's CSR matrix, an .npz without :ARRAY.
    #[arg(long, value_name = "X", help_heading = "Data")]
    pub(super) features: PathBuf,
    /// File with labels, one per row: any whole numbers, or text. Of two labels the larger is the positive one; text is in
    /// the order of its characters. Without it, they are those in front of the lines of svmlight text.
    #[arg(long, value_name = "T", help_heading = "Data")]
    pub(super) targets: Option<PathBuf>,
    /// File with one weight per row, 0 or more.
    #[arg(long, value_name = "W", help_heading = "Data")]
    pub(super) sample_weights: Option<PathBuf>,
    /// Judge each C on K parts of the rows: each part is held out once. Every part has its share of each class.
    #[arg(long, value_name = "K", conflicts_with = "validation_features", help_heading = "Data")]
    pub(super) folds: Option<usize>,
    /// File with features to judge each C on.
    #[arg(long, value_name = "X", help_heading = "Data")]
    pub(super) validation_features: Option<PathBuf>,
    /// File with labels to judge each C on. Without it, they are those of svmlight text, as for --targets.
    #[arg(long, value_name = "T", requires = "validation_features", help_heading = "Data")]
    pub(super) validation_targets: Option<PathBuf>,
    /// The loss of a violation z: hinge (z, the default), squared-hinge (z^2), or smooth:G (z^2/(2G) up to G, beyond it
    /// z - G/2).
    #[arg(long, value_parser = loss, default_value = "hinge", help_heading = "Model")]
    pub(super) loss: LinearLoss,
    /// How several classes are solved: each against the rest, or all in one problem, in which a row costs its worst
    /// violation (crammer-singer) or the sum of them (weston-watkins); these two take --loss hinge alone.
    #[arg(long, value_enum, default_value = "one-vs-rest", help_heading = "Model")]
    pub(super) multiclass: Multiclass,
    /// The cost factor of the losses; several, with commas, are compared: the one with the highest mean validation accuracy
    /// is the best, of equals the smallest.
    #[arg(long, value_name = "C", value_delimiter = ',', value_parser = positive, default_value = "1", help_heading = "Model")]
    pub(super) c: Vec<f64>,
    /// The constant in the decision value: none; penalized:SCALE, the weight of a feature with this value (LinearSVC's
    /// intercept_scaling); or free, which costs nothing (as in SVC).
    #[arg(long, value_parser = intercept, default_value = "penalized:1", help_heading = "Model")]
    pub(super) intercept: Intercept,
    /// Solve for features of mean 0 and standard deviation 1; sparse ones are divided by their standard deviation (about the
    /// mean), but not shifted. The model is for the features as they are.
    #[arg(long, help_heading = "Model")]
    pub(super) standardize: bool,
    /// Weights of the classes: balanced, or a file with one per class in the order of the labels. Where each of more than
    /// two classes is held against the rest, its weight is that of its own rows, the rest have 1.
    #[arg(long, value_name = "balanced|W", help_heading = "Model")]
    pub(super) class_weights: Option<PathBuf>,
    /// The relative duality gap to reach.
    #[arg(long, value_parser = positive, default_value = "1e-4", help_heading = "Solver")]
    pub(super) gap: f64,
    /// The most reads of all features, for each class.
    #[arg(long, value_parser = positive, default_value = "1000", help_heading = "Solver")]
    pub(super) max_passes: f64,
    /// Seed of the order in which rows are dealt to folds.
    #[arg(long, default_value_t = 0, help_heading = "Solver")]
    pub(super) seed: u64,
    /// Start from this model (one C, without folds or validation data).
    #[arg(long, value_name = "M.safetensors", help_heading = "Solver")]
    pub(super) model_in: Option<PathBuf>,
    /// Write the model to this file, also where the fit was stopped or fell short of its gap.
    #[arg(long, value_name = "M.safetensors", help_heading = "Outputs")]
    pub(super) model_out: Option<PathBuf>,
    /// Write the multipliers (N), or (K, N) for K > 2 classes, to this file.
    #[arg(long, value_name = "A.npy", help_heading = "Outputs")]
    pub(super) dual_out: Option<PathBuf>,
    /// Write c,fold,primal,dual,gap,validation_loss,validation_accuracy to this file, one line per model.
    #[arg(long, value_name = "P.csv", help_heading = "Outputs")]
    pub(super) path_out: Option<PathBuf>,
    /// Draw to this .svg or .png file: for several C the validation's loss and accuracy by C; for two features and two
    /// classes the decision boundary with its margins, support vectors with a dark rim.
    #[arg(long, value_name = "F", help_heading = "Outputs")]
    pub(super) plot_out: Option<PathBuf>,
    /// The number of the first column in svmlight text, 1 or 0.
    #[arg(long, value_name = "1|0", default_value = "1", hide_default_value = true, help_heading = "Files of text")]
    pub(super) svmlight_base: Base,
    #[command(flatten)]
    pub(super) text: TextOptions,
    #[command(flatten)]
    pub(super) place: Where,
}

const EXAMPLES: &str = "\
Examples:
  maxmargin fit --features features.npy --targets labels.npy --model-out model.safetensors
  maxmargin fit --features class_features.npy --targets classes.npy --c 0.01,0.1,1 --folds 4 \\
      --standardize --path-out path.csv --plot-out path.svg
  maxmargin fit --features rows.svm --c 0.1 --model-out sparse.safetensors
  maxmargin predict --model model.safetensors --features features.npy --out decisions.npy";

choices! {
    // one-vs-all is its name in eval.
    Multiclass { #[value(alias = "one-vs-all")] OneVsRest, CrammerSinger, WestonWatkins }
}

impl Multiclass {
    pub(super) fn of_library(self) -> linear::Multiclass {
        match self {
            Self::OneVsRest => linear::Multiclass::OneVsRest,
            Self::CrammerSinger => linear::Multiclass::CrammerSinger,
            Self::WestonWatkins => linear::Multiclass::WestonWatkins,
        }
    }
}

fn loss(text: &str) -> Result<LinearLoss, String> {
    match text {
        "hinge" => Ok(LinearLoss::Hinge),
        "squared-hinge" => Ok(LinearLoss::SquaredHinge),
        _ => match text.strip_prefix("smooth:").map(positive) {
            Some(Ok(gamma)) if !(gamma as f32).is_normal() => Err("smooth:G: expected G within f32's range".into()),
            Some(gamma) => Ok(LinearLoss::SmoothHinge(gamma.map_err(|error| format!("smooth:G: {error}"))?)),
            None => Err("expected hinge, squared-hinge or smooth:G".into()),
        },
    }
}

fn intercept(text: &str) -> Result<Intercept, String> {
    match text {
        "none" => Ok(Intercept::None),
        "penalized" => Ok(Intercept::Penalized(1.0)),
        "free" => Ok(Intercept::Free),
        _ => match text.strip_prefix("penalized:").map(f64::from_str) {
            Some(Ok(scale)) if scale > 0.0 && scale.is_finite() => Ok(Intercept::Penalized(scale)),
            Some(_) => Err("penalized:SCALE: expected a positive number".into()),
            None => Err("expected none, penalized, penalized:SCALE or free".into()),
        },
    }
}

/// The loss as it was typed.
pub(super) fn loss_text(loss: LinearLoss) -> String {
    match loss {
        LinearLoss::SquaredHinge => "squared-hinge".into(),
        LinearLoss::SmoothHinge(gamma) => format!("smooth:{}", crate::words::number_text(gamma)),
        _ => "hinge".into(),
    }
}

/// The intercept as it was typed.
pub(super) fn intercept_text(intercept: Intercept) -> String {
    match intercept {
        Intercept::None => "none".into(),
        Intercept::Penalized(scale) => format!("penalized:{}", crate::words::number_text(scale)),
        _ => "free".into(),
    }
}
