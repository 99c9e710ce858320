//! `maxmargin fit` and `predict --model`: models, certificates, reports, bad input.

use serde_json::Value;

use crate::support::{Folder, close, read_npy};

/// Two classes of 200 rows with three features that overlap, and the same rows as text.
pub(crate) fn folder() -> Folder {
    let folder = Folder::new();
    let x = |n: usize, column: usize| ((n * (31 + 17 * column) + n / 3 * 11) % 64) as f32 / 16.0 - 2.0;
    let features: Vec<f32> = (0..200).flat_map(|n| (0..3).map(move |column| x(n, column))).collect();
    let labels: Vec<i64> = (0..200).map(|n| if x(n, 0) - x(n, 1) + x(n, 2) * x(n, 2) > 1.5 { 4 } else { -2 }).collect();
    folder.f32("x.npy", "(200, 3)", &features);
    folder.i64("y.npy", &labels);
    folder.i64("three.npy", &(0..200).map(|n| (n % 3) as i64).collect::<Vec<_>>());
    let row = |n: usize| {
        let name = if labels[n] == 4 { "yes" } else { "no" };
        format!("{},{},{},{name}\n", x(n, 0), x(n, 1), x(n, 2))
    };
    folder.write("t.csv", format!("a,b,c,kind\n{}", (0..200).map(row).collect::<String>()).as_bytes());
    folder
}

pub(crate) const FIT: &str = "fit --features x.npy --targets y.npy --device cpu";

