//! Where to run: `--device`, or the environment, or what the command prefers.

use clap::Args;
use maxmargin::gpu::Gpu;
use maxmargin::{DEVICE_VARIABLE, Device};

use crate::failure::{Failure, Outcome};

/// Where to run and how to report, for every command.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// auto, cpu, gpu, gpu:N or part of an adapter's name; with auto:GPU eval measures
    /// whether the CPU or that adapter is faster, and other commands take the adapter. MAXMARGIN_DEVICE is the default.
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but the value (with --json: the object) and errors.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What was asked for.
pub(crate) enum Place {
    Named(Device),
    /// Nothing, or `auto`: what the command prefers, where it may choose this GPU beside the CPU.
    Auto(Option<Gpu>),
}

/// The place that was asked for, opened where it was named.
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
        // The note is a courtesy; without a stderr there is nobody to be courteous to.
        let _ = writeln!(std::io::stderr(), "note: {} is a software adapter", gpu.name());
    }
    Ok(match device {
        Device::Gpu(gpu) if is_auto => Place::Auto(Some(gpu)),
        device => Place::Named(device),
    })
}

/// A device for a command that runs for long: the one that was named, or a real GPU where there is one.
pub(crate) fn choose(place: &Where) -> Outcome<Device> {
    match of(place)? {
        Place::Named(device) => Ok(device),
        Place::Auto(Some(gpu)) => Ok(gpu.into()),
        Place::Auto(None) => Device::select("auto").map_err(Failure::data),
    }
}
