//! The listwise hinge by sorting, compared with its quadratic form in the same run: cargo bench --bench listwise.
//!
//! One list, with gradient. The quadratic form computes the same loss over the same list as two loops over f32 scores,
//! split into relevant and irrelevant ones. Both forms run on one thread.

use std::hint::black_box;
use std::time::Instant;

use maxmargin::{Batch, Device, ListwiseHinge, Reduction, Request};

/// The value and the gradient, one step per pair.
fn quadratic(scores: &[f32], relevances: &[i32]) -> (f64, Vec<f64>) {
    let of = |wanted: bool| (0..scores.len()).filter(|&i| (relevances[i] > 0) == wanted).collect::<Vec<_>>();
    let (low, high) = (of(false), of(true));
    let lower: Vec<f32> = low.iter().map(|&j| scores[j]).collect();
    let mut lower_slopes = vec![0f32; low.len()];
    let (mut value, mut gradient) = (0.0, vec![0.0; scores.len()]);
    for &i in &high {
        let (mut of_item, mut count) = (0f32, 0u32);
        let constant = 1.0 - scores[i];
        for (slope, &score) in lower_slopes.iter_mut().zip(&lower) {
            let violation = constant + score;
            let active = violation > 0.0;
            of_item += if active { violation } else { 0.0 };
            count += u32::from(active);
            *slope += if active { 1.0 } else { 0.0 };
        }
        value += f64::from(of_item);
        gradient[i] = -f64::from(count);
    }
    low.iter().zip(lower_slopes).for_each(|(&j, slope)| gradient[j] = slope.into());
    (value, gradient)
}

fn median(mut run: impl FnMut(), runs: usize) -> (f64, f64, f64) {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[runs / 2], times[0], times[runs - 1])
}

#[allow(clippy::print_stdout, reason = "a bench prints what it measured")]
fn main() -> maxmargin::Result<()> {
    println!("| items | relevances | sorted ms | quadratic ms | ratio |");
    println!("|---|---|---|---|---|");
    for (items, levels) in [(1_000usize, 2u32), (10_000, 2), (100_000, 2), (100_000, 5)] {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let scores: Vec<f32> = (0..items).map(|_| (draw() % 24_576) as f32 / 4096.0 - 3.0).collect();
        let relevances: Vec<i32> = (0..items).map(|_| (draw() % levels) as i32).collect();
        let batch = Batch::rows(&scores, items, &relevances);
        let (loss, request) = (ListwiseHinge::new(), Request::new().reduction(Reduction::Sum).gradient());
        let evaluate = || Device::cpu().evaluate(&loss, &batch, &request);
        let got = evaluate()?;
        let (sorted, least, most) = median(|| _ = black_box(evaluate()), 21);
        if levels > 2 {
            println!("| {items} | {levels} | {:.3} ({:.3} to {:.3}) | | |", sorted * 1e3, least * 1e3, most * 1e3);
            continue;
        }
        let (value, gradient) = quadratic(&scores, &relevances);
        let same = got.value.is_some_and(|v| (v - value).abs() <= 1e-4 * value)
            && got.gradient.as_ref().is_some_and(|g| g.to_f64().is_ok_and(|g| g == gradient));
        let (slow, slow_least, slow_most) = median(|| _ = black_box(quadratic(&scores, &relevances)), 3);
        println!(
            "| {items} | {levels} | {:.3} ({:.3} to {:.3}) | {:.2} ({:.2} to {:.2}) | {:.0}{} |",
            sorted * 1e3,
            least * 1e3,
            most * 1e3,
            slow * 1e3,
            slow_least * 1e3,
            slow_most * 1e3,
            slow / sorted,
            if same { "" } else { " (they differ)" }
        );
    }
    Ok(())
}
