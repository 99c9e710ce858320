//! The contract of `maxmargin eval` and `maxmargin devices`: values, formats, outputs and JSON.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use crate::support::{DIGITS, Folder, close, npy, read_npy};
use serde_json::json;

fn binary(folder: &Folder) {
    folder.f32("s.npy", "(3,)", &[0.5, 0.7, 0.1]);
    folder.i64("t.npy", &[0, 1, 1]);
}

#[test]
fn digits_agree_with_scikit_learn() {
    let folder = Folder::new();
    let peer: serde_json::Value =
        serde_json::from_slice(&std::fs::read(format!("{DIGITS}/digits_scikit_learn.json")).unwrap()).unwrap();
    let files = format!("--scores {DIGITS}/digits_scores.npy --targets {DIGITS}/digits_labels.npy");
    let got = folder.json(&format!("eval multiclass {files}"));
    close(&got["value"], peer["hinge_loss"].as_f64().unwrap(), 1e-14);
    assert_eq!(got["accuracy"], peer["accuracy_score"]);
    assert_eq!(got["precision"], "f64");
    let got = folder.json(&format!("eval multiclass {files} --method one-vs-all --per-class"));
    let each = peer["hinge_loss_of_each_class"].as_array().unwrap();
    assert_eq!(got["value"].as_array().unwrap().len(), each.len());
    for (got, expected) in got["value"].as_array().unwrap().iter().zip(each) {
        close(got, expected.as_f64().unwrap(), 1e-14);
    }
}

#[test]
fn json_has_every_field() {
    let folder = Folder::new();
    binary(&folder);
    let got = folder.json("eval binary --scores s.npy --targets t.npy");
    close(&got["value"], 0.9, 1e-6);
    for (field, expected) in [
        ("loss", json!("binary")),
        ("reduction", json!("mean")),
        ("count", json!(3)),
        ("weight_sum", json!(3.0)),
        ("active", json!(3)),
        ("precision", json!("f32")),
    ] {
        assert_eq!(got[field], expected, "{field}");
    }
    close(&got["accuracy"], 2.0 / 3.0, 1e-15);
    assert_eq!(got["options"]["labels"], "zero-one");
    assert_eq!(got["options"]["margin"], 1.0);
    for field in ["kind", "name", "backend", "driver"] {
        assert!(got["device"].get(field).is_some(), "device.{field}");
    }
    assert_eq!(got["device"]["kind"], "cpu");
    for field in ["read", "upload", "compute", "total"] {
        assert!(got["seconds"][field].as_f64().unwrap() >= 0.0, "seconds.{field}");
    }
    let none = folder.json("eval binary --scores s.npy --targets t.npy --reduction none");
    assert_eq!(none["value"], json!(null));
    let embedding = folder.json("eval embedding --scores s.npy --targets s.npy");
    assert_eq!(embedding["accuracy"], json!(null));
}

#[test]
fn non_finite_values_are_strings() {
    let folder = Folder::new();
    folder.i64("t.npy", &[1, -1]);
    for (score, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "Infinity")] {
        folder.f32("s.npy", "(2,)", &[0.0, score]);
        assert_eq!(folder.json("eval binary --scores s.npy --targets t.npy")["value"], text);
    }
    folder.f32("s.npy", "(2,)", &[f32::NEG_INFINITY, 0.0]);
    assert_eq!(folder.json("eval embedding --scores s.npy --targets t.npy")["value"], "-Infinity");
}

