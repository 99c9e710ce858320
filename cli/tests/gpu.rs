//! Every family of `eval` has the same value (to 1e-6) and the same counts on each GPU as on the CPU. `--device
//! auto:gpu:N` and `bench` work with each GPU too, and `fit` reaches the optimum of the CPU.

#[path = "../../tests/suite/harness.rs"]
mod harness;
#[path = "program/support.rs"]
mod support;
use libtest_mimic::{Arguments, Trial};
use serde_json::json;
use support::{Folder, close};

const FAMILIES: [&str; 14] = [
    "binary --scores samples.npy --targets signs.npy --grad-out g.npy",
    "ranking --first samples.npy --second others.npy --targets signs.npy --penalty squared",
    "embedding --scores samples.npy --targets signs.npy --losses-out l.npy",
    "multiclass --scores rows.npy --targets classes.npy",
    "multiclass --scores rows.npy --targets classes.npy --method weston-watkins --penalty squared --reduction sum",
    "multiclass --scores rows.npy --targets classes.npy --method one-vs-all --over-classes mean --grad-out g.npy",
    "multiclass --scores rows.npy --targets classes.npy --method lee-lin-wahba",
    "multiclass --scores rows.npy --targets classes.npy --method top-k --k 3",
    "multilabel --scores rows.npy --targets labels.npy",
    "categorical --scores rows.npy --targets classes.npy",
    "listwise --scores rows.npy --targets relevances.npy --grad-out g.npy",
    "lovasz --scores rows.npy --targets bits.npy --per-row",
    "triplet --anchor rows.npy --positive near.npy --negative far.npy",
    "cosine --first rows.npy --second near.npy --targets signs.npy",
];

fn says_the_same(device: &str) {
    const ROWS: usize = 500;
    const COLUMNS: usize = 7;
    let folder = Folder::new();
    let floats = |n: usize, step: usize| (0..n).map(|i| (step * i % 1009) as f32 / 256.0 - 2.0).collect::<Vec<_>>();
    let shape = format!("({ROWS}, {COLUMNS})");
    let integers = |n: usize, of: &dyn Fn(usize) -> i64| (0..n).map(of).collect::<Vec<_>>();
    for (name, step) in [("samples.npy", 17), ("others.npy", 101)] {
        folder.f32(name, &format!("({ROWS},)"), &floats(ROWS, step));
    }
    for (name, step) in [("rows.npy", 57), ("near.npy", 58), ("far.npy", 911)] {
        folder.f32(name, &shape, &floats(ROWS * COLUMNS, step));
    }
    folder.i64("signs.npy", &integers(ROWS, &|i| if i % 3 == 0 { -1 } else { 1 }));
    folder.i64("classes.npy", &integers(ROWS, &|i| (i % COLUMNS) as i64));
    // Two labels per row, then -1, which ends the list.
    let label = |i: usize| if i % COLUMNS < 2 { ((i / COLUMNS + 3 * (i % COLUMNS)) % COLUMNS) as i64 } else { -1 };
    for (name, of) in [
        ("labels.npy", &label as &dyn Fn(usize) -> i64),
        ("relevances.npy", &|i| (i % 4) as i64 - 1),
        ("bits.npy", &|i| i64::from(i % 3 == 0)),
    ] {
        let bytes: Vec<u8> = integers(ROWS * COLUMNS, of).iter().flat_map(|x| x.to_le_bytes()).collect();
        folder.npy(name, "<i8", &shape, &bytes);
    }
    for family in FAMILIES {
        let cpu = folder.json(&format!("eval {family} --device cpu"));
        let gpu = folder.json(&format!("eval {family} --device {device}"));
        let value = cpu["value"].as_f64().unwrap_or(f64::NAN);
        assert!(value > 0.0, "{family}: {value}");
        close(&gpu["value"], value, 1e-6);
        assert_eq!((&gpu["device"]["kind"], &gpu["precision"]), (&json!("gpu"), &json!("f32")), "{family}");
        for field in ["loss", "options", "count", "active", "accuracy"] {
            assert_eq!(gpu[field], cpu[field], "{family}: {field}");
        }
    }
}

/// `--device auto:gpu:N` measures CPU and GPU and takes the faster one.
fn measures_for_auto(index: usize) {
    let folder = Folder::new();
    let scores: Vec<f32> = (0..3000 * 40).map(|i| (i % 977) as f32 / 256.0 - 2.0).collect();
    folder.f32("s.npy", "(3000, 40)", &scores);
    folder.i64("t.npy", &(0..3000).map(|i| i % 40).collect::<Vec<_>>());
    for options in ["", "--method top-k --k 5 --grad-out g.npy --losses-out l.npy", "--batch-size 1000"] {
        let loss = format!("eval multiclass --scores s.npy --targets t.npy {options}");
        let cpu = folder.json(&format!("{loss} --device cpu"));
        let auto = folder.json(&format!("{loss} --device auto:gpu:{index}"));
        close(&auto["value"], cpu["value"].as_f64().unwrap_or(f64::NAN), 1e-6);
        let note = auto["device"]["note"].as_str().unwrap_or_default();
        // "auto: the CPU takes 1.25 GB/s, NAME 0.75 GB/s with uploads"
        let words: Vec<_> = note.split(' ').collect();
        let rates: Vec<f64> = words
            .windows(2)
            .filter(|pair| pair[1].starts_with("GB/s"))
            .filter_map(|pair| pair[0].parse().ok())
            .collect();
        assert_eq!(rates.len(), 2, "{note}");
        let (of_cpu, of_gpu) = (rates[0], rates[1]);
        let name = auto["device"]["name"].as_str().unwrap_or_default();
        let is_gpu = auto["device"]["kind"] == "gpu";
        assert!(if is_gpu { of_gpu >= of_cpu && note.contains(name) } else { of_cpu >= of_gpu }, "{name}: {note}");
    }
    // Only the CPU computes in f64, so nothing is measured. Bad input is still refused.
    folder.npy("d.npy", "<f8", "(2, 2)", &[0; 32]);
    folder.i64("two.npy", &[0, 1]);
    let auto = folder.json(&format!("eval multiclass --scores d.npy --targets two.npy --device auto:gpu:{index}"));
    assert_eq!((&auto["device"]["kind"], &auto["precision"]), (&json!("cpu"), &json!("f64")));
    let bad = "eval multiclass --scores s.npy --targets two.npy";
    folder.fails(&format!("{bad} --device auto:gpu:{index}"), 1, &["two.npy", "3000"]);
}

