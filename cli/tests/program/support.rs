//! Runs the program in a folder of its own, and writes and reads .npy files byte by byte.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Real scores: a linear SVM on handwritten digits.
pub(crate) const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data");

pub(crate) fn close(got: &Value, expected: f64, tolerance: f64) {
    let got = got.as_f64().unwrap();
    assert!((got - expected).abs() <= tolerance * expected.abs(), "{got} instead of {expected}");
}

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// A .npy file with this dtype and shape, in C order.
    pub(crate) fn npy(&self, name: &str, dtype: &str, shape: &str, data: &[u8]) {
        self.write(name, &npy(dtype, shape, false, data));
    }

    pub(crate) fn f32(&self, name: &str, shape: &str, x: &[f32]) {
        self.npy(name, "<f4", shape, &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    }

    pub(crate) fn i64(&self, name: &str, x: &[i64]) {
        let shape = format!("({},)", x.len());
        self.npy(name, "<i8", &shape, &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_maxmargin"))
            .args(arguments.split_whitespace())
            .env_remove("MAXMARGIN_DEVICE")
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Starts the program with pipes to and from it.
    pub(crate) fn start(&self, arguments: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_maxmargin"))
            .args(arguments.split_whitespace())
            .env_remove("MAXMARGIN_DEVICE")
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs and expects this exit code, nothing on stdout, and one `error:` line that holds all of `words`.
    pub(crate) fn fails(&self, arguments: &str, code: i32, words: &[&str]) {
        let before = self.names();
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
        // A driver's loader may write lines of its own before ours.
        let line = errors.lines().last().unwrap_or_default();
        assert!(line.starts_with("error: "), "{arguments}: {errors}");
        for word in words {
            assert!(line.contains(word), "{arguments}: no {word:?} in {line:?}");
        }
        assert!(!errors.contains("panicked"), "{arguments}: {errors}");
        assert_eq!(self.names(), before, "{arguments} left something behind");
    }
}

pub(crate) fn npy(dtype: &str, shape: &str, fortran: bool, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// The header's text and the data of a .npy file in little-endian f32 or f64.
pub(crate) fn read_npy(path: &Path) -> (String, Vec<f64>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..end].to_vec()).unwrap();
    let data = &bytes[end..];
    let values = if header.contains("<f4") {
        data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()).into()).collect()
    } else {
        assert!(header.contains("<f8"), "{header}");
        data.chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap())).collect()
    };
    (header, values)
}
