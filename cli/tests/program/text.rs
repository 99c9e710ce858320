//! Files of text as people bring them: headers, delimiters, columns, blank lines, classes by name, compression.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;

use crate::support::Folder;
use serde_json::{Value, json};

/// The sum of the binary hinge at margin 1 of columns of a file, and what the report says of headers.
fn sum(folder: &Folder, scores: &str, targets: &str, options: &str) -> (f64, u64, Value) {
    let got = folder.json(&format!("eval binary --scores {scores} --targets {targets} --reduction sum {options}"));
    (got["value"].as_f64().unwrap(), got["count"].as_u64().unwrap(), got["csv_header"].clone())
}

fn found(header: bool) -> Value {
    json!({ "--scores": header, "--targets": header })
}

#[test]
fn headers_are_found_or_asked_for() {
    let folder = Folder::new();
    // pandas' to_csv without names: with an index and without.
    folder.write("index.csv", b",0,1\n0,0.5,1\n1,0.25,-1\n");
    folder.write("plain.csv", b"0,1\n0.5,1\n0.25,-1\n");
    folder.fails("eval binary --scores plain.csv:0 --targets plain.csv:1", 1, &["plain.csv", "--csv-header"]);
    folder.fails("eval binary --scores index.csv:0 --targets index.csv:1", 1, &["index.csv", "--csv-header"]);
    assert_eq!(sum(&folder, "plain.csv:0", "plain.csv:1", "--csv-header yes"), (1.75, 2, found(true)));
    assert_eq!(sum(&folder, "index.csv:0", "index.csv:1", "--csv-header yes"), (1.75, 2, found(true)));
    assert_eq!(sum(&folder, "plain.csv:0", "plain.csv:1", "--csv-header no"), (1.0 + 1.75, 3, found(false)));
    // A column of text without a header.
    folder.write("text.csv", b"a,2,1\nb,1,1\nc,1,-1\n");
    folder.fails("eval binary --scores text.csv:1 --targets text.csv:2", 1, &["text.csv", "a,2,1", "--csv-header"]);
    assert_eq!(sum(&folder, "text.csv:1", "text.csv:2", "--csv-header no"), (2.0, 3, found(false)));
    folder.write("named.csv", b"score,label\n0.5,1\n0.25,-1\n");
    assert_eq!(sum(&folder, "named.csv:score", "named.csv:label", ""), (1.75, 2, found(true)));
    assert_eq!(sum(&folder, "named.csv:0", "named.csv:1", ""), (1.75, 2, found(true)));
    let text = folder.run("eval binary --scores named.csv:0 --targets named.csv:1");
    assert!(String::from_utf8_lossy(&text.stdout).contains("header    --scores yes, --targets yes"));
    folder.write("long.csv", &[&b"s".repeat(5_000_000)[..], b"\n1\n"].concat());
    let output = folder.run("eval binary --scores long.csv:x --targets long.csv:x");
    assert!(output.status.code() == Some(1) && output.stderr.len() < 1000, "{}", output.stderr.len());
    folder.write("twice.csv", b"a,a,t\n1,2,1\n");
    folder.fails("eval binary --scores twice.csv:a --targets twice.csv:t", 1, &["\"a\"", "twice", "0 and 1"]);
}

#[test]
fn blank_lines_are_not_skipped() {
    let folder = Folder::new();
    folder.write("s.csv", b"s\n0.5\n\n0.25\n");
    folder.write("t.csv", b"t\n1\n-1\n1\n");
    folder.fails("eval binary --scores s.csv:s --targets t.csv:t", 1, &["s.csv", "row 1 (line 3)", "blank"]);
    folder.write("s.csv", b"s\n0.5\n0.25\n0.25\n\n\n");
    assert_eq!(sum(&folder, "s.csv:s", "t.csv:t", "").0, 0.5 + 1.25 + 0.75);
}