#[test]
fn outputs_have_the_shape_of_the_scores() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2, 3)", &[2.0, 0.5, 0.25, 0.0, 0.0, 3.0]);
    folder.i64("t.npy", &[0, -100]);
    let arguments = "--scores s.npy --targets t.npy --method weston-watkins --margin 2 --ignore-index -100";
    folder.json(&format!("eval multiclass {arguments} --grad-out g.npy --losses-out l.npy"));
    let (header, gradient) = read_npy(&folder.path("g.npy"));
    assert!(header.contains("(2, 3, )") && header.contains("<f4"), "{header}");
    assert_eq!(gradient, [-2.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    let (header, losses) = read_npy(&folder.path("l.npy"));
    assert!(header.contains("(2, )"), "{header}");
    assert_eq!(losses, [0.75, 0.0]);
    assert_eq!(folder.names(), ["g.npy", "l.npy", "s.npy", "t.npy"]);
    folder.json(&format!("eval multiclass {arguments} --margin 0 --grad-out g.npy").replacen("--margin 2 ", "", 1));
    assert_eq!(read_npy(&folder.path("g.npy")).1, [0.0; 6]);
}

#[test]
fn double_precision_stays_double() {
    let folder = Folder::new();
    let s = [1.0 / 3.0, -0.1f64];
    folder.npy("s.npy", "<f8", "(2, 1)", &s.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    folder.i64("t.npy", &[1, -1]);
    let got = folder.json("eval binary --scores s.npy --targets t.npy --grad-out g.npy");
    assert_eq!(got["precision"], "f64");
    assert_eq!(got["value"].as_f64(), Some(((1.0 - s[0]) + (1.0 + s[1])) / 2.0));
    let (header, gradient) = read_npy(&folder.path("g.npy"));
    assert!(header.contains("<f8") && header.contains("(2, 1, )"), "{header}");
    assert_eq!(gradient, [-0.5, 0.5]);
}

#[test]
fn unusual_npy_is_read() {
    let folder = Folder::new();
    // Rows [2, 0.5, 0.25] and [0, 1, 3] in column order, big-endian.
    let columns = [2.0f32, 0.0, 0.5, 1.0, 0.25, 3.0];
    folder.write("s.npy", &npy(">f4", "(2, 3)", true, &columns.map(f32::to_be_bytes).concat()));
    folder.write("t.npy", &npy(">i2", "(2,)", false, &[0, 0, 0, 1]));
    let arguments = "eval multiclass --scores s.npy --targets t.npy --reduction sum";
    assert_eq!(folder.json(arguments)["value"], 3.0);
    // 1.0, -2.0 and 0.5 in half precision.
    folder.npy("s.npy", "<f2", "(3,)", &[0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38]);
    for (dtype, data) in [("|b1", [1u8, 0, 1]), ("|u1", [1, 0, 1]), ("|i1", [1, 255, 1])] {
        folder.npy("t.npy", dtype, "(3,)", &data);
        assert_eq!(folder.json("eval binary --scores s.npy --targets t.npy --reduction sum")["value"], 0.5, "{dtype}");
    }
    // No axis at all: one score.
    folder.npy("s.npy", "<f4", "()", &0.25f32.to_le_bytes());
    folder.npy("t.npy", "<f8", "()", &1f64.to_le_bytes());
    assert_eq!(folder.json("eval binary --scores s.npy --targets t.npy")["value"], 0.75);
}

#[test]
fn safetensors_and_csv() {
    let folder = Folder::new();
    // bf16 1.0, -2.0, 0.5 and u8 1, 0, 1.
    let header = r#"{"s":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},"t":{"dtype":"U8","shape":[3],"data_offsets":[6,9]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend([0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3f, 1, 0, 1]);
    folder.write("x.safetensors", &bytes);
    let sum = "--reduction sum";
    let got = folder.json(&format!("eval binary --scores x.safetensors:s --targets x.safetensors:t {sum}"));
    assert_eq!(got["value"], 0.5);
    folder.write("x.csv", b"a,b,label\n2,0.5,0\n0,1,1\n");
    let got = folder.json(&format!("eval multiclass --scores x.csv:a,b --targets x.csv:label {sum}"));
    assert_eq!((&got["value"], &got["precision"]), (&json!(0.0), &json!("f64")));
    folder.write("y.csv", b"2,0.5,0\n0,1,0\n");
    let got = folder.json(&format!("eval multiclass --scores y.csv:0,1 --targets y.csv:2 {sum}"));
    assert_eq!(got["value"], 2.0);
    // Integers are scores too.
    let got = folder.json(&format!("eval binary --scores y.csv:0 --targets x.csv:label {sum}"));
    assert_eq!(got["value"], 4.0);
}

#[test]
fn weights_and_options() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2, 2)", &[0.0, 0.5, 0.5, 0.5]);
    folder.i64("t.npy", &[0, 1]);
    folder.i64("w.npy", &[3, 1]);
    folder.f32("c.npy", "(2,)", &[0.5, 2.0]);
    let arguments = "eval multiclass --scores s.npy --targets t.npy --sample-weights w.npy --class-weights c.npy";
    // Violations 1.5 and 1: 0.5*3*1.5 + 2*1*1, over the sum of the sample weights.
    assert_eq!(folder.json(arguments)["value"], (2.25 + 2.0) / 4.0);
    let squared = folder.json(&format!("{arguments} --penalty squared --method weston-watkins --over-classes mean"));
    assert_eq!(squared["value"], (0.5 * 3.0 * 1.125 + 2.0 * 0.5) / 4.0);
    folder.f32("k.npy", "(2,)", &[1.0, 1.0]);
    folder.f32("p.npy", "(2,)", &[1.0, 1.0]);
    for (kink, slope) in [("zero", 0.0), ("half", -0.5), ("active", -1.0)] {
        folder.json(&format!(
            "eval binary --scores k.npy --targets p.npy --reduction sum --kink {kink} --grad-out g.npy --ties split"
        ));
        assert_eq!(read_npy(&folder.path("g.npy")).1, [slope; 2], "{kink}");
    }
    // An empty sum is 0.
    folder.f32("e.npy", "(0,)", &[]);
    assert_eq!(folder.json("eval binary --scores e.npy --targets e.npy --reduction sum")["value"], 0.0);
}

