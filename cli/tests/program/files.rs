//! Arrays in the containers that people have: .npz, headers of Python 2, pipes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;

use crate::support::{Folder, npy};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn f32_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn members_of_npz_archives() {
    let folder = Folder::new();
    let scores = f32_bytes(&[2.0, 0.5, 0.0, 0.0, 1.0, 0.0]);
    let transposed = f32_bytes(&[2.0, 0.0, 0.5, 1.0, 0.0, 0.0]);
    let targets: Vec<u8> = [0i64, 1].iter().flat_map(|x| x.to_le_bytes()).collect();
    let write = |name: &str, method: CompressionMethod| {
        let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (member, bytes) in [
            ("t.npy", npy("<i8", "(2,)", false, &targets)),
            ("s.npy", npy("<f4", "(2, 3)", false, &scores)),
            ("fortran.npy", npy("<f4", "(2, 3)", true, &transposed)),
            ("text.npy", b"no array".to_vec()),
        ] {
            archive.start_file(member, options).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        folder.write(name, &archive.finish().unwrap().into_inner());
    };
    // numpy.savez and numpy.savez_compressed.
    write("stored.npz", CompressionMethod::Stored);
    write("deflated.NPZ", CompressionMethod::Deflated);
    folder.npy("s.npy", "<f4", "(2, 3)", &scores);
    folder.npy("t.npy", "<i8", "(2,)", &targets);
    let value = |scores: &str, targets: &str| {
        let got = folder.json(&format!("eval multiclass --scores {scores} --targets {targets}"));
        got["value"].as_f64().unwrap()
    };
    let expected = value("s.npy", "t.npy");
    for file in ["stored.npz", "deflated.NPZ"] {
        assert_eq!(value(&format!("{file}:s"), &format!("{file}:t")), expected, "{file}");
        assert_eq!(value(&format!("{file}:fortran"), &format!("{file}:t.npy")), expected, "{file}");
        let fails = |member: &str, words: &[&str]| {
            folder.fails(&format!("eval multiclass --scores {file}:{member} --targets t.npy"), 1, words);
        };
        fails("q", &[file, "no array \"q\"", "fortran", "s"]);
        fails("text", &[file, "no .npy header"]);
    }
    folder.fails("eval multiclass --scores stored.npz --targets t.npy", 2, &["stored.npz:ARRAY"]);
    let whole = std::fs::read(folder.path("stored.npz")).unwrap();
    // One bit of an array that is stored as it is.
    let mut flipped = whole.clone();
    let place = flipped.windows(4).position(|x| x == 2f32.to_le_bytes()).unwrap();
    flipped[place + 1] ^= 4;
    folder.write("flipped.npz", &flipped);
    folder.fails("eval multiclass --scores flipped.npz:s --targets t.npy", 1, &["flipped.npz", "checksum"]);
    for end in [0, 10, whole.len() / 2, whole.len() - 3] {
        folder.write("cut.npz", &whole[..end]);
        folder.fails("eval multiclass --scores cut.npz:s --targets t.npy", 1, &["cut.npz"]);
    }
}

#[test]
fn headers_of_python_2() {
    let folder = Folder::new();
    folder.npy("s.npy", "<f4", "(2L, 3L)", &f32_bytes(&[2.0, 0.5, 0.0, 0.0, 1.0, 0.0]));
    folder.npy("t.npy", "<i8", "(2L,)", &[0i64, 1].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    assert_eq!(folder.json("eval multiclass --scores s.npy --targets t.npy")["count"], 2);
    let unicode = npy("<f4", "(2L, 3L)", false, &[0; 24]);
    let unicode = String::from_utf8_lossy(&unicode[10..])
        .replace("'descr': '<f4'", "u'descr': u'<f4'")
        .replacen("      ", "    ", 1);
    folder.write("u.npy", &[&npy("<f4", "(2L, 3L)", false, &[])[..10], unicode.as_bytes()].concat());
    assert_eq!(folder.json("eval multiclass --scores u.npy --targets t.npy")["count"], 2);
    folder.npy("bad.npy", "<f4", "(2L3, 3L)", &[0; 24]);
    folder.fails("eval multiclass --scores bad.npy --targets t.npy", 1, &["bad.npy", "no .npy header"]);
}

/// What is read in one go may come from a pipe; the rest says so.
#[cfg(unix)]
#[test]
fn pipes() {
    let folder = Folder::new();
    let scores = npy("<f4", "(3,)", false, &f32_bytes(&[0.5, 0.25, 2.0]));
    folder.write("s.npy", &scores);
    folder.i64("t.npy", &[1, -1, 1]);
    let expected = folder.json("eval binary --scores s.npy --targets t.npy")["value"].clone();
    let piped = |scores: &str, bytes: &[u8]| {
        let mut program = folder.start(&format!("eval binary --scores {scores} --targets t.npy --json"));
        // A program that refuses its input closes the pipe.
        let _ = program.stdin.take().unwrap().write_all(bytes);
        let output = program.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => Ok(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["value"].clone()),
            Some(1) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    };
    assert_eq!(piped("/dev/stdin", &scores), Ok(expected.clone()));
    assert_eq!(piped("/dev/stdin:s", b"s\n0.5\n0.25\n2\n"), Ok(expected));
    assert!(piped("/dev/stdin:q", b"s\n0.5\n").unwrap_err().contains("no column q"));
    assert!(piped("/dev/stdin:s", b"PK\x03\x04").unwrap_err().contains("not .npz"));
    folder.fails("eval binary --scores /dev/stdin:0 --targets /dev/stdin:1", 1, &["/dev/stdin"]);
    assert!(piped("/dev/stdin", b"").unwrap_err().contains("no .npy header"));
    let pipe = std::ffi::CString::new(folder.path("p.npz").to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string that lives through the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    folder.fails("eval binary --scores p.npz:s --targets t.npy", 1, &["p.npz", "no regular file", "pipe"]);
}
