//! Where to run: `--device`, or the environment, or what the command prefers.

use maxmargin::{DEVICE_VARIABLE, Device, Error};

use crate::arguments::Where;
use crate::failure::{Failure, Outcome};

/// The device; true where nobody named it and `auto` decided.
pub(crate) fn choose(place: &Where, auto: impl FnOnce() -> Result<Device, Error>) -> Outcome<(Device, bool)> {
    let selection = match &place.device {
        Some(selection) => selection.clone(),
        None => std::env::var(DEVICE_VARIABLE).unwrap_or_default(),
    };
    if selection.is_empty() || selection.eq_ignore_ascii_case("auto") {
        return auto().map(|device| (device, true)).map_err(Failure::data);
    }
    let device = Device::select(&selection).map_err(Failure::data)?;
    if let (Device::Gpu(gpu), "gpu", false) = (&device, selection.to_lowercase().as_str(), place.quiet)
        && gpu.description().is_software()
    {
        use std::io::Write;
        // The note is a courtesy; without a stderr there is nobody to be courteous to.
        let _ = writeln!(std::io::stderr(), "note: {} is a software adapter", gpu.name());
    }
    Ok((device, false))
}
