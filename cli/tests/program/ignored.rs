//! `--ignore-index` of every family, and `--reduction mean-active`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::{Folder, read_npy};

/// Evaluates files with ignored targets and files without these samples: value, count and gradient agree.
fn agree(folder: &Folder, family: &str, ignored: &str, plain: &str) {
    let a = folder.json(&format!("eval {family} {ignored} --ignore-index 255 --grad-out a.npy"));
    let b = folder.json(&format!("eval {family} {plain} --grad-out b.npy"));
    assert_eq!((&a["value"], &a["count"], &a["active"]), (&b["value"], &b["count"], &b["active"]), "{family}");
    assert_eq!(a["options"]["ignore_index"], 255, "{family}");
    let gradient =
        |name: &str| -> Vec<f64> { read_npy(&folder.path(name)).1.into_iter().filter(|&slope| slope != 0.0).collect() };
    assert_eq!(gradient("a.npy"), gradient("b.npy"), "{family}");
}

#[test]
fn every_family_leaves_out_what_it_is_told() {
    let folder = Folder::new();
    let (x, kept) = ([0.5, f32::NAN, -0.25, 2.0, 0.75], [0.5, -0.25, 2.0, 0.75]);
    folder.f32("s.npy", "(5,)", &x);
    folder.f32("k.npy", "(4,)", &kept);
    folder.f32("s2.npy", "(5,)", &[0.0; 5]);
    folder.f32("k2.npy", "(4,)", &[0.0; 4]);
    folder.i64("t.npy", &[1, 255, -1, -1, 1]);
    folder.i64("kt.npy", &[1, -1, -1, 1]);
    let (all, plain) = ("--scores s.npy --targets t.npy", "--scores k.npy --targets kt.npy");
    agree(&folder, "binary", all, plain);
    agree(&folder, "embedding", all, plain);
    agree(&folder, "lovasz", all, plain);
    let pairs = "--first s.npy --second s2.npy --targets t.npy";
    agree(&folder, "ranking --margin 1", pairs, "--first k.npy --second k2.npy --targets kt.npy");
    // The labels' encoding is found among those that are kept, also where they come first.
    folder.i64("z.npy", &[255, 255, 1, 0, 1]);
    folder.i64("kz.npy", &[1, 0, 1]);
    folder.f32("kz_s.npy", "(3,)", &[-0.25, 2.0, 0.75]);
    agree(&folder, "binary", "--scores s.npy --targets z.npy", "--scores kz_s.npy --targets kz.npy");
    folder.fails("eval binary --scores s.npy --targets z.npy", 1, &["z.npy", "targets[0]", "255"]);
    let rows = [2.0, 0.5, 0.0, f32::NAN, 1.0, 0.0, 0.25, 0.5, 1.5];
    folder.f32("r.npy", "(3, 3)", &rows);
    folder.f32("kr.npy", "(2, 3)", &[2.0, 0.5, 0.0, 0.25, 0.5, 1.5]);
    folder.i64("c.npy", &[1, 255, 0]);
    folder.i64("kc.npy", &[1, 0]);
    for family in ["multiclass", "categorical", "multiclass --method one-vs-all"] {
        agree(&folder, family, "--scores r.npy --targets c.npy", "--scores kr.npy --targets kc.npy");
    }
    folder.i64("p.npy", &[1, 255, -1]);
    folder.i64("kp.npy", &[1, -1]);
    let plain = "--first kr.npy --second kr.npy --targets kp.npy";
    agree(&folder, "cosine --margin 0.5", "--first r.npy --second r.npy --targets p.npy", plain);
    // A list that is left without items counts; its weight too.
    folder.f32("l.npy", "(2, 2)", &[0.5, -0.25, 0.75, 0.0]);
    folder.f32("lw.npy", "(2,)", &[0.5, 1.0]);
    folder.npy("lt.npy", "<i8", "(2, 2)", &[1i64, -1, 255, 1].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    let lists = "eval lovasz --per-row --scores l.npy --targets lt.npy --sample-weights lw.npy --ignore-index 255";
    let weighted = folder.json(&format!("{lists} --grad-out g.npy"));
    assert_eq!((&weighted["value"], &weighted["count"]), (&folder.json(lists)["value"], &2.into()));
    // Weights of ignored samples do not count.
    folder.f32("w.npy", "(5,)", &[1.0, 7.0, 2.0, 0.0, 1.0]);
    folder.f32("kw.npy", "(4,)", &[1.0, 2.0, 0.0, 1.0]);
    let (all, plain) = ("--scores s.npy --targets t.npy", "--scores k.npy --targets kt.npy");
    agree(&folder, "binary", &format!("{all} --sample-weights w.npy"), &format!("{plain} --sample-weights kw.npy"));
    folder.fails(
        "eval triplet --anchor s.npy --positive s.npy --negative s.npy --ignore-index 0",
        2,
        &["--ignore-index"],
    );
}

#[test]
fn the_mean_over_active_samples() {
    let folder = Folder::new();
    folder.f32("s.npy", "(4,)", &[0.5, 2.0, -1.0, 3.0]);
    folder.i64("t.npy", &[1, 1, 1, 1]);
    let eval = "eval binary --scores s.npy --targets t.npy --reduction mean-active";
    let got = folder.json(eval);
    assert_eq!((&got["value"], &got["reduction"]), (&1.25.into(), &"mean-active".into()));
    folder.f32("w.npy", "(4,)", &[3.0, 1.0, 0.0, 1.0]);
    assert_eq!(folder.json(&format!("{eval} --sample-weights w.npy"))["value"], 0.75);
    assert_eq!(folder.json(&format!("{eval} --batch-size 2"))["batch_values"], serde_json::json!([0.5, 2.0]));
    folder.f32("s.npy", "(4,)", &[2.0; 4]);
    assert_eq!(folder.json(eval)["value"], 0.0);
    folder.fails(&format!("{eval} --grad-out g.npy"), 2, &["--grad-out", "mean-active"]);
}
