//! The arguments of `maxmargin train`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use maxmargin::compat::Peer;
use maxmargin::nn::{Accuracy, Dense, Initializer};

use super::generated::Generated;
use crate::choices::{Labels, choices, one_of};
use crate::method::LossName;
use crate::place::Where;

/// Train a network of dense layers with a max-margin loss.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct TrainArguments {
    /// Made-up data: circles[:n=1000,noise=0.1,factor=0.8,seed=1], moons[:n=1000,noise=0.1,seed=1] or
    /// images[:n=15000,size=3x28x28,classes=2,seed=1].
    #[arg(
        long,
        value_name = "NAME[:KEY=VALUE,...]",
        required_unless_present = "features",
        conflicts_with = "features"
    )]
    pub(crate) data: Option<Generated>,
    /// File with features, a row a sample; more axes are flattened.
    #[arg(long, requires = "targets")]
    pub(crate) features: Option<PathBuf>,
    /// File with targets, one a row: labels, or class indices for the multiclass losses.
    #[arg(long, requires = "features")]
    pub(crate) targets: Option<PathBuf>,
    /// Use the last part of the data for validation: floor(N * (1 - F)) rows are trained on.
    #[arg(long, value_name = "F", conflicts_with = "validation_features")]
    pub(crate) validation_split: Option<f64>,
    /// File with features for validation.
    #[arg(long, value_name = "X", requires = "validation_targets")]
    pub(crate) validation_features: Option<PathBuf>,
    /// File with targets for validation.
    #[arg(long, value_name = "T", requires = "validation_features")]
    pub(crate) validation_targets: Option<PathBuf>,
    /// The dense layers, as UNITS[:ACTIVATION] with relu, tanh, sigmoid or identity (the default): 50:relu,1:tanh.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) layers: Vec<Dense>,
    /// What the weights start as, once for all layers or once a layer: torch (the default: torch's Linear), he-uniform,
    /// glorot-uniform (the default with --preset keras) or zeros.
    #[arg(long, value_delimiter = ',', conflicts_with = "weights_in")]
    pub(crate) init: Vec<Initializer>,
    /// The loss. binary, squared and embedding want one output a sample, the others one a class.
    #[arg(long, value_enum, default_value = "binary")]
    pub(crate) loss: LossName,
    /// How many violations top-k takes the mean of, from 1 to C.
    #[arg(long, required_if_eq("loss", "top-k"))]
    pub(crate) k: Option<usize>,
    /// The margin.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) margin: f64,
    /// How the labels of binary and squared are encoded; auto (the default) lets the first label other than 1 decide.
    #[arg(long, value_enum)]
    pub(crate) labels: Option<Labels>,
    /// Which predictions count as right: by their sign, or as Keras's BinaryAccuracy(0.5) has it, for which every
    /// negative of -1/+1 labels is wrong.
    #[arg(long, value_parser = one_of(Accuracy::NAMES, |_| true), default_value = "sign")]
    pub(crate) accuracy: Accuracy,
    /// Whose conventions to follow: update rules, weight decay, Adam's epsilon, the loss's slope at the kink.
    #[arg(long, value_parser = one_of(Peer::NAMES, is_trained), default_value = "torch")]
    pub(crate) preset: Peer,
    /// The optimizer.
    #[arg(long, value_enum, default_value = "sgd")]
    pub(crate) optimizer: OptimizerName,
    /// 0.01 for sgd and 0.001 for adam and adamw where nothing is said.
    #[arg(long)]
    pub(crate) learning_rate: Option<f64>,
    /// The momentum of sgd [default: 0].
    #[arg(long)]
    pub(crate) momentum: Option<f64>,
    /// Nesterov's momentum for sgd.
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// Weight decay [default: 0; adamw: 0.01, with --preset keras 0.004].
    #[arg(long)]
    pub(crate) weight_decay: Option<f64>,
    /// Adam's decay of the first moment [default: 0.9].
    #[arg(long)]
    pub(crate) beta1: Option<f64>,
    /// Adam's decay of the second moment [default: 0.999].
    #[arg(long)]
    pub(crate) beta2: Option<f64>,
    /// Adam's epsilon [default: 1e-8, with --preset keras 1e-7].
    #[arg(long)]
    pub(crate) epsilon: Option<f64>,
    /// Epochs, with --resume those done before included.
    #[arg(long, default_value = "10")]
    pub(crate) epochs: NonZeroU64,
    /// Samples an update.
    #[arg(long, default_value = "32")]
    pub(crate) batch_size: NonZeroUsize,
    /// End when the validation loss (or else the loss) has not improved for this many epochs.
    #[arg(long, value_name = "PATIENCE")]
    pub(crate) early_stopping: Option<NonZeroU64>,
    /// Seed of the starting weights and of the order of samples [default: 0; with --resume the checkpoint's].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Take the samples as they come, in every epoch.
    #[arg(long)]
    pub(crate) no_shuffle: bool,
    /// Start from these weights: layers.N.weight of shape (outputs, inputs) and layers.N.bias, N from 0.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "resume")]
    pub(crate) weights_in: Option<PathBuf>,
    /// Continue from this checkpoint, with the same data and options.
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) resume: Option<PathBuf>,
    /// Write the trained weights to this file.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights_out: Option<PathBuf>,
    /// Write weights, the optimizer's memory and the state of training to this file when training ends.
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) checkpoint_out: Option<PathBuf>,
    /// Write epoch,loss,accuracy,val_loss,val_accuracy to this file, one line an epoch.
    #[arg(long, value_name = "H.csv")]
    pub(crate) history_out: Option<PathBuf>,
    /// Draw loss and accuracy by epoch, and for features of two columns the decision boundary, to this .svg or .png file.
    #[arg(long, value_name = "F")]
    pub(crate) plot_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Where,
}

choices! {
    OptimizerName { Sgd, Adam, Adamw }
}

/// Whether a library trains networks.
fn is_trained(peer: Peer) -> bool {
    matches!(peer, Peer::Torch | Peer::Keras)
}
