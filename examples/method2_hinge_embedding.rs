//! HingeEmbeddingLoss on torch's own random arrays: torch gives 1.0428, and 1/15 at [0, 0] and [2, 3] of the gradient.
//!
//! The targets are random numbers, not -1 or +1. As in torch, such an element gets both terms.
//! examples/data/embedding.py made the arrays. `cargo run --release --example method2_hinge_embedding`

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::fs::File;
use std::path::Path;

use maxmargin::{Batch, Device, EmbeddingHinge, Request};

fn read(name: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    Ok(npyz::NpyFile::new(File::open(path)?)?.into_vec()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let input = read("embedding_input.npy")?;
    let target = read("embedding_target.npy")?;

    let device = Device::auto()?;
    let request = Request::new().gradient();
    let evaluation = device.evaluate(&EmbeddingHinge::new(), &Batch::new(&input, &target), &request)?;

    println!("on {}", device.name());
    println!("loss {:.4}", evaluation.value.unwrap_or(f64::NAN));
    println!("gradient");
    for row in evaluation.gradient.ok_or("no gradient")?.to_f64()?.chunks(5) {
        println!("  {row:.4?}");
    }
    Ok(())
}
