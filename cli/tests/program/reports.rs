//! What a person sees: reports and messages, compared with texts that are checked in, and the examples of --help.

use crate::support::Folder;

/// A folder with the files that the examples of --help name.
fn example_files() -> Folder {
    let folder = Folder::new();
    // Multiples of 1/8, so that sums are exact on every device.
    let x = |n: usize| ((n * 37 + n / 7 * 5) % 33) as f32 / 8.0 - 2.0;
    let numbers = |count: usize, from: usize| (0..count).map(|n| x(n + from)).collect::<Vec<f32>>();
    let scores = numbers(40, 0);
    folder.f32("scores.npy", "(40,)", &scores);
    folder.f32("better.npy", "(40,)", &scores);
    folder.f32("worse.npy", "(40,)", &numbers(40, 11));
    folder.f32("distances.npy", "(40,)", &scores.iter().map(|x| x.abs()).collect::<Vec<_>>());
    let labels: Vec<i64> = (0..40).map(|n| if x(n) + x(n + 5) / 2.0 > 0.0 { 1 } else { -1 }).collect();
    for name in ["labels.npy", "similar.npy", "order.npy"] {
        folder.i64(name, &labels);
    }
    folder.i64("zero_one.npy", &labels.iter().map(|&label| (label + 1) / 2).collect::<Vec<_>>());
    let lines: Vec<String> = scores.iter().zip(&labels).map(|(score, label)| format!("{score},{label}\n")).collect();
    folder.write("scores.csv", format!("score,label\n{}", lines.concat()).as_bytes());
    let classes: Vec<i64> = (0..40).map(|n| (n * n + 1) % 3).collect();
    folder.f32("class_scores.npy", "(40, 3)", &numbers(120, 3));
    folder.i64("classes.npy", &classes);
    folder.f32("features.npy", "(40, 4)", &numbers(160, 7));
    folder.f32("class_features.npy", "(40, 4)", &numbers(160, 9));
    let rows = |of: &dyn Fn(i64) -> [i64; 3]| -> Vec<u8> {
        classes.iter().flat_map(|&class| of(class)).flat_map(i64::to_le_bytes).collect()
    };
    folder.npy("label_rows.npy", "<i8", "(40, 3)", &rows(&|class| [class, -1, -1]));
    folder.npy("one_hot.npy", "<i8", "(40, 3)", &rows(&|class| [0, 1, 2].map(|other| i64::from(other == class))));
    folder.f32("list_scores.npy", "(5, 8)", &scores);
    let items = |of: &dyn Fn(usize) -> i64| (0..40).flat_map(|n| of(n).to_le_bytes()).collect::<Vec<u8>>();
    folder.npy("relevances.npy", "<i8", "(5, 8)", &items(&|n| (n % 3) as i64));
    folder.npy("masks.npy", "<i8", "(5, 8)", &items(&|n| (n % 2) as i64));
    for (n, name) in ["anchors.npy", "positives.npy", "negatives.npy"].into_iter().enumerate() {
        folder.f32(name, "(40, 6)", &numbers(240, n * 17));
    }
    folder.write("rows.svm", b"+1 1:0.5 3:2 # a comment\n-1 2:1.5\n+1 1:1\n-1 2:0.25 3:1\n");
    folder
}

/// The text without what differs from run to run: seconds and memory.
fn masked(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some(("seconds", _)) => "seconds ...".to_owned(),
        _ => line.to_owned(),
    };
    let mut text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    for key in ["\"seconds\":", "\"peak_memory_bytes\":"] {
        let mut from = 0;
        while let Some(at) = text[from..].find(key) {
            let start = from + at + key.len();
            let rest = &text[start..];
            let end = if rest.starts_with('{') { rest.find('}').map(|end| end + 1) } else { rest.find([',', '}']) };
            text.replace_range(start..start + end.unwrap_or(0), "0");
            from = start;
        }
    }
    text
}

/// Each command with its exit code and what it prints; a success prints nothing on stderr.
fn transcript(folder: &Folder, commands: &[&str]) -> String {
    let mut all = String::new();
    for command in commands {
        let output = folder.run(command);
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if output.status.success() {
            assert!(stderr.is_empty(), "{command}: {stderr}");
        }
        let code = output.status.code().unwrap_or(-1);
        all += &format!("$ maxmargin {command}\n{}{}\n[{code}]\n\n", masked(&stdout), stderr.trim_end());
    }
    all
}

