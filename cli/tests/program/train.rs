//! `maxmargin train` and `maxmargin predict` from the command line.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::{Folder, close, npy, read_npy};

const CIRCLES: &str = "train --data circles --layers 50:relu,1:tanh --init he-uniform,glorot-uniform --momentum 0.9";

/// The columns of a history file, as cells.
fn history(folder: &Folder, name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.path(name)).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("epoch,loss,accuracy,val_loss,val_accuracy"));
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn circles_are_learned_and_everything_is_written() {
    let folder = Folder::new();
    let outputs = "--weights-out w.safetensors --checkpoint-out c.safetensors --history-out h.csv --plot-out p.svg";
    let got = folder.json(&format!("{CIRCLES} --epochs 200 --validation-split 0.5 {outputs}"));
    assert_eq!((&got["epochs"], &got["end"], &got["parameters"]), (&200.into(), &"finished".into(), &201.into()));
    let accuracy = got["train"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.8 && got["train"]["loss"].as_f64().unwrap() < 0.45, "{got}");
    let rows = history(&folder, "h.csv");
    assert_eq!((rows.len(), rows[199].len(), &rows[199][0][..]), (200, 5, "199"));
    assert!(rows.iter().flatten().all(|cell| cell.parse::<f64>().is_ok()));
    close(&got["validation"]["loss"], rows[199][3].parse().unwrap(), 1e-6);
    let svg = std::fs::read_to_string(folder.path("p.svg")).unwrap();
    for words in ["Loss", "Accuracy", "Decision boundary", "validation"] {
        assert!(svg.contains(words), "no {words}");
    }
    // A second run gives the same to the bit.
    let again = folder.json(&format!("{CIRCLES} --epochs 200 --validation-split 0.5"));
    assert_eq!(again["train"], got["train"]);

    // The saved weights predict what the network predicted.
    folder.f32("x.npy", "(2, 2)", &[0.0, 0.0, 1.5, 1.5]);
    folder.json("predict --weights-in w.safetensors --layers 50:relu,1:tanh --features x.npy --out o.npy");
    let (header, scores) = read_npy(&folder.path("o.npy"));
    assert!(header.contains("(2, 1, )") && scores[0] > 0.5 && scores[1] < -0.5, "{header} {scores:?}");
}

#[test]
fn a_training_is_resumed_to_the_bit() {
    let folder = Folder::new();
    let adam = CIRCLES.replace("--momentum 0.9", "--optimizer adam --seed 5");
    folder.json(&format!("{adam} --epochs 6 --history-out whole.csv --weights-out whole.safetensors"));
    folder.json(&format!("{adam} --epochs 2 --checkpoint-out c.safetensors"));
    folder
        .json(&format!("{adam} --epochs 6 --resume c.safetensors --history-out rest.csv --weights-out w.safetensors"));
    assert_eq!(history(&folder, "rest.csv")[..], history(&folder, "whole.csv")[2..]);
    let bytes = |name| std::fs::read(folder.path(name)).unwrap();
    assert_eq!(bytes("w.safetensors"), bytes("whole.safetensors"));
    let wrong = |arguments: &str, code, words: &[&str]| folder.fails(arguments, code, words);
    wrong(&format!("{adam} --resume c.safetensors --seed 6").replacen("--seed 5 ", "", 1), 2, &["seed", "5", "6"]);
    wrong(&format!("{CIRCLES} --resume c.safetensors"), 1, &["c.safetensors", "optimizer"]);
    wrong(&format!("{adam} --resume w.safetensors"), 1, &["w.safetensors", "checkpoint"]);
    wrong(
        &format!("{adam} --resume c.safetensors --loss squared"),
        1,
        &["c.safetensors", "penalty squared", "penalty linear"],
    );
    wrong(&format!("{adam} --weights-in w.safetensors"), 2, &["--init", "--weights-in"]);
    // No epochs are left to train, and so none to draw.
    let done = folder.json(&format!("{adam} --epochs 2 --resume c.safetensors --plot-out none.svg"));
    assert_eq!((&done["epochs"], done["history"].as_array().unwrap().len()), (&2.into(), 0));
    assert!(!folder.path("none.svg").exists());
    // A rate whose decimal digits are hard to read.
    let awkward = format!("{adam} --learning-rate 0.00046415888336127773");
    folder.json(&format!("{awkward} --epochs 1 --checkpoint-out c.safetensors"));
    folder.json(&format!("{awkward} --epochs 2 --resume c.safetensors"));
    // A checkpoint remembers for how long the loss has not improved.
    let patient = format!("{adam} --learning-rate 0.02 --early-stopping 3");
    let whole = folder.json(&format!("{patient} --epochs 100 --weights-out whole.safetensors"));
    assert_eq!(whole["end"], "early-stopping");
    let epochs = whole["epochs"].as_u64().unwrap();
    for split in epochs - 3..=epochs {
        folder.json(&format!("{patient} --epochs {split} --checkpoint-out c.safetensors"));
        let rest = folder.json(&format!("{patient} --epochs 100 --resume c.safetensors --weights-out w.safetensors"));
        assert_eq!((&rest["epochs"], &rest["end"]), (&whole["epochs"], &whole["end"]), "split at {split}");
        assert_eq!(bytes("w.safetensors"), bytes("whole.safetensors"), "split at {split}");
    }
}

