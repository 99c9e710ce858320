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

    /// The adapter's kind in words: `discrete GPU`, `integrated GPU`, `virtual GPU`, `software` or `other`.
    pub fn kind(&self) -> &'static str {
        match self.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        }
    }

    /// Loop steps after which the driver leaves a shader's loops, whatever their conditions say. llvmpipe counts all
    /// loops of an invocation together and stops at 65,535.
    pub(crate) fn loop_limit(&self) -> Option<u32> {
        let is_llvmpipe = self.is_software() && self.name.contains("llvmpipe");
        is_llvmpipe.then_some(60_000)
    }

    /// Lower is better: real GPUs before software, native APIs before GL.
    fn rank(&self, saves_power: bool) -> (u8, bool) {
        let kind = match self.device_type {
            wgpu::DeviceType::DiscreteGpu => u8::from(saves_power),
            wgpu::DeviceType::IntegratedGpu => u8::from(!saves_power),
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
            wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle_from_env() };
        wgpu::Instance::new(descriptor)
    })
}

/// All adapters with their descriptions, in wgpu's order: those of the variable `WGPU_BACKEND`; without it those of
/// Vulkan, Metal and DX12, or else those of GL.
pub(crate) async fn enumerate() -> Vec<(wgpu::Adapter, AdapterDescription)> {
    static PRIMARY: OnceLock<wgpu::Instance> = OnceLock::new();
    static SECONDARY: OnceLock<wgpu::Instance> = OnceLock::new();
    let asked = wgpu::Backends::from_env();
    let (primary, secondary) = (asked.unwrap_or(wgpu::Backends::PRIMARY), wgpu::Backends::SECONDARY);
    let mut adapters = instance(&PRIMARY, primary).enumerate_adapters(primary).await;
    if adapters.is_empty() && asked.is_none() {
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

/// What wgpu's own variables ask for where no adapter is named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// A part of the adapter's name (`WGPU_ADAPTER_NAME`), in lower case.
    name: Option<String>,
    /// Whether an integrated GPU is better than a discrete one (`WGPU_POWER_PREF=low`).
    saves_power: bool,
}

impl Wishes {
    pub(crate) fn of_environment() -> Self {
        let name = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
        let saves_power = wgpu::PowerPreference::from_env() == Some(wgpu::PowerPreference::LowPower);
        Self { name: name.map(|name| name.to_lowercase()), saves_power }
    }

    /// The best of the adapters that `matches` allows.
    fn best(&self, all: &[AdapterDescription], matches: impl Fn(&AdapterDescription) -> bool) -> Option<usize> {
        all.iter().filter(|d| matches(d)).min_by_key(|d| d.rank(self.saves_power)).map(|d| d.index)
    }

    /// The best adapter. Where `real` is set it is no software adapter, unless the variable names one.
    pub(crate) fn best_of(&self, all: &[AdapterDescription], real: bool) -> Option<usize> {
        match &self.name {
            Some(name) => self.best(all, |d| d.name.to_lowercase().contains(name)),
            None => self.best(all, |d| !real || !d.is_software()),
        }
    }
}

/// The adapter that `selection` means: `gpu` the best, `gpu:N` that index, other text a part of a name in any case. A
/// part that fits adapters of several backends means the best backend's, which must be only one.
pub(crate) fn select(all: &[AdapterDescription], selection: &str, wishes: &Wishes) -> Result<usize> {
    let lower = selection.to_lowercase();
    let listed = |which: &[&AdapterDescription]| {
        let names: Vec<_> = which.iter().map(|d| format!("gpu:{} {} ({})", d.index, d.name, d.backend)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let found = if lower == "gpu" {
        wishes.best_of(all, false)
    } else if let Some(number) = lower.strip_prefix("gpu:") {
        number.parse().ok().filter(|&n: &usize| n < all.len())
    } else if lower.is_empty() {
        None
    } else {
        let fits = |d: &AdapterDescription| d.name.to_lowercase().contains(&lower);
        let best = wishes.best(all, fits);
        let backend = best.map(|index| all[index].backend);
        let rivals: Vec<_> = all.iter().filter(|d| fits(d) && Some(d.backend) == backend).collect();
        // A whole name is meant, even where it is a part of another.
        let exact: Vec<_> = rivals.iter().copied().filter(|d| d.name.to_lowercase() == lower).collect();
        match (&rivals[..], &exact[..]) {
            (_, &[one]) => Some(one.index),
            ([] | [_], _) => best,
            _ => {
                let (requested, fitting) = (selection.into(), listed(&rivals));
                return Err(Error::AmbiguousDevice { requested, fitting });
            }
        }
    };
    found.ok_or_else(|| Error::UnknownDevice {
        requested: selection.into(),
        available: listed(&all.iter().collect::<Vec<_>>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(index: usize, name: &str, backend: wgpu::Backend, device_type: wgpu::DeviceType) -> AdapterDescription {
        AdapterDescription {
            index,
            name: name.into(),
            backend,
            device_type,
            driver: String::new(),
            features: wgpu::Features::empty(),
            limits: wgpu::Limits::default(),
            subgroup_sizes: (4, 64),
        }
    }

    fn machine() -> Vec<AdapterDescription> {
        use wgpu::{Backend, DeviceType};
        vec![
            adapter(0, "Intel UHD", Backend::Vulkan, DeviceType::IntegratedGpu),
            adapter(1, "RTX 3080", Backend::Vulkan, DeviceType::DiscreteGpu),
            adapter(2, "RTX 3080", Backend::Dx12, DeviceType::DiscreteGpu),
            adapter(3, "Tesla", Backend::Vulkan, DeviceType::DiscreteGpu),
            adapter(4, "Tesla", Backend::Vulkan, DeviceType::DiscreteGpu),
            adapter(5, "Tesla 2", Backend::Dx12, DeviceType::DiscreteGpu),
            adapter(6, "Tesla 20", Backend::Dx12, DeviceType::DiscreteGpu),
            adapter(7, "llvmpipe", Backend::Vulkan, DeviceType::Cpu),
        ]
    }

    #[test]
    fn names_mean_one_adapter_or_are_an_error_that_lists_them() {
        let (all, wishes) = (machine(), Wishes::default());
        let select = |selection: &str| select(&all, selection, &wishes);
        for (selection, index) in [("gpu", 1), ("gpu:4", 4), ("intel", 0), ("rtx", 1), ("LLVM", 7), ("tesla 2", 5)] {
            assert_eq!(select(selection), Ok(index), "{selection}");
        }
        let error = select("tesl").unwrap_err().to_string();
        assert!(error.contains("gpu:3 Tesla (vulkan), gpu:4 Tesla (vulkan)"), "{error}");
        assert!(!error.contains("gpu:5"), "{error}");
        for selection in ["gpu:8", "gpu:x", "", "amd"] {
            assert!(matches!(select(selection), Err(Error::UnknownDevice { .. })), "{selection}");
        }
    }

    #[test]
    fn the_variables_of_wgpu_decide_where_no_adapter_is_named() {
        let all = machine();
        let best = |wishes: &Wishes, real| wishes.best_of(&all, real);
        let saving = Wishes { name: None, saves_power: true };
        assert_eq!((best(&Wishes::default(), true), best(&saving, true)), (Some(1), Some(0)));
        let named = |name: &str| Wishes { name: Some(name.into()), saves_power: false };
        // A software adapter that is named was asked for.
        assert_eq!(best(&named("llvm"), true), Some(7));
        assert_eq!(best(&named("amd"), false), None);
        let software = &all[7..];
        assert_eq!(
            (Wishes::default().best_of(software, true), Wishes::default().best_of(software, false)),
            (None, Some(7))
        );
        assert_eq!(select(&all, "gpu", &named("tesla 20")), Ok(6));
    }
}
