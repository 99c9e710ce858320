//! Where to run: `--device`, else the environment, else the command's preference.

use clap::Args;
use maxmargin::gpu::Gpu;
use maxmargin::{DEVICE_VARIABLE, Device};

use crate::failure::{Failure, Outcome};

/// Where to run and how to report, for every command.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// auto, cpu, gpu, gpu:N or part of an adapter's name. With auto:GPU, eval measures whether the CPU or that adapter
    /// is faster; other commands use the adapter. MAXMARGIN_DEVICE is the default.
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the value (with --json: the object) and errors.
    #[arg(long)]
    pub(crate) quiet: bool,
}

pub(crate) enum Place {
    Named(Device),
    /// Nothing, or `auto`: the command chooses. With a GPU from `auto:GPU`, it chooses between that GPU and the CPU.
    Auto(Option<Gpu>),
}

/// Reads which place was asked for, and opens a named device.
pub(crate) fn of(place: &Where) -> Outcome<Place> {
    let selection = match &place.device {
        Some(selection) => selection.clone(),
        None => std::env::var(DEVICE_VARIABLE).unwrap_or_default(),
    };
    let selection = selection.to_lowercase();
    let (is_auto, name) = match selection.as_str() {
        "" | "auto" => return Ok(Place::Auto(None)),
        other => other.strip_prefix("auto:").map_or((false, other), |name| (true, name)),
    };
    let device = if is_auto { Gpu::open(name).map(Device::from) } else { Device::select(name) };
    let device = device.map_err(Failure::data)?;
    if let (Device::Gpu(gpu), "gpu", false) = (&device, name, place.quiet)
        && gpu.description().is_software()
    {
        use std::io::Write;
        // The note is optional, so a closed stderr is no error.
        let _ = writeln!(std::io::stderr(), "note: {} is a software adapter", gpu.name());
    }
    Ok(match device {
        Device::Gpu(gpu) if is_auto => Place::Auto(Some(gpu)),
        device => Place::Named(device),
    })
}

/// The device for a long-running command: the named one, or a real GPU if there is one.
pub(crate) fn choose(place: &Where) -> Outcome<Device> {
    match of(place)? {
        Place::Named(device) => Ok(device),
        Place::Auto(Some(gpu)) => Ok(gpu.into()),
        Place::Auto(None) => Device::select("auto").map_err(Failure::data),
    }
}
