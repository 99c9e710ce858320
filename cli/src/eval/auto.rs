//! `--device auto`: chooses the CPU or a GPU, whichever evaluates the first block faster, upload included.
//!
//! The upload to a GPU takes longer than the CPU's evaluation where memory sets the pace; where arithmetic does, the
//! GPU may win. This depends on the loss, its options and both devices, so it is measured where that is worth the time.

use maxmargin::Device;
use maxmargin::gpu::Gpu;
use maxmargin::loss::Loss;

use super::inputs::{Files, Inputs};
use super::outputs::Outputs;
use super::settings::Settings;
use super::stream::bytes_per_second;
use crate::failure::Failure;

/// Seconds. If the CPU needs less for all data, opening a GPU and compiling its kernels is not worth it.
const WORTH_OPENING: f64 = 1.0;

/// The device, and why it was chosen. With `gpu`, which is open already, both are always measured.
pub(super) fn choose(
    inputs: &Inputs<'_>,
    files: &Files,
    loss: &dyn Loss,
    settings: &Settings,
    outputs: &Outputs,
    gpu: Option<Gpu>,
) -> (Device, String) {
    let cpu = |why: &str| (Device::Cpu, format!("auto: {why}"));
    if inputs.is_double {
        return cpu("only the CPU computes in f64");
    }
    if inputs.shape.samples == 0 || inputs.is_whole() {
        return cpu("the data is no sequence of blocks, of which one could be measured");
    }
    let Some(mut files) = files.another() else {
        return cpu("text and tables take longer to read than to evaluate");
    };
    let bytes = files.bytes() as f64;
    let mut rate = |device: &Device| bytes_per_second(inputs, &mut files, loss, device, settings, outputs);
    // The full evaluation reports any error in the first block again.
    let Ok(cpu_rate) = rate(&Device::Cpu) else { return cpu("the first block could not be measured") };
    let gpu = match gpu {
        Some(gpu) => gpu,
        None if bytes / cpu_rate < WORTH_OPENING => return cpu("done before a GPU would be open"),
        None => match Device::select("auto") {
            Ok(Device::Gpu(gpu)) => gpu,
            Ok(_) => return cpu("there is no GPU"),
            Err(error) => return cpu(&format!("the GPU cannot be used: {}", Failure::data(error).line())),
        },
    };
    let device = Device::from(gpu);
    match rate(&device) {
        Ok(gpu_rate) => {
            let rates = format!(
                "auto: the CPU takes {:.2} GB/s, {} {:.2} GB/s with uploads",
                cpu_rate / 1e9,
                device.name(),
                gpu_rate / 1e9
            );
            (if gpu_rate > cpu_rate { device } else { Device::Cpu }, rates)
        }
        Err(failure) => cpu(&format!("{} cannot be used: {}", device.name(), failure.line())),
    }
}
