//! What the system does not give: memory, room in a file, threads. Each is an error, and nothing is left behind.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Output};

use crate::support::{Folder, npy};

/// Runs the program behind a shell's `ulimit`.
fn limited(folder: &Folder, limit: &str, arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_maxmargin");
    Command::new("bash")
        .args(["-c", &format!("ulimit {limit} && exec {program} {arguments}")])
        .env_remove("MAXMARGIN_DEVICE")
        .current_dir(folder.path(""))
        .output()
        .unwrap()
}

fn fails(folder: &Folder, limit: &str, arguments: &str, words: &[&str]) {
    let before = folder.names();
    let output = limited(folder, limit, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
    let line = errors.lines().last().unwrap_or_default();
    assert!(line.starts_with("error: ") && words.iter().all(|word| line.contains(word)), "{arguments}: {errors}");
    assert_eq!(folder.names(), before, "{arguments} left something behind");
}

/// A file of zeros, of which the system stores nothing.
fn sparse(folder: &Folder, name: &str, dtype: &str, shape: &str, fortran: bool, bytes: u64) {
    let header = npy(dtype, shape, fortran, &[]);
    folder.write(name, &header);
    let file = std::fs::File::options().write(true).open(folder.path(name)).unwrap();
    file.set_len(header.len() as u64 + bytes).unwrap();
}

#[test]
fn memory() {
    let folder = Folder::new();
    // Address space in KiB: what the program itself needs, and 1 GiB once but not twice.
    let limit = "-v 2000000";
    sparse(&folder, "fortran.npy", "<f4", "(16384, 16384)", true, 1 << 30);
    sparse(&folder, "t.npy", "|u1", "(16384,)", false, 1 << 14);
    fails(&folder, limit, "eval multiclass --scores fortran.npy --targets t.npy", &["fortran.npy", "memory"]);
    sparse(&folder, "wide.npy", "<f4", "(1, 268435456)", false, 1 << 30);
    sparse(&folder, "one.npy", "|u1", "(1,)", false, 1);
    let wide = "eval multiclass --scores wide.npy --targets one.npy --grad-out g.npy";
    fails(&folder, limit, wide, &["memory"]);
    folder.f32("x.npy", "(2, 2)", &[0.0, 1.0, 1.0, 0.0]);
    folder.i64("y.npy", &[1, -1]);
    let train = "train --features x.npy --targets y.npy --layers 150000000:relu,1 --weights-out w.safetensors";
    fails(&folder, limit, train, &["memory"]);
    let train = train.replace("150000000", "20000000");
    fails(&folder, limit, &format!("{train} --optimizer adam"), &["memory"]);
    let mut row = vec![b'1'; 2 * 120_000_000];
    row.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = b',');
    row.pop();
    folder.write("wide.csv", &row);
    fails(&folder, limit, "eval binary --scores wide.csv:0 --targets one.npy", &["wide.csv", "memory"]);
    // The same is read where there is memory.
    assert!(
        limited(&folder, "-v unlimited", "eval binary --scores x.npy --targets x.npy --labels zero-one")
            .status
            .success()
    );
}

#[test]
fn room_in_a_file() {
    let folder = Folder::new();
    sparse(&folder, "s.npy", "<f4", "(1000000,)", false, 4_000_000);
    sparse(&folder, "t.npy", "|u1", "(1000000,)", false, 1_000_000);
    let eval = "eval binary --scores s.npy --targets t.npy --labels zero-one --grad-out g.npy";
    fails(&folder, "-f 100", eval, &["g.npy", "File too large"]);
}

#[test]
fn threads() {
    let folder = Folder::new();
    sparse(&folder, "s.npy", "<f4", "(9000000,)", false, 36_000_000);
    sparse(&folder, "t.npy", "|u1", "(9000000,)", false, 9_000_000);
    let eval = "eval binary --scores s.npy --targets t.npy --labels zero-one --grad-out g.npy --json --device cpu";
    let expected = folder.json(eval.trim_end_matches(" --json --device cpu"));
    // The limit counts a user's processes, and root has none: then as another user, who must reach the program.
    let program = folder.path("program");
    std::fs::copy(env!("CARGO_BIN_EXE_maxmargin"), &program).unwrap();
    std::fs::set_permissions(folder.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!("ulimit -u 1 && exec ./program {eval}");
    // SAFETY: the call has no conditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mut command = if is_root { Command::new("setpriv") } else { Command::new("bash") };
    if is_root {
        command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups", "bash"]);
    }
    let output = command.args(["-c", &script]).current_dir(folder.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&got["value"], &got["count"]), (&expected["value"], &expected["count"]));
}
