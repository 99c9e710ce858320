//! A default that is spelled out changes no number, with every preset of every family.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::{Folder, read_npy};
use serde_json::Value;

/// The options that a report names, as they are typed.
fn spelled_out(report: &Value) -> String {
    let mut typed = format!("--reduction {}", report["reduction"].as_str().unwrap());
    let names = [
        ("margin", "--margin"),
        ("penalty", "--penalty"),
        ("kink", "--kink"),
        ("ties", "--ties"),
        ("score_kind", "--score-kind"),
        ("labels", "--labels"),
        ("method", "--method"),
        ("over_classes", "--over-classes"),
        ("over_items", "--over-items"),
        ("distance", "--distance"),
        ("p", "--p"),
        ("eps", "--eps"),
    ];
    for (name, option) in names {
        match &report["options"][name] {
            Value::Null => {}
            // torchmetrics's rule, which the option does not offer.
            Value::String(text) if text == "guessed" => {}
            Value::String(text) => typed += &format!(" {option} {text}"),
            number => typed += &format!(" {option} {number}"),
        }
    }
    typed
}

#[test]
fn a_default_spelled_out_changes_no_number() {
    let folder = Folder::new();
    let x: Vec<f32> = (0..12).map(|i| (7919 * i % 101) as f32 / 50.0 - 1.0).collect();
    folder.f32("s.npy", "(4, 3)", &x);
    folder.f32("s2.npy", "(4, 3)", &x.iter().map(|x| 0.5 - x).collect::<Vec<_>>());
    folder.f32("s3.npy", "(4, 3)", &x.iter().map(|x| x * x).collect::<Vec<_>>());
    let i64s = |name: &str, shape: &str, x: &[i64]| {
        folder.npy(name, "<i8", shape, &x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    };
    i64s("signs.npy", "(4, 3)", &[1, -1, 1, -1, 1, 1, -1, -1, 1, 1, -1, -1]);
    i64s("bits.npy", "(4, 3)", &[1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
    i64s("classes.npy", "(4,)", &[2, 0, 1, 1]);
    i64s("sets.npy", "(4, 3)", &[2, -1, -1, 0, 1, -1, 1, -1, -1, 2, 0, -1]);
    i64s("pair.npy", "(4,)", &[1, -1, 1, -1]);
    folder.f32("w4.npy", "(4,)", &[0.5, 2.0, 0.0, 1.0]);
    folder.f32("w12.npy", "(4, 3)", &[0.5, 2.0, 0.0, 1.0, 1.0, 3.0, 0.5, 0.25, 1.0, 2.0, 1.0, 1.0]);
    let signs = ["none", "torch", "keras", "sklearn", "optax"];
    let families: [(&str, &[&str], &str); 15] = [
        ("binary --scores s.npy --targets signs.npy", &signs, "w12.npy"),
        ("binary --scores s.npy --targets bits.npy", &["none", "torchmetrics", "keras"], "w12.npy"),
        (
            "multiclass --scores s.npy --targets classes.npy",
            &["none", "torch", "torchmetrics", "sklearn", "optax"],
            "w4.npy",
        ),
        (
            "multiclass --method one-vs-all --scores s.npy --targets classes.npy",
            &["none", "torch", "torchmetrics"],
            "w4.npy",
        ),
        ("multiclass --method top-k --k 2 --scores s.npy --targets classes.npy", &["none", "optax"], "w4.npy"),
        ("ranking --first s.npy --second s2.npy --targets signs.npy", &["none", "torch"], "w12.npy"),
        ("embedding --scores s.npy --targets signs.npy", &["none", "torch"], "w12.npy"),
        ("multilabel --scores s.npy --targets sets.npy", &["none", "torch"], "w4.npy"),
        ("categorical --scores s.npy --targets classes.npy", &["none", "keras"], "w4.npy"),
        ("categorical --scores s.npy --targets bits.npy", &["none", "keras"], "w4.npy"),
        ("listwise --scores s.npy --targets bits.npy", &["none", "keras"], "w4.npy"),
        ("lovasz --per-row --scores s.npy --targets signs.npy", &["none"], "w4.npy"),
        ("triplet --anchor s.npy --positive s2.npy --negative s3.npy", &["none", "torch"], "w4.npy"),
        ("triplet --distance cosine --anchor s.npy --positive s2.npy --negative s3.npy", &["none", "torch"], "w4.npy"),
        ("cosine --first s.npy --second s2.npy --targets pair.npy", &["none", "torch"], "w4.npy"),
    ];
    for (family, presets, weights) in families {
        for preset in presets {
            for weights in [String::new(), format!(" --sample-weights {weights}")] {
                let preset = if *preset == "none" { String::new() } else { format!(" --preset {preset}") };
                let command = format!("eval {family}{preset}{weights}");
                let plain = folder.json(&command);
                let typed = spelled_out(&plain);
                let again = folder.json(&format!("{command} {}", without_given(&typed, family)));
                assert_eq!(again["value"], plain["value"], "{command} and {typed}");
                // Keras's mean is what its preset means by `mean`.
                let mean = folder.json(&format!("{command} --reduction mean"));
                assert_eq!(mean["value"], plain["value"], "{command} --reduction mean");
                if plain["value"].is_array() {
                    continue;
                }
                folder.json(&format!("{command} --grad-out a.npy"));
                folder.json(&format!("{command} {} --grad-out b.npy", without_given(&typed, family)));
                assert_eq!(read_npy(&folder.path("a.npy")), read_npy(&folder.path("b.npy")), "{command} and {typed}");
            }
        }
    }
}

/// The typed options but those that the command has already, and --p and --eps where they mean nothing.
fn without_given(typed: &str, family: &str) -> String {
    let words: Vec<&str> = typed.split_whitespace().collect();
    let pairs = words.chunks(2).filter(|pair| !family.contains(pair[0]));
    pairs.map(|pair| pair.join(" ")).collect::<Vec<_>>().join(" ")
}
