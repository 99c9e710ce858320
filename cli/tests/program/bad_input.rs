//! Bad input gets one `error:` line that names file, index and value; exit code 1 (2 for wrong usage); no panic; and no
//! file left behind. All runs request outputs, so that a leftover file would show.

use crate::support::{Folder, npy};

const BINARY: &str = "eval binary --scores s.npy --targets t.npy --grad-out g.npy --losses-out l.npy";
const ROWS: &str = "eval multiclass --scores s.npy --targets t.npy --grad-out g.npy --losses-out l.npy";

/// Scores (4, 2) and targets that suit both losses.
fn good() -> Folder {
    let folder = Folder::new();
    folder.f32("s.npy", "(4, 2)", &[0.5; 8]);
    folder.i64("t.npy", &[1, 0, 1, 0]);
    folder
}

#[test]
fn usage() {
    let folder = good();
    let wrong = |arguments: &str, words: &[&str]| folder.fails(arguments, 2, words);
    wrong(&format!("{ROWS} --over-classes mean"), &["--over-classes", "crammer-singer"]);
    wrong(&format!("{ROWS} --per-class"), &["--per-class", "one-vs-all"]);
    wrong(&format!("{ROWS} --method one-vs-all --per-class"), &["--per-class", "--grad-out"]);
    wrong(&format!("{BINARY} --losses-out g.npy").replacen("--losses-out l.npy ", "", 1), &["same file"]);
    wrong(&BINARY.replace("l.npy", "./g.npy"), &["--grad-out and --losses-out", "same file"]);
    wrong(&BINARY.replace("s.npy", "s.txt"), &["s.txt", ".npy"]);
    wrong(&BINARY.replace("s.npy", "s.csv"), &["s.csv:COLUMN"]);
    wrong(&BINARY.replace("s.npy", "s.safetensors"), &["s.safetensors:TENSOR"]);
    wrong(&format!("{BINARY} --margin inf"), &["margin", "inf"]);
    wrong(&format!("{BINARY} --penalty perceptron --margin 1"), &["perceptron", "margin 0", "1"]);
    wrong(&format!("{BINARY} --penalty smooth:1e-60"), &["--penalty smooth", "positive"]);
    wrong(&format!("{BINARY} --penalty cubic"), &["cubic", "soft-margin"]);
    wrong(&format!("{BINARY} --penalty smooth:0"), &["smooth:G", "positive"]);
    wrong(&format!("{ROWS} --preset keras"), &["keras has no multiclass loss", "torchmetrics"]);
    wrong(&format!("{ROWS} --preset torch --method crammer-singer --over-classes mean"), &["crammer-singer"]);
    wrong(&format!("{BINARY} --batch-size 2"), &["--batch-size", "--grad-out"]);
    wrong("eval binary --scores s.npy --targets t.npy --plot-out p.svg", &["--batch-size"]);
    wrong("eval binary --scores s.npy --targets t.npy --batch-size 0", &["--batch-size", "0"]);
    let plot = "eval binary --scores s.npy --targets t.npy --batch-size 2 --plot-out p.jpg";
    wrong(plot, &["p.jpg", ".svg or .png"]);
    for arguments in ["eval", "eval binary", "eval cubic", "frobnicate"] {
        assert_eq!(folder.run(arguments).status.code(), Some(2), "{arguments}");
    }
    assert_eq!(folder.run("--help").status.code(), Some(0));
    assert_eq!(folder.run("--version").status.code(), Some(0));
}

#[test]
fn probabilities() {
    let folder = good();
    folder.f32("s.npy", "(4, 2)", &[0.5, 0.5, 1.0, 0.0, 0.5, 1.5, 0.0, 0.0]);
    let words = ["s.npy", "scores[5]", "probability in [0, 1]", "1.5"];
    folder.fails(&format!("{ROWS} --score-kind probability"), 1, &words);
}