#[test]
fn reports_of_eval_read_as_they_should() {
    let folder = example_files();
    folder.f32("nan.npy", "(40,)", &[f32::NAN; 40]);
    let text = transcript(
        &folder,
        &[
            "eval binary --scores scores.npy --targets labels.npy --device cpu",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --json",
            "eval binary --scores scores.csv:score --targets scores.csv:label --device cpu",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --reduction none",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --reduction none --losses-out l.npy",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --batch-size 10",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --batch-size 2",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --batch-size 20 --json",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --margin 1e30 --penalty smooth:1e-30",
            "eval multiclass --scores class_scores.npy --targets classes.npy --device cpu",
            "eval multiclass --scores class_scores.npy --targets classes.npy --device cpu --method one-vs-rest --per-class",
            "eval embedding --scores distances.npy --targets similar.npy --device cpu",
            "eval embedding --scores distances.npy --targets zero_one.npy --device cpu",
            "eval binary --scores scores.npy --targets labels.npy",
            "eval binary --scores scores.npy --targets labels.npy --quiet",
            "eval binary --scores nan.npy --targets labels.npy --device cpu",
            "eval cosine --first anchors.npy --second positives.npy --targets zero_one.npy --device cpu --quiet",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --part 1/2 --state-out 1.json",
            "eval binary --scores scores.npy --targets labels.npy --device cpu --part 2/2 --state-out 2.json",
            "merge 1.json 2.json",
            "merge 1.json 2.json --json",
            "merge 1.json 2.json --quiet",
        ],
    );
    insta::assert_snapshot!("eval", text);
}

#[test]
fn reports_of_train_and_predict_read_as_they_should() {
    let folder = example_files();
    let train = "train --features features.npy --targets labels.npy --layers 3:relu,1 --device cpu --batch-size 64";
    let text = transcript(
        &folder,
        &[
            &format!("{train} --epochs 1 --weights-out w.safetensors --checkpoint-out c.safetensors"),
            &format!(
                "{train} --epochs 3 --resume c.safetensors --validation-features features.npy --validation-targets labels.npy"
            ),
            "predict --weights-in w.safetensors --features features.npy --out p.csv --device cpu",
            "predict --weights-in w.safetensors --features features.npy --targets labels.npy --out p.npy --labels-out l.npy --device cpu",
            "predict --weights-in w.safetensors --features features.npy --targets labels.npy --out p.npy --device cpu --json",
            "predict --weights-in w.safetensors --features features.npy --targets labels.npy --out p.npy --device cpu --quiet",
            "predict --weights-in w.safetensors --features features.npy --targets labels.npy --out p.npy --device cpu --penalty squared",
            "predict --weights-in c.safetensors --features features.npy --targets labels.npy --out p.npy --device cpu",
        ],
    );
    // The weights depend on the processor's vector instructions in their last digits.
    let rounded = |token: &str| match token.parse::<f64>() {
        Ok(number) if token.len() > 8 => format!("{number:.3}"),
        _ => token.to_owned(),
    };
    let mut all = String::new();
    for part in text.split_inclusive([' ', '\n', ',', ':', '}', '{']) {
        let token = part.trim_end_matches([' ', '\n', ',', ':', '}', '{']);
        all += &rounded(token);
        all += &part[token.len()..];
    }
    insta::assert_snapshot!("train", all);
}

