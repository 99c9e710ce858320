//! List and vector losses from the command line: listwise, lovasz, triplet and cosine.

use crate::support::{Folder, close, read_npy};

fn array(folder: &Folder, name: &str) -> (Vec<usize>, Vec<f64>) {
    let (header, values) = read_npy(&folder.path(name));
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
    (shape.split(',').filter_map(|x| x.trim().parse().ok()).collect(), values)
}

#[test]
fn listwise_is_the_sum_over_pairs_of_a_list() {
    let folder = Folder::new();
    // keras-rs's own example, then a list whose last item is padding.
    folder.f32("s.npy", "(2, 4)", &[1.0, 3.0, 2.0, 4.0, 1.0, 1.75, 2.0, 3.0]);
    folder.f32("t.npy", "(2, 4)", &[1.0, 0.0, 1.0, 3.0, 0.0, 1.0, 2.0, -1.0]);
    let run = "eval listwise --scores s.npy --targets t.npy";
    // 3 + 2 (against the item of 3), and 0.25 + 0 + 0.75.
    let json = folder.json(&format!("{run} --reduction sum --grad-out g.npy --losses-out l.npy"));
    close(&json["value"], 5.0 + 1.0, 1e-12);
    assert!(json["accuracy"].is_null() && json["count"] == 2 && json["active"] == 2, "{json}");
    assert_eq!(array(&folder, "l.npy"), (vec![2], vec![5.0, 1.0]));
    let (shape, gradient) = array(&folder, "g.npy");
    assert_eq!((shape, gradient), (vec![2, 4], vec![-1.0, 2.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0]));
    close(&folder.json(run)["value"], 3.0, 1e-12);
    close(&folder.json(&format!("{run} --preset keras"))["value"], 6.0 / 8.0, 1e-12);
    close(&folder.json(&format!("{run} --over-items mean --reduction sum"))["value"], 1.5, 1e-12);
    close(&folder.json(&format!("{run} --batch-size 1"))["value"], 3.0, 1e-12);
    folder.f32("t.npy", "(2, 4)", &[1.0, 0.0, 1.0, 3.0, 0.0, f32::INFINITY, 2.0, -1.0]);
    folder.fails(run, 1, &["t.npy", "targets[5]", "finite relevance", "inf"]);
    folder.fails(&format!("{run} --score-kind logit"), 2, &["--score-kind", "listwise"]);
    folder.fails(&format!("{run} --preset torch"), 2, &["--preset torch", "keras"]);
}

#[test]
fn lovasz_is_of_the_whole_input_or_of_rows() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2, 2)", &[0.5, 0.5, 2.0, -0.25]);
    folder.npy("t.npy", "|i1", "(2, 2)", &[1, 0, 1, 0]);
    let run = "eval lovasz --scores s.npy --targets t.npy";
    // Rows: errors 0.5 and 1.5; errors -1 and 0.75, where the negative item comes first and adds 1/2.
    let json = folder.json(&format!("{run} --per-row --reduction none --losses-out l.npy"));
    assert_eq!((json["count"].as_u64(), &json["options"]["labels"]), (Some(2), &"zero-one".into()));
    assert_eq!(array(&folder, "l.npy"), (vec![2], vec![1.0, 0.375]));
    // Whole: errors 1.5 (negative), 0.75 (negative), 0.5 (positive), -1: steps 1/3, 1/6, 1/4.
    let json = folder.json(&format!("{run} --grad-out g.npy --losses-out l.npy"));
    close(&json["value"], 1.5 / 3.0 + 0.75 / 6.0 + 0.5 / 4.0, 1e-7);
    assert_eq!(array(&folder, "l.npy").0, [1]);
    let (shape, gradient) = array(&folder, "g.npy");
    assert_eq!((shape, &gradient[..2], gradient[2]), (vec![2, 2], &[-0.25, f64::from(1.0f32 / 3.0)][..], 0.0));
    folder.fails(&format!("{run} --labels plus-minus-one"), 1, &["t.npy", "targets[1]", "-1 or 1", "got 0"]);
    folder.fails(&format!("{run} --preset torch"), 2, &["--preset torch", "none"]);
}

/// Anchors, positives and negatives in two dimensions.
fn triplets() -> Folder {
    let folder = Folder::new();
    folder.f32("a.npy", "(2, 2)", &[0.0, 0.0, 1.0, 1.0]);
    folder.f32("p.npy", "(2, 2)", &[3.0, 4.0, 1.0, 1.0]);
    folder.f32("n.npy", "(2, 2)", &[0.0, 5.5, 4.0, 5.0]);
    folder
}

#[test]
fn triplets_have_distances() {
    let folder = triplets();
    let run = "eval triplet --anchor a.npy --positive p.npy --negative n.npy --eps 0";
    let json = folder.json(&format!("{run} --reduction sum --grad-out g.npy --losses-out l.npy"));
    close(&json["value"], 0.5, 1e-7);
    assert_eq!((json["active"].as_u64(), &json["options"]["distance"]), (Some(1), &"norm".into()));
    assert_eq!(array(&folder, "l.npy"), (vec![2], vec![0.5, 0.0]));
    let (shape, gradient) = array(&folder, "g.npy");
    assert_eq!(shape, [3, 2, 2]);
    let expected = [-0.6, 0.2, 0.0, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0];
    assert!(gradient.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-6), "{gradient:?}");
    // d(p, n) = sqrt(9 + 2.25) is nearer than 5.5.
    close(&folder.json(&format!("{run} --swap --reduction sum"))["value"], 6.0 - 11.25f64.sqrt(), 1e-6);
    close(&folder.json(&format!("{run} --p 1 --reduction sum"))["value"], 1.0 + 7.0 - 5.5, 1e-6);
    close(&folder.json(&format!("{run} --p inf --reduction sum"))["value"], 0.0, 1e-6);
    close(&folder.json(&format!("{run} --p inf --margin 2 --reduction sum"))["value"], 0.5, 1e-6);
    close(&folder.json(&format!("{run} --batch-size 1"))["value"], 0.25, 1e-7);
    folder.fails(&format!("{run} --p 0.5"), 2, &["--p:", "at least 1", "0.5"]);
    folder.fails(&format!("{run} --distance cosine"), 2, &["--distance norm"]);
    folder.f32("n.npy", "(4, 1)", &[0.0, 5.5, 4.0, 5.0]);
    folder.fails(run, 1, &["n.npy", "(2, 2)", "(4, 1)"]);
}

#[test]
fn cosines_of_pairs() {
    let folder = triplets();
    folder.f32("t.npy", "(2,)", &[1.0, -1.0]);
    folder.f32("y.npy", "(2, 2)", &[1.0, 0.0, 1.0, 0.0]);
    let run = "eval cosine --first p.npy --second y.npy --targets t.npy";
    let json = folder.json(&format!("{run} --reduction sum --grad-out g.npy"));
    close(&json["value"], (1.0 - 0.6) + 0.5f64.sqrt(), 1e-6);
    assert_eq!(array(&folder, "g.npy").0, [2, 2, 2]);
    close(&folder.json(&format!("{run} --margin 0.5 --reduction sum"))["value"], 0.4 + 0.5f64.sqrt() - 0.5, 1e-6);
    folder.f32("t.npy", "(2,)", &[1.0, f32::NAN]);
    folder.fails(run, 1, &["t.npy", "targets[1]", "NaN"]);
}
