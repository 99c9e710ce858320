//! What a training takes up again, and what weights say of their network.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::{Folder, npy};

const TRAIN: &str = "train --features x.npy --targets t.npy --layers 8:relu,1 --batch-size 4";

fn folder() -> Folder {
    let folder = Folder::new();
    let x: Vec<f32> = (0..24).map(|i| (7919 * i % 101) as f32 / 50.0 - 1.0).collect();
    folder.f32("x.npy", "(12, 2)", &x);
    folder.f32("fewer.npy", "(11, 2)", &x[..22]);
    folder.f32("other.npy", "(12, 2)", &x.iter().map(|x| -x).collect::<Vec<_>>());
    let t: Vec<i64> = (0..12).map(|i| if i % 3 == 0 { 1 } else { -1 }).collect();
    folder.i64("t.npy", &t);
    folder.i64("fewer_t.npy", &t[..11]);
    folder
}

#[test]
fn what_contradicts_a_checkpoint_is_refused() {
    let folder = folder();
    folder.json(&format!("{TRAIN} --epochs 2 --checkpoint-out c.safetensors"));
    let resume = format!("{TRAIN} --epochs 4 --resume c.safetensors --weights-out w.safetensors");
    let fails = |arguments: String, code, words: &[&str]| folder.fails(&arguments, code, words);
    fails(resume.replace("--batch-size 4", "--batch-size 3"), 2, &["--batch-size", "expected 4", "got 3"]);
    fails(format!("{resume} --no-shuffle"), 2, &["--no-shuffle", "did not have it"]);
    let fewer = resume.replace("x.npy", "fewer.npy").replace("t.npy", "fewer_t.npy");
    fails(fewer, 2, &["rows of the data", "expected 12", "got 11"]);
    fails(resume.replace("x.npy", "other.npy"), 2, &["training data", "other numbers"]);
    fails(format!("{resume} --accuracy keras"), 1, &["c.safetensors", "accuracy keras", "sign"]);
    fails(format!("{resume} --learning-rate 0.5"), 2, &["--learning-rate: expected 0.01", "checkpoint", "0.5"]);
    fails(format!("{resume} --optimizer adam"), 1, &["c.safetensors", "adam", "sgd"]);
    fails(format!("{resume} --labels zero-one"), 1, &["labels zero-one", "labels plus-minus-one"]);
    let got = folder.json(&resume);
    assert_eq!((&got["epochs"], &got["epochs_before"]), (&4.into(), &2.into()));
    // The same numbers in another type are the same data.
    let x = crate::support::read_npy(&folder.path("x.npy")).1;
    folder.npy("x8.npy", "<f8", "(12, 2)", &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    folder.json(&resume.replace("x.npy", "x8.npy"));
    fails("train --data circles --layers 1 --epochs 0".into(), 2, &["--epochs", "1 or more"]);
    fails("train --data circles:n=99999999999999 --layers 1".into(), 2, &["--data: n:"]);
}

#[test]
fn weights_say_their_layers() {
    let folder = folder();
    folder.json(&format!("{TRAIN} --weights-out w.safetensors --checkpoint-out c.safetensors"));
    let predict = "predict --features x.npy --out p.npy";
    folder.json(&format!("{predict} --weights-in w.safetensors --layers 8:relu,1"));
    let expected = std::fs::read(folder.path("p.npy")).unwrap();
    for weights in ["w.safetensors", "c.safetensors"] {
        folder.write("p.npy", b"");
        folder.json(&format!("{predict} --weights-in {weights}"));
        assert_eq!(std::fs::read(folder.path("p.npy")).unwrap(), expected, "{weights}");
    }
    for layers in ["8:relu", "8:sigmoid,1:tanh", "8,1"] {
        let words = ["w.safetensors", layers, "layers 8:relu,1"];
        folder.fails(&format!("{predict} --weights-in w.safetensors --layers {layers}"), 1, &words);
    }
    // torch's names, which do not say the layers.
    let header = r#"{"0.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"0.bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    let data: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    folder.write("torch.safetensors", &[&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat());
    folder.fails(&format!("{predict} --weights-in torch.safetensors"), 1, &["torch.safetensors", "--layers"]);
    assert_eq!(folder.json(&format!("{predict} --weights-in torch.safetensors --layers 1"))["shape"][0], 12);
    let words = ["layers.1.weight (1, 8)", "0.weight (1, 2)"];
    folder.fails(&format!("{predict} --weights-in torch.safetensors --layers 8,1"), 1, &words);
}

#[test]
fn predictions_as_text_and_labels() {
    let folder = folder();
    let predict = "predict --features x.npy --weights-in w.safetensors --labels-out l.npy --out";
    let labels = || -> Vec<i64> {
        let bytes = std::fs::read(folder.path("l.npy")).unwrap();
        let (_, labels) = bytes.split_at(bytes.len() - 12 * 8);
        labels.as_chunks().0.iter().map(|&label| i64::from_le_bytes(label)).collect()
    };
    folder.json(&format!("{TRAIN} --weights-out w.safetensors"));
    folder.json(&format!("{predict} p.npy"));
    let (_, outputs) = crate::support::read_npy(&folder.path("p.npy"));
    assert_eq!(labels(), outputs.iter().map(|&x| if x > 0.0 { 1 } else { -1 }).collect::<Vec<_>>());
    folder.json(&format!("{predict} p.csv"));
    let text = std::fs::read_to_string(folder.path("p.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    assert_eq!(header, "output0");
    assert_eq!(rows.lines().map(|row| row.parse::<f32>().unwrap().into()).collect::<Vec<f64>>(), outputs);
    folder.i64("c.npy", &(0..12).map(|i| i % 3).collect::<Vec<_>>());
    let classes = "train --features x.npy --targets c.npy --layers 3 --loss crammer-singer --weights-out w.safetensors";
    folder.json(classes);
    folder.json(&format!("{predict} p.npy"));
    let (_, outputs) = crate::support::read_npy(&folder.path("p.npy"));
    let best = |row: &[f64]| (0..3).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i64;
    assert_eq!(labels(), outputs.chunks(3).map(best).collect::<Vec<_>>());
}

#[test]
fn features_that_are_not_finite_are_named() {
    let folder = folder();
    let nan: Vec<u8> = [0f32, 1.0, 2.0, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
    folder.write("nan.npy", &npy("<f4", "(2, 2)", false, &nan));
    folder.npy("wide.npy", "<f8", "(1, 2)", &[1f64, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    folder.write("inf.csv", b"a,b\n1,2\n3,4\n5,inf\n");
    folder.i64("two.npy", &[1, -1]);
    folder.json(&format!("{TRAIN} --weights-out w.safetensors"));
    let words = ["nan.npy", "row 1, column 1", "finite", "NaN"];
    folder.fails("train --features nan.npy --targets two.npy --layers 1 --weights-out o.safetensors", 1, &words);
    folder.fails(&format!("{TRAIN} --validation-features nan.npy --validation-targets two.npy"), 1, &words);
    folder.fails("predict --features nan.npy --weights-in w.safetensors --out p.npy", 1, &words);
    let words = ["wide.npy", "row 0, column 1", "f32's range", "1e300"];
    folder.fails("predict --features wide.npy --weights-in w.safetensors --out p.npy", 1, &words);
    let words = ["inf.csv", "row 2, column 1", "finite", "inf"];
    folder.fails("predict --features inf.csv:a,b --weights-in w.safetensors --out p.npy", 1, &words);
}

/// Bytes of files are numbers from 0 to 255; those of generated images are divided by 255, and the report says so.
#[test]
fn bytes_of_files_and_of_images() {
    let folder = folder();
    folder.npy("bytes.npy", "|u1", "(2, 2)", &[0, 255, 7, 1]);
    folder.f32("floats.npy", "(2, 2)", &[0.0, 255.0, 7.0, 1.0]);
    folder.i64("two.npy", &[1, -1]);
    let train = "train --features bytes.npy --targets two.npy --layers 1 --learning-rate 1e-6";
    let (bytes, floats) = (folder.json(train), folder.json(&train.replace("bytes", "floats")));
    assert_eq!(bytes["train"], floats["train"]);
    assert!(bytes.get("feature_scale").is_none());
    let images = folder.json("train --data images:n=20,size=4 --layers 1 --epochs 1");
    assert_eq!(images["feature_scale"], "bytes / 255");
}