#[test]
fn what_is_printed() {
    let folder = Folder::new();
    binary(&folder);
    let text = |arguments: &str| {
        let output = folder.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let report = text("eval binary --scores s.npy --targets t.npy");
    for line in ["value", "samples", "active", "accuracy", "device", "seconds"] {
        assert!(report.lines().any(|l| l.starts_with(line)), "no {line} in\n{report}");
    }
    assert!(report.contains("auto:") && report.contains("f32") && report.contains("zero-one"), "{report}");
    let quiet = text("eval binary --scores s.npy --targets t.npy --quiet");
    assert!((quiet.trim().parse::<f64>().unwrap() - 0.9).abs() < 1e-6, "{quiet}");
    assert!(text("devices").starts_with("cpu"));
    let devices: serde_json::Value = serde_json::from_str(&text("devices --json")).unwrap();
    assert!(devices["adapters"].is_array());
}

#[test]
fn every_penalty_by_its_name() {
    let folder = Folder::new();
    folder.f32("s.npy", "(4,)", &[0.5, -3.0, 2.0, 0.25]);
    folder.i64("t.npy", &[1, 1, 1, -1]);
    // v = 1 - t*s is 0.5, 4, -1, 1.25.
    let soft = |z: f64| (-z).exp().ln_1p();
    for (penalty, margin, sum) in [
        ("linear", 1.0, 0.5 + 4.0 + 1.25),
        ("squared", 1.0, 0.25 + 16.0 + 1.5625),
        ("smooth:0.5", 1.0, 0.25 + 3.75 + 1.0),
        ("rennie", 1.0, 0.125 + 3.5 + 0.75),
        ("modified-huber", 1.0, 0.25 + 12.0 + 1.5625),
        ("perceptron", 0.0, 3.0 + 0.25),
        ("soft-margin", 0.0, soft(0.5) + soft(-3.0) + soft(2.0) + soft(-0.25)),
    ] {
        let got =
            folder.json(&format!("eval binary --scores s.npy --targets t.npy --reduction sum --penalty {penalty}"));
        close(&got["value"], sum, 1e-6);
        assert_eq!(got["options"]["penalty"], penalty);
        assert_eq!(got["options"]["margin"], margin);
    }
}

#[test]
fn ranking_compares_two_files() {
    let folder = Folder::new();
    folder.f32("a.npy", "(3,)", &[2.0, 0.5, 1.0]);
    folder.npy("b.npy", "<f8", "(3,)", &[1.0f64, 1.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    folder.i64("t.npy", &[1, 1, -1]);
    let got = folder.json("eval ranking --first a.npy --second b.npy --targets t.npy --grad-out g.npy");
    close(&got["value"], 0.5 / 3.0, 1e-12);
    assert_eq!(got["loss"], "ranking");
    assert_eq!(got["options"]["margin"], 0.0);
    assert_eq!(got["precision"], "f64");
    close(&got["accuracy"], 2.0 / 3.0, 1e-12);
    let (_, gradient) = read_npy(&folder.path("g.npy"));
    assert_eq!(gradient, [0.0, -1.0 / 3.0, 0.0]);
    let margin = folder.json("eval ranking --first a.npy --second b.npy --targets t.npy --margin 2 --reduction sum");
    close(&margin["value"], 1.0 + 2.5, 1e-12);
}

/// Both files are read in the wider of their two types; half precision is computed in f32.
#[test]
fn ranking_takes_two_files_of_different_types() {
    let folder = Folder::new();
    for (name, x) in [("a", [2.0f32, 0.5, 1.0]), ("b", [1.0, 1.0, 3.0])] {
        let bytes = |dtype: &str| -> Vec<u8> {
            match dtype {
                "f2" => x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
                "f4" => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
                _ => x.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            }
        };
        for dtype in ["f2", "f4", "f8"] {
            folder.npy(&format!("{name}{dtype}.npy"), &format!("<{dtype}"), "(3,)", &bytes(dtype));
        }
    }
    folder.i64("t.npy", &[1, 1, -1]);
    for first in ["f2", "f4", "f8"] {
        for second in ["f2", "f4", "f8"] {
            let got = folder.json(&format!("eval ranking --first a{first}.npy --second b{second}.npy --targets t.npy"));
            close(&got["value"], 0.5 / 3.0, 1e-6);
            let expected = if [first, second].contains(&"f8") { "f64" } else { "f32" };
            assert_eq!(got["precision"], expected, "{first} {second}");
        }
    }
}

#[test]
fn batches_are_streamed_and_drawn() {
    let folder = Folder::new();
    folder.f32("s.npy", "(5,)", &[0.5, -3.0, 2.0, 0.25, 1.0]);
    folder.i64("t.npy", &[1, 1, 1, -1, -1]);
    let files = "--scores s.npy --targets t.npy --batch-size 2";
    // The batches' means are (0.5 + 4) / 2, (0 + 1.25) / 2 and 2.
    for plot in ["p.svg", "p.png", "q.PNG"] {
        let got = folder.json(&format!("eval binary {files} --plot-out {plot}"));
        close(&got["value"], 7.75 / 5.0, 1e-12);
        assert_eq!(got["batch_values"], json!([2.25, 0.625, 2.0]));
        assert_eq!(got["count"], 5);
    }
    let svg = std::fs::read_to_string(folder.path("p.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("binary loss by batch"), "{svg}");
    assert!(std::fs::read(folder.path("p.png")).unwrap().starts_with(b"\x89PNG"));
    let whole = folder.json("eval binary --scores s.npy --targets t.npy");
    assert!(whole.get("batch_values").is_none());

    folder.f32("m.npy", "(4, 2)", &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 2.0, -1.0]);
    folder.i64("c.npy", &[0, 0, 1, -100]);
    let rows = "eval multiclass --scores m.npy --targets c.npy --ignore-index -100";
    let got = folder.json(&format!("{rows} --batch-size 3 --method one-vs-all --per-class --plot-out c.svg"));
    assert_eq!(got["batch_values"].as_array().unwrap().len(), 2);
    assert_eq!(got["batch_values"][1], json!([]));
    folder.i64("t.npy", &[1, 1, 1, 7, -1]);
    let words = ["t.npy", "targets[3]", "7"];
    folder.fails(&format!("eval binary {files} --labels plus-minus-one"), 1, &words);
    folder.i64("t.npy", &[1, 1, 1, -1, -1, 1]);
    folder.fails(&format!("eval binary {files}"), 1, &["t.npy", "expected 5 elements", "got 6"]);
    folder.npy("r.npy", "<i8", "(4, 2)", &[0i64, -1, 0, -1, 0, 5, 0, -1].map(i64::to_le_bytes).concat());
    let multilabel = "eval multilabel --scores m.npy --targets r.npy --batch-size 2";
    folder.fails(multilabel, 1, &["r.npy", "targets[5]", "got 5"]);
    let legend = std::fs::read_to_string(folder.path("c.svg")).unwrap();
    assert!(legend.contains("class 1"), "{legend}");
}

#[test]
fn rows_have_one_loss_each() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2, 2)", &[0.5, 0.0, 0.25, 1.0]);
    folder.npy("t.npy", "|i1", "(2, 2)", &[1, 0, 0, 1]);
    folder.json("eval categorical --scores s.npy --targets t.npy --losses-out l.npy");
    let (header, losses) = read_npy(&folder.path("l.npy"));
    assert!(header.contains("(2, )") || header.contains("(2,)"), "{header}");
    assert_eq!(losses, [0.5, 0.25]);
    folder.f32("e.npy", "(0, 2)", &[]);
    folder.npy("t.npy", "<i8", "(0,)", &[]);
    folder.json("eval categorical --scores e.npy --targets t.npy --reduction sum --losses-out l.npy");
    assert!(read_npy(&folder.path("l.npy")).1.is_empty());
}

#[test]
fn scores_are_what_the_caller_says() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2,)", &[0.5, 2.0]);
    folder.i64("t.npy", &[1, 1]);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let files = "--scores s.npy --targets t.npy";
    let raw = folder.json(&format!("eval binary {files}"));
    close(&raw["value"], 0.25, 1e-12);
    let logit = folder.json(&format!("eval binary {files} --score-kind logit --grad-out g.npy"));
    close(&logit["value"], 1.0 - (sigmoid(0.5) + sigmoid(2.0)) / 2.0, 1e-6);
    assert_eq!(logit["options"]["score_kind"], "logit");
    let (_, gradient) = read_npy(&folder.path("g.npy"));
    let slope = -0.5 * sigmoid(2.0) * (1.0 - sigmoid(2.0));
    assert!((gradient[1] - slope).abs() < 1e-7, "{gradient:?}");
    folder.f32("m.npy", "(1, 2)", &[0.0, 1.0]);
    folder.i64("c.npy", &[0]);
    let rows = folder.json("eval multiclass --scores m.npy --targets c.npy --score-kind logit");
    close(&rows["value"], 1.0 + sigmoid(1.0) - sigmoid(-1.0), 1e-6);
}

