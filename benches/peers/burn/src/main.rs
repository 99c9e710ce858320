//! Burn and this crate in turns on one adapter: hinge embedding, multi margin, and a product of matrices, all resident.
//!
//! Each call ends when its result is on the host: a number for the losses, one element for the product. Prints medians
//! of 21 with quartiles. CUBECL_WGPU_DEFAULT_DEVICE chooses among Burn's adapters, the argument among ours.

use std::time::Instant;

use burn::nn::loss::{HingeEmbeddingLossConfig, MultiMarginLossConfig, Reduction};
use burn::tensor::{Device as BurnDevice, Int, Tensor, TensorData};
use maxmargin::gpu::Gpu;
use maxmargin::{Batch, Device, EmbeddingHinge, MulticlassHinge, OverClasses, Request};

const ROUNDS: usize = 21;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn scores(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() % 16_384) as f32 / 4096.0 - 2.0).collect()
    }
}

/// Times both in turns and prints a row, with both values to show that they computed the same.
fn row(name: &str, mut ours: impl FnMut() -> f64, mut burns: impl FnMut() -> f64) {
    let (a, b) = (ours(), burns());
    burns();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let calls: [&mut dyn FnMut() -> f64; 2] = [&mut ours, &mut burns];
        for (call, times) in calls.into_iter().zip(&mut times) {
            let started = Instant::now();
            call();
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [(ours, spread), (burns, burns_spread)] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times[times.len() * part / 4];
        (at(2), format!("{:.2} to {:.2}", at(1), at(3)))
    });
    println!("| {name} | {ours:.2} ({spread}) | {burns:.2} ({burns_spread}) | {:.2} | {a:.6} / {b:.6} |", burns / ours);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::open(&std::env::args().nth(1).unwrap_or_else(|| "gpu".into()))?;
    let (device, burn) = (Device::Gpu(gpu.clone()), BurnDevice::default());
    println!("ours: {}; Burn: {burn:?}\n", gpu.name());
    println!("| | ours, ms | Burn, ms | we are faster by | values |\n|---|---|---|---|---|");
    let mut random = Random(1);

    let n = 16 << 20;
    let scores = random.scores(n);
    let signs: Vec<f32> = (0..n).map(|_| if random.next() % 2 == 0 { -1.0 } else { 1.0 }).collect();
    let (s, t) = (gpu.upload_f32(&scores)?, gpu.upload_f32(&signs)?);
    let x = Tensor::<1>::from_data(TensorData::new(scores, [n]), &burn);
    let y = Tensor::<1>::from_data(TensorData::new(signs, [n]), &burn);
    let (loss, theirs) = (EmbeddingHinge::new(), HingeEmbeddingLossConfig::new().init());
    row(
        "hinge embedding, 16 Mi",
        || device.evaluate(&loss, &Batch::new(&s, &t), &Request::new()).map_or(f64::NAN, |e| e.value.unwrap_or(f64::NAN)),
        || f64::from(theirs.forward(x.clone(), y.clone(), Reduction::Mean).into_scalar::<f32>()),
    );
    drop((x, y, s, t));

    let (n, c) = (64 << 10, 64);
    let scores = random.scores(n * c);
    let classes: Vec<i32> = (0..n).map(|_| (random.next() % c as u64) as i32).collect();
    let (s, t) = (gpu.upload_f32(&scores)?, gpu.upload_i32(&classes)?);
    let x = Tensor::<2>::from_data(TensorData::new(scores, [n, c]), &burn);
    let y = Tensor::<1, Int>::from_data(TensorData::new(classes, [n]), &burn);
    let loss = MulticlassHinge::weston_watkins().over_classes(OverClasses::Mean);
    let theirs = MultiMarginLossConfig::new().init();
    row(
        "multi margin, 64 Ki x 64",
        || device.evaluate(&loss, &Batch::rows(&s, c, &t), &Request::new()).map_or(f64::NAN, |e| e.value.unwrap_or(f64::NAN)),
        || f64::from(theirs.forward(x.clone(), y.clone(), Reduction::Mean).into_scalar::<f32>()),
    );
    drop((x, y, s, t));

    let size = 1024;
    let probe = gpu.product_probe(size, size, size)?;
    let at = |i: usize| (i % 17) as f32 / 17.0 - 0.5;
    let square: Vec<f32> = (0..size * size).map(at).collect();
    let x = Tensor::<2>::from_data(TensorData::new(square, [size, size]), &burn);
    let weights = x.clone().transpose();
    row(
        "product of matrices, 1024^3 (ours with a bias)",
        || probe.multiply().map_or(f64::NAN, |()| 0.0),
        || f64::from(x.clone().matmul(weights.clone()).slice([0..1, 0..1]).into_scalar::<f32>()) * 0.0,
    );
    Ok(())
}
