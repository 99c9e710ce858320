//! Sparse rows in files: svmlight text and SciPy's CSR matrices, in `fit` and `predict --model`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::fit::{FIT, folder};
use crate::support::{close, npy, read_npy};

/// The rows of `folder` as svmlight text whose indices begin at `base`, with the labels in front.
fn svmlight(x: &[f64], y: &[i64], columns: usize, base: usize) -> String {
    let row = |(n, row): (usize, &[f64])| {
        let entries = row.iter().enumerate().filter(|(_, x)| **x != 0.0);
        let entries: Vec<String> = entries.map(|(k, x)| format!("{}:{x}", k + base)).collect();
        format!("{:+} {}\n", y[n], entries.join(" "))
    };
    x.chunks_exact(columns).enumerate().map(row).collect()
}

/// An .npz as SciPy's save_npz writes it, by the names and bytes of its arrays.
fn npz(arrays: &[(&str, &str, &str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, descr, shape, data) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(&npy(descr, shape, false, data)).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn bytes_of<const N: usize>(numbers: &[i64], bytes: fn(i64) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|&x| bytes(x)).collect()
}

fn csr(shape: [i64; 2], starts: &[i64], indices: &[i64], values: &[f32]) -> Vec<u8> {
    let i32s = |x: i64| (x as i32).to_le_bytes();
    npz(&[
        ("indices", "<i4", &format!("({},)", indices.len()), bytes_of(indices, i32s)),
        ("indptr", "<i4", &format!("({},)", starts.len()), bytes_of(starts, i32s)),
        ("format", "|S3", "()", b"csr".to_vec()),
        ("shape", "<i8", "(2,)", bytes_of(&shape, i64::to_le_bytes)),
        ("data", "<f4", &format!("({},)", values.len()), values.iter().flat_map(|x| x.to_le_bytes()).collect()),
    ])
}

#[test]
fn sparse_files_give_the_model_of_the_dense_one() {
    let folder = folder();
    let (_, x) = read_npy(&folder.path("x.npy"));
    let x: Vec<f64> = x.into_iter().map(|x| if x.abs() < 0.7 { 0.0 } else { x }).collect();
    let y = std::fs::read(folder.path("y.npy")).unwrap();
    let y: Vec<i64> = y[128..].chunks_exact(8).map(|y| i64::from_le_bytes(y.try_into().unwrap())).collect();
    folder.f32("x.npy", "(200, 3)", &x.iter().map(|&x| x as f32).collect::<Vec<_>>());
    folder.write("x.svm", svmlight(&x, &y, 3, 1).as_bytes());
    folder.write("zero.libsvm", format!("# from 0\n\n{}", svmlight(&x, &y, 3, 0)).as_bytes());
    let entries: Vec<(i64, f32)> =
        x.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(k, x)| ((k % 3) as i64, *x as f32)).collect();
    let mut starts = vec![0];
    starts.extend((1..=200).map(|row| x[..3 * row].iter().filter(|x| **x != 0.0).count() as i64));
    let (indices, values): (Vec<i64>, Vec<f32>) = entries.into_iter().unzip();
    folder.write("x.npz", &csr([200, 3], &starts, &indices, &values));
    let dense = folder.json(&format!("{FIT} --gap 1e-7 --model-out d.safetensors"));
    for (number, options) in [
        "--features x.svm",
        "--features x.svm --targets y.npy",
        "--features zero.libsvm --svmlight-base 0",
        "--features x.npz --targets y.npy",
    ]
    .into_iter()
    .enumerate()
    {
        let sparse = folder.json(&format!("fit {options} --gap 1e-7 --model-out s{number}.safetensors"));
        close(&sparse["primal"], dense["primal"].as_f64().unwrap(), 1e-6);
        assert_eq!((&sparse["accuracy"], &sparse["classes"]), (&dense["accuracy"], &dense["classes"]), "{options}");
        let features = options.split(" --targets").next().unwrap();
        let of_sparse = folder.json(&format!("predict --model s{number}.safetensors {features} --out a.npy"));
        folder.json(&format!("predict --model s{number}.safetensors --features x.npy --out b.npy"));
        assert_eq!(read_npy(&folder.path("a.npy")), read_npy(&folder.path("b.npy")), "{options}");
        // Labels in front of the lines are targets.
        assert_eq!(of_sparse.get("accuracy"), if number == 3 { None } else { Some(&dense["accuracy"]) }, "{options}");
    }
    // Folds, validation rows of svmlight text, and a model to start from.
    folder.json("fit --features x.svm --folds 3 --c 0.1,1");
    folder.json("fit --features x.npz --targets y.npy --validation-features x.svm --c 0.1,1");
    folder.json("fit --features x.svm --model-in d.safetensors --standardize");
    // Rows of fewer columns, whose labels are others.
    folder.write("few.svm", b"0 2:1\n7\n");
    let few = folder.json("predict --model s0.safetensors --features few.svm --out f.npy");
    assert_eq!((&few["shape"], few.get("loss")), (&serde_json::json!([2, 1]), None));
    assert_eq!(few["no_loss"], "row 0 has the label 0, which the model has not");
}

