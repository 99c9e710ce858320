//! The commands of the program. Each command's own module defines its arguments.

use clap::{Parser, Subcommand};

use crate::bench::BenchArguments;
use crate::devices::DevicesArguments;
use crate::eval::EvalArguments;
use crate::fit::FitArguments;
use crate::merge::MergeArguments;
use crate::predict::PredictArguments;
use crate::train::TrainArguments;

/// Max-margin (hinge) losses of arrays in files, on the CPU or any GPU.
#[derive(Debug, Parser)]
#[command(name = "maxmargin", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the devices that losses can be evaluated on.
    Devices(DevicesArguments),
    /// Evaluate a loss over scores and targets in files.
    Eval(EvalArguments),
    Merge(MergeArguments),
    /// Train a network of dense layers with a max-margin loss.
    Train(TrainArguments),
    /// Fit a linear max-margin model, with a certificate of how close to the optimum it is.
    Fit(FitArguments),
    /// Apply saved weights or a linear model to rows of features.
    Predict(PredictArguments),
    /// Measure every loss on a device, next to the limit that its memory sets in the same run.
    Bench(BenchArguments),
}
