//! Measures how fast the CPU multiplies matrices, with the product that dense layers use.

use crate::cpu::gemm::{Strided, product};

/// The product x W^T in f32 on all threads, which a dense layer computes before it adds its bias.
#[derive(Clone, Debug)]
pub struct ProductProbe {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<f32>,
    weights: Vec<f32>,
    out: Vec<f32>,
}

impl ProductProbe {
    /// `rows` rows of x with `inputs` features, and the W of a layer with these inputs and `outputs`.
    pub fn new(rows: usize, inputs: usize, outputs: usize) -> Self {
        let fill = |count: usize| (0..count).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
        let (x, weights) = (fill(rows * inputs), fill(outputs * inputs));
        Self { rows, inputs, outputs, x, weights, out: vec![0.0; rows * outputs] }
    }

    /// Multiplies once.
    pub fn multiply(&mut self) {
        let x = Strided::new(&self.x, self.inputs);
        let weights = Strided::new(&self.weights, self.inputs).transposed();
        product((self.rows, self.inputs, self.outputs), x, weights, 0.0, &mut self.out);
    }

    /// The product, row-major.
    pub fn output(&self) -> &[f32] {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_multiplies() {
        let (rows, inputs, outputs) = (33, 17, 34);
        let mut probe = ProductProbe::new(rows, inputs, outputs);
        probe.multiply();
        let at = |i: usize| f64::from((i % 17) as f32 / 17.0 - 0.5);
        assert_eq!(probe.output().len(), rows * outputs);
        for (i, &got) in probe.output().iter().enumerate() {
            let (row, column) = (i / outputs, i % outputs);
            let sum: f64 = (0..inputs).map(|p| at(row * inputs + p) * at(column * inputs + p)).sum();
            assert!((f64::from(got) - sum).abs() < 1e-5, "{i}: {got} instead of {sum}");
        }
    }
}
