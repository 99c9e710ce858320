//! Where a fit takes its steps: on the CPU or a GPU, with `--device auto` on the faster of the two.

use std::time::{Duration, Instant};

use maxmargin::gpu::Gpu;
use maxmargin::linear::{LinearClassifier, Rows};
use maxmargin::{Device, Error, Targets};

use crate::failure::{Failure, Outcome};
use crate::place::{self, Place, Where};
use crate::progress;

/// Bytes of features from which on a GPU may be worth its opening: the CPU reads them some twenty times, in about a second.
const WORTH_OPENING: usize = 500 << 20;

/// Bytes of the part of the rows that is fitted to measure a device.
const MEASURED_BYTES: usize = 16 << 20;

/// A device that takes so many times as long as the CPU is beaten. Its first fit has some time more, to compile kernels.
const BEATEN: u32 = 4;
const COMPILING: Duration = Duration::from_secs(3);

/// The least rows of it per column: with fewer, a fit is another one.
const MEASURED_ROWS_PER_COLUMN: usize = 20;

/// What is fitted.
pub(super) struct Task<'a> {
    pub(super) classifier: &'a LinearClassifier,
    pub(super) rows: &'a Rows<'a>,
    pub(super) targets: Targets<'a>,
    /// Bytes of the features; `None` for sparse rows.
    pub(super) bytes: Option<usize>,
    /// Whether all classes are one problem.
    pub(super) is_joint: bool,
}

/// The device, and why where it was not named.
pub(super) struct Chosen {
    pub(super) device: Device,
    pub(super) why: Option<String>,
    /// How long the choice took.
    pub(super) seconds: f64,
}

impl Chosen {
    /// Whether another device may take the place of this one where it fails.
    pub(super) fn may_change(&self) -> bool {
        self.why.is_some() && self.device != Device::Cpu
    }

    /// The CPU in the place of a device that failed.
    pub(super) fn cpu_after(&mut self, error: Error) {
        let why = self.why.take().unwrap_or_default();
        (self.device, self.why) = (Device::Cpu, Some(format!("{why}; {}", Failure::data(error).line())));
    }
}

pub(super) fn choose(place: &Where, task: &Task<'_>) -> Outcome<Chosen> {
    let gpu = match (place::of(place)?, task.only_on_cpu()) {
        (Place::Named(Device::Gpu(_)), Some(why)) if place.device.is_some() => {
            return Err(Failure::usage(format!("--device: {why}, expected cpu or auto, got a GPU")));
        }
        (Place::Named(device @ Device::Cpu), _) | (Place::Named(device), None) => {
            return Ok(Chosen { device, why: None, seconds: 0.0 });
        }
        // The environment's device is for those that can use it.
        (_, Some(why)) => return Ok(Chosen { device: Device::Cpu, why: Some(why.into()), seconds: 0.0 }),
        (Place::Auto(gpu), None) => gpu,
    };
    let started = Instant::now();
    let (device, why) = measured(gpu, task);
    Ok(Chosen { device, why: Some(format!("auto: {why}")), seconds: started.elapsed().as_secs_f64() })
}

impl Task<'_> {
    /// Why a GPU is no choice.
    fn only_on_cpu(&self) -> Option<&'static str> {
        match (self.bytes, self.is_joint) {
            (None, _) => Some("only the CPU solves sparse rows"),
            (_, true) => Some("only the CPU solves all classes as one problem"),
            _ => None,
        }
    }
}

/// With `gpu`, which is open already, both devices are always measured.
fn measured(gpu: Option<Gpu>, task: &Task<'_>) -> (Device, String) {
    let cpu = |why: &str| (Device::Cpu, why.to_owned());
    let bytes = task.bytes.unwrap_or(0);
    if gpu.is_none() && bytes < WORTH_OPENING {
        return cpu("done before a GPU would be open");
    }
    let gpu = match gpu.map_or_else(|| Device::select("auto"), |gpu| Ok(gpu.into())) {
        Ok(Device::Gpu(gpu)) => Device::from(gpu),
        Ok(_) => return cpu("there is no GPU"),
        Err(error) => return cpu(&format!("the GPU cannot be used: {error}")),
    };
    let _stage = progress::stage("measuring devices");
    let bytes_of_row = (bytes / task.rows.len().max(1)).max(1);
    let count = (MEASURED_BYTES / bytes_of_row).max(MEASURED_ROWS_PER_COLUMN * task.rows.columns());
    let rate = |device: &Device, most: Duration| {
        task.classifier.clone().device(device.clone()).rows_per_second(task.rows, task.targets, count, most)
    };
    let started = Instant::now();
    // The fit itself reports any error of the data again.
    let Ok(Some(cpu_rate)) = rate(&Device::Cpu, Duration::MAX) else {
        return cpu("a part of the rows could not be fitted to measure it");
    };
    let most = BEATEN * started.elapsed();
    // The first fit compiles kernels.
    let gpu_rate = match rate(&gpu, most + COMPILING) {
        Ok(Some(_)) => rate(&gpu, most),
        beaten => beaten,
    };
    let of_cpu = format!("the CPU fits {} thousand rows per second", thousands(cpu_rate));
    match gpu_rate {
        Ok(Some(gpu_rate)) => {
            let rates = format!("{of_cpu}, {} {} thousand with uploads", gpu.name(), thousands(gpu_rate));
            (if gpu_rate > cpu_rate { gpu } else { Device::Cpu }, rates)
        }
        Ok(None) => cpu(&format!("{of_cpu}, {} less than a quarter of that", gpu.name())),
        Err(Error::Option { option: "device", .. }) => cpu("f32, a GPU's type, cannot hold these numbers"),
        Err(error) => cpu(&format!("{} cannot be used: {}", gpu.name(), Failure::data(error).line())),
    }
}

fn thousands(rate: f64) -> String {
    let thousands = rate / 1000.0;
    if thousands < 10.0 { format!("{thousands:.2}") } else { format!("{thousands:.0}") }
}
