//! Where tests run: on the CPU and every adapter, as `MAXMARGIN_GPU` says.
//!
//! `require` makes a missing adapter a failure, `off` puts one ignored trial in their place, `auto` (the default) runs
//! them if there is an adapter. The name of a trial that runs on a device begins with it.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use maxmargin::gpu::{AdapterDescription, Gpu, GpuOptions, adapters};
use maxmargin::{Device, Error};

pub(crate) type Outcome = Result<(), Failed>;

pub(crate) type Test = (&'static str, fn(&Device) -> Outcome);

pub(crate) fn on_cpu(tests: &[Test]) -> Vec<Trial> {
    let trial = |&(name, test): &Test| Trial::test(format!("[cpu] {name}"), move || test(&Device::cpu()));
    tests.iter().map(trial).collect()
}

pub(crate) fn on_adapter(adapter: &AdapterDescription, tests: &[Test]) -> Vec<Trial> {
    let (index, label) = (adapter.index, label(adapter));
    let trial = |&(name, test): &Test| Trial::test(format!("[{label}] {name}"), move || test(&open(index, |_| {})?));
    tests.iter().map(trial).collect()
}

/// The adapters to test on; if there are none, a trial that says so.
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

/// The adapter's part of a trial's name.
pub(crate) fn label(adapter: &AdapterDescription) -> String {
    format!("{:?}/{}", adapter.backend, adapter.name)
}

/// Per thread: the device that it has opened, and how often it was requested. Threads do not share one, because a
/// driver compiles one kernel per device at a time. Kept in a static, not in a thread-local: a device that is dropped
/// while its thread ends would use thread-locals that are already gone.
static OPENED: Mutex<BTreeMap<String, (String, Device, u32)>> = Mutex::new(BTreeMap::new());

/// A device is opened anew after this many trials, to free its compiled kernels: a megabyte or two each on a software
/// adapter.
const MOST_USES: u32 = 5;

/// Options that fill outputs with a pattern, so that a test sees an element that no kernel wrote.
fn poisoned() -> GpuOptions {
    let mut options = GpuOptions::default();
    options.poison_outputs = true;
    options
}

/// Opens an adapter with poisoned outputs and these options. If a thread's next trial asks for the same, it gets the
/// same device, whose kernels are compiled.
pub(crate) fn open(index: usize, options: impl Fn(&mut GpuOptions)) -> Result<Device, Error> {
    let mut own = poisoned();
    options(&mut own);
    let key = format!("{index} {own:?}");
    let thread = format!("{:?}", std::thread::current().id());
    let opened = || OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((kept, device, uses)) = opened().get_mut(&thread)
        && *kept == key
        && *uses < MOST_USES
    {
        *uses += 1;
        return Ok(device.clone());
    }
    // Dropped first, so that a thread holds one device at a time.
    drop(opened().remove(&thread));
    let device = pollster::block_on(Gpu::open_async(&format!("gpu:{index}"), own)).map(Device::from)?;
    opened().insert(thread, (key, device.clone(), 1));
    Ok(device)
}

/// Opens an adapter for one trial alone, for trials that break the device.
pub(crate) fn open_alone(index: usize) -> Result<Device, Error> {
    let own = poisoned();
    pollster::block_on(Gpu::open_async(&format!("gpu:{index}"), own)).map(Device::from)
}

/// Whether to test everything instead of a sample: `MAXMARGIN_TESTS=all`.
pub(crate) fn goes_through_all() -> bool {
    std::env::var("MAXMARGIN_TESTS").is_ok_and(|tests| tests == "all")
}

/// Runs `work` for every element on all threads, and returns the messages of those that fail, in order.
pub(crate) fn failures<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, element)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, all.get(index)?)))
                {
                    if let Err(error) = work(element) {
                        found.lock().unwrap_or_else(PoisonError::into_inner).insert(index, error);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Checks that two numbers differ by at most `relative` times the second.
pub(crate) fn near(what: &str, got: Option<f64>, expected: Option<f64>, relative: f64) -> Outcome {
    match (got, expected) {
        (Some(got), Some(expected)) if (got - expected).abs() <= relative * expected.abs() => Ok(()),
        _ => Err(format!("{what}: {got:?} instead of {expected:?}").into()),
    }
}
