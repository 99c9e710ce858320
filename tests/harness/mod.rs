//! Where tests run: the CPU and every adapter, as `MAXMARGIN_GPU` says.
//!
//! `require` makes a missing adapter a failure, `off` lists the GPU tests as ignored, `auto` (the default) runs them where
//! there is an adapter. Every trial's name holds its device.

#![allow(dead_code, reason = "each test program uses its part")]

use libtest_mimic::{Failed, Trial};
use maxmargin::gpu::{AdapterDescription, Gpu, GpuOptions, adapters};
use maxmargin::{Device, Error};

pub(crate) type Outcome = Result<(), Failed>;

/// A test of any device, and its name.
pub(crate) type Test = (&'static str, fn(&Device) -> Outcome);

/// Trials of tests on the CPU.
pub(crate) fn on_cpu(tests: &[Test]) -> Vec<Trial> {
    let trial = |&(name, test): &Test| Trial::test(format!("[cpu] {name}"), move || test(&Device::cpu()));
    tests.iter().map(trial).collect()
}

/// Trials of tests on an adapter, each of which opens it.
pub(crate) fn on_adapter(adapter: &AdapterDescription, tests: &[Test]) -> Vec<Trial> {
    let (index, label) = (adapter.index, label(adapter));
    let trial = |&(name, test): &Test| Trial::test(format!("[{label}] {name}"), move || test(&open(index, |_| {})?));
    tests.iter().map(trial).collect()
}

/// The adapters to test on, and where there are none the trial that says so.
pub(crate) fn adapters_under_test() -> (Vec<AdapterDescription>, Option<Trial>) {
    let mode = std::env::var("MAXMARGIN_GPU").unwrap_or_else(|_| "auto".into());
    let found = if mode == "off" { vec![] } else { adapters() };
    let trial = found.is_empty().then(|| {
        let reason = if mode == "off" { "MAXMARGIN_GPU=off" } else { "no adapter found" };
        let require = mode == "require";
        Trial::test(format!("[gpu] all GPU tests: {reason}"), move || {
            if require { Err("MAXMARGIN_GPU=require, but no adapter was found".into()) } else { Ok(()) }
        })
        .with_ignored_flag(!require)
    });
    (found, trial)
}

/// An adapter's name in a trial's.
pub(crate) fn label(adapter: &AdapterDescription) -> String {
    format!("{:?}/{}", adapter.backend, adapter.name)
}

/// Opens an adapter with poisoned outputs.
pub(crate) fn open(index: usize, options: impl Fn(&mut GpuOptions)) -> Result<Device, Error> {
    let mut own = GpuOptions { poison_outputs: true, ..GpuOptions::default() };
    options(&mut own);
    pollster::block_on(Gpu::open_async(&format!("gpu:{index}"), own)).map(Device::from)
}

/// Two numbers whose distance is at most so much of the second.
pub(crate) fn near(what: &str, got: Option<f64>, expected: Option<f64>, relative: f64) -> Outcome {
    match (got, expected) {
        (Some(got), Some(expected)) if (got - expected).abs() <= relative * expected.abs() => Ok(()),
        _ => Err(format!("{what}: {got:?} instead of {expected:?}").into()),
    }
}