/// Options that mean nothing to a loss, and a diverged training with nothing to draw.
#[test]
fn what_means_nothing_and_what_diverges() {
    let folder = Folder::new();
    let train = "train --data circles --layers 8,1 --epochs 3";
    folder.fails(&format!("{train} --loss embedding --labels zero-one"), 2, &["--labels", "embedding"]);
    folder.fails(&format!("{train} --loss embedding --accuracy keras"), 2, &["--accuracy keras", "embedding"]);
    folder.fails("train --data circles:n=18446744073709551615 --layers 1", 2, &["--data", "n:"]);
    let diverges = format!("{train} --loss squared --learning-rate 1e30 --device cpu --plot-out p.svg");
    folder.fails(&diverges, 1, &["loss is inf"]);
}

/// A file in half precision trains and predicts like the same numbers in f32.
#[test]
fn features_in_half_precision() {
    let folder = Folder::new();
    let numbers: Vec<half::f16> = (0..80).map(|i| half::f16::from_f32((i * 37 % 80) as f32 / 40.0 - 1.0)).collect();
    folder.f32("wide.npy", "(40, 2)", &numbers.iter().map(|&x| x.into()).collect::<Vec<f32>>());
    folder.npy("half.npy", "<f2", "(40, 2)", &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    folder.i64("t.npy", &(0..40).map(|i| 2 * (i % 2) - 1).collect::<Vec<_>>());
    for name in ["wide", "half"] {
        let layers = "--layers 8:relu,1:tanh";
        let train = format!("train --features {name}.npy --targets t.npy {layers} --epochs 3 --plot-out {name}.svg");
        folder.json(&format!("{train} --weights-out {name}.safetensors"));
        let predict = format!("predict --weights-in {name}.safetensors {layers} --features {name}.npy");
        folder.json(&format!("{predict} --out {name}_scores.npy"));
    }
    for file in [".safetensors", "_scores.npy", ".svg"] {
        let bytes = |name: &str| std::fs::read(folder.path(&format!("{name}{file}"))).unwrap();
        assert!(bytes("wide") == bytes("half"), "{file}");
    }
}

#[test]
fn files_and_every_loss() {
    let folder = Folder::new();
    // Three clusters on a line, twelve of each.
    let features: Vec<f32> = (0..36).flat_map(|i| [(i % 3) as f32 - 1.0, (i / 3) as f32 / 12.0]).collect();
    folder.f32("x.npy", "(36, 2)", &features);
    folder.i64("t.npy", &(0..36).map(|i| i % 3).collect::<Vec<_>>());
    folder.i64("b.npy", &(0..36).map(|i| i64::from(i % 3 == 0)).collect::<Vec<_>>());
    for loss in ["crammer-singer", "weston-watkins", "one-vs-all"] {
        let got = folder.json(&format!(
            "train --features x.npy --targets t.npy --layers 3 --loss {loss} --epochs 60 --learning-rate 0.1"
        ));
        assert!(got["train"]["accuracy"].as_f64().unwrap() > 0.6, "{loss}: {got}");
    }
    let binary = "train --features x.npy --targets b.npy --layers 1 --epochs 60 --learning-rate 0.1";
    for options in ["--loss squared", "--preset keras", "--optimizer adamw", "--labels zero-one --accuracy keras"] {
        let got = folder.json(&format!("{binary} {options}"));
        assert!(got["train"]["accuracy"].as_f64().unwrap() > 0.9, "{options}: {got}");
    }
    let embedding = folder.json("train --data moons:n=50 --layers 1:tanh --loss embedding --history-out h.csv");
    assert!(embedding["train"]["accuracy"].is_null());
    assert!(history(&folder, "h.csv").iter().all(|row| row[2..].iter().all(String::is_empty)));
    // A validation data set of its own.
    let got = folder.json(&format!("{binary} --validation-features x.npy --validation-targets b.npy"));
    assert_eq!(got["validation"], got["train"]);
}

#[test]
fn bad_input() {
    let folder = Folder::new();
    folder.f32("x.npy", "(4, 2)", &[0.5; 8]);
    folder.i64("t.npy", &[1, -1, 1, -1]);
    folder.i64("bad.npy", &[1, -1, 7, -1]);
    folder.i64("few.npy", &[1, -1, 1]);
    let out = "--weights-out w.safetensors --history-out h.csv --checkpoint-out c.safetensors --plot-out p.png";
    let files = format!("train --features x.npy --targets t.npy {out}");
    let usage = |arguments: String, words: &[&str]| folder.fails(&arguments, 2, words);
    usage(format!("{files} --layers 50:cubic"), &["50:cubic", "relu, tanh"]);
    usage(format!("{files} --layers 0"), &["UNITS"]);
    usage(format!("{files} --layers 5,1 --init zeros,zeros,zeros"), &["--init", "2 layers", "3"]);
    usage(format!("{files} --layers 1 --learning-rate nan"), &["--learning-rate", "NaN"]);
    usage(format!("{files} --layers 1 --optimizer adam --momentum 0.9"), &["--momentum", "adam"]);
    usage(format!("{files} --layers 1 --validation-split 1.5"), &["--validation-split", "1.5"]);
    usage(format!("{files} --layers 1 --loss crammer-singer"), &["--layers", "at least 2 classes"]);
    usage("train --data circles:radius=3 --layers 1".into(), &["circles", "radius"]);
    usage("train --data circles:factor=2 --layers 1".into(), &["factor", "2"]);
    usage(format!("{files} --layers 1").replace("h.csv", "./w.safetensors"), &["same file"]);
    let data = |arguments: String, words: &[&str]| folder.fails(&arguments, 1, words);
    data(
        format!("{files} --layers 1 --labels plus-minus-one").replace("t.npy", "bad.npy"),
        &["bad.npy", "targets[2]", "7"],
    );
    data(
        format!("{files} --layers 1").replace("t.npy", "few.npy"),
        &["few.npy", "expected shape (4) or (4, K)", "got (3)"],
    );
    folder.i64("late.npy", &[1, -1, 7]);
    folder.f32("late_x.npy", "(3, 2)", &[0.5; 6]);
    let late = "--validation-features late_x.npy --validation-targets late.npy";
    data(format!("{files} --layers 1 {late}"), &["late.npy", "targets[2]", "7"]);
    let late = format!("{files} --layers 1 --validation-split 0.5").replace("x.npy", "late_x.npy");
    data(late.replace("t.npy", "late.npy"), &["late.npy", "targets[2]", "7"]);
    data(format!("{files} --layers 1 --weights-in nothing.safetensors"), &["nothing.safetensors"]);
    data(format!("{files} --layers 1 --weights-in x.npy"), &["x.npy", "safetensors"]);
    data(format!("{files} --layers 1").replace("h.csv", "no/h.csv"), &["no/h.csv"]);
    folder.json("train --features x.npy --targets t.npy --layers 1 --weights-out good.safetensors");
    data(
        format!("{files} --layers 2,1 --weights-in good.safetensors"),
        &["good.safetensors", "layers 2,1", "layers 1"],
    );
    let predict = "predict --weights-in good.safetensors --layers 1 --out o.npy --features";
    folder.write("wide.npy", &npy("<f4", "(1, 3)", false, &[0; 12]));
    data(format!("{predict} wide.npy"), &["good.safetensors", "3 inputs", "2 inputs"]);
    let predict = predict.replace("--layers 1 ", "");
    data(format!("{predict} wide.npy"), &["wide.npy", "expected shape (N, 2)", "(N, 3)"]);
    assert!(!folder.path("o.npy").exists());
}

#[test]
fn a_loss_that_is_no_number_ends_training_with_what_was_good() {
    let folder = Folder::new();
    let outputs = "--weights-out w.safetensors --history-out h.csv";
    let output = folder
        .run(&format!("train --data circles --layers 8,1 --loss squared --learning-rate 50 --epochs 9 {outputs}"));
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(line.starts_with("error: epoch 0, step") && line.contains("the loss is"), "{text}");
    assert!(history(&folder, "h.csv").is_empty());
    folder.f32("x.npy", "(1, 2)", &[1.0, 1.0]);
    folder.json("predict --weights-in w.safetensors --layers 8,1 --features x.npy --out o.npy");
    assert!(read_npy(&folder.path("o.npy")).1[0].is_finite());
}