#[test]
fn rows_of_targets() {
    let folder = good();
    folder.npy("m.npy", "|i1", "(4, 2)", &[0, 255, 1, 0, 0, 2, 255, 255]);
    let multilabel = "eval multilabel --scores s.npy --targets m.npy --grad-out g.npy --losses-out l.npy";
    folder.fails(multilabel, 1, &["m.npy", "targets[5]", "class index in [0, 2)", "2"]);
    folder.fails(&multilabel.replace("m.npy", "t.npy"), 1, &["t.npy", "expected shape (4, 2)", "got (4)"]);
    let categorical = multilabel.replace("multilabel", "categorical");
    folder.fails(&categorical, 1, &["m.npy", "targets[5]", "-1, 0 or 1", "2"]);
    folder.i64("t.npy", &[1, 0, 2, 0]);
    folder.fails(&categorical.replace("m.npy", "t.npy"), 1, &["t.npy", "targets[2]", "class index in [0, 2)", "2"]);
    folder.fails(&format!("{categorical} --preset torch"), 2, &["torch has no categorical loss", "keras"]);
}

#[test]
fn broken_npy() {
    let folder = good();
    let data = [0u8; 32];
    let whole = npy("<f4", "(4, 2)", false, &data);
    let bad = |bytes: &[u8], words: &[&str]| {
        folder.write("s.npy", bytes);
        folder.fails(ROWS, 1, &[&["s.npy"], words].concat());
    };
    bad(b"", &[]);
    bad(b"\x93NUMPY", &[]);
    bad(b"PK\x03\x04 not an array at all", &[]);
    bad(&whole[..40], &[]);
    bad(&whole[..whole.len() - 1], &["32 bytes", "31"]);
    bad(&[&whole[..], b"x"].concat(), &["32 bytes", "33"]);
    bad(&npy("<f4", "(4000000000, 2)", false, &data), &["32000000000 bytes", "holds 32"]);
    bad(&npy("<f4", "(4294967296, 4294967296)", false, &data), &["too large"]);
    bad(&npy("<f4", "(18446744073709551615, 2)", false, &data), &[]);
    bad(&npy("<f4", "(99999999999999999999, 2)", false, &data), &[]);
    bad(&npy("<f4", "(-4, 2)", false, &data), &[]);
    bad(&npy("<f4", "(4, 2", false, &data), &[]);
    bad(&npy("<i4", "(4, 2)", false, &data), &["expected f16, bf16, f32 or f64"]);
    bad(&npy("<c8", "(4, 1)", false, &data), &["<c8"]);
    bad(&npy("|O", "(4, 2)", false, &data), &[]);
    bad(&npy("|S4", "(4, 2)", false, &data), &[]);
    bad(&npy("<M8[ns]", "(4,)", false, &data), &[]);
    bad(&npy("<f4", "(8,)", false, &data), &["(N, C)", "(8)"]);
    bad(&npy("<f4", "(2, 2, 2)", false, &data), &["(N, C)", "(2, 2, 2)"]);
    bad(&npy("<f4", "(8, 1)", false, &data), &["at least 2 classes"]);
    // A header longer than the file.
    let mut header = whole.clone();
    header[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    bad(&header, &[]);
    folder.fails(&ROWS.replace("t.npy", "missing.npy"), 1, &["s.npy"]);
    folder.f32("s.npy", "(4, 2)", &[0.5; 8]);
    folder.fails(&ROWS.replace("t.npy", "missing.npy"), 1, &["missing.npy", "No such file"]);
}

#[test]
fn broken_csv_and_safetensors() {
    let folder = good();
    folder.write("x.csv", b"a,label\n1,0\nfoo,1\n");
    let csv = |scores: &str| format!("eval binary --scores {scores} --targets t.npy --grad-out g.npy");
    folder.fails(&csv("x.csv:a"), 1, &["x.csv", "row 1", "column a", "foo"]);
    folder.fails(&csv("x.csv:b"), 1, &["x.csv", "no column b", "a, label"]);
    folder.write("x.csv", b"1,2\n3\n");
    folder.fails(&csv("x.csv:0"), 1, &["x.csv"]);
    folder.fails(&csv("x.csv:2"), 1, &["x.csv", "0 to 1"]);
    folder.write("x.csv", b"1,\n3,4\n");
    folder.fails(&csv("x.csv:1"), 1, &["x.csv", "row 0", "column 1", "\"\""]);
    folder.write("x.csv", b"");
    folder.fails(&csv("x.csv:0"), 1, &["x.csv", "empty"]);
    let safe = |header: &str, length: u64, data: &[u8]| {
        folder.write("x.safetensors", &[&length.to_le_bytes(), header.as_bytes(), data].concat());
    };
    let header = r#"{"s":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]}}"#;
    safe(header, header.len() as u64, &[0; 32]);
    folder.fails(&csv("x.safetensors:q"), 1, &["x.safetensors", "\"q\"", "s"]);
    safe(header, header.len() as u64, &[0; 31]);
    folder.fails(&csv("x.safetensors:s"), 1, &["x.safetensors"]);
    safe(header, u64::MAX, &[0; 32]);
    folder.fails(&csv("x.safetensors:s"), 1, &["x.safetensors"]);
    let lying = r#"{"s":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,32]}}"#;
    safe(lying, lying.len() as u64, &[0; 32]);
    folder.fails(&csv("x.safetensors:s"), 1, &["x.safetensors"]);
}

/// Headers that would keep a parser busy forever or overflow its stack.
#[test]
fn headers_like_a_maze() {
    let folder = good();
    for (open, close, depth) in [("[", "]", 45), ("{", "}", 30), ("(", ")", 4000)] {
        let header = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        folder.write("s.npy", &npy("<f4", &header, false, &[0; 32]));
        folder.fails(ROWS, 1, &["s.npy", "brackets"]);
    }
    let hidden = format!("{}1{}", "[\")\",".repeat(60), "]".repeat(60));
    folder.write("s.npy", &npy("<f4", &hidden, false, &[0; 32]));
    folder.fails(ROWS, 1, &["s.npy", "brackets"]);
    folder.write("s.npy", b"1.0,2.0,3.0,4.0\n");
    folder.fails(ROWS, 1, &["s.npy", "magic"]);
    folder.write("s.npy", &npy("<f4", &format!("(8,{})", " ".repeat(20_000)), false, &[0; 32]));
    folder.fails(ROWS, 1, &["s.npy", "10000"]);
}

/// JSON text must be UTF-8; file names need not be.
#[test]
#[cfg(unix)]
fn names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = good();
    folder.f32("w.npy", "(4,)", &[1.0; 4]);
    let name = std::ffi::OsStr::from_bytes(b"w\xff.npy");
    if std::fs::rename(folder.path("w.npy"), folder.path("").join(name)).is_err() {
        // This file system does not allow such a name.
        return;
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_maxmargin"))
        .args("eval multiclass --scores s.npy --targets t.npy --json --sample-weights".split_whitespace())
        .arg(name)
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("w\u{fffd}.npy"));
}