#[test]
fn sparse_files_that_lie_are_refused_by_line() {
    let folder = folder();
    folder.json(&format!("{FIT} --model-out m.safetensors"));
    folder.write("more.svm", b"4 1:1\n-2 1:1 4:1\n");
    folder.write("twice.svm", b"4 1:1 1:2\n-2 2:1\n");
    folder.write("huge.svm", b"4 1:1\n-2 9223372036854775808:1\n");
    folder.write("wide.svm", b"4 1:1\n-2 2147483648:1\n");
    folder.write("half.svm", b"4 1:1\n0.5 2:1\n");
    folder.write("cut.svm", b"4 1:1\n-2 2:");
    let (starts, indices, values) = (&[0, 1, 3][..], &[0, 0, 1][..], &[1.0f32, 2.0, 3.0][..]);
    folder.write("falls.npz", &csr([2, 3], &[0, 3, 1], indices, values));
    folder.write("beyond.npz", &csr([2, 3], &[0, 1, 9], indices, values));
    folder.write("short.npz", &csr([5, 3], starts, indices, values));
    folder.write("column.npz", &csr([2, 3], starts, &[0, 0, 3], values));
    folder.write("wide.npz", &csr([2, 1 << 40], starts, indices, values));
    folder.i64("two.npy", &[4, -2]);
    for (command, code, part) in [
        ("fit --features x.npy", 2, "--targets is needed: only svmlight text (.svm, .libsvm, .svmlight) holds labels"),
        ("fit --features falls.npz", 2, "--targets is needed"),
        ("fit --features twice.svm", 1, "twice.svm: line 1: index 1 behind 1: expected ascending indices"),
        ("fit --features huge.svm", 1, "huge.svm: line 2: index 9223372036854775808: expected one below"),
        ("fit --features wide.svm", 1, "wide.svm: line 2: index 2147483648: expected at most 1048576 columns"),
        ("fit --features half.svm", 1, "half.svm: line 2: expected a whole number up to 2^53 as label, got 0.5"),
        ("fit --features cut.svm", 1, "cut.svm: line 2: expected INDEX:VALUE, got \"2:\""),
        (
            "predict --model m.safetensors --features more.svm --out o.npy",
            1,
            "more.svm: line 2: index 4: expected one of the 3 columns that are known",
        ),
        ("fit --features falls.npz --targets two.npy", 1, "indptr[2], the end of row 1: expected 3 to 3, got 1"),
        ("fit --features beyond.npz --targets two.npy", 1, "indptr[2], the end of row 1: expected 1 to 3, got 9"),
        ("fit --features short.npz --targets two.npy", 1, "indptr: expected 6 numbers for 5 rows, got 3"),
        ("fit --features column.npz --targets two.npy", 1, "indices: row 1: expected a column below 3, got 3"),
        ("fit --features wide.npz --targets two.npy", 1, "shape (2, 1099511627776): expected at most 1048576 columns"),
        (
            "train --features more.svm --targets y.npy --layers 1",
            2,
            "sparse rows are features of fit and of predict --model",
        ),
    ] {
        folder.fails(command, code, &[part]);
    }
}
