//! Multiclass hinge three ways: torchmetrics's multiclass_hinge_loss gives 0.9125, 1.1131 and [0.8750, 1.1250, 1.1000].
//!
//! `cargo run --release --example method4_multiclass_hinge`

#![allow(clippy::print_stdout, reason = "an example prints")]

use maxmargin::{Batch, Device, MulticlassHinge, Penalty, Request};

fn main() -> maxmargin::Result<()> {
    #[rustfmt::skip]
    let scores = [
        0.25f32, 0.20, 0.55,
        0.55,    0.05, 0.40,
        0.10,    0.30, 0.60,
        0.90,    0.05, 0.05,
    ];
    let classes = [0i64, 1, 2, 0];
    let batch = Batch::rows(&scores, 3, &classes);

    let device = Device::auto()?;
    println!("on {}", device.name());

    let crammer_singer = MulticlassHinge::crammer_singer();
    let evaluation = device.evaluate(&crammer_singer, &batch, &Request::new())?;
    println!("crammer-singer          {:.4}", evaluation.value.unwrap_or(f64::NAN));

    let squared = crammer_singer.penalty(Penalty::Squared);
    let evaluation = device.evaluate(&squared, &batch, &Request::new())?;
    println!("crammer-singer, squared {:.4}", evaluation.value.unwrap_or(f64::NAN));

    let one_vs_all = MulticlassHinge::one_vs_all();
    let evaluation = device.evaluate(&one_vs_all, &batch, &Request::new().per_class())?;
    println!("one-vs-all              {:.4?}", evaluation.per_class.unwrap_or_default());
    Ok(())
}
