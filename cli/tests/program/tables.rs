//! Columns of Parquet and Arrow IPC files, compared with the same numbers in .npy files.

#![cfg(feature = "arrow")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::File;
use std::sync::Arc;

use crate::support::{Folder, read_npy};
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int16Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

/// Rows per batch and per row group. A block holds several, but not a whole number of them.
const BATCH: usize = 70_001;

fn scores(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 49) as f32 / 8192.0 - 2.0
    };
    (0..len).map(|_| next()).collect()
}

/// Writes the columns to `x.parquet` and `x.arrow`, compressed.
fn write(folder: &Folder, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(BATCH))
        .build();
    let file = File::create(folder.path("x.parquet")).unwrap();
    let mut parquet = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    let options = IpcWriteOptions::default().try_with_compression(Some(arrow_ipc::CompressionType::LZ4_FRAME)).unwrap();
    let file = File::create(folder.path("x.arrow")).unwrap();
    let mut ipc = FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
    for start in (0..batch.num_rows()).step_by(BATCH) {
        ipc.write(&batch.slice(start, BATCH.min(batch.num_rows() - start))).unwrap();
    }
    parquet.write(&batch).unwrap();
    parquet.close().unwrap();
    ipc.finish().unwrap();
}

/// Evaluates columns of both files and .npy files; the results must agree to the bit, including the gradient.
fn agree(folder: &Folder, family: &str, scores: &str, targets: &str) {
    let run = |scores: &str, targets: &str| {
        let got = folder
            .json(&format!("eval {family} --scores {scores} --targets {targets} --grad-out g.npy --losses-out l.npy"));
        let of = |name: &str| got[name].clone();
        let numbers: Vec<Value> = ["value", "count", "active", "accuracy", "weight_sum"].map(of).into();
        (numbers, read_npy(&folder.path("g.npy")), read_npy(&folder.path("l.npy")))
    };
    let expected = run("s.npy", "t.npy");
    for file in ["x.parquet", "x.arrow"] {
        let got = run(&format!("{file}:{scores}"), &format!("{file}:{targets}"));
        assert_eq!(got.0, expected.0, "{file}");
        assert!(got.1 == expected.1 && got.2 == expected.2, "{file}: losses or gradient differ");
    }
    // The comparison must notice other scores.
    assert_ne!(run("other.npy", "t.npy").0, expected.0);
}

#[test]
fn one_column_over_many_batches() {
    let (folder, n) = (Folder::new(), 1_500_000);
    let scores = scores(n);
    // All ones except near the end, so that the labels' encoding shows late and the columns are read twice.
    let labels: Vec<i64> = (0..n).map(|i| if i > 1_400_000 && i % 3 == 0 { -1 } else { 1 }).collect();
    folder.f32("s.npy", &format!("({n},)"), &scores);
    folder.f32("other.npy", &format!("({n},)"), &scores.iter().map(|x| -x).collect::<Vec<_>>());
    folder.i64("t.npy", &labels);
    let names = StringArray::from_iter_values((0..n).map(|i| (i % 7).to_string()));
    let small = Int16Array::from_iter_values(labels.iter().map(|&t| t as i16));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", Arc::new(names)),
        ("label", Arc::new(small)),
        ("score, of the model", Arc::new(Float64Array::from(vec![0.0; n]))),
        ("score", Arc::new(Float32Array::from(scores))),
    ];
    write(&folder, columns);
    agree(&folder, "binary", "score", "label");
    folder.fails("eval binary --scores x.parquet:name --targets t.npy", 1, &["x.parquet", "\"name\"", "Utf8"]);
    folder.fails(
        "eval binary --scores x.arrow:scores --targets t.npy",
        1,
        &["no column scores", "name, label", "score"],
    );
    folder.fails("eval binary --scores x.arrow --targets t.npy", 2, &["x.arrow:COLUMN"]);
    folder.fails("eval binary --scores x.parquet:label --targets t.npy", 1, &["expected f16, bf16, f32 or f64"]);
}

