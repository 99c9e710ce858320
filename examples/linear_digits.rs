//! Fits linear support vector machines to 1797 handwritten digits, one against the rest, each to a certified gap.
//!
//! scikit-learn's `LinearSVC(C=0.01)` on the same digits, `tol=1e-10`: objective 4.7930, accuracy 0.9894.
//!
//! examples/data/digits.py made the arrays. `cargo run --release --example linear_digits`

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use maxmargin::linear::{LinearClassifier, LinearLoss, Rows, Validation};

fn read(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    Ok(npyz::NpyFile::new(BufReader::new(File::open(path)?))?.into_vec::<u8>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    // Bytes from 0 to 16, read as they are stored.
    let (features, labels) = (read("digits_features.npy")?, read("digits_classes.npy")?);
    let rows = Rows::new(&features, 64)?;
    let classifier = LinearClassifier::new(LinearLoss::SquaredHinge).c(0.01).gap(1e-6);
    let fit = classifier.fit(&rows, &labels)?;
    let right = |predicted: &[i64]| {
        predicted.iter().zip(&labels).filter(|(label, truth)| **label == i64::from(**truth)).count() as f64
    };
    let accuracy = right(&fit.model.labels(&rows)?) / labels.len() as f64;
    println!("objective {:.4}, accuracy {accuracy:.4}", fit.certificate().primal);
    println!("gap confirmed to be at most 1e-6: {}", fit.model.relative_gap() <= 1e-6);

    // A rough fit already decides most labels: no optimum can give them another.
    let rough = classifier.clone().gap(1e-3).fit(&rows, &labels)?;
    let certain = rough.model.certain(&rows)?.into_iter().filter(|&certain| certain).count();
    println!("certain after a gap of 1e-3: more than half of the labels: {}", certain > labels.len() / 2);

    // Which C? Five parts, each held out once.
    let folds = Validation::Folds { count: 5, seed: 1 };
    let path = classifier.gap(1e-4).fit_path(&rows, &labels, None, &[1e-4, 1e-3, 1e-2], &folds, &mut |_| true)?;
    for c in [1e-4, 1e-3, 1e-2] {
        let of_c: Vec<f64> = path.models.iter().filter(|m| m.c == c).map(|m| m.validation_accuracy).collect();
        println!("C {c}: validation accuracy {:.3}", of_c.iter().sum::<f64>() / of_c.len() as f64);
    }
    println!("best C {}", path.best_c);
    Ok(())
}
