//! How fast the device multiplies matrices, by the kernel that dense layers use.

use super::kernel::{ProductParams, Role};
use super::plan::Builder;
use super::run;
use crate::error::Result;
use crate::gpu::context::Gpu;
use crate::gpu::submit::Command;
use crate::gpu::tensor::DeviceTensor;
use crate::nn::Activation;

/// A dense layer's product of matrices that stay on the device, as often as wanted.
#[derive(Debug)]
pub struct ProductProbe {
    gpu: Gpu,
    command: Command,
    out: DeviceTensor,
    _memory: Vec<crate::gpu::pool::PooledBuffer>,
}

impl Gpu {
    /// x W^T + bias: `rows` rows of x with `inputs` features, W of a layer with so many `outputs`. Of a single element it is
    /// the shortest dispatch there is.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLimit`] for matrices that the device cannot hold, and its own failures.
    pub fn product_probe(&self, rows: usize, inputs: usize, outputs: usize) -> Result<ProductProbe> {
        pollster::block_on(async {
            let fill = |count: usize| (0..count).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect::<Vec<f32>>();
            let [x, weights] = [rows * inputs, outputs * inputs].map(|count| self.upload_f32(&fill(count)));
            let (x, weights, bias) = (x?, weights?, self.upload_f32(&fill(outputs))?);
            let mut builder = Builder::new(self);
            let out = builder.tensor(rows * outputs, "a product of matrices").await?;
            let params =
                ProductParams { b_row: 1, b_column: inputs as u32, ..ProductParams::of(rows, outputs, inputs) };
            let windows = [&x, &weights, &bias, &out].map(super::plan::whole);
            let size = (rows, outputs, inputs);
            let command = builder.product(Role::Output, Activation::Identity, params, size, windows).await?;
            Ok(ProductProbe { gpu: self.clone(), command, out, _memory: builder.into_memory() })
        })
    }
}

impl ProductProbe {
    /// Multiplies once and waits until it is done.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn multiply(&self) -> Result<()> {
        pollster::block_on(async {
            run(&self.gpu, [&self.command]).await?;
            let Some((buffer, offset)) = self.out.buffer() else { return Ok(()) };
            self.gpu.read(buffer, offset, 4).await.map(|_| ())
        })
    }

    /// The product, row-major.
    ///
    /// # Errors
    /// The device's own failures.
    pub fn output(&self) -> Result<Vec<f32>> {
        self.out.read_f32()
    }
}

#[cfg(test)]
mod tests {
    /// Every adapter there is: one of none is another test's affair.
    #[test]
    fn the_probe_multiplies() {
        for adapter in crate::gpu::adapters() {
            let gpu = crate::gpu::Gpu::open(&format!("gpu:{}", adapter.index)).unwrap();
            let (rows, inputs, outputs) = (33, 17, 34);
            let probe = gpu.product_probe(rows, inputs, outputs).unwrap();
            probe.multiply().unwrap();
            let at = |i: usize| f64::from((i % 17) as f32 / 17.0 - 0.5);
            for (i, &got) in probe.output().unwrap().iter().enumerate() {
                let (row, column) = (i / outputs, i % outputs);
                let sum: f64 = (0..inputs).map(|p| at(row * inputs + p) * at(column * inputs + p)).sum();
                let expected = sum + at(column);
                assert!((f64::from(got) - expected).abs() < 1e-5, "{i}: {got} instead of {expected}");
            }
        }
    }
}
