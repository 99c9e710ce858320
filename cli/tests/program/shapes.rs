//! Files match by their shapes, not by their number of elements. Axes of length 1 do not count; nothing is broadcast.

use crate::support::Folder;

/// Scores (4, 3), the same numbers as (3, 4) and (12), targets and weights in several shapes.
fn folder() -> Folder {
    let folder = Folder::new();
    let scores: Vec<f32> = (0..12).map(|i| (i * 5 % 7) as f32 / 4.0 - 0.5).collect();
    for (name, shape) in [("s", "(4, 3)"), ("turned", "(3, 4)"), ("flat", "(12,)"), ("deep", "(4, 1, 3)")] {
        folder.f32(&format!("{name}.npy"), shape, &scores);
        let ones: Vec<u8> = (0..12).map(|i| u8::from(i % 5 == 0)).collect();
        folder.npy(&format!("t_{name}.npy"), "|u1", shape, &ones);
        let signs: Vec<u8> = ones.iter().map(|&one| if one == 1 { 1 } else { 255 }).collect();
        folder.npy(&format!("sign_{name}.npy"), "|i1", shape, &signs);
        folder.f32(&format!("w_{name}.npy"), shape, &[2.0; 12]);
    }
    folder.npy("classes.npy", "|u1", "(4,)", &[0, 1, 2, 0]);
    folder.npy("classes_column.npy", "|u1", "(4, 1)", &[0, 1, 2, 0]);
    folder.npy("classes_square.npy", "|u1", "(2, 2)", &[0, 1, 2, 0]);
    folder.f32("w4.npy", "(4,)", &[2.0; 4]);
    folder.f32("w_square.npy", "(2, 2)", &[2.0; 4]);
    folder
}

#[test]
fn other_shapes_are_refused() {
    let folder = folder();
    let fails = |arguments: &str, words: &[&str]| folder.fails(arguments, 1, words);
    for family in ["multilabel", "categorical", "listwise", "lovasz", "lovasz --per-row"] {
        for targets in ["turned", "flat"] {
            let got = if targets == "turned" { "got (3, 4)" } else { "got (12)" };
            let line = format!("eval {family} --scores s.npy --targets t_{targets}.npy");
            fails(&line, &["targets: expected shape (4, 3)", got, &format!("t_{targets}.npy")]);
        }
    }
    for family in ["binary", "embedding"] {
        let line = format!("eval {family} --scores s.npy --targets sign_turned.npy");
        fails(&line, &["sign_turned.npy", "targets: expected shape (4, 3), got (3, 4)"]);
        let line = format!("eval {family} --scores s.npy --targets sign_s.npy --sample-weights w_turned.npy");
        fails(&line, &["w_turned.npy", "sample weights: expected shape (4, 3), got (3, 4)"]);
    }
    let ranking = "eval ranking --first s.npy --second turned.npy --targets sign_s.npy";
    fails(ranking, &["turned.npy", "second scores: expected shape (4, 3), got (3, 4)"]);
    let ranking = "eval ranking --first s.npy --second s.npy --targets sign_flat.npy";
    fails(ranking, &["sign_flat.npy", "targets: expected shape (4, 3), got (12)"]);
    fails("eval multiclass --scores s.npy --targets classes_square.npy", &["expected shape (4), got (2, 2)"]);
    let weighted = "eval multiclass --scores s.npy --targets classes.npy --sample-weights w_square.npy";
    fails(weighted, &["w_square.npy", "expected shape (4), got (2, 2)"]);
    fails(
        "eval cosine --first s.npy --second turned.npy --targets classes.npy",
        &["expected shape (4, 3), got (3, 4)"],
    );
    fails("eval multiclass --scores flat.npy --targets classes.npy", &["expected shape (N, C), got (12)"]);
    for targets in ["turned", "flat"] {
        let line = format!("train --features s.npy --targets sign_{targets}.npy --layers 3 --epochs 1");
        fails(&line, &[&format!("sign_{targets}.npy"), "targets: expected shape (4) or (4, K)"]);
    }
}

#[test]
fn axes_of_length_one_do_not_count() {
    let folder = folder();
    let value = |arguments: &str| folder.json(arguments)["value"].as_f64().unwrap();
    let plain = value("eval multiclass --scores s.npy --targets classes.npy");
    assert_eq!(value("eval multiclass --scores s.npy --targets classes_column.npy"), plain);
    let plain = value("eval binary --scores s.npy --targets sign_s.npy");
    assert_eq!(value("eval binary --scores deep.npy --targets sign_s.npy --sample-weights w_deep.npy"), plain);
    let plain = value("eval multilabel --scores s.npy --targets t_s.npy");
    assert_eq!(value("eval multilabel --scores s.npy --targets t_deep.npy --sample-weights w4.npy"), plain);
    let trained = |features: &str, targets: &str| {
        let options = "--loss crammer-singer --layers 3 --epochs 1";
        folder.json(&format!("train --features {features} --targets {targets} {options}"))["train"]["loss"].clone()
    };
    assert_eq!(trained("deep.npy", "classes_column.npy"), trained("s.npy", "classes.npy"));
}
