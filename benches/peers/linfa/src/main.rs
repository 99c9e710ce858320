//! Fits linfa-svm with a linear kernel: `linfa-beside-us FEATURES.npy LABELS.npy C`. Labels above 0 are positive. Prints the
//! seconds of the fit, the intercept and the weights.

use std::error::Error;
use std::time::Instant;

use linfa::prelude::*;
use linfa_svm::Svm;
use ndarray_npy::read_npy;

type Matrix = ndarray::Array2<f64>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [features, labels, c] = &arguments[..] else { return Err("expected FEATURES.npy LABELS.npy C".into()) };
    let x: Matrix = match read_npy::<_, ndarray::Array2<f32>>(features) {
        Ok(x) => x.mapv(f64::from),
        Err(_) => read_npy(features)?,
    };
    let y: ndarray::Array1<i64> = read_npy(labels)?;
    let (columns, c): (usize, f64) = (x.ncols(), c.parse()?);
    let data = Dataset::new(x, y.mapv(|y| y > 0));
    let started = Instant::now();
    let model = Svm::<f64, bool>::params().pos_neg_weights(c, c).linear_kernel().fit(&data)?;
    println!("{}", started.elapsed().as_secs_f64());
    println!("{}", -model.rho);
    // The weights: what the model makes of each feature alone.
    for unit in Matrix::eye(columns).rows() {
        println!("{}", model.weighted_sum(&unit));
    }
    Ok(())
}