#[test]
fn messages_read_as_they_should() {
    let folder = example_files();
    let train = "train --features features.npy --targets labels.npy --device cpu";
    assert!(folder.run(&format!("{train} --layers 1 --checkpoint-out c.safetensors")).status.success());
    folder.write("quote.csv", b"a,b\n1,2\n\"3,4\n5,6\n");
    folder.write("semicolon.csv", b"score;label\n1;2\n");
    folder.write("text.csv", format!("kind\n{}", "cat\ndog\n".repeat(20)).as_bytes());
    // Weights of another program, which say neither layers nor loss.
    let header = br#"{"layers.0.bias":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},"layers.0.weight":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#;
    folder.write("f.safetensors", &[&(header.len() as u64).to_le_bytes(), &header[..], &[0; 20]].concat());
    let binary = "eval binary --scores scores.npy --targets labels.npy --device cpu";
    let multiclass = "eval multiclass --scores class_scores.npy --targets classes.npy --device cpu";
    let text = transcript(
        &folder,
        &[
            "eval binary --scores score.npy --targets labels.npy",
            "eval binary --scores scores.csv:scor --targets labels.npy",
            "eval binary --scores quote.csv:b --targets labels.npy",
            "eval binary --scores class_scores.npy --targets labels.npy",
            "eval binary --scores scores.npy --targets classes.npy",
            "eval binary --scores scores.npy --targets labels.npy --device no-such-gpu",
            "eval binary --scores scores.npy --targets labels.npy --device gpu:99",
            &format!("{binary} --margn 1"),
            &format!("{binary} --margin nan"),
            &format!("{binary} --margin one"),
            &format!("{binary} --penalty smoth:1"),
            &format!("{binary} --penalty smooth:0"),
            &format!("{binary} --batch-size 0"),
            &format!("{binary} --ignore-index x"),
            &format!("{binary} --grad-out scores.npy"),
            &format!("{binary} --grad-out g.txt"),
            &format!("{multiclass} --method top-k --k 9"),
            &format!("{multiclass} --method top-k"),
            &format!("{multiclass} --per-class"),
            &format!("{multiclass} --method crammer"),
            "eval triplet --anchor anchors.npy --positive positives.npy --negative negatives.npy --p 0.5",
            "train --layers 1",
            "train --data circle --layers 1",
            "train --data circles:nois=1 --layers 1",
            "train --data circles --layers 2",
            &format!("{train} --layers 2"),
            &format!("{train} --layers 1:relux"),
            &format!("{train} --layers 1 --loss crammer-singer"),
            &format!("{train} --layers 1 --loss top-k"),
            &format!("{train} --layers 1 --epochs 0"),
            &format!("{train} --layers 1 --momentum 0.9 --optimizer adam"),
            &format!("{train} --layers 1 --resume c.safetensors --learning-rate 0.5"),
            &format!("{train} --layers 1 --resume c.safetensors --margin 0.5"),
            &format!("{train} --layers 2,1 --resume c.safetensors"),
            "predict --weights-in f.safetensors --layers 1 --features features.npy --targets labels.npy --out p.npy",
            &format!("{train} --layers 1 --resume c.safetensors --epochs 5"),
            &format!("{train} --layers 1 --history-out no/h.csv"),
            "train --features scores.csv:score --targets text.csv:kind --layers 1",
            "train --data circles:n=0 --layers 1",
            "eval binary --scores scores.csv:score --targets semicolon.csv:label",
            "eval triplet --anchor anchors.npy --positive features.npy --negative negatives.npy",
            &format!("{binary} --plot-out p.svg"),
            "predict --weights-in c.safetensors --features features.npy --out p.npy --margin 2",
            "predict --weights-in scores.npy --features features.npy --out p.npy",
        ],
    );
    for line in text.lines() {
        assert!(line.len() < 700, "{line}");
    }
    // Which adapters there are depends on the machine.
    let lines = text.lines().map(|line| match line.split_once("adapters here: ") {
        Some((before, _)) => format!("{before}adapters here: ..."),
        None => line.to_owned(),
    });
    insta::assert_snapshot!("messages", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_wrong_device_variable_is_named() {
    let folder = example_files();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_maxmargin"))
        .args("eval binary --scores scores.npy --targets labels.npy".split_whitespace())
        .env("MAXMARGIN_DEVICE", "no such device")
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("error: MAXMARGIN_DEVICE: device \"no such device\""), "{errors}");
}

/// Every command whose --help has examples.
const COMMANDS: [&str; 15] = [
    "devices",
    "eval binary",
    "eval ranking",
    "eval embedding",
    "eval multiclass",
    "eval multilabel",
    "eval categorical",
    "eval listwise",
    "eval lovasz",
    "eval triplet",
    "eval cosine",
    "merge",
    "train",
    "fit",
    "predict",
];

#[test]
fn every_example_of_help_runs() {
    let folder = example_files();
    let mut ran = 0;
    for command in COMMANDS {
        let help = String::from_utf8(folder.run(&format!("{command} --help")).stdout).unwrap();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{command} has no examples"));
        for example in examples.replace("\\\n", "").lines().map(str::trim).filter(|line| !line.is_empty()) {
            let arguments = example.strip_prefix("maxmargin ").unwrap_or_else(|| panic!("{command}: {example}"));
            // The examples of fit end with one of predict, and those of merge begin with what is merged.
            assert!(arguments.starts_with(command) || ["fit", "merge"].contains(&command), "{command}: {example}");
            let output = folder.run(arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{example}: {errors}");
            ran += 1;
        }
    }
    assert!(ran > 15, "{ran} examples");
    for written in ["batches.svg", "gradient.npy", "circles.svg", "weights.safetensors", "history.csv", "outputs.csv"] {
        assert!(folder.path(written).is_file(), "{written}");
    }
}
