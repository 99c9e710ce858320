//! Method 2, second part: a network of three dense layers on 15000 made-up images of 3 x 28 x 28 bytes in two classes,
//! with the hinge embedding loss and Adam. Prints the running loss every 10 batches.
//!
//! `cargo run --release --example method2_images [IMAGES]`

#![allow(clippy::print_stdout, reason = "an example prints")]

use maxmargin::nn::{Activation, Dataset, Dense, Optimizer, Sequential};
use maxmargin::train::{Fit, Trainer};
use maxmargin::{Device, EmbeddingHinge};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let images = std::env::args().nth(1).map_or(Ok(15_000), |count| count.parse())?;
    let data = Dataset::images(images, 3 * 28 * 28, 2, 1)?.signs();
    let relu = |units| Dense::new(units).activation(Activation::Relu);
    let layers = [relu(64), relu(32), Dense::new(1).activation(Activation::Tanh)];
    let network = Sequential::new(3 * 28 * 28, &layers, 1)?;
    let mut trainer = Trainer::new(Device::auto()?, network, EmbeddingHinge::new(), Optimizer::adam(1e-4))?;
    trainer.fit(&data, &Fit::new().epochs(5).batch_size(64), |epoch| {
        println!("Starting epoch {}", epoch.epoch + 1);
        for (group, losses) in epoch.batch_losses.chunks_exact(10).enumerate() {
            println!("Loss after mini-batch {:5}: {:.3}", 10 * (group + 1), losses.iter().sum::<f64>() / 10.0);
        }
    })?;
    println!("Training process has finished.");
    Ok(())
}
