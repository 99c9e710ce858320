//! The arguments of `maxmargin train`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use maxmargin::compat::Peer;
use maxmargin::nn::{Dense, Initializer};

use super::generated::Generated;
use crate::choices::{at_least_one, choices, one_of, parsed};
use crate::file::TextOptions;
use crate::objective::Objective;
use crate::place::Where;

/// Train a network of dense layers with a max-margin loss.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, after_help = EXAMPLES)]
pub(crate) struct TrainArguments {
    /// Generated data: circles[:n=1000,noise=0.1,factor=0.8,seed=1], moons[:n=1000,noise=0.1,seed=1] or
    /// images[:n=15000,size=3x28x28,classes=2,seed=1].
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", conflicts_with = "features", help_heading = "Data")]
    pub(crate) data: Option<Generated>,
    /// File with features, one row per sample. Further axes are flattened. Numbers are used as they are: bytes of images
    /// are 0 to 255 (those of --data images are divided by 255).
    #[arg(long, requires = "targets", help_heading = "Data")]
    pub(crate) features: Option<PathBuf>,
    /// File with targets, one per row: labels, or for the multiclass losses class indices or, in .csv, text: the classes
    /// are then in the order of their characters.
    #[arg(long, requires = "features", help_heading = "Data")]
    pub(crate) targets: Option<PathBuf>,
    /// Validate on the last fraction F of the N rows; training has the first floor(N * (1 - F)).
    #[arg(long, value_name = "F", conflicts_with = "validation_features", help_heading = "Data")]
    pub(crate) validation_split: Option<f64>,
    /// File with features for validation.
    #[arg(long, value_name = "X", requires = "validation_targets", help_heading = "Data")]
    pub(crate) validation_features: Option<PathBuf>,
    /// File with targets for validation.
    #[arg(long, value_name = "T", requires = "validation_features", help_heading = "Data")]
    pub(crate) validation_targets: Option<PathBuf>,
    /// The dense layers as UNITS[:ACTIVATION], for example 50:relu,1:tanh. An activation is relu, tanh, sigmoid or
    /// identity (the default).
    #[arg(long, value_delimiter = ',', required = true, value_parser = parsed::<Dense>, help_heading = "Network")]
    pub(crate) layers: Vec<Dense>,
    /// The initial weights, one name for all layers or one per layer: torch (as torch's Linear), he-uniform,
    /// glorot-uniform or zeros. The default is torch, or glorot-uniform if --preset is keras.
    #[arg(long, value_delimiter = ',', conflicts_with = "weights_in", help_heading = "Network")]
    pub(crate) init: Vec<Initializer>,
    #[command(flatten)]
    pub(crate) objective: Objective,
    /// The library to follow in update rules, weight decay, Adam's epsilon, initial weights, the loss's slope where a
    /// margin is met exactly, and the share of the gradient that equal rivals get.
    #[arg(long, value_parser = one_of(Peer::NAMES, is_trained), default_value = "torch", help_heading = "Training")]
    pub(crate) preset: Peer,
    /// The optimizer.
    #[arg(long, value_enum, default_value = "sgd", help_heading = "Training")]
    pub(crate) optimizer: OptimizerName,
    /// The learning rate [default: 0.01 for sgd, 0.001 for adam and adamw].
    #[arg(long, help_heading = "Training")]
    pub(crate) learning_rate: Option<f64>,
    /// The momentum of sgd [default: 0].
    #[arg(long, help_heading = "Training")]
    pub(crate) momentum: Option<f64>,
    /// Use Nesterov momentum for sgd.
    #[arg(long, help_heading = "Training")]
    pub(crate) nesterov: bool,
    /// Weight decay [default: 0; for adamw 0.01, or 0.004 if --preset is keras].
    #[arg(long, help_heading = "Training")]
    pub(crate) weight_decay: Option<f64>,
    /// Adam's decay of the first moment [default: 0.9].
    #[arg(long, help_heading = "Training")]
    pub(crate) beta1: Option<f64>,
    /// Adam's decay of the second moment [default: 0.999].
    #[arg(long, help_heading = "Training")]
    pub(crate) beta2: Option<f64>,
    /// Adam's epsilon [default: 1e-8, or 1e-7 if --preset is keras].
    #[arg(long, help_heading = "Training")]
    pub(crate) epsilon: Option<f64>,
    /// Number of epochs; with --resume it includes those done before.
    #[arg(long, default_value = "10", value_parser = at_least_one::<NonZeroU64>, help_heading = "Training")]
    pub(crate) epochs: NonZeroU64,
    /// Samples per update.
    #[arg(long, default_value = "32", value_parser = at_least_one::<NonZeroUsize>, help_heading = "Training")]
    pub(crate) batch_size: NonZeroUsize,
    /// Stop when the validation loss (without validation data: the loss) has not improved for this many epochs.
    #[arg(long, value_name = "PATIENCE", value_parser = at_least_one::<NonZeroU64>, help_heading = "Training")]
    pub(crate) early_stopping: Option<NonZeroU64>,
    /// Seed of the starting weights and of the sample order [default: 0; with --resume the checkpoint's].
    #[arg(long, help_heading = "Training")]
    pub(crate) seed: Option<u64>,
    /// Keep the order of the samples in every epoch.
    #[arg(long, help_heading = "Training")]
    pub(crate) no_shuffle: bool,
    /// Start from these weights: layers.N.weight of shape (outputs, inputs) and layers.N.bias, N from 0; torch's N.weight
    /// and N.bias, or Keras's dense_N/kernel of shape (inputs, outputs) and dense_N/bias.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "resume", help_heading = "Network")]
    pub(crate) weights_in: Option<PathBuf>,
    /// Continue from this checkpoint, with the same data and options.
    #[arg(long, value_name = "F.safetensors", help_heading = "Network")]
    pub(crate) resume: Option<PathBuf>,
    /// Write the trained weights to this file. All files that can be written are, also where training diverges (with the
    /// last good weights) or another file fails; the error names them.
    #[arg(long, value_name = "W.safetensors", help_heading = "Outputs")]
    pub(crate) weights_out: Option<PathBuf>,
    /// Write weights, optimizer state and the progress of training to this file when training ends.
    #[arg(long, value_name = "F.safetensors", help_heading = "Outputs")]
    pub(crate) checkpoint_out: Option<PathBuf>,
    /// Write epoch,loss,accuracy,val_loss,val_accuracy to this file, one line per epoch.
    #[arg(long, value_name = "H.csv", help_heading = "Outputs")]
    pub(crate) history_out: Option<PathBuf>,
    /// Draw loss and accuracy per epoch to this .svg or .png file; for two features and one output also the decision
    /// boundary.
    #[arg(long, value_name = "F", help_heading = "Outputs")]
    pub(crate) plot_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextOptions,
    #[command(flatten)]
    pub(crate) place: Where,
}

const EXAMPLES: &str = "\
Examples:
  maxmargin train --data circles --layers 50:relu,1:tanh --validation-split 0.5 \\
      --epochs 20 --plot-out circles.svg
  maxmargin train --features features.npy --targets labels.npy --layers 1 --penalty squared \\
      --optimizer adam --weights-out weights.safetensors
  maxmargin train --features class_features.npy --targets classes.npy --layers 20:relu,3 \\
      --loss multiclass --method weston-watkins --history-out history.csv \\
      --checkpoint-out checkpoint.safetensors";

choices! {
    OptimizerName { Sgd, Adam, Adamw }
}

fn is_trained(peer: Peer) -> bool {
    matches!(peer, Peer::Torch | Peer::Keras)
}