#[test]
fn rows_of_several_columns_and_of_lists() {
    let (folder, n, columns) = (Folder::new(), 200_003, 5);
    let scores = scores(n * columns);
    let labels: Vec<i64> = (0..n).map(|i| (i % columns) as i64).collect();
    folder.f32("s.npy", &format!("({n}, {columns})"), &scores);
    folder.f32("other.npy", &format!("({n}, {columns})"), &scores.iter().map(|x| -x).collect::<Vec<_>>());
    folder.i64("t.npy", &labels);
    let column = |c: usize| Arc::new(Float32Array::from_iter_values(scores.iter().skip(c).step_by(columns).copied()));
    let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), columns as i32);
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in scores.chunks(columns) {
        fixed.values().append_slice(row);
        fixed.append(true);
        lists.values().append_slice(row);
        lists.append(true);
    }
    let all: Vec<(&str, ArrayRef)> = vec![
        ("b", column(1)),
        ("a", column(0)),
        ("y", Arc::new(Int64Array::from(labels))),
        ("c", column(2)),
        ("d", column(3)),
        ("e", column(4)),
        ("fixed", Arc::new(fixed.finish())),
        ("lists", Arc::new(lists.finish())),
    ];
    write(&folder, all);
    for scores in ["a,b,c,d,e", "fixed", "lists"] {
        agree(&folder, "multiclass", scores, "y");
    }
    // Here every element is a sample, so blocks begin within rows.
    folder.npy("t.npy", "|i1", &format!("({n}, {columns})"), &vec![1; n * columns]);
    let value = |scores: &str| folder.json(&format!("eval binary --scores {scores} --targets t.npy"))["value"].clone();
    assert_eq!(value("x.parquet:lists"), value("s.npy"));
    folder.fails("eval multiclass --scores x.arrow:fixed,a --targets x.arrow:y", 1, &["expected it alone"]);
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let (folder, n) = (Folder::new(), 300_000);
    let mut labels = vec![Some(1i64); n];
    labels[250_001] = None;
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in 0..n {
        lists.values().append_slice(&[1.0, 2.0, 3.0][..if row == 200_003 { 2 } else { 3 }]);
        lists.append(true);
    }
    let mut bad = vec![1i64; n];
    bad[290_000] = 7;
    let all: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(Float32Array::from(scores(n)))),
        ("y", Arc::new(Int64Array::from(labels))),
        ("bad", Arc::new(Int64Array::from(bad))),
        ("lists", Arc::new(lists.finish())),
    ];
    write(&folder, all);
    for file in ["x.parquet", "x.arrow"] {
        let targets =
            |column: &str| format!("eval binary --scores {file}:s --targets {file}:{column} --grad-out g.npy");
        folder.fails(&targets("y"), 1, &[file, "row 250001", "\"y\"", "null"]);
        folder.fails(&targets("bad"), 1, &[file, "targets[290000]", "got 7"]);
        let rows = format!("eval multiclass --scores {file}:lists --targets {file}:bad --ignore-index 7");
        folder.fails(&rows, 1, &[file, "row 200003", "\"lists\"", "as long as the first, 3, got one of 2"]);
        // Truncated files, and a file of another kind.
        let bytes = std::fs::read(folder.path(file)).unwrap();
        for length in [0, 5, 100, bytes.len() / 2, bytes.len() - 1] {
            folder.write(&format!("cut-{file}"), &bytes[..length]);
            folder.fails(&targets("s").replace(file, &format!("cut-{file}")), 1, &[&format!("cut-{file}")]);
        }
    }
}