#[test]
fn columns_by_range_quoted_name_and_whole_text() {
    let folder = Folder::new();
    folder.write("x.csv", b"id,\"a,b\",c,d,y\n7,2,0.5,0,0\n8,0,1,0,1\n");
    let value = |scores: &str, targets: &str| {
        let got = folder.json(&format!("eval multiclass --scores {scores} --targets {targets} --reduction sum"));
        got["value"].as_f64().unwrap()
    };
    folder.f32("s.npy", "(2, 3)", &[2.0, 0.5, 0.0, 0.0, 1.0, 0.0]);
    folder.i64("t.npy", &[0, 1]);
    let expected = value("s.npy", "t.npy");
    assert_eq!(value("x.csv:1-3", "x.csv:4").to_bits(), value("x.csv:\"a,b\",c,d", "x.csv:y").to_bits());
    assert_eq!(value("x.csv:\"a,b\",c,3", "x.csv:y"), expected);
    // The whole text is one name.
    folder.i64("signs.npy", &[1, -1]);
    let one = folder.json("eval ranking --first x.csv:a,b --second x.csv:c --targets signs.npy --reduction sum");
    assert_eq!(one["count"], 2);
    folder.fails("eval multiclass --scores x.csv:2-9 --targets x.csv:y", 1, &["no column 2-9", "there are id, a,b, c"]);
}

