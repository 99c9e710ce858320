//! This crate's side of losses.py: holds the arrays, evaluates once per line on stdin, answers with the seconds taken.
//!
//! side LOSS SCORES.npy TARGETS.npy forward|fresh|into DEVICE
//!
//! `fresh` writes the gradient to a new vector per call, `into` to memory that is reused. On a GPU the arrays and the
//! gradient stay on the device; only the value comes back.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use maxmargin::loss::Loss;
use maxmargin::{
    Batch, BinaryHinge, Buffers, Device, Floats, LovaszHinge, MulticlassHinge, OverClasses, Request, Targets,
};
use npyz::NpyFile;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, loss, scores, targets, mode, device] = &arguments[..] else {
        return Err("expected LOSS SCORES.npy TARGETS.npy forward|fresh|into DEVICE".into());
    };
    let device = Device::select(device)?;
    let scores_file = NpyFile::new(std::io::BufReader::new(std::fs::File::open(scores)?))?;
    let columns = scores_file.shape().get(1).map_or(1, |&columns| columns as usize);
    let scores: Vec<f32> = scores_file.into_vec()?;
    let targets_file = NpyFile::new(std::io::BufReader::new(std::fs::File::open(targets)?))?;
    match loss.as_str() {
        "binary" | "lovasz" => {
            let targets: Vec<f32> = targets_file.into_vec()?;
            if let Device::Gpu(gpu) = &device {
                let (scores, targets) = (gpu.upload_f32(&scores)?, gpu.upload_f32(&targets)?);
                return serve_labels(loss, &device, (&scores).into(), columns, (&targets).into(), mode);
            }
            serve_labels(loss, &device, (&scores).into(), columns, (&targets).into(), mode)
        }
        _ => {
            let targets: Vec<i64> = targets_file.into_vec()?;
            if let Device::Gpu(gpu) = &device {
                let classes = targets.iter().map(|&class| i32::try_from(class)).collect::<Result<Vec<_>, _>>()?;
                let (scores, classes) = (gpu.upload_f32(&scores)?, gpu.upload_i32(&classes)?);
                return serve_rows(loss, &device, Batch::rows(&scores, columns, &classes), mode);
            }
            serve_rows(loss, &device, Batch::rows(&scores, columns, &targets), mode)
        }
    }
}

fn serve_labels(
    loss: &str,
    device: &Device,
    scores: Floats<'_>,
    columns: usize,
    labels: Targets<'_>,
    mode: &str,
) -> Result<(), Box<dyn Error>> {
    match loss {
        "binary" => serve(&BinaryHinge::new(), device, Batch::new(scores, labels), mode),
        _ => serve(&LovaszHinge::new(), device, Batch::rows(scores, columns, labels), mode),
    }
}

fn serve_rows(loss: &str, device: &Device, batch: Batch<'_>, mode: &str) -> Result<(), Box<dyn Error>> {
    match loss {
        "crammer-singer" => serve(&MulticlassHinge::crammer_singer(), device, batch, mode),
        "weston-watkins" => {
            serve(&MulticlassHinge::weston_watkins().over_classes(OverClasses::Mean), device, batch, mode)
        }
        other => Err(format!("no loss {other}").into()),
    }
}

fn serve(loss: &dyn Loss, device: &Device, batch: Batch<'_>, mode: &str) -> Result<(), Box<dyn Error>> {
    let mut gradient = vec![0f32; if mode == "into" { batch.len() } else { 0 }];
    for line in std::io::stdin().lock().lines() {
        line?;
        let started = Instant::now();
        let evaluation = match mode {
            "forward" => device.evaluate(loss, &batch, &Request::new())?,
            "fresh" => device.evaluate(loss, &batch, &Request::new().gradient())?,
            "into" => device.evaluate_into(loss, &batch, &Request::new(), Buffers::new().gradient(&mut gradient))?,
            other => return Err(format!("no mode {other}").into()),
        };
        // The vector is freed while the clock runs, as the peers' vectors are.
        drop(black_box(evaluation));
        let mut out = std::io::stdout();
        writeln!(out, "{}", started.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}
