//! The arguments of `maxmargin train`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use maxmargin::compat::Peer;
use maxmargin::nn::{Accuracy, Dense, Initializer};

use super::generated::Generated;
use crate::choices::{Labels, at_least_one, choices, one_of};
use crate::file::TextOptions;
use crate::method::LossName;
use crate::place::Where;

/// Train a network of dense layers with a max-margin loss.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct TrainArguments {
    /// Generated data: circles[:n=1000,noise=0.1,factor=0.8,seed=1], moons[:n=1000,noise=0.1,seed=1] or
    /// images[:n=15000,size=3x28x28,classes=2,seed=1].
    #[arg(
        long,
        value_name = "NAME[:KEY=VALUE,...]",
        required_unless_present = "features",
        conflicts_with = "features"
    )]
    pub(crate) data: Option<Generated>,
    /// File with features, one row per sample. Further axes are flattened. Numbers are used as they are: bytes of images
    /// are 0 to 255 (those of --data images are divided by 255).
    #[arg(long, requires = "targets")]
    pub(crate) features: Option<PathBuf>,
    /// File with targets, one per row: labels, or for the multiclass losses class indices or, in .csv, text: the classes
    /// are then in the order of their characters.
    #[arg(long, requires = "features")]
    pub(crate) targets: Option<PathBuf>,
    /// Validate on the last fraction F of the N rows; training has the first floor(N * (1 - F)).
    #[arg(long, value_name = "F", conflicts_with = "validation_features")]
    pub(crate) validation_split: Option<f64>,
    /// File with features for validation.
    #[arg(long, value_name = "X", requires = "validation_targets")]
    pub(crate) validation_features: Option<PathBuf>,
    /// File with targets for validation.
    #[arg(long, value_name = "T", requires = "validation_features")]
    pub(crate) validation_targets: Option<PathBuf>,
    /// The dense layers as UNITS[:ACTIVATION], for example 50:relu,1:tanh. An activation is relu, tanh, sigmoid or
    /// identity (the default).
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) layers: Vec<Dense>,
    /// The initial weights, one name for all layers or one per layer: torch (as torch's Linear), he-uniform,
    /// glorot-uniform or zeros. The default is torch, or glorot-uniform if --preset is keras.
    #[arg(long, value_delimiter = ',', conflicts_with = "weights_in")]
    pub(crate) init: Vec<Initializer>,
    /// The loss. binary, squared and embedding need one output per sample, the others one per class.
    #[arg(long, value_enum, default_value = "binary")]
    pub(crate) loss: LossName,
    /// For top-k: the number of worst violations to average, from 1 to the number of classes.
    #[arg(long, required_if_eq("loss", "top-k"))]
    pub(crate) k: Option<usize>,
    /// The margin.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) margin: f64,
    /// Label encoding of binary and squared. auto (the default): the first label other than 1 decides.
    #[arg(long, value_enum)]
    pub(crate) labels: Option<Labels>,
    /// Which predictions count as right. sign: a single output predicts by its sign, several by the highest. keras: as
    /// in Keras's BinaryAccuracy(0.5), an output above 0.5 predicts 1 and any other 0; a label of -1 is then never
    /// right.
    #[arg(long, value_parser = one_of(Accuracy::NAMES, |_| true), default_value = "sign")]
    pub(crate) accuracy: Accuracy,
    /// The library to follow in update rules, weight decay, Adam's epsilon, initial weights, the loss's slope where a
    /// margin is met exactly, and the share of the gradient that equal rivals get.
    #[arg(long, value_parser = one_of(Peer::NAMES, is_trained), default_value = "torch")]
    pub(crate) preset: Peer,
    /// The optimizer.
    #[arg(long, value_enum, default_value = "sgd")]
    pub(crate) optimizer: OptimizerName,
    /// The learning rate [default: 0.01 for sgd, 0.001 for adam and adamw].
    #[arg(long)]
    pub(crate) learning_rate: Option<f64>,
    /// The momentum of sgd [default: 0].
    #[arg(long)]
    pub(crate) momentum: Option<f64>,
    /// Use Nesterov momentum for sgd.
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// Weight decay [default: 0; for adamw 0.01, or 0.004 if --preset is keras].
    #[arg(long)]
    pub(crate) weight_decay: Option<f64>,
    /// Adam's decay of the first moment [default: 0.9].
    #[arg(long)]
    pub(crate) beta1: Option<f64>,
    /// Adam's decay of the second moment [default: 0.999].
    #[arg(long)]
    pub(crate) beta2: Option<f64>,
    /// Adam's epsilon [default: 1e-8, or 1e-7 if --preset is keras].
    #[arg(long)]
    pub(crate) epsilon: Option<f64>,
    /// Number of epochs; with --resume it includes those done before.
    #[arg(long, default_value = "10", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) epochs: NonZeroU64,
    /// Samples per update.
    #[arg(long, default_value = "32", value_parser = at_least_one::<NonZeroUsize>)]
    pub(crate) batch_size: NonZeroUsize,
    /// Stop when the validation loss (without validation data: the loss) has not improved for this many epochs.
    #[arg(long, value_name = "PATIENCE", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) early_stopping: Option<NonZeroU64>,
    /// Seed of the starting weights and of the sample order [default: 0; with --resume the checkpoint's].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Keep the order of the samples in every epoch.
    #[arg(long)]
    pub(crate) no_shuffle: bool,
    /// Start from these weights: layers.N.weight of shape (outputs, inputs) and layers.N.bias, N from 0; torch's N.weight
    /// and N.bias, or Keras's dense_N/kernel of shape (inputs, outputs) and dense_N/bias.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "resume")]
    pub(crate) weights_in: Option<PathBuf>,
    /// Continue from this checkpoint, with the same data and options.
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) resume: Option<PathBuf>,
    /// Write the trained weights to this file. All files that can be written are, also where training diverges (with the
    /// last good weights) or another file fails; the error names them.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights_out: Option<PathBuf>,
    /// Write weights, optimizer state and the progress of training to this file when training ends.
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) checkpoint_out: Option<PathBuf>,
    /// Write epoch,loss,accuracy,val_loss,val_accuracy to this file, one line per epoch.
    #[arg(long, value_name = "H.csv")]
    pub(crate) history_out: Option<PathBuf>,
    /// Draw loss and accuracy per epoch to this .svg or .png file; for two features and one output also the decision
    /// boundary.
    #[arg(long, value_name = "F")]
    pub(crate) plot_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextOptions,
    #[command(flatten)]
    pub(crate) place: Where,
}

choices! {
    OptimizerName { Sgd, Adam, Adamw }
}

fn is_trained(peer: Peer) -> bool {
    matches!(peer, Peer::Torch | Peer::Keras)
}