/// Streams, as Hugging Face's datasets are stored, dictionaries and decimal numbers.
#[test]
fn streams_dictionaries_and_decimals() {
    let (folder, n) = (Folder::new(), 150_000);
    let scores = scores(n);
    let labels: Vec<i64> = (0..n).map(|i| if i % 3 == 0 { -1 } else { 1 }).collect();
    folder.f32("s.npy", &format!("({n},)"), &scores);
    folder.i64("t.npy", &labels);
    let keys = Int16Array::from_iter_values((0..n).map(|i| i16::from(i % 3 != 0)));
    let dictionary = DictionaryArray::new(keys, Arc::new(Int64Array::from(vec![-1, 1])));
    let cents: Vec<i128> = scores.iter().map(|&x| (f64::from(x) * 100.0).round() as i128).collect();
    let decimals = Decimal128Array::from(cents.clone()).with_precision_and_scale(10, 2).unwrap();
    folder.npy(
        "d.npy",
        "<f8",
        &format!("({n},)"),
        &cents.iter().flat_map(|&x| (x as f64 / 100.0).to_le_bytes()).collect::<Vec<_>>(),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(Float32Array::from(scores))),
        ("y", Arc::new(Int64Array::from(labels))),
        ("dictionary", Arc::new(dictionary)),
        ("decimal", Arc::new(decimals)),
    ];
    write(&folder, columns.clone());
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut stream =
        StreamWriter::try_new(File::create(folder.path("stream.arrow")).unwrap(), &batch.schema()).unwrap();
    for start in (0..n).step_by(BATCH) {
        stream.write(&batch.slice(start, BATCH.min(n - start))).unwrap();
    }
    stream.finish().unwrap();
    let value = |scores: &str, targets: &str| {
        folder.json(&format!("eval binary --scores {scores} --targets {targets} --grad-out g.npy"))["value"].clone()
    };
    let (expected, of_decimals) = (value("s.npy", "t.npy"), value("d.npy", "t.npy"));
    assert_ne!(expected, of_decimals);
    for file in ["stream.arrow", "x.arrow", "x.parquet"] {
        assert_eq!(value(&format!("{file}:s"), &format!("{file}:y")), expected, "{file}");
        assert_eq!(value(&format!("{file}:s"), &format!("{file}:dictionary")), expected, "{file}");
        assert_eq!(value(&format!("{file}:decimal"), "t.npy"), of_decimals, "{file}");
    }
    let bytes = std::fs::read(folder.path("stream.arrow")).unwrap();
    for length in [0, 3, 7, 100, bytes.len() / 2] {
        folder.write("cut.arrow", &bytes[..length]);
        folder.fails("eval binary --scores cut.arrow:s --targets t.npy", 1, &["cut.arrow"]);
    }
}

#[test]
fn classes_of_text() {
    let folder = Folder::new();
    folder.f32("s.npy", "(3, 3)", &[2.0, 0.0, 0.0, 0.0, 2.0, 0.5, 0.0, 0.0, 2.0]);
    folder.i64("t.npy", &[1, 2, 0]);
    let names = ["cat", "dog", "bird"];
    let dictionary: DictionaryArray<Int32Type> = names.into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("text", Arc::new(StringArray::from_iter_values(names))), ("dictionary", Arc::new(dictionary))];
    write(&folder, columns);
    let expected = folder.json("eval multiclass --scores s.npy --targets t.npy")["value"].clone();
    // Names of the columns come first, as in .csv.
    let column = |x: [f32; 3]| -> ArrayRef { Arc::new(Float32Array::from(x.to_vec())) };
    let columns: Vec<(&str, ArrayRef)> =
        vec![("dog", column([2.0, 0.0, 0.0])), ("cat", column([0.0, 2.0, 0.0])), ("bird", column([0.0, 0.5, 2.0]))];
    let named = Folder::new();
    write(&named, columns);
    for file in ["x.arrow", "x.parquet"] {
        std::fs::copy(named.path(file), folder.path(&format!("named-{file}"))).unwrap();
        let run = format!("eval multiclass --scores named-{file}:0-2 --targets {file}:text");
        assert_eq!(folder.json(&run)["classes"], serde_json::json!(["dog", "cat", "bird"]), "{file}");
    }
    for targets in ["x.arrow:text", "x.parquet:text", "x.arrow:dictionary", "x.parquet:dictionary"] {
        let got = folder.json(&format!("eval multiclass --scores s.npy --targets {targets}"));
        assert_eq!(
            (&got["value"], &got["classes"]),
            (&expected, &serde_json::json!(["bird", "cat", "dog"])),
            "{targets}"
        );
    }
}