#[test]
fn a_fit_is_certified_and_its_model_predicts_what_it_reports() {
    let folder = folder();
    for options in
        ["", "--loss squared-hinge --c 0.3", "--loss smooth:0.5 --intercept free", "--standardize --intercept none"]
    {
        let fit = folder.json(&format!("{FIT} --gap 1e-6 --model-out m.safetensors --dual-out a.npy {options}"));
        let [primal, dual, gap] = ["primal", "dual", "gap"].map(|key| fit[key].as_f64().unwrap());
        assert!(fit["certified"] == true && gap <= 1e-6 && dual <= primal && primal - dual <= 1.1e-6 * primal, "{fit}");
        assert_eq!(fit["classes"], serde_json::json!([-2, 4]));
        let predicted = folder
            .json("predict --model m.safetensors --features x.npy --targets y.npy --out d.npy --labels-out l.npy");
        assert_eq!((&predicted["loss"], &predicted["accuracy"]), (&fit["loss"], &fit["accuracy"]), "{options}");
        // The decision values are scores of eval's binary loss.
        let (_, values) = read_npy(&folder.path("d.npy"));
        folder.npy("s.npy", "<f8", "(200,)", &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        let zero_one: Vec<i64> = std::fs::read(folder.path("y.npy")).unwrap()[128..]
            .chunks_exact(8)
            .map(|label| i64::from(label[0] == 4))
            .collect();
        folder.i64("z.npy", &zero_one);
        let penalty = match options {
            o if o.contains("squared") => "squared",
            o if o.contains("smooth") => "smooth:0.5",
            _ => "linear",
        };
        let eval = folder.json(&format!("eval binary --scores s.npy --targets z.npy --device cpu --penalty {penalty}"));
        close(&eval["value"], fit["loss"].as_f64().unwrap(), 1e-6);
        assert_eq!(eval["accuracy"], fit["accuracy"]);
        // Multipliers within their bounds, as many above 0 as there are support vectors.
        let (_, multipliers) = read_npy(&folder.path("a.npy"));
        assert_eq!(multipliers.iter().filter(|&&a| a > 0.0).count() as u64, fit["support_vectors"].as_u64().unwrap());
        // A start from the model is at its goal at once.
        let again = folder.json(&format!("{FIT} --gap 1e-5 --model-in m.safetensors {options}"));
        assert!(again["newton_steps"].as_u64() <= fit["newton_steps"].as_u64(), "{options}: {again}");
    }
}

#[test]
fn text_labels_and_tables_give_the_same_model_as_numbers() {
    let folder = folder();
    let numbers = folder.json(&format!("{FIT} --model-out n.safetensors"));
    let text = folder.json("fit --features t.csv:a,b,c --targets t.csv:kind --model-out t.safetensors");
    assert_eq!(text["classes"], serde_json::json!(["no", "yes"]));
    close(&text["primal"], numbers["primal"].as_f64().unwrap(), 1e-4);
    assert_eq!(text["csv_header"], serde_json::json!({ "--features": true, "--targets": true }));
    let predicted =
        folder.json("predict --model t.safetensors --features t.csv:a,b,c --targets t.csv:kind --out d.csv");
    assert_eq!(predicted["accuracy"], text["accuracy"]);
    assert!(std::fs::read_to_string(folder.path("d.csv")).unwrap().starts_with("yes\n"));
    folder.json("fit --features t.csv:a,b --targets t.csv:kind --plot-out b.svg");
    let map = std::fs::read_to_string(folder.path("b.svg")).unwrap();
    for words in ["Decision boundary", "yes", "no", ">\na", ">\nb", "0, -1 and 1"] {
        assert!(map.contains(words), "{words}");
    }
    folder.fails(
        "fit --features t.csv:a,b,c --targets t.csv:kind --plot-out b.png",
        2,
        &["--plot-out", "nothing to draw"],
    );
}

#[test]
fn several_c_are_judged_by_folds_or_validation_data() {
    let folder = folder();
    let fit = folder.json(&format!("{FIT} --c 1,0.01,0.1 --folds 4 --seed 5 --path-out p.csv --plot-out p.svg"));
    let models = fit["models"].as_array().unwrap();
    assert_eq!(models.len(), 12);
    let mean = |c: f64| {
        let of_c = models.iter().filter(|model| model["c"].as_f64() == Some(c));
        of_c.map(|model| model["validation_accuracy"].as_f64().unwrap()).sum::<f64>() / 4.0
    };
    let best = [0.01, 0.1, 1.0].into_iter().fold(0.01, |best, c| if mean(c) > mean(best) { c } else { best });
    assert_eq!(fit["c"].as_f64(), Some(best));
    let path = std::fs::read_to_string(folder.path("p.csv")).unwrap();
    assert!(
        path.starts_with("c,fold,primal,dual,gap,validation_loss,validation_accuracy\n0.01,0,")
            && path.lines().count() == 14
    );
    let chart = std::fs::read_to_string(folder.path("p.svg")).unwrap();
    for words in ["Validation loss", "Validation accuracy", "lowest fold", "0.01"] {
        assert!(chart.contains(words), "{words}");
    }
    let again = folder.json(&format!("{FIT} --c 1,0.01,0.1 --folds 4 --seed 5"));
    assert_eq!(again["models"], fit["models"]);
    let own = folder.json(&format!("{FIT} --c 0.01,1 --validation-features x.npy --validation-targets y.npy"));
    assert!(own["models"].as_array().unwrap().iter().all(|model| model["fold"] == Value::Null));
}

#[test]
fn three_classes_and_certain_labels() {
    let folder = folder();
    let fit = folder.json("fit --features x.npy --targets three.npy --model-out m.safetensors --multiclass one-vs-all");
    assert_eq!(fit["classes"], serde_json::json!([0, 1, 2]));
    let predict = "predict --model m.safetensors --features x.npy --targets three.npy --out d.npy --certain-out c.npy";
    let predicted = folder.json(predict);
    assert_eq!(predicted["shape"], serde_json::json!([200, 3]));
    close(&predicted["loss"], fit["loss"].as_f64().unwrap(), 1e-12);
    assert!(predicted["certain"].as_u64().is_some());
    folder.json(&format!("{FIT} --intercept free --model-out f.safetensors"));
    folder.fails(
        "predict --model f.safetensors --features x.npy --out o.npy --certain-out e.npy",
        2,
        &["--certain-out", "free"],
    );
}

#[test]
fn one_problem_of_all_classes_reports_the_loss_that_eval_gives() {
    let folder = folder();
    for method in ["crammer-singer", "weston-watkins"] {
        let command = format!("fit --features x.npy --targets three.npy --device cpu --multiclass {method} --gap 1e-6");
        let fit = folder.json(&format!("{command} --model-out m.safetensors --dual-out a.npy"));
        assert!(fit["certified"] == true && fit["options"]["multiclass"] == method, "{fit}");
        let predicted = folder
            .json("predict --model m.safetensors --features x.npy --targets three.npy --out d.npy --certain-out c.npy");
        assert_eq!((&predicted["loss"], &predicted["accuracy"]), (&fit["loss"], &fit["accuracy"]));
        let eval = format!("eval multiclass --scores d.npy --targets three.npy --device cpu --method {method}");
        let eval = folder.json(&eval);
        close(&eval["value"], fit["loss"].as_f64().unwrap(), 1e-6);
        assert_eq!(read_npy(&folder.path("a.npy")).1.len(), 600);
        let path = folder.json(&format!("{command} --c 0.01,0.1,1 --folds 3 --intercept free"));
        assert_eq!(path["models"].as_array().unwrap().len(), 9);
        assert!(
            path["models"].as_array().unwrap().iter().all(|model| model["gap"].as_f64().unwrap() <= 1e-6),
            "{path}"
        );
        let again = folder.json(&format!("{command} --model-in m.safetensors"));
        close(&again["primal"], fit["primal"].as_f64().unwrap(), 2e-6 * fit["primal"].as_f64().unwrap());
        // Two classes are half of a binary problem with twice the C.
        let [two, binary] = ["--multiclass ".to_owned() + method, "--c 2".into()]
            .map(|options| folder.json(&format!("{FIT} --gap 1e-8 {options}"))["primal"].as_f64().unwrap());
        assert!((two - 0.5 * binary).abs() <= 2e-8 * two, "{two} {binary}");
        folder.fails(&format!("{command} --loss squared-hinge"), 2, &["--loss", "hinge", "Crammer-Singer"]);
    }
}

#[test]
fn labels_and_features_that_do_not_fit_a_model_are_refused_by_row() {
    let folder = folder();
    folder.json(&format!("{FIT} --model-out m.safetensors"));
    let halves: Vec<u8> = (0..200).flat_map(|n| if n == 7 { 0.5f64 } else { 4.0 }.to_le_bytes()).collect();
    folder.npy("half.npy", "<f8", "(200,)", &halves);
    let predict = |options: &str| format!("predict --model m.safetensors --features x.npy --out o.npy {options}");
    folder.fails(&predict("--targets half.npy"), 1, &["half.npy", "row 7", "whole number, got 0.5"]);
    folder.fails(&predict("--targets three.npy"), 1, &["three.npy", "row 0", "a label of the model, got 0"]);
    folder.fails(&predict("--targets t.csv:kind"), 1, &["t.csv", "expected whole numbers", "the model", "got text"]);
    let mut bad = vec![0.5f32; 600];
    bad[301] = f32::INFINITY;
    folder.f32("bad.npy", "(200, 3)", &bad);
    let predict = "predict --model m.safetensors --features bad.npy --out o.npy";
    folder.fails(predict, 1, &["bad.npy", "row 100, column 1", "finite", "inf"]);
    folder.json("fit --features t.csv:a,b,c --targets t.csv:kind --model-out t.safetensors");
    folder.fails(&format!("{FIT} --model-in t.safetensors"), 1, &["y.npy", "expected text", "--model-in"]);
    let own = "--c 1,2 --validation-features x.npy --validation-targets t.csv:kind";
    folder.fails(&format!("{FIT} {own}"), 1, &["t.csv", "expected whole numbers", "--targets", "got text"]);
    folder.fails(&format!("{FIT} --folds 3 --model-in m.safetensors"), 2, &["--model-in", "--folds"]);
    folder.fails(&format!("{FIT} --plot-out p.svg --model-out n.safetensors"), 2, &["--plot-out", "two features"]);
    folder.f32("two.npy", "(200, 2)", &[0.5; 400]);
    let three = "fit --features two.npy --targets three.npy --plot-out p.svg";
    folder.fails(three, 2, &["--plot-out", "two features and two labels"]);
    folder.fails(&format!("{FIT} --loss smooth:1e300"), 2, &["--loss", "f32's range"]);
}

#[test]
fn folds_that_fall_short_are_told() {
    let folder = folder();
    let fit = format!("{FIT} --c 0.1,1 --folds 3 --gap 1e-9 --max-passes 3");
    let output = folder.run(&fit);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("; 3 of 3 models not to the gap"), "{text}");
    let object: Value = serde_json::from_slice(&folder.run(&format!("{fit} --json")).stdout).unwrap();
    assert!(object["models"].as_array().unwrap().iter().all(|model| model["certified"] == false), "{object}");
}

