//! Scores that stay on the GPU: uploaded once, evaluated under many margins, one number read back each time. The
//! gradient of the last evaluation stays on the GPU too, until requested.
//!
//! `cargo run --release --example resident_tensors`; needs a GPU, or a software adapter such as Mesa's llvmpipe.

#![allow(clippy::print_stdout, reason = "an example prints")]

use maxmargin::gpu::Gpu;
use maxmargin::{Batch, BinaryHinge, Device, Output, Request};

fn main() -> maxmargin::Result<()> {
    let samples = 1 << 20;
    // In place of a model's output: scores that follow their labels with noise.
    let labels: Vec<i32> = (0..samples).map(|i| if i % 2 == 0 { 1 } else { -1 }).collect();
    let scores: Vec<f32> =
        labels.iter().enumerate().map(|(i, &t)| t as f32 + ((i * 7919) % 4001) as f32 / 1000.0 - 2.0).collect();

    let gpu = Gpu::open("gpu")?;
    println!("on {}", gpu.name());
    let scores = gpu.upload_f32(&scores)?;
    let labels = gpu.upload_i32(&labels)?;
    let batch = Batch::new(&scores, &labels);
    let device = Device::from(gpu);

    for margin in [0.25, 0.5, 1.0, 2.0] {
        let evaluation = device.evaluate(&BinaryHinge::new().margin(margin), &batch, &Request::new())?;
        let value = evaluation.value.unwrap_or(f64::NAN);
        println!("margin {margin:<4}  hinge {value:.6}  active {} of {}", evaluation.active, evaluation.count);
    }

    let evaluation = device.evaluate(&BinaryHinge::new(), &batch, &Request::new().gradient())?;
    if let Some(Output::Device(gradient)) = &evaluation.gradient {
        let nonzero = gradient.read_f32()?.iter().filter(|&&g| g != 0.0).count();
        println!("gradient: {} elements on the device, {nonzero} not zero", gradient.len());
    }
    Ok(())
}