#[test]
fn delimiters_compression_and_upper_case() {
    let folder = Folder::new();
    folder.write("a.csv", b"s,t\n0.5,1\n0.25,-1\n");
    let expected = sum(&folder, "a.csv:s", "a.csv:t", "").0;
    folder.write("a.TSV", b"s\tt\n0.5\t1\n0.25\t-1\n");
    assert_eq!(sum(&folder, "a.TSV:s", "a.TSV:t", "").0, expected);
    folder.write("b.csv", b"s;t\r\n0.5;1\r\n0.25;-1\r\n");
    assert_eq!(sum(&folder, "b.csv:s", "b.csv:t", "--csv-delimiter ;").0, expected);
    folder.fails("eval binary --scores b.csv:s --targets b.csv:t", 1, &["no column s", "there are s;t"]);
    folder.write("c.csv", b"s\tt\n0.5\t1\n0.25\t-1\n");
    assert_eq!(sum(&folder, "c.csv:s", "c.csv:t", "--csv-delimiter tab").0, expected);
    folder.fails("eval binary --scores c.csv:s --targets c.csv:t --csv-delimiter 12", 2, &["--csv-delimiter", "tab"]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(b"s,t\n0.5,1\n0.25,-1\n").unwrap();
    let bytes = gz.finish().unwrap();
    folder.write("d.csv.gz", &bytes);
    assert_eq!(sum(&folder, "d.csv.gz:s", "d.csv.gz:t", "").0, expected);
    folder.write("e.csv.gz", &bytes[..bytes.len() - 12]);
    folder.fails("eval binary --scores e.csv.gz:s --targets e.csv.gz:t", 1, &["e.csv.gz"]);
    folder.f32("S.NPY", "(2,)", &[0.5, 0.25]);
    assert_eq!(sum(&folder, "S.NPY", "a.csv:t", "").0, expected);
    // True and False, as pandas and NumPy write them.
    folder.write("f.csv", b"s,t\n0.5,True\n0.25,False\n");
    assert_eq!(sum(&folder, "f.csv:s", "f.csv:t", "").0, expected);
    folder.write("g.csv", b"s,t\n0.5,True\n0.25,1\n");
    folder.fails("eval binary --scores g.csv:s --targets g.csv:t", 1, &["row 1 (line 3)", "True or False"]);
}

#[test]
fn classes_by_name() {
    let folder = Folder::new();
    folder.f32("s.npy", "(3, 3)", &[2.0, 0.0, 0.0, 0.0, 2.0, 0.5, 0.0, 0.0, 2.0]);
    folder.i64("t.npy", &[1, 2, 0]);
    let expected = folder.json("eval multiclass --scores s.npy --targets t.npy");
    folder.write("t.csv", b"species\ncat\ndog\nbird\n");
    let got = folder.json("eval multiclass --scores s.npy --targets t.csv:species");
    assert_eq!((&got["value"], &got["classes"]), (&expected["value"], &json!(["bird", "cat", "dog"])));
    let text = folder.run("eval multiclass --scores s.npy --targets t.csv:species");
    assert!(String::from_utf8_lossy(&text.stdout).contains("classes   bird, cat, dog\n"));
    // Names of the columns come before the order of the texts.
    folder.write("s.csv", b"id,dog,cat,bird\n7,2,0,0\n8,0,2,0.5\n9,0,0,2\n");
    let got = folder.json("eval multiclass --scores s.csv:1-3 --targets t.csv:species");
    folder.i64("other.npy", &[1, 0, 2]);
    let expected = folder.json("eval multiclass --scores s.npy --targets other.npy");
    assert_eq!((&got["value"], &got["classes"]), (&expected["value"], &json!(["dog", "cat", "bird"])));
    // The order of the columns that are read counts, not that of the file; other columns do not.
    folder.write("p.csv", b"a,b,y\n5,0,a\n0,5,b\n");
    for scores in ["p.csv:a,b", "p.csv:b,a", "p.csv:1,0"] {
        let got = folder.json(&format!("eval multiclass --scores {scores} --targets p.csv:y"));
        assert_eq!(got["value"], 0.0, "{scores}");
    }
    folder.write("q.csv", b"a,c,y\n5,0,a\n0,5,b\n");
    let words = ["q.csv", "class \"b\"", "not among a, c"];
    folder.fails("eval multiclass --scores q.csv:a,c --targets q.csv:y", 1, &words);
    folder.write("headless.csv", b"cat\ndog\nbird\n");
    let words = ["2 classes", "--csv-header no"];
    folder.fails("eval multiclass --scores s.npy --targets headless.csv:0", 1, &words);
    // A class that no row has would shift the others.
    folder.write("two.csv", b"species\ncat\ndog\ncat\n");
    let words = ["two.csv", "2 classes of text for 3 columns"];
    folder.fails("eval multiclass --scores s.npy --targets two.csv:species", 1, &words);
    folder.write("mixed.csv", b"species\ncat\n1\ndog\n");
    folder.fails("eval multiclass --scores s.npy --targets mixed.csv:species", 1, &["mixed.csv", "row 1", "\"1\""]);
    // Labels of two classes are numbers.
    folder.f32("b.npy", "(3,)", &[0.5; 3]);
    folder.fails("eval binary --scores b.npy --targets t.csv:species", 1, &["t.csv", "expected a number", "\"cat\""]);
}

#[test]
fn training_on_classes_by_name() {
    let folder = Folder::new();
    let mut text = String::from("x,y,kind\n");
    for i in 0..30 {
        let (x, kind) = [(0.0, "c"), (2.0, "a"), (4.0, "b")][i % 3];
        text += &format!("{},{},{kind}\n", x + i as f64 / 100.0, 1.0 - x);
    }
    folder.write("x.csv", text.as_bytes());
    let train = "train --features x.csv:x,y --targets x.csv:kind --layers 3 --loss crammer-singer --epochs 3";
    let got = folder.json(train);
    assert_eq!(got["classes"], json!(["a", "b", "c"]));
    folder.i64("t.npy", &(0..30).map(|i| [2, 0, 1][i % 3]).collect::<Vec<_>>());
    let expected = folder.json(&train.replace("x.csv:kind", "t.npy"));
    assert_eq!(got["train"], expected["train"]);
    // Validation targets have the training's classes, also where they lack one.
    folder.write("v.csv", b"x,y,kind\n4,1,b\n0,1,c\n");
    let validation = "--validation-features v.csv:x,y --validation-targets v.csv:kind";
    let got = folder.json(&format!("{train} {validation}"));
    folder.i64("vt.npy", &[1, 2]);
    assert_eq!(
        got["validation"],
        folder.json(&format!("{train} {}", validation.replace("v.csv:kind", "vt.npy")))["validation"]
    );
    folder.write("v.csv", b"x,y,kind\n4,1,b\n0,1,d\n");
    folder.fails(&format!("{train} {validation}"), 1, &["v.csv", "\"d\"", "not among a, b, c"]);
    folder.fails(&train.replace("--layers 3", "--layers 4"), 1, &["x.csv", "3 classes of text for 4 outputs"]);
}
