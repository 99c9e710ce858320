//! Binary hinge on raw scores with 0/1 labels: torchmetrics's HingeLoss(task="binary") gives 0.9000 for the same input.
//!
//! `cargo run --release --example method3_binary_hinge`

#![allow(clippy::print_stdout, reason = "an example prints")]

use maxmargin::{Batch, BinaryHinge, Device, LabelEncoding, Request};

fn main() -> maxmargin::Result<()> {
    let scores = [0.5f32, 0.7, 0.1];
    let labels = [0u8, 1, 1];

    let device = Device::auto()?;
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
    let evaluation = device.evaluate(&loss, &Batch::new(&scores, &labels), &Request::new())?;

    println!("on {}", device.name());
    println!("hinge {:.4}", evaluation.value.unwrap_or(f64::NAN));
    Ok(())
}
