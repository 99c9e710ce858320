//! The native CPU backend compared with the memory's own speed: forward passes and a plain sum over the same bytes.
//! Also a call over ten scores compared with a bare loop over them, where memory does not matter.
//!
//! Both sides are measured in turn within one run: only their ratio means anything on a shared machine.
//! `cargo bench --bench ceiling`; the number of samples (32 Mi by default) can follow `--`.

#![allow(clippy::print_stdout, missing_docs, reason = "a program for people, not a library")]

use std::hint::black_box;
use std::time::Instant;

use maxmargin::loss::RowsLoss;
use maxmargin::{Batch, BinaryHinge, Device, EmbeddingHinge, MulticlassHinge, Request, Targets};
use rayon::prelude::*;

const ROUNDS: usize = 21;

/// Reads every byte once on all threads, eight bytes at a time: no evaluation can be faster.
fn read_sum(bytes: &[u8]) -> u64 {
    bytes
        .par_chunks(1 << 18)
        .map(|part| {
            let (words, rest) = part.as_chunks::<64>();
            let mut lanes = [0u64; 8];
            for word in words {
                for (lane, bytes) in lanes.iter_mut().zip(word.as_chunks::<8>().0) {
                    *lane = lane.wrapping_add(u64::from_le_bytes(*bytes));
                }
            }
            lanes.iter().fold(0u64, |a, b| a.wrapping_add(*b)) + rest.iter().map(|&b| u64::from(b)).sum::<u64>()
        })
        .reduce(|| 0, u64::wrapping_add)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// (first quartile, median, third quartile).
fn quartiles(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 4], times[times.len() / 2], times[3 * times.len() / 4])
}

fn compare(name: &str, parts: &[&[u8]], work: impl Fn()) {
    let bytes: usize = parts.iter().map(|x| x.len()).sum();
    let read = || {
        parts.iter().for_each(|x| {
            black_box(read_sum(x));
        })
    };
    read();
    work();
    let (mut reads, mut works) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        reads.push(seconds(read));
        works.push(seconds(&work));
    }
    let ((r1, r2, r3), (w1, w2, w3)) = (quartiles(reads), quartiles(works));
    let rate = |t: f64| bytes as f64 / t / 1e9;
    println!(
        "{name:<38} {:>6.2} GB/s ({:.2} to {:.2})   read-sum {:>6.2} GB/s ({:.2} to {:.2})   ratio {:.2}",
        rate(w2),
        rate(w3),
        rate(w1),
        rate(r2),
        rate(r3),
        rate(r1),
        r2 / w2
    );
}

/// A call over ten scores and a loop that does the same, both with numbers that the compiler does not know.
fn ten_scores() {
    const CALLS: u32 = 20_000;
    let scores: [f32; 10] = std::array::from_fn(|i| i as f32 / 4.0 - 1.0);
    let targets: [f32; 10] = std::array::from_fn(|i| if i % 3 == 0 { -1.0 } else { 1.0 });
    let (loss, device, request) = (BinaryHinge::new(), Device::cpu(), Request::new());
    let call = || {
        let batch = Batch::new(black_box(&scores), black_box(&targets));
        device.evaluate(&loss, &batch, &request).ok().and_then(|evaluation| evaluation.value)
    };
    let bare = || {
        let samples = black_box(&scores).iter().zip(black_box(&targets));
        Some(samples.map(|(s, t)| f64::from((1.0 - t * s).max(0.0))).sum::<f64>() / 10.0)
    };
    assert_eq!(call(), bare(), "evaluation failed");
    let nanoseconds = |work: &dyn Fn() -> Option<f64>| {
        seconds(|| (0..CALLS).for_each(|_| _ = black_box(work()))) * 1e9 / f64::from(CALLS)
    };
    let (mut calls, mut bares) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        calls.push(nanoseconds(&call));
        bares.push(nanoseconds(&bare));
    }
    let ((c1, c2, c3), (b1, b2, b3)) = (quartiles(calls), quartiles(bares));
    println!(
        "ten scores {c2:.1} ns a call ({c1:.1} to {c3:.1}), a bare loop {b2:.1} ns ({b1:.1} to {b3:.1}): {:.1}",
        c2 / b2
    );
}

fn main() {
    ten_scores();
    let samples = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(32usize << 20);
    println!("{samples} scores, f32, {} threads, median of {ROUNDS} (quartiles)", rayon::current_num_threads());
    // A cheap generator with no pattern that a branch predictor could learn.
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let scores: Vec<f32> = (0..samples).map(|_| 4.0 * random() - 2.0).collect();
    let floats: Vec<f32> = (0..samples).map(|_| if random() < 0.5 { -1.0 } else { 1.0 }).collect();
    let bytes: Vec<i8> = floats.iter().map(|&t| t as i8).collect();
    let long: Vec<i64> = floats.iter().map(|&t| t as i64).collect();
    let device = Device::cpu();
    let request = Request::new();
    let evaluate = |targets: Targets<'_>| {
        // The inputs are valid. An error would show as an impossible speed, so it ends the run.
        let value = device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, targets), &request).map(|e| e.value);
        assert!(value.is_ok_and(|v| v.is_some()), "evaluation failed");
    };
    let s: &[u8] = bytemuck::cast_slice(&scores);
    compare("binary, f32 labels", &[s, bytemuck::cast_slice(&floats)], || evaluate(Targets::from(&floats)));
    compare("binary, i8 labels", &[s, bytemuck::cast_slice(&bytes)], || evaluate(Targets::from(&bytes)));
    compare("binary, i64 labels", &[s, bytemuck::cast_slice(&long)], || evaluate(Targets::from(&long)));
    compare("embedding, f32 targets", &[s, bytemuck::cast_slice(&floats)], || {
        let batch = Batch::new(&scores, &floats);
        assert!(device.evaluate(&EmbeddingHinge::new(), &batch, &request).is_ok(), "evaluation failed");
    });
    for columns in [10, 16, 32, 64, 1000] {
        let rows = samples / columns;
        let classes: Vec<i32> = (0..rows).map(|_| (random() * columns as f32) as i32).collect();
        let scores = &scores[..rows * columns];
        let batch = Batch::rows(scores, columns, &classes);
        let parts: [&[u8]; 2] = [bytemuck::cast_slice(scores), bytemuck::cast_slice(&classes)];
        rows_of("crammer-singer", &MulticlassHinge::crammer_singer(), &batch, columns, &parts);
        rows_of("weston-watkins", &MulticlassHinge::weston_watkins(), &batch, columns, &parts);
        rows_of("one-vs-all", &MulticlassHinge::one_vs_all(), &batch, columns, &parts);
    }
}

fn rows_of<M: RowsLoss>(name: &str, loss: &MulticlassHinge<M>, batch: &Batch<'_>, columns: usize, parts: &[&[u8]]) {
    compare(&format!("{name}, {columns} classes, i32 labels"), parts, || {
        assert!(Device::cpu().evaluate(loss, batch, &Request::new()).is_ok(), "evaluation failed");
    });
}
