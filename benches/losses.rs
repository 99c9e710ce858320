//! Criterion benches of the three families on the CPU and on a GPU: forward, and forward with gradient, at two sizes.
//!
//! Bytes per second count what must be read and written: scores, targets, and the gradient if requested. The GPU is the
//! one that `MAXMARGIN_DEVICE` names, or the best adapter, even a software one; its tensors live on the device.

#![allow(missing_docs, reason = "criterion's macros write the functions")]
#![allow(clippy::print_stderr, clippy::expect_used, reason = "a bench of invalid input must end, and say why")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use maxmargin::gpu::{DeviceTensor, Gpu};
use maxmargin::loss::Loss;
use maxmargin::{Batch, BinaryHinge, DEVICE_VARIABLE, Device, EmbeddingHinge, MulticlassHinge, Request};

const CLASSES: usize = 16;
const SCORES: [usize; 2] = [1 << 16, 1 << 22];

struct Data {
    scores: Vec<f32>,
    signs: Vec<f32>,
    labels: Vec<i32>,
    classes: Vec<i32>,
}

impl Data {
    fn new(scores: usize) -> Self {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let labels: Vec<i32> = (0..scores).map(|_| if random() < 0.5 { -1 } else { 1 }).collect();
        Self {
            scores: (0..scores).map(|_| 4.0 * random() - 2.0).collect(),
            signs: labels.iter().map(|&t| t as f32).collect(),
            labels,
            classes: (0..scores / CLASSES).map(|_| (random() * CLASSES as f32) as i32).collect(),
        }
    }
}

fn measure<L: Loss>(criterion: &mut Criterion, name: &str, loss: &L, device: &Device, batch: &Batch<'_>, bytes: usize) {
    let place = if matches!(device, Device::Cpu) { "cpu" } else { "gpu" };
    let mut group = criterion.benchmark_group(format!("{name}/{place}"));
    for (pass, request, written) in
        [("forward", Request::new(), 0), ("gradient", Request::new().gradient(), 4 * batch.len())]
    {
        group.throughput(Throughput::Bytes((bytes + written) as u64));
        group.bench_function(format!("{pass}/{}", batch.len()), |bencher| {
            bencher.iter(|| black_box(device.evaluate(loss, batch, &request).map(|e| e.value).expect("valid input")));
        });
    }
    group.finish();
}

fn families(criterion: &mut Criterion) {
    // If no adapter opens, the benches say so and run on the CPU only.
    let name = std::env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "gpu".into());
    let gpu = Gpu::open(&name).inspect_err(|error| eprintln!("no GPU benches: {error}")).ok();
    if let Some(gpu) = &gpu {
        eprintln!("GPU: {}", gpu.name());
    }
    for size in SCORES {
        let data = Data::new(size);
        let cpu = Device::cpu();
        let (multi, bytes) = (MulticlassHinge::crammer_singer(), 4 * size + 4 * data.classes.len());
        let rows = Batch::rows(&data.scores, CLASSES, &data.classes);
        measure(criterion, "binary", &BinaryHinge::new(), &cpu, &Batch::new(&data.scores, &data.labels), 8 * size);
        measure(criterion, "embedding", &EmbeddingHinge::new(), &cpu, &Batch::new(&data.scores, &data.signs), 8 * size);
        measure(criterion, "multiclass", &multi, &cpu, &rows, bytes);
        let Some(gpu) = &gpu else { continue };
        let device = Device::from(gpu.clone());
        let floats = |x: &[f32]| -> DeviceTensor { gpu.upload_f32(x).expect("upload") };
        let integers = |x: &[i32]| -> DeviceTensor { gpu.upload_i32(x).expect("upload") };
        let (scores, signs) = (floats(&data.scores), floats(&data.signs));
        let (labels, classes) = (integers(&data.labels), integers(&data.classes));
        measure(criterion, "binary", &BinaryHinge::new(), &device, &Batch::new(&scores, &labels), 8 * size);
        measure(criterion, "embedding", &EmbeddingHinge::new(), &device, &Batch::new(&scores, &signs), 8 * size);
        measure(criterion, "multiclass", &multi, &device, &Batch::rows(&scores, CLASSES, &classes), bytes);
    }
}

criterion_group!(benches, families);
criterion_main!(benches);
