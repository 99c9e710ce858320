//! Every example runs and prints the numbers that its first lines promise.

use std::process::Command;

use crate::harness::{Outcome, label};
use libtest_mimic::Trial;
use maxmargin::gpu::AdapterDescription;

/// Runs an example, which `cargo test` builds beside the tests, and looks for these lines in its output.
fn expect(name: &str, device: &str, arguments: &[&str], lines: &[&str]) -> Outcome {
    let mut path = std::env::current_exe()?;
    path.pop();
    path.set_file_name("examples");
    let program = path.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        return Err(format!("{} is not built; run all of `cargo test`", program.display()).into());
    }
    let output = Command::new(program).args(arguments).env("MAXMARGIN_DEVICE", device).output()?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{name}: {text}{errors}").into());
    }
    match lines.iter().find(|line| !text.lines().any(|l| l.trim() == **line)) {
        Some(line) => Err(format!("{name}: no line {line:?} in\n{text}").into()),
        None => Ok(()),
    }
}

type Example = (&'static str, &'static [&'static str]);

const ON_ANY_DEVICE: &[Example] = &[
    (
        "method2_hinge_embedding",
        &[
            "loss 1.0428",
            "[0.0667, 0.0000, 0.0000, 0.0000, 0.0000]",
            "[0.0000, 0.0000, 0.0000, 0.0000, 0.0000]",
            "[0.0000, 0.0000, 0.0000, 0.0667, 0.0000]",
        ],
    ),
    (
        // scikit-learn's LinearSVC has the same objective and accuracy.
        "linear_digits",
        &[
            "objective 4.7930, accuracy 0.9894",
            "gap confirmed to be at most 1e-6: true",
            "certain after a gap of 1e-3: more than half of the labels: true",
            "best C 0.001",
        ],
    ),
    ("method3_binary_hinge", &["hinge 0.9000"]),
    (
        "method4_multiclass_hinge",
        &[
            "crammer-singer          0.9125",
            "crammer-singer, squared 1.1131",
            "one-vs-all              [0.8750, 1.1250, 1.1000]",
        ],
    ),
    #[cfg(feature = "plot")]
    (
        // torchmetrics gives the same for the same numbers.
        "method5_streaming",
        &["batch 0: 0.7398, so far 0.7398", "batch 9: 1.0172, so far 0.9425", "all 100 samples: 0.9425"],
    ),
];

/// Only for the CPU: rounding decides where a training ends. tests/suite/network.rs bounds it on other devices.
#[cfg(feature = "plot")]
const ON_THE_CPU: &[(&str, &[&str], &[&str])] = &[
    ("method1_circles", &[], &["Train: 0.844, Test: 0.820"]),
    (
        "method2_images",
        &["1000"],
        &["Starting epoch 5", "Loss after mini-batch    10: 0.477", "Training process has finished."],
    ),
];
#[cfg(not(feature = "plot"))]
const ON_THE_CPU: &[(&str, &[&str], &[&str])] = &[];

const ON_A_GPU: &[Example] = &[
    (
        "resident_tensors",
        &[
            "margin 1     hinge 0.500128  active 524157 of 1048576",
            "gradient: 1048576 elements on the device, 524157 not zero",
        ],
    ),
    ("own_wgpu_device", &["hinge 1.1254", "active 3072 of 4096"]),
];

pub(crate) fn trials(adapters: &[AdapterDescription]) -> Vec<Trial> {
    let mut trials = Vec::new();
    let devices = [("cpu".to_owned(), "cpu".to_owned())]
        .into_iter()
        .chain(adapters.iter().map(|adapter| (label(adapter), format!("gpu:{}", adapter.index))));
    for (label, device) in devices {
        for &(name, lines) in ON_ANY_DEVICE {
            let device = device.clone();
            trials.push(Trial::test(format!("[{label}] {name}"), move || expect(name, &device, &[], lines)));
        }
    }
    for &(name, arguments, lines) in ON_THE_CPU {
        trials.push(Trial::test(format!("[cpu] {name}"), move || expect(name, "cpu", arguments, lines)));
    }
    if let Some(best) = adapters.first() {
        for &(name, lines) in ON_A_GPU {
            // These two examples choose an adapter themselves, and there is one to find.
            trials.push(Trial::test(format!("[{}] {name}", label(best)), move || expect(name, "gpu", &[], lines)));
        }
    }
    trials
}
