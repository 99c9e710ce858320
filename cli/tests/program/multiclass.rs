//! The methods and class counts of the multiclass hinge from the command line.

use crate::support::{Folder, close, read_npy};

const RUN: &str = "eval multiclass --scores s.npy --targets t.npy";

fn rows() -> Folder {
    let folder = Folder::new();
    folder.f32("s.npy", "(3, 3)", &[2.0, 1.5, 0.0, 0.5, 1.0, 1.0, -1.0, 0.25, 0.5]);
    folder.i64("t.npy", &[0, 1, 2]);
    folder
}

#[test]
fn margins_of_pairs_of_classes() {
    let folder = rows();
    folder.f32("m.npy", "(3, 3)", &[9.0, 1.0, 5.0, 1.0, 9.0, 0.5, 1.0, 2.0, 9.0]);
    // Worst rivals: 5 + 0 - 2, 1 + 0.5 - 1 (and 0.5 + 1 - 1, a tie), 2 + 0.25 - 0.5.
    let json = folder.json(&format!("{RUN} --margin-matrix m.npy --reduction sum --grad-out g.npy"));
    close(&json["value"], 3.0 + 0.5 + 1.75, 1e-12);
    assert!(json["options"]["margin"].is_null() && json["options"]["margin_matrix"] == "m.npy", "{json}");
    let gradient = read_npy(&folder.path("g.npy")).1;
    assert_eq!(gradient, [-1.0, 0.0, 1.0, 1.0, -1.0, 0.0, 0.0, 1.0, -1.0]);
    // Every rival: (0.5 + 3) + (0.5 + 0.5) + (0 + 1.75).
    let json = folder.json(&format!("{RUN} --margin-matrix m.npy --method weston-watkins --reduction sum"));
    close(&json["value"], 6.25, 1e-12);
    let losses = folder.json(&format!("{RUN} --margin-matrix m.npy --batch-size 2 --reduction sum"));
    close(&losses["value"], 5.25, 1e-12);

    let wrong = |arguments: &str, code, words: &[&str]| folder.fails(&format!("{RUN} {arguments}"), code, words);
    wrong("--margin-matrix m.npy --margin 2", 2, &["--margin"]);
    wrong("--margin-matrix m.npy --method one-vs-all", 2, &["--margin-matrix", "one-vs-all"]);
    folder.f32("m.npy", "(2, 2)", &[0.0; 4]);
    wrong("--margin-matrix m.npy", 1, &["m.npy", "margin matrix", "expected shape (3, 3)", "got (2, 2)"]);
    folder.f32("m.npy", "(9,)", &[0.0; 9]);
    wrong("--margin-matrix m.npy", 1, &["m.npy", "expected shape (3, 3)", "got (9)"]);
    folder.f32("m.npy", "(3, 3)", &[f32::NAN, 1.0, 1.0, 1.0, f32::NAN, f32::INFINITY, 1.0, 1.0, 1.0]);
    wrong("--margin-matrix m.npy", 1, &["m.npy", "margin matrix[5]", "finite", "inf"]);
}

#[test]
fn every_method_by_its_name() {
    let folder = rows();
    for (arguments, expected) in [
        ("crammer-singer", 0.5 + 1.0 + 0.75),
        ("weston-watkins", 0.5 + 1.5 + 0.75),
        ("one-vs-all", (0.0 + 2.5 + 1.0) + (1.5 + 0.0 + 2.0) + (0.0 + 1.25 + 0.5)),
        ("lee-lin-wahba", (2.0 + 0.5) + (1.0 + 1.5) + (0.0 + 0.75)),
        ("lee-lin-wahba --over-classes mean --margin 2", ((2.5 + 1.0) + (1.5 + 2.0) + (0.0 + 1.25)) / 3.0),
        // The rows' violations are (0, 0.5, -1), (0.5, 0, 1) and (-0.5, 0.75, 0).
        ("top-k --k 2", 0.25 + 0.75 + 0.375),
        ("top-k --k 1 --penalty squared", 0.25 + 1.0 + 0.5625),
    ] {
        let json = folder.json(&format!("{RUN} --reduction sum --method {arguments}"));
        close(&json["value"], expected, 1e-6);
    }
    folder.fails(&format!("{RUN} --method top-k"), 2, &["--k"]);
    folder.fails(&format!("{RUN} --k 2"), 2, &["--k", "top-k", "crammer-singer"]);
    folder.fails(&format!("{RUN} --method top-k --k 4"), 2, &["--k:", "from 1 to the 3 classes", "got 4"]);
    folder.fails(&format!("{RUN} --method top-k --k 0"), 2, &["--k:"]);
    folder.fails(&format!("{RUN} --method lee-lin-wahba --per-class"), 2, &["--per-class", "lee-lin-wahba"]);
}

#[test]
fn every_method_trains() {
    let folder = Folder::new();
    for loss in ["crammer-singer", "weston-watkins", "one-vs-all", "lee-lin-wahba", "top-k --k 1"] {
        let json = folder.json(&format!("train --data moons --layers 8:relu,2 --loss {loss} --epochs 2 --device cpu"));
        assert_eq!(json["options"]["loss"].as_str().or(json["loss"].as_str()), loss.split(' ').next(), "{json}");
    }
}