#[test]
fn a_fit_that_falls_short_keeps_its_model_and_says_its_gap() {
    let folder = folder();
    let output = folder.run(&format!("{FIT} --gap 1e-12 --max-passes 2 --model-out m.safetensors --json"));
    assert_eq!(output.status.code(), Some(1));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(object["certified"] == false && object["gap"].as_f64().unwrap() > 1e-12);
    let errors = String::from_utf8(output.stderr).unwrap();
    for words in ["error: --gap 1e-12: the relative gap is ", "--max-passes", "wrote m.safetensors"] {
        assert!(errors.contains(words), "{errors}");
    }
    assert!(folder.run("predict --model m.safetensors --features x.npy --out d.npy").status.success());
}

#[test]
fn bad_input_is_named() {
    let folder = folder();
    let mut features = vec![0.5f32; 600];
    features[301] = f32::NAN;
    folder.f32("nan.npy", "(200, 3)", &features);
    folder.i64("one.npy", &[7; 200]);
    folder.f32("half.npy", "(200,)", &[0.5; 200]);
    folder.f32("w.npy", "(200,)", &[-1.0; 200]);
    folder.f32("zero.npy", "(200,)", &[0.0; 200]);
    folder.f32("none.npy", "(200, 0)", &[]);
    let with = |from: &str, to: &str| FIT.replace(from, to);
    folder.fails(
        &with("x.npy", "nan.npy"),
        1,
        &["nan.npy: features: row 100, column 1: expected a finite number, got NaN"],
    );
    folder.fails(&with("x.npy", "none.npy"), 1, &["none.npy", "expected shape (N, D), got (200, 0)"]);
    folder.fails(&with("y.npy", "one.npy"), 1, &["one.npy", "at least two classes", "only 7"]);
    folder.fails(&with("y.npy", "half.npy"), 1, &["half.npy", "targets[0]", "whole number", "0.5"]);
    folder.fails(&format!("{FIT} --sample-weights w.npy"), 1, &["w.npy", "sample weights[0]", "0 or more", "-1"]);
    folder.fails(&format!("{FIT} --sample-weights zero.npy"), 1, &["zero.npy", "all weights are 0"]);
    folder.fails(&format!("{FIT} --class-weights w.npy"), 1, &["w.npy", "class weights", "expected 2", "got 200"]);
    folder.fails(&format!("{FIT} --c 0"), 2, &["--c", "positive"]);
    folder.fails(&format!("{FIT} --c 1,2"), 2, &["--c", "--folds"]);
    folder.fails(&format!("{FIT} --folds 1"), 2, &["--folds", "got 1"]);
    folder.fails(&format!("{FIT} --loss hing"), 2, &["expected hinge"]);
    folder.fails(&format!("{FIT} --intercept penalized:0"), 2, &["--intercept", "positive"]);
    folder.fails(&format!("{FIT} --gap 0"), 2, &["--gap"]);
    folder.fails(&format!("{FIT} --model-out m.npy"), 2, &["--model-out", ".safetensors"]);
    folder.fails(&format!("{FIT} --dual-out x.npy"), 2, &["--features and --dual-out name the same file"]);
    folder.fails("predict --model y.npy --features x.npy --out d.npy", 1, &["y.npy", "linear model"]);
    folder.fails("predict --features x.npy --out d.npy", 2, &["--weights-in"]);
    assert!(folder.run(&format!("{FIT} --model-out m.safetensors")).status.success());
    folder.f32("narrow.npy", "(200, 2)", &[0.0; 400]);
    folder.fails(
        "predict --model m.safetensors --features narrow.npy --out d.npy",
        1,
        &["narrow.npy", "(N, 3)", "(N, 2)"],
    );
}