/// If the program is interrupted, it leaves no half-written file.
#[test]
#[cfg(unix)]
fn ended_from_outside() {
    let folder = Folder::new();
    // 512 MiB of zeros that take no space on the disk.
    for (name, dtype, bytes) in [("s.npy", "<f4", 4), ("t.npy", "|b1", 1)] {
        folder.npy(name, dtype, "(134217728,)", &[]);
        let file = std::fs::OpenOptions::new().append(true).open(folder.path(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() + (bytes << 27)).unwrap();
    }
    let before = folder.names();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_maxmargin"))
        .args("eval binary --scores s.npy --targets t.npy --device cpu --labels zero-one --grad-out g.npy".split(' '))
        .current_dir(folder.path(""))
        .spawn()
        .unwrap();
    while folder.names() == before && program.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(kill.success(), "it ended by itself");
    assert_eq!(program.wait().unwrap().code(), Some(130));
    assert_eq!(folder.names(), before);
}

/// A user who starts the program with nohup wants it to go on.
#[test]
#[cfg(target_os = "linux")]
fn ignored_signals_stay_ignored() {
    let folder = good();
    let program = env!("CARGO_BIN_EXE_maxmargin");
    // The program waits for the other end of its input, which never comes.
    assert!(std::process::Command::new("mkfifo").arg(folder.path("fifo.npy")).status().unwrap().success());
    let script = format!("trap '' HUP; exec {program} eval binary --scores fifo.npy --targets t.npy");
    let mut child =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path("")).spawn().unwrap();
    // The signal masks in hexadecimal: SIGTERM is the fifteenth bit, SIGHUP the first.
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let bits = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        (bits("SigCgt:") >> 14 & 1 == 1, bits("SigIgn:") & 1 == 1)
    };
    let mut seen = caught();
    for _ in 0..2000 {
        if seen == (true, true) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        seen = caught();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, (true, true));
}

