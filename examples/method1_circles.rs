//! Method 1: a Sequential model of two dense layers learns two circles with the hinge loss. Prints the accuracy on the
//! training and on the test half, and draws loss and accuracy by epoch.
//!
//! `cargo run --release --features plot --example method1_circles [PLOT.svg|PLOT.png]`

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::path::PathBuf;

use maxmargin::nn::{Activation, Conventions, Dataset, Dense, Initializer, Optimizer, Sequential};
use maxmargin::plot::{Chart, Figure, Format};
use maxmargin::train::{Fit, Trainer};
use maxmargin::{BinaryHinge, Device};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // make_circles with -1 as the label instead of 0; the first half is for training.
    let (train, test) = Dataset::circles(1000, 0.1, 0.8, 1)?.signs().split_tail(0.5)?;
    let hidden = Dense::new(50).activation(Activation::Relu).initializer(Initializer::HeUniform);
    let output = Dense::new(1).activation(Activation::Tanh).initializer(Initializer::GlorotUniform);
    let network = Sequential::new(2, &[hidden, output], 1)?;
    let optimizer = Optimizer::sgd(0.01).momentum(0.9).conventions(Conventions::Keras);
    let mut trainer = Trainer::new(Device::auto()?, network, BinaryHinge::new(), optimizer)?;
    let history = trainer.fit(&train, &Fit::new().epochs(200).batch_size(32).validation(&test), |_| {})?;

    let accuracy = |data| trainer.evaluate(data).map(|score| score.accuracy.unwrap_or(f64::NAN));
    println!("Train: {:.3}, Test: {:.3}", accuracy(&train)?, accuracy(&test)?);
    if let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) {
        let loss = Chart::new("Loss").x_label("epoch").y_label("hinge loss");
        let loss = loss.line("train", &history.line(|e| Some(e.loss))).line("test", &history.line(|e| e.val_loss));
        let accuracy = Chart::new("Accuracy").x_label("epoch").y_label("accuracy");
        let accuracy = accuracy.line("train", &history.line(|e| e.accuracy));
        let accuracy = accuracy.line("test", &history.line(|e| e.val_accuracy));
        std::fs::write(&path, Figure::new().chart(loss).chart(accuracy).render(Format::of(&path)?)?)?;
        println!("drawn to {}", path.display());
    }
    Ok(())
}
