//! Every loss says the same on each GPU as on the CPU.

#[path = "../../tests/harness/mod.rs"]
mod harness;
mod support;

use libtest_mimic::{Arguments, Trial};
use serde_json::json;
use support::{DIGITS, Folder, close};

fn says_the_same(device: &str) {
    let folder = Folder::new();
    let files = format!("--scores {DIGITS}/digits_scores.npy --targets {DIGITS}/digits_labels.npy");
    for loss in [
        "multiclass",
        "multiclass --method weston-watkins --penalty squared --reduction sum",
        "multiclass --method one-vs-all --over-classes mean --grad-out g.npy",
    ] {
        let cpu = folder.json(&format!("eval {loss} {files} --device cpu"));
        let gpu = folder.json(&format!("eval {loss} {files} --device {device}"));
        close(&gpu["value"], cpu["value"].as_f64().unwrap_or(f64::NAN), 1e-6);
        assert_eq!((&gpu["device"]["kind"], &gpu["precision"]), (&json!("gpu"), &json!("f32")));
        for field in ["count", "active", "accuracy"] {
            assert_eq!(gpu[field], cpu[field], "{loss} {field}");
        }
    }
}

/// Labels and scores of every type have a place on the device.
fn measures_every_type(index: usize) {
    let json = Folder::new().json(&format!("bench --quick --filter labels, --device gpu:{index}"));
    let cases = json["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(cases.len() > 10, "{} cases", cases.len());
    for case in cases {
        assert!(case["seconds"].as_f64().is_some_and(|x| x.is_finite() && x > 0.0), "{case}");
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let (found, none_found) = harness::adapters_under_test();
    let mut trials: Vec<_> = none_found.into_iter().collect();
    for adapter in &found {
        let index = adapter.index;
        trials.push(Trial::test(format!("[{}] bench takes every type", harness::label(adapter)), move || {
            measures_every_type(index);
            Ok(())
        }));
        // By index, and by the first word of its name in capitals.
        let word = adapter.name.split(' ').next().unwrap_or_default().to_uppercase();
        for device in [format!("gpu:{}", adapter.index), word] {
            trials.push(Trial::test(format!("[{}] eval --device {device}", harness::label(adapter)), move || {
                says_the_same(&device);
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