#[test]
fn labels() {
    let folder = good();
    folder.f32("s.npy", "(4,)", &[0.5; 4]);
    folder.i64("t.npy", &[1, 0, 1, -1]);
    folder.fails(BINARY, 1, &["t.npy", "[3]", "-1"]);
    folder.fails(&format!("{BINARY} --labels zero-one"), 1, &["t.npy", "[3]", "-1"]);
    folder.fails(&format!("{BINARY} --labels plus-minus-one"), 1, &["t.npy", "[1]", "got 0"]);
    folder.i64("t.npy", &[1, 1, 7, 0]);
    folder.fails(BINARY, 1, &["t.npy", "[2]", "got 7"]);
    folder.f32("t.npy", "(4,)", &[1.0, -1.0, 0.5, -1.0]);
    folder.fails(BINARY, 1, &["t.npy", "[2]", "0.5"]);
    folder.f32("t.npy", "(4,)", &[1.0, f32::NAN, 0.5, -1.0]);
    folder.fails(BINARY, 1, &["t.npy", "[1]", "NaN"]);
    folder.fails(&BINARY.replace("binary", "embedding"), 1, &["t.npy", "[1]", "NaN"]);
    folder.i64("t.npy", &[1, 1, 1]);
    folder.fails(BINARY, 1, &["t.npy", "4", "3"]);

    folder.f32("s.npy", "(4, 2)", &[0.5; 8]);
    for (bad, text) in
        [(2, "2"), (-1, "-1"), (1 << 32, "4294967296"), ((1 << 32) + 1, "4294967297"), (i64::MIN, "-922")]
    {
        folder.i64("t.npy", &[1, 0, bad, 9]);
        folder.fails(ROWS, 1, &["t.npy", "[2]", text]);
    }
    folder.npy("t.npy", "<u8", "(1,)", &u64::MAX.to_le_bytes());
    folder.f32("s.npy", "(1, 2)", &[0.5; 2]);
    folder.fails(ROWS, 1, &["t.npy", "[0]", "18446744073709551615"]);
    folder.i64("t.npy", &[1, 0]);
    folder.fails(ROWS, 1, &["t.npy", "expected 1 ", "got 2"]);
}