#[test]
fn presets_are_the_peers_conventions() {
    let folder = Folder::new();
    folder.f32("s.npy", "(2,)", &[0.5, 2.0]);
    folder.i64("t.npy", &[1, 1]);
    // torchmetrics applies the sigmoid to a whole batch if one score leaves [0, 1].
    let torchmetrics = "eval binary --scores s.npy --targets t.npy --preset torchmetrics";
    close(&folder.json(torchmetrics)["value"], 0.2483718, 1e-6);
    close(&folder.json(&format!("{torchmetrics} --batch-size 1"))["value"], 0.3096015, 1e-6);
    close(&folder.json(&format!("{torchmetrics} --score-kind raw"))["value"], 0.25, 1e-12);

    // torch's MultiMarginLoss: ((1 + 0.5) + 0.5) / 3 and (0 + 2) / 3.
    folder.f32("m.npy", "(2, 3)", &[0.5, 1.0, 0.0, -1.0, 3.0, 4.0]);
    folder.i64("c.npy", &[0, 1]);
    let rows = "eval multiclass --scores m.npy --targets c.npy";
    let torch = folder.json(&format!("{rows} --preset torch"));
    close(&torch["value"], (2.0 + 2.0) / 3.0 / 2.0, 1e-6);
    assert_eq!(torch["options"]["method"], "weston-watkins");
    assert_eq!(torch["options"]["over_classes"], "mean");
    assert_eq!(torch["options"]["preset"], "torch");
    close(&folder.json(&format!("{rows} --preset torch --over-classes sum"))["value"], 2.0, 1e-6);
    close(&folder.json(&format!("{rows} --preset torch --method crammer-singer"))["value"], 1.75, 1e-6);
    let one_vs_all = folder.json(&format!("{rows} --preset torchmetrics --method one-vs-all"));
    assert_eq!(one_vs_all["value"].as_array().unwrap().len(), 3);
    let sklearn = folder.json(&format!("{rows} --preset sklearn"));
    close(&sklearn["value"], 1.75, 1e-6);

    // Keras divides by the number of samples, optax has half slopes, torch has labels -1/+1.
    folder.f32("w.npy", "(2,)", &[3.0, 1.0]);
    let weighted = "eval binary --scores s.npy --targets t.npy --sample-weights w.npy";
    close(&folder.json(weighted)["value"], 0.375, 1e-12);
    let keras = folder.json(&format!("{weighted} --preset keras"));
    close(&keras["value"], 0.75, 1e-12);
    assert_eq!(keras["reduction"], "mean-over-count");
    folder.f32("kink.npy", "(2,)", &[1.0, 1.0]);
    let kink = "eval binary --scores kink.npy --targets t.npy --reduction sum --grad-out g.npy";
    for (preset, slope) in [("torch", 0.0), ("torchmetrics", 0.0), ("keras", -0.5), ("optax", -0.5), ("sklearn", -1.0)]
    {
        folder.json(&format!("{kink} --preset {preset} --score-kind raw"));
        assert_eq!(read_npy(&folder.path("g.npy")).1[0], slope, "{preset}");
    }
    folder.i64("bits.npy", &[1, 0]);
    folder.fails("eval binary --scores s.npy --targets bits.npy --preset torch", 1, &["bits.npy", "targets[1]"]);
    folder.json("eval binary --scores s.npy --targets bits.npy --preset keras");
}

