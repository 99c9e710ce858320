//! Listing the adapters that wgpu offers, and choosing one.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// One adapter, as listed by `maxmargin devices`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterDescription {
    /// Position in [`adapters`]: the N of `gpu:N`.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12` or `Gl`.
    pub backend: wgpu::Backend,
    /// Discrete, integrated, virtual or software (`Cpu`).
    pub device_type: wgpu::DeviceType,
    /// The driver's name and version.
    pub driver: String,
    /// The features that it offers.
    pub features: wgpu::Features,
    /// Its limits.
    pub limits: wgpu::Limits,
    /// Smallest and largest subgroup.
    pub subgroup_sizes: (u32, u32),
}

impl AdapterDescription {
    pub(crate) fn new(index: usize, info: wgpu::AdapterInfo, features: wgpu::Features, limits: wgpu::Limits) -> Self {
        let driver = [info.driver, info.driver_info].into_iter().filter(|x| !x.is_empty()).collect::<Vec<_>>();
        Self {
            index,
            name: info.name,
            backend: info.backend,
            device_type: info.device_type,
            driver: driver.join(" "),
            features,
            limits,
            subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
        }
    }

    /// True for an adapter that runs on the CPU: good for tests, never chosen by `auto`.
    pub fn is_software(&self) -> bool {
        self.device_type == wgpu::DeviceType::Cpu
    }

    /// Loop steps after which the driver leaves a shader's loops, whatever their conditions say. llvmpipe counts all
    /// loops of an invocation together and stops at 65,535.
    pub(crate) fn loop_limit(&self) -> Option<u32> {
        let is_llvmpipe = self.is_software() && self.name.contains("llvmpipe");
        is_llvmpipe.then_some(60_000)
    }

    /// Lower is better: real GPUs before software, native APIs before GL.
    pub(crate) fn rank(&self) -> (u8, bool) {
        let kind = match self.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (kind, self.backend == wgpu::Backend::Gl)
    }
}

/// The process's only wgpu instance for these backends. A new instance per opening loads and unloads the drivers every
/// time. NVIDIA's driver (580.159) finds no device after about forty times, and at once with two threads.
fn instance(of: &'static OnceLock<wgpu::Instance>, backends: wgpu::Backends) -> &'static wgpu::Instance {
    of.get_or_init(|| {
        let descriptor =
            wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
        wgpu::Instance::new(descriptor)
    })
}

/// All adapters with their descriptions, in wgpu's order: those of Vulkan, Metal and DX12, or else those of GL.
pub(crate) async fn enumerate() -> Vec<(wgpu::Adapter, AdapterDescription)> {
    static PRIMARY: OnceLock<wgpu::Instance> = OnceLock::new();
    static SECONDARY: OnceLock<wgpu::Instance> = OnceLock::new();
    let (primary, secondary) = (wgpu::Backends::PRIMARY, wgpu::Backends::SECONDARY);
    let mut adapters = instance(&PRIMARY, primary).enumerate_adapters(primary).await;
    if adapters.is_empty() {
        // GL is best effort, lists the same devices again, and writes to stderr on some machines when loaded.
        adapters = instance(&SECONDARY, secondary).enumerate_adapters(secondary).await;
    }
    adapters
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| {
            let description = AdapterDescription::new(index, adapter.get_info(), adapter.features(), adapter.limits());
            (adapter, description)
        })
        .collect()
}

/// The adapters that wgpu offers on this machine.
pub async fn adapters_async() -> Vec<AdapterDescription> {
    enumerate().await.into_iter().map(|(_, description)| description).collect()
}

/// As [`adapters_async`], blocking.
pub fn adapters() -> Vec<AdapterDescription> {
    pollster::block_on(adapters_async())
}

/// The adapter that `selection` means: `gpu` the best, `gpu:N` that index, other text a part of a name in any case.
pub(crate) fn select(descriptions: &[AdapterDescription], selection: &str) -> Result<usize> {
    let lower = selection.to_lowercase();
    let best = |matches: &dyn Fn(&AdapterDescription) -> bool| {
        descriptions.iter().filter(|d| matches(d)).min_by_key(|d| d.rank()).map(|d| d.index)
    };
    let found = if lower == "gpu" {
        best(&|_| true)
    } else if let Some(number) = lower.strip_prefix("gpu:") {
        number.parse().ok().filter(|&n: &usize| n < descriptions.len())
    } else if lower.is_empty() {
        None
    } else {
        best(&|d| d.name.to_lowercase().contains(&lower))
    };
    found.ok_or_else(|| {
        let names: Vec<_> =
            descriptions.iter().map(|d| format!("gpu:{} {} ({:?})", d.index, d.name, d.backend)).collect();
        let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::UnknownDevice { requested: selection.into(), available }
    })
}
