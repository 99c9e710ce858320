//! Outputs: all or none, never over an input, with their format's extension.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::Folder;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.f32("s.npy", "(4, 2)", &[0.5, 0.0, -0.5, 0.25, 1.5, -1.0, 0.0, 0.0]);
    folder.i64("t.npy", &[1, 0, 0, 1]);
    folder
}

const EVAL: &str = "eval multiclass --scores s.npy --targets t.npy --grad-out g.npy --losses-out l.npy";
const TRAIN: &str = "train --features s.npy --targets t.npy --layers 2 --loss crammer-singer --epochs 2";

#[test]
fn extensions_are_their_formats() {
    let folder = folder();
    folder.json(&format!("{TRAIN} --weights-out w.safetensors"));
    for (command, option, name, expected) in [
        (EVAL, "--grad-out", "g.csv", ".npy"),
        (EVAL, "--losses-out", "l", ".npy"),
        (TRAIN, "--weights-out", "w.npy", ".safetensors"),
        (TRAIN, "--checkpoint-out", "c.pt", ".safetensors"),
        (TRAIN, "--history-out", "h.txt", ".csv"),
        (TRAIN, "--plot-out", "p.pdf", ".svg or .png"),
        ("predict --features s.npy --weights-in w.safetensors", "--out", "p.txt", ".npy or .csv"),
    ] {
        let command = command.replace("--grad-out g.npy --losses-out l.npy", "");
        folder.fails(&format!("{command} {option} {name}"), 2, &[option, name, expected]);
    }
}

#[test]
fn no_output_is_an_input() {
    let folder = folder();
    folder.json(&format!("{TRAIN} --weights-out w.safetensors --checkpoint-out c.safetensors"));
    let outputs = ["--weights-out", "--checkpoint-out", "--history-out", "--plot-out"];
    for (option, input) in [
        ("--features", "s.npy"),
        ("--targets", "t.npy"),
        ("--weights-in", "w.safetensors"),
        ("--resume", "c.safetensors"),
        ("--validation-features", "v.npy"),
        ("--validation-targets", "vt.npy"),
    ] {
        std::fs::copy(folder.path("s.npy"), folder.path("v.npy")).unwrap();
        std::fs::copy(folder.path("t.npy"), folder.path("vt.npy")).unwrap();
        let given = match option {
            "--weights-in" | "--resume" => format!("{option} {input}"),
            _ => "--validation-features v.npy --validation-targets vt.npy".into(),
        };
        for output in outputs {
            let words = [option, output, "the same file"];
            folder.fails(&format!("{TRAIN} {given} {output} ./{input}"), 2, &words);
        }
    }
}

/// No output stays where the report cannot be printed.
#[cfg(target_os = "linux")]
#[test]
fn a_report_that_cannot_be_printed_leaves_nothing_behind() {
    let folder = folder();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = |command: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_maxmargin"))
            .args(command.split_whitespace())
            .current_dir(folder.path(""))
            .stdout(full())
            .output()
            .unwrap()
    };
    let before = folder.names();
    let output = run(EVAL);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: stdout: "), "{output:?}");
    assert_eq!(folder.names(), before);
    // A trained network is kept, and named.
    let output = run(&format!("{TRAIN} --weights-out w.safetensors"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrote w.safetensors"), "{output:?}");
    assert!(folder.path("w.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn a_rename_that_fails_takes_back_the_files_before_it() {
    let folder = folder();
    // A folder takes the place of the second output while the program reads its input from a pipe.
    let mut program = folder.start(&EVAL.replace("s.npy", "/dev/stdin"));
    let mut stdin = program.stdin.take().unwrap();
    let scores = std::fs::read(folder.path("s.npy")).unwrap();
    while !folder.names().iter().any(|name| name.starts_with(".maxmargin-")) {
        std::thread::yield_now();
    }
    // Both temporary files are made before anything is read, one right after the other.
    std::thread::sleep(std::time::Duration::from_millis(200));
    std::fs::create_dir(folder.path("l.npy")).unwrap();
    std::io::Write::write_all(&mut stdin, &scores).unwrap();
    drop(stdin);
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("l.npy"), "{output:?}");
    assert_eq!(folder.names(), ["l.npy", "s.npy", "t.npy"]);
}

#[cfg(unix)]
#[test]
fn a_link_is_written_through() {
    let folder = folder();
    std::fs::create_dir(folder.path("there")).unwrap();
    folder.write("there/g.npy", b"old");
    std::os::unix::fs::symlink("there/g.npy", folder.path("g.npy")).unwrap();
    folder.json(EVAL);
    assert!(folder.path("g.npy").is_symlink());
    assert!(std::fs::read(folder.path("there/g.npy")).unwrap().starts_with(b"\x93NUMPY"));
    // But not over an input, nor over another output.
    std::os::unix::fs::symlink("s.npy", folder.path("input.npy")).unwrap();
    folder.fails(&EVAL.replace("g.npy", "input.npy"), 2, &["--scores and --grad-out", "same file"]);
    folder.write("l.npy", b"old");
    std::os::unix::fs::symlink("l.npy", folder.path("other.npy")).unwrap();
    folder.fails(&EVAL.replace("g.npy", "other.npy"), 2, &["--grad-out and --losses-out", "same file"]);
    folder.fails(&EVAL.replace("g.npy", "no/g.npy"), 1, &["no/g.npy", "there is no folder no"]);
}
