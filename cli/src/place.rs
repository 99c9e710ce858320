//! Where to run: `--device`, else the environment, else the command's preference.

use clap::Args;
use maxmargin::gpu::{Gpu, adapters};
use maxmargin::{DEVICE_VARIABLE, Device, Error};

use crate::failure::{Failure, Outcome};
use crate::progress;
use crate::words::suggestion;

/// Where to run and how to report, for every command.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// Where to run: auto, cpu, gpu, gpu:N or part of an adapter's name. With auto:GPU, eval and fit measure whether the CPU or that
    /// adapter is faster; other commands use the adapter. MAXMARGIN_DEVICE is the default.
    #[arg(long, value_name = "D", help_heading = "Device and report")]
    pub(crate) device: Option<String>,
    /// Print one JSON object.
    #[arg(long, help_heading = "Device and report")]
    pub(crate) json: bool,
    /// Print only the value (with --json: the object) and errors.
    #[arg(long, help_heading = "Device and report")]
    pub(crate) quiet: bool,
}

pub(crate) enum Place {
    Named(Device),
    /// Nothing, or `auto`: the command chooses. With a GPU from `auto:GPU`, it chooses between that GPU and the CPU.
    Auto(Option<Gpu>),
}

/// Reads which place was asked for, and opens a named device.
pub(crate) fn of(place: &Where) -> Outcome<Place> {
    progress::set_quiet(place.quiet);
    let (source, selection) = match &place.device {
        Some(selection) if selection.trim().is_empty() => {
            return Err(Failure::usage(
                "--device: expected auto, cpu, gpu, gpu:N or part of an adapter's name, got nothing",
            ));
        }
        Some(selection) => ("--device", selection.clone()),
        None => (DEVICE_VARIABLE, std::env::var(DEVICE_VARIABLE).unwrap_or_default()),
    };
    let selection = selection.to_lowercase();
    let (is_auto, name) = match selection.as_str() {
        "" | "auto" => return Ok(Place::Auto(None)),
        other => other.strip_prefix("auto:").map_or((false, other), |name| (true, name)),
    };
    let opening = progress::stage(format!("opening {name}"));
    let device = if is_auto { Gpu::open(name).map(Device::from) } else { Device::select(name) };
    drop(opening);
    let device = device.map_err(|error| match error {
        Error::UnknownDevice { ref requested, .. } if requested == "gpu" => {
            Failure::data(format!("{source}: no GPU was found{}", variables()))
        }
        Error::UnknownDevice { ref requested, .. } if requested.starts_with("gpu:") => {
            Failure::data(format!("{source}: {error}{}", variables()))
        }
        Error::UnknownDevice { ref requested, .. } => {
            let mut names: Vec<String> = ["auto", "cpu", "gpu"].map(String::from).to_vec();
            names.extend(adapters().into_iter().map(|adapter| adapter.name));
            Failure::data(format!("{source}: {error}{}", suggestion(requested, &names)))
        }
        Error::AmbiguousDevice { .. } => Failure::data(format!("{source}: {error}")),
        error => Failure::data(error),
    })?;
    Ok(match device {
        Device::Gpu(gpu) if is_auto => Place::Auto(Some(gpu)),
        device => Place::Named(device),
    })
}

/// wgpu's own variables that are set, and may be why an adapter is not there.
pub(crate) fn variables() -> String {
    let set = ["WGPU_BACKEND", "WGPU_ADAPTER_NAME"].into_iter().filter_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some(format!("{name} is {value}"))
    });
    let set: Vec<String> = set.collect();
    if set.is_empty() { String::new() } else { format!(" ({})", set.join(", ")) }
}

/// The device for a long-running command: the named one, or a real GPU if there is one.
pub(crate) fn choose(place: &Where) -> Outcome<Device> {
    match of(place)? {
        Place::Named(device) => Ok(device),
        Place::Auto(Some(gpu)) => Ok(gpu.into()),
        Place::Auto(None) => {
            let _stage = progress::stage("looking for a GPU");
            Device::select("auto").map_err(Failure::data)
        }
    }
}
