//! How fast the device multiplies matrices with the kernel of dense layers.

use super::kernel::{ProductParams, Role};
use super::plan::Builder;
use super::run;
use crate::data::device_tensor::DeviceTensor;
use crate::error::Result;
use crate::gpu::device::command::Command;
use crate::gpu::device::context::Gpu;
use crate::nn::Activation;

/// A dense layer's product of matrices that stay on the device; it can run any number of times.
#[derive(Debug)]
pub struct ProductProbe {
    gpu: Gpu,
    command: Command,
    out: DeviceTensor,
    _memory: Vec<crate::gpu::device::pool::PooledBuffer>,
}

impl Gpu {
    /// x W^T + bias, where x has `rows` rows of `inputs` features and W is the matrix of a layer with `outputs`
    /// outputs. With a single element this is the shortest possible dispatch.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLimit`] for matrices that the device cannot hold, and the device's own failures.
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
    /// Multiplies once and waits for the end.
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
    use crate::gpu::{Gpu, GpuOptions, ProductWalk, adapters};

    /// Tests every walk on every adapter; another test covers machines without one.
    #[test]
    fn all_walks_give_the_same_product() {
        for adapter in adapters() {
            // No multiples of a tile or of a chain's length; the large ones take several of each.
            for (rows, inputs, outputs) in [(1, 1, 1), (33, 17, 34), (130, 100, 67)] {
                let at = |i: usize| f64::from((i % 17) as f32 / 17.0 - 0.5);
                let expected: Vec<f64> = (0..rows * outputs)
                    .map(|i| {
                        let (row, column) = (i / outputs, i % outputs);
                        let terms = (0..inputs).map(|p| at(row * inputs + p) * at(column * inputs + p));
                        terms.sum::<f64>() + at(column)
                    })
                    .collect();
                let mut found = Vec::new();
                for walk in ProductWalk::ALL.into_iter().filter(|walk| walk.runs_on(&adapter)) {
                    let options = GpuOptions { product_walk: Some(walk), poison_outputs: true, ..Default::default() };
                    let gpu = pollster::block_on(Gpu::open_async(&format!("gpu:{}", adapter.index), options)).unwrap();
                    let probe = gpu.product_probe(rows, inputs, outputs).unwrap();
                    probe.multiply().unwrap();
                    let output = probe.output().unwrap();
                    assert_eq!(output.len(), expected.len());
                    for (i, (&got, expected)) in output.iter().zip(&expected).enumerate() {
                        assert!((f64::from(got) - expected).abs() < 1e-5, "{walk:?}, {i}: {got}, expected {expected}");
                    }
                    found.push(output);
                }
                assert!(found.len() >= 2);
                if adapter.is_software() {
                    // A GPU's compiler may fuse multiplications with additions in one kernel and not in another.
                    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "walks differ");
                }
            }
        }
    }
}