#[test]
fn weights() {
    let folder = good();
    let sample = format!("{ROWS} --sample-weights w.npy");
    for bad in [-0.5, f32::NAN, f32::INFINITY] {
        folder.f32("w.npy", "(4,)", &[1.0, 0.0, bad, 1.0]);
        folder.fails(&sample, 1, &["w.npy", "[2]"]);
    }
    folder.f32("w.npy", "(4,)", &[0.0; 4]);
    folder.fails(&sample, 1, &["w.npy", "weight"]);
    folder.f32("w.npy", "(4,)", &[3e38; 4]);
    folder.fails(&sample, 1, &["w.npy", "sum", "f32"]);
    folder.f32("w.npy", "(3,)", &[1.0; 3]);
    folder.fails(&sample, 1, &["w.npy", "4", "3"]);
    // The same holds where the program reads the labels first, and for files that it holds in memory.
    folder.f32("s.npy", "(4,)", &[0.5; 4]);
    folder.write("w.csv", b"1\n1\n1\n");
    folder.write("f.npy", &npy("<f4", "(3, 1)", true, &[0; 12]));
    for weights in ["w.npy", "w.csv:0", "f.npy"] {
        folder.fails(&format!("{BINARY} --sample-weights {weights}"), 1, &["expected 4", "got 3"]);
    }
    folder.f32("s.npy", "(4, 2)", &[0.5; 8]);
    folder.f32("w.npy", "(3,)", &[1.0; 3]);
    let class = format!("{ROWS} --class-weights w.npy");
    folder.fails(&class, 1, &["w.npy", "2", "3"]);
    folder.f32("w.npy", "(2,)", &[1.0, -2.0]);
    folder.fails(&class, 1, &["w.npy", "[1]", "-2"]);
}

#[test]
fn nothing_to_average() {
    let folder = good();
    folder.f32("s.npy", "(0, 2)", &[]);
    folder.i64("t.npy", &[]);
    folder.fails(ROWS, 1, &["t.npy", "mean"]);
    folder.npy("t.npy", "<i8", "(0, 2)", &[]);
    folder.fails(BINARY, 1, &["t.npy", "mean"]);
    folder.f32("s.npy", "(2, 2)", &[0.0; 4]);
    folder.i64("t.npy", &[5, 5]);
    folder.fails(&format!("{ROWS} --ignore-index 5"), 1, &["t.npy", "mean"]);
}

#[test]
fn devices_and_outputs() {
    let folder = good();
    for device in ["no-such-device", "gpu:99", "gpu:x"] {
        folder.fails(&format!("{ROWS} --device {device}"), 1, &[device, "cpu"]);
    }
    folder.fails(&ROWS.replace("g.npy", "no/such/folder/g.npy"), 1, &["no/such/folder/g.npy"]);
    std::fs::create_dir(folder.path("folder.npy")).unwrap();
    folder.fails(&ROWS.replace("g.npy", "folder.npy"), 1, &["folder.npy", "folder"]);
    #[cfg(unix)]
    folder.fails(&ROWS.replace("g.npy", "/dev/null"), 1, &["/dev/null", "not a regular file"]);
    for (output, input) in [("g.npy", "s.npy"), ("l.npy", "./t.npy")] {
        folder.fails(&ROWS.replace(output, input), 2, &["same file"]);
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("s.npy", folder.path("link.npy")).unwrap();
        folder.fails(&ROWS.replace("s.npy", "link.npy").replace("g.npy", "s.npy"), 2, &["same file"]);
    }
    let train = "train --features s.npy --targets t.npy --layers 1 --epochs 1";
    folder.write("s.csv", b"0.5,1\n0.5,-1\n");
    folder.fails(&format!("{train} --history-out t.npy"), 2, &["--targets and --history-out", "same file"]);
    let csv = train.replace("s.npy", "s.csv:0").replace("t.npy", "s.csv:1");
    folder.fails(&format!("{csv} --history-out s.csv"), 2, &["--features and --history-out", "same file"]);
    // A bad label leaves an older output as it was.
    folder.write("g.npy", b"older");
    folder.i64("t.npy", &[1, 0, 3, 0]);
    folder.fails(ROWS, 1, &["t.npy", "[2]"]);
    assert_eq!(std::fs::read(folder.path("g.npy")).unwrap(), b"older");
}