/// `fit` with rows on the device: the optimum of the CPU, and its own way to say where it ran.
fn fits_to_the_same_optimum(index: usize) {
    let folder = Folder::new();
    let x: Vec<f32> = (0..900 * 5).map(|i| (i * i % 1013) as f32 / 256.0 - 2.0).collect();
    folder.f32("x.npy", "(900, 5)", &x);
    let of = |row: &[f32]| if row[0] + row[1] * row[2] > 0.5 { 2 } else { i64::from(row[3] > 0.0) };
    let labels: Vec<i64> = x.chunks_exact(5).map(of).collect();
    folder.i64("y.npy", &labels);
    folder.i64("two.npy", &labels.iter().map(|label| label % 2).collect::<Vec<_>>());
    folder.write("s.svm", b"1 1:0.5 3:1\n0 2:1\n");
    for options in [
        "--targets y.npy --standardize",
        "--targets two.npy --loss squared-hinge --intercept free",
        "--targets two.npy --loss smooth:0.5 --c 0.01,1 --folds 3",
    ] {
        let fit = format!("fit --features x.npy --gap 1e-5 {options}");
        let cpu = folder.json(&format!("{fit} --device cpu"));
        let gpu = folder.json(&format!("{fit} --device gpu:{index}"));
        let [low, high] = ["dual", "primal"].map(|key| gpu[key].as_f64().unwrap_or(f64::NAN));
        let [dual, primal] = ["dual", "primal"].map(|key| cpu[key].as_f64().unwrap_or(f64::NAN));
        assert!(low <= primal && dual <= high && gpu["certified"] == true, "{options}: {cpu} {gpu}");
        assert_eq!((&gpu["device"]["kind"], &gpu["precision"]), (&json!("gpu"), &json!("f64")), "{options}");
        assert!(gpu["steps_on_gpu"].as_u64() > Some(0) && cpu["steps_on_gpu"] == 0, "{options}: {gpu}");
        let auto = folder.json(&format!("{fit} --device auto:gpu:{index}"));
        let note = auto["device"]["note"].as_str().unwrap_or_default();
        assert!(note.contains("rows per second") && auto["certified"] == true, "{options}: {note}");
    }
    let sparse = format!("fit --features s.svm --device gpu:{index}");
    folder.fails(&sparse, 2, &["--device", "sparse"]);
    let auto = folder.json(&sparse.replace("gpu:", "auto:gpu:"));
    assert_eq!(auto["device"]["kind"], "cpu");
    let joint = "fit --features x.npy --targets y.npy --multiclass crammer-singer";
    folder.fails(&format!("{joint} --device gpu:{index}"), 2, &["--device", "all classes"]);
}

/// The benchmark's cases with labels run on the device: f32, i8 and bit labels, f32 and f16 scores.
fn measures_labels(index: usize) {
    let json = Folder::new().json(&format!("bench --quick --filter labels, --device gpu:{index}"));
    let cases = json["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(cases.len() > 10, "{} cases", cases.len());
    for case in cases {
        assert!(case["seconds"].as_f64().is_some_and(|x| x.is_finite() && x > 0.0), "{case}");
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let (found, none_found) = harness::adapters_under_test();
    let mut trials: Vec<_> = none_found.into_iter().collect();
    for adapter in &found {
        let index = adapter.index;
        trials.push(Trial::test(
            format!("[{}] bench takes f32, i8 and bit labels", harness::label(adapter)),
            move || {
                measures_labels(index);
                Ok(())
            },
        ));
        trials.push(Trial::test(format!("[{}] auto measures", harness::label(adapter)), move || {
            measures_for_auto(index);
            Ok(())
        }));
        trials.push(Trial::test(
            format!("[{}] fit reaches the optimum of the CPU", harness::label(adapter)),
            move || {
                fits_to_the_same_optimum(index);
                Ok(())
            },
        ));
        // By index, and by the first word of its name. The word is in capitals, because case must not matter.
        let word = adapter.name.split(' ').next().unwrap_or_default().to_uppercase();
        for device in [format!("gpu:{}", adapter.index), word] {
            trials.push(Trial::test(format!("[{}] eval --device {device}", harness::label(adapter)), move || {
                says_the_same(&device);
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
