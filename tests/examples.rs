//! Every example runs on the CPU and prints the numbers that its first lines promise.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;
use std::process::Command;

/// `cargo test` builds the examples beside the tests.
fn run(name: &str, device: &str) -> String {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    let program: PathBuf = path.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not built; run all of `cargo test`", program.display());
    let output = Command::new(program).env("MAXMARGIN_DEVICE", device).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {text}{errors}");
    text.into_owned()
}

fn expect(name: &str, lines: &[&str]) {
    let text = run(name, "cpu");
    for line in lines {
        assert!(text.lines().any(|l| l.trim() == *line), "{name}: no line {line:?} in\n{text}");
    }
}

#[test]
fn hinge_embedding() {
    expect(
        "method2_hinge_embedding",
        &[
            "loss 1.0428",
            "[0.0667, 0.0000, 0.0000, 0.0000, 0.0000]",
            "[0.0000, 0.0000, 0.0000, 0.0000, 0.0000]",
            "[0.0000, 0.0000, 0.0000, 0.0667, 0.0000]",
        ],
    );
}

#[test]
fn binary_hinge() {
    expect("method3_binary_hinge", &["hinge 0.9000"]);
}

#[test]
fn multiclass_hinge() {
    expect(
        "method4_multiclass_hinge",
        &[
            "crammer-singer          0.9125",
            "crammer-singer, squared 1.1131",
            "one-vs-all              [0.8750, 1.1250, 1.1000]",
        ],
    );
}

/// The two that need a GPU run where the other GPU tests do.
#[test]
fn on_a_gpu() {
    let mode = std::env::var("MAXMARGIN_GPU").unwrap_or_default();
    if mode != "require" && (mode == "off" || maxmargin::gpu::adapters().is_empty()) {
        return;
    }
    let text = run("resident_tensors", "gpu");
    assert!(text.contains("margin 1     hinge 0.500128  active 524157 of 1048576"), "{text}");
    assert!(text.contains("1048576 elements on the device, 524157 not zero"), "{text}");
    let text = run("own_wgpu_device", "gpu");
    assert!(text.contains("hinge 1.1254") && text.contains("active 3072 of 4096"), "{text}");
}