#[test]
fn rows_of_targets() {
    let folder = Folder::new();
    // torch's own example of MultiLabelMarginLoss: labels 3 and 0.
    folder.f32("s.npy", "(1, 4)", &[0.1, 0.2, 0.4, 0.8]);
    folder.npy("t.npy", "<i8", "(1, 4)", &[3i64, 0, -1, 1].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    let multilabel = "eval multilabel --scores s.npy --targets t.npy";
    let got = folder.json(&format!("{multilabel} --preset torch --grad-out g.npy --losses-out l.npy"));
    close(&got["value"], 0.85, 1e-6);
    assert_eq!(got["accuracy"], json!(null));
    let (header, gradient) = read_npy(&folder.path("g.npy"));
    assert!(header.contains("(1, 4, )"), "{header}");
    assert_eq!(gradient, [-0.5, 0.5, 0.5, -0.5]);
    assert!(read_npy(&folder.path("l.npy")).0.contains("(1, )"));
    close(&folder.json(&format!("{multilabel} --over-classes sum"))["value"], 3.4, 1e-6);

    // Keras's categorical hinge differs from Crammer-Singer if all rivals are negative.
    folder.f32("c.npy", "(2, 3)", &[-1.0, -2.0, -3.0, 0.5, 2.0, 1.0]);
    folder.i64("i.npy", &[0, 1]);
    folder.npy("h.npy", "|i1", "(2, 3)", &[1, 0, 0, 0, 1, 0]);
    folder.npy("b.npy", "|b1", "(2, 3)", &[1, 0, 0, 0, 1, 0]);
    for targets in ["i.npy", "h.npy", "b.npy"] {
        let got = folder.json(&format!("eval categorical --scores c.npy --targets {targets} --preset keras"));
        close(&got["value"], 1.0, 1e-6);
        assert_eq!(got["accuracy"], 1.0);
        assert_eq!(got["options"]["ties"], "split");
    }
    // Signs: max of (0, 4, 2) and so on, as Keras computes it.
    folder.npy("g1.npy", "|i1", "(2, 3)", &[1, 255, 255, 255, 1, 255]);
    let signs = folder.json("eval categorical --scores c.npy --targets g1.npy --reduction none --losses-out l.npy");
    assert_eq!(signs["value"], json!(null));
    assert_eq!(read_npy(&folder.path("l.npy")).1, [0.0, 2.5]);
}
