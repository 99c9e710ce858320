//! Method 5: torchmetrics's BinaryHingeLoss as a streaming metric. Ten batches of ten random scores and labels; each
//! call returns the batch's value and accumulates, and the ten values are drawn.
//!
//! `cargo run --release --features plot --example method5_streaming [PLOT.svg|PLOT.png]`

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::path::PathBuf;

use maxmargin::metric::Metric;
use maxmargin::plot::{Chart, Format};
use maxmargin::{Batch, BinaryHinge, Device, LabelEncoding};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::auto()?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut metric = Metric::new(BinaryHinge::new().labels(LabelEncoding::ZeroOne));
    let (mut values, mut running) = (Vec::new(), Vec::new());
    for batch in 0..10 {
        let scores: Vec<f32> = (0..10).map(|_| random.unit() as f32).collect();
        let labels: Vec<u8> = (0..10).map(|_| u8::from(random.unit() < 0.5)).collect();
        let step = metric.forward(&device, &Batch::new(&scores, &labels))?;
        values.extend(step.batch.value);
        running.extend(step.running.value);
        println!("batch {batch}: {:.4}, so far {:.4}", values[batch], running[batch]);
    }
    let all = metric.compute()?;
    println!("all {} samples: {:.4}", all.count, all.value.unwrap_or(f64::NAN));
    if let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) {
        let chart = Chart::new("Binary hinge loss by batch").x_label("batch").y_label("hinge loss");
        std::fs::write(&path, chart.line("batch", &values).line("so far", &running).render(Format::of(&path)?)?)?;
        println!("drawn to {}", path.display());
    }
    Ok(())
}

/// xorshift64* (Vigna, 2016).
struct Random(u64);

impl Random {
    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}
