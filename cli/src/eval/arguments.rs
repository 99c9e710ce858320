//! The arguments of `maxmargin eval`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use maxmargin::compat::Peer;
use maxmargin::{Kink, Reduction, ScoreKind, Ties};

use super::part::Part;
use crate::choices::{DistanceName, Labels, Over, PenaltyName, at_least_one, one_of, whole_number};
use crate::file::TextOptions;
use crate::method::Method;
use crate::place::Where;

#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    #[command(subcommand)]
    pub(super) family: Family,
}

/// Files: .npy; .npz and .safetensors as FILE:NAME; .csv, .tsv (also .gz; with the feature `arrow` .parquet, .arrow) as
/// FILE:COLUMN,COLUMN, with names of columns or positions from 0, for example x.csv:0-9.
#[derive(Debug, Subcommand)]
pub(super) enum Family {
    /// Binary hinge: phi(margin - t*s), the loss of a classifier.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval binary --scores scores.npy --targets labels.npy
  maxmargin eval binary --scores scores.csv:score --targets scores.csv:label --json
  maxmargin eval binary --scores scores.npy --targets labels.npy --batch-size 32 \\\n      --plot-out batches.svg"
    )]
    Binary {
        #[command(flatten)]
        files: ScoresAndTargets,
        /// Label encoding. auto (the default): the first label other than 1 decides.
        #[arg(long, value_enum, help_heading = "Loss")]
        labels: Option<Labels>,
        #[command(flatten)]
        penalty: PenaltyArgument,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Margin ranking (torch's MarginRankingLoss): phi(margin - t*(x1 - x2)); t = 1 where x1 should be higher, else -1.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval ranking --first better.npy --second worse.npy --targets order.npy --margin 0.5"
    )]
    Ranking {
        /// File with the first scores, one per pair: f16, bf16, f32 or f64. The gradient is with respect to these; for
        /// the second scores it is the negative.
        #[arg(long, help_heading = "Files")]
        first: PathBuf,
        /// File with the second scores.
        #[arg(long, help_heading = "Files")]
        second: PathBuf,
        /// File with the targets: integers, bools, or floats.
        #[arg(long, help_heading = "Files")]
        targets: PathBuf,
        #[command(flatten)]
        penalty: PenaltyArgument,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Embedding hinge (torch's HingeEmbeddingLoss): x for t = 1, max(0, margin - x) for t = -1. Not for classifiers.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval embedding --scores distances.npy --targets similar.npy \\\n      --grad-out gradient.npy"
    )]
    Embedding {
        #[command(flatten)]
        files: ScoresAndTargets,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Multiclass hinge over rows of class scores (N,C) and class indices (N).
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval multiclass --scores class_scores.npy --targets classes.npy
  maxmargin eval multiclass --scores class_scores.npy --targets classes.npy \\\n      --method one-vs-all --per-class
  maxmargin eval multiclass --scores class_scores.npy --targets classes.npy --preset torch \\\n      --losses-out losses.npy"
    )]
    Multiclass {
        #[command(flatten)]
        files: ScoresAndTargets,
        /// What to charge: crammer-singer (the default) the best rival; weston-watkins every rival; one-vs-all every
        /// class by itself; lee-lin-wahba every rival that scores above -margin/(C-1), for scores that sum to zero;
        /// top-k the mean of the k worst violations.
        #[arg(long, value_enum, help_heading = "Loss")]
        method: Option<Method>,
        /// For top-k: the number of worst violations to average, from 1 to C.
        #[arg(long, help_heading = "Loss")]
        k: Option<usize>,
        #[command(flatten)]
        penalty: PenaltyArgument,
        /// Divide each row's sum over classes by C (mean) or not (sum, the default).
        #[arg(long, value_enum, help_heading = "Loss")]
        over_classes: Option<Over>,
        /// Report one value per class (one-vs-all only).
        #[arg(long, help_heading = "Loss")]
        per_class: bool,
        /// File with one weight per class.
        #[arg(long, help_heading = "Files")]
        class_weights: Option<PathBuf>,
        /// File with a margin for each pair of classes (C,C), instead of --margin: between the true class y (row) and a
        /// rival i (column). The diagonal is ignored. For crammer-singer, weston-watkins and top-k.
        #[arg(long, conflicts_with = "margin", help_heading = "Files")]
        margin_matrix: Option<PathBuf>,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Multilabel margin (torch's MultiLabelMarginLoss) over rows of class scores (N,C) and rows of targets (N,C):
    /// class indices up to the first negative number. Compares every label with every other class; divides by C.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval multilabel --scores class_scores.npy --targets label_rows.npy"
    )]
    Multilabel {
        #[command(flatten)]
        files: ScoresAndTargets,
        #[command(flatten)]
        penalty: PenaltyArgument,
        /// Divide each row's sum by C (mean, the default) or not (sum).
        #[arg(long, value_enum, help_heading = "Loss")]
        over_classes: Option<Over>,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Categorical hinge (Keras's CategoricalHinge) over rows of class scores (N,C) and targets: (N,C) one-hot or
    /// -1/+1, or (N) class indices. Not Crammer-Singer: the true class takes part in the maximum with a zero.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval categorical --scores class_scores.npy --targets one_hot.npy \\\n      --preset keras"
    )]
    Categorical {
        #[command(flatten)]
        files: ScoresAndTargets,
        #[command(flatten)]
        penalty: PenaltyArgument,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Listwise pairwise hinge (keras-rs's PairwiseHingeLoss) over lists of scores (Q,L) and relevances (Q,L), negative
    /// for padding. Sums phi(margin + s_lower - s_higher) over pairs with a higher and a lower relevance.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval listwise --scores list_scores.npy --targets relevances.npy \\\n      --over-items mean"
    )]
    Listwise {
        #[command(flatten)]
        files: ScoresAndTargets,
        #[command(flatten)]
        penalty: PenaltyArgument,
        /// Divide each list's sum by L (mean, the default with --preset keras) or not (sum).
        #[arg(long, value_enum, help_heading = "Loss")]
        over_items: Option<Over>,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Lovasz hinge, the surrogate of 1 - intersection over union, of scores and binary labels of the same shape.
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval lovasz --scores scores.npy --targets labels.npy
  maxmargin eval lovasz --scores list_scores.npy --targets masks.npy --per-row"
    )]
    Lovasz {
        #[command(flatten)]
        files: ScoresAndTargets,
        /// Label encoding. auto (the default): the first label other than 1 decides.
        #[arg(long, value_enum, help_heading = "Loss")]
        labels: Option<Labels>,
        /// Treat each row of scores (Q,L) as its own list; otherwise the whole input is one list.
        #[arg(long, help_heading = "Loss")]
        per_row: bool,
        #[command(flatten)]
        penalty: PenaltyArgument,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
    /// Triplet margin (torch's TripletMarginLoss) over rows of vectors (N,D): phi(margin + d(a,p) - d(a,n)). The
    /// gradient has the shape (3,N,D).
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval triplet --anchor anchors.npy --positive positives.npy --negative negatives.npy \\\n      --swap"
    )]
    Triplet {
        /// File with the anchors: f16, bf16, f32 or f64.
        #[arg(long, help_heading = "Files")]
        anchor: PathBuf,
        /// File with the positives.
        #[arg(long, help_heading = "Files")]
        positive: PathBuf,
        /// File with the negatives.
        #[arg(long, help_heading = "Files")]
        negative: PathBuf,
        #[command(flatten)]
        penalty: PenaltyArgument,
        /// The distance: norm of the difference (the default), or cosine (1 - cos).
        #[arg(long, value_enum, help_heading = "Loss")]
        distance: Option<DistanceName>,
        /// The p of the norm, from 1 to inf [default: 2].
        #[arg(long, help_heading = "Loss")]
        p: Option<f64>,
        /// Number added to every component of the difference [default: 1e-6].
        #[arg(long, help_heading = "Loss")]
        eps: Option<f64>,
        /// Use the smaller of d(a,n) and d(p,n).
        #[arg(long, help_heading = "Loss")]
        swap: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Cosine embedding (torch's CosineEmbeddingLoss) over pairs of rows of vectors (N,D): phi(1 - cos) for t = 1,
    /// phi(cos - margin) for t = -1. The gradient has the shape (2,N,D).
    #[command(
        allow_negative_numbers = true,
        after_help = "Examples:
  maxmargin eval cosine --first anchors.npy --second positives.npy --targets order.npy \\\n      --margin 0.2"
    )]
    Cosine {
        /// File with the first vectors: f16, bf16, f32 or f64.
        #[arg(long, help_heading = "Files")]
        first: PathBuf,
        /// File with the second vectors.
        #[arg(long, help_heading = "Files")]
        second: PathBuf,
        /// File with the targets: integers, bools, or floats.
        #[arg(long, help_heading = "Files")]
        targets: PathBuf,
        #[command(flatten)]
        penalty: PenaltyArgument,
        #[command(flatten)]
        ignored: Ignored,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(super) struct ScoresAndTargets {
    /// File with the scores: f16, bf16, f32 or f64.
    #[arg(long, help_heading = "Files")]
    pub(super) scores: PathBuf,
    /// File with the targets: integers, bools, or floats. Class indices may be text: it names columns of the scores, or else
    /// stands in the order of its characters, one class for each column.
    #[arg(long, help_heading = "Files")]
    pub(super) targets: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Ignored {
    /// Leave out what has this target: samples, items of a lovasz list, or labels of a multilabel row; for listwise it is
    /// padding.
    #[arg(long, value_name = "TARGET", value_parser = whole_number, help_heading = "Loss")]
    pub(super) ignore_index: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct PenaltyArgument {
    /// The penalty of a margin violation v: linear (v, the default), squared (v^2), smooth:G (v^2/(2G) up to G, beyond
    /// it v - G/2), rennie (smooth:1), modified-huber (4 times smooth:2), perceptron (linear at margin 0), soft-margin
    /// (ln(1 + e^v), by default at margin 0).
    #[arg(long, help_heading = "Loss")]
    pub(super) penalty: Option<PenaltyName>,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// File with one weight per sample.
    #[arg(long, help_heading = "Files")]
    pub(super) sample_weights: Option<PathBuf>,
    /// The margin that a score must clear [default: 1; 0 for ranking, cosine, perceptron and soft-margin].
    #[arg(long, help_heading = "Loss")]
    pub(super) margin: Option<f64>,
    /// Use the conventions of this library (labels, score kind, method, divisor, kink, ties). Options given with it
    /// win. torch: labels -1/+1; multiclass is MultiMarginLoss (weston-watkins, over-classes mean). torchmetrics:
    /// labels 0/1; sigmoid or softmax of the whole batch if any score leaves [0, 1]; one-vs-all gives one value per
    /// class. keras: with sample weights the mean divides by the number of samples; kink half, ties split. sklearn:
    /// crammer-singer; kink active. optax: labels -1/+1; kink half, ties split.
    #[arg(long, value_parser = one_of(Peer::NAMES, |_| true), help_heading = "Loss")]
    pub(super) preset: Option<Peer>,
    /// The kind of scores: raw (the default) are used unchanged; probabilities must lie in [0, 1]; logits are passed
    /// through the sigmoid (rows: the softmax) before the loss.
    #[arg(long, value_parser = one_of(ScoreKind::NAMES, |kind| kind != ScoreKind::Guessed), help_heading = "Loss")]
    pub(super) score_kind: Option<ScoreKind>,
    /// How to reduce the losses to one number [default: mean]. mean divides by the sum of the sample weights,
    /// mean-over-count by the number of samples, mean-active by that of the samples with a loss (no gradient).
    #[arg(long, value_parser = one_of(Reduction::NAMES, |_| true), help_heading = "Loss")]
    pub(super) reduction: Option<Reduction>,
    /// Write the gradient with respect to the scores to this .npy file.
    #[arg(long, value_name = "G.npy", help_heading = "Outputs")]
    pub(super) grad_out: Option<PathBuf>,
    /// Write one loss per sample to this .npy file.
    #[arg(long, value_name = "L.npy", help_heading = "Outputs")]
    pub(super) losses_out: Option<PathBuf>,
    /// Evaluate N samples at a time as a streaming metric, and report the value of all samples; with --json also each
    /// batch's value.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>, help_heading = "Loss")]
    pub(super) batch_size: Option<NonZeroUsize>,
    /// Draw the batches' values to this .svg or .png file.
    #[arg(long, value_name = "F", help_heading = "Outputs")]
    pub(super) plot_out: Option<PathBuf>,
    /// Evaluate the I-th of N parts of the samples, cut at the blocks that one run on the same device has: 4 MiB of the files on
    /// the CPU, 64 MiB on a GPU. The files must stay as they are. Losses and gradient are the part's own; those of scores in
    /// several axes have one axis.
    #[arg(long, value_name = "I/N", requires = "state_out", help_heading = "Parts")]
    pub(super) part: Option<Part>,
    /// Write the sums, every bit of them, to this .json file: `maxmargin merge` puts parts and files together.
    #[arg(long, value_name = "S.json", help_heading = "Parts")]
    pub(super) state_out: Option<PathBuf>,
    /// The slope where a margin is met exactly: 0 (the default), 1/2 or 1.
    #[arg(long, value_parser = one_of(Kink::NAMES, |_| true), help_heading = "Loss")]
    pub(super) kink: Option<Kink>,
    /// Which of equally good best rivals receives the gradient: the first (the default) or all in equal parts.
    #[arg(long, value_parser = one_of(Ties::NAMES, |_| true), help_heading = "Loss")]
    pub(super) ties: Option<Ties>,
    #[command(flatten)]
    pub(super) text: TextOptions,
    #[command(flatten)]
    pub(super) place: Where,
}
