//! `eval --part` and `merge`: the numbers of one run, to the bit, and every way to count something twice or not at all.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::Value;

use crate::support::{Folder, read_npy};

/// Scores and class indices of 20 blocks: 64 classes in f16, 4 MiB per block.
const ROWS: usize = 620_000;
const FILES: &str = "eval multiclass --scores s.npy --targets t.npy --device cpu";

fn many_blocks(folder: &Folder) {
    let scores: Vec<u8> = (0..ROWS * 64)
        .map(|n| ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u16)
        // f16 from 1 to 2.
        .flat_map(|bits| (0x3c00 | bits & 0x3ff).to_le_bytes())
        .collect();
    folder.npy("s.npy", "<f2", &format!("({ROWS}, 64)"), &scores);
    folder.npy("t.npy", "|u1", &format!("({ROWS},)"), &(0..ROWS).map(|n| (n * n % 64) as u8).collect::<Vec<_>>());
}

/// The numbers that must have the same bits, as text.
fn numbers(report: &Value) -> Vec<String> {
    ["value", "count", "weight_sum", "active", "accuracy"].iter().map(|name| report[name].to_string()).collect()
}

fn states(parts: impl IntoIterator<Item = usize>) -> String {
    parts.into_iter().map(|part| format!(" {part}.json")).collect()
}

#[test]
fn sixteen_parts_have_the_bits_of_one_run() {
    let folder = Folder::new();
    many_blocks(&folder);
    let one = folder.json(FILES);
    assert_eq!(one["count"], ROWS);
    for part in 1..=16 {
        let of_part = folder.json(&format!("{FILES} --part {part}/16 --state-out {part}.json"));
        assert!(of_part["part"].as_str().unwrap().starts_with(&format!("{part} of 16: samples ")), "{of_part}");
        assert!(of_part["count"].as_u64().unwrap() < ROWS as u64 / 8, "{of_part}");
    }
    let all = folder.json(&format!("merge{}", states(1..=16)));
    assert_eq!((numbers(&all), &all["states"]), (numbers(&one), &16.into()));
    assert_eq!(numbers(&folder.json(&format!("merge{}", states((1..=16).rev())))), numbers(&one));
    let quiet = folder.run(&format!("merge{} --quiet", states(1..=16)));
    assert_eq!(String::from_utf8(quiet.stdout).unwrap().trim(), one["value"].to_string());

    // The sums of parts that are dropped or changed show.
    folder.fails(
        &format!("merge{}", states([1, 2, 5])),
        1,
        &["s.npy: of the 16 parts these are missing: 3 to 4, 6 to 16"],
    );
    let twice = "3.json: part 3 of 16 of ";
    folder.fails(
        &format!("merge{} 3.json", states(1..=16)),
        1,
        &[twice, "s.npy is given twice: it is in 3.json as well"],
    );
    let text = std::fs::read_to_string(folder.path("3.json")).unwrap();
    folder.write("other.json", text.replace("\"active\":3", "\"active\":2").as_bytes());
    assert_ne!(
        numbers(&folder.json(&format!("merge{} other.json", states((1..=16).filter(|&n| n != 3))))),
        numbers(&one)
    );
    // Other parts of the same files, or all of them, are the same samples.
    let _ = folder.json(&format!("{FILES} --part 1/2 --state-out half.json"));
    let _ = folder.json(&format!("{FILES} --state-out all.json"));
    folder.fails("merge 1.json half.json", 1, &["half.json", "cut into 2 parts of", "and into 16 parts of", "1.json"]);
    folder.fails(&format!("merge{} all.json", states(1..=16)), 1, &["all.json", "cut into 1 part of"]);
    assert_eq!(numbers(&folder.json("merge all.json")), numbers(&one));
    folder.fails("merge all.json all.json", 1, &["s.npy is given twice: it is in all.json as well"]);
}

#[test]
fn a_part_has_its_losses_and_its_share_of_the_gradient() {
    let folder = Folder::new();
    many_blocks(&folder);
    let _ = folder.json(&format!("{FILES} --losses-out l.npy --grad-out g.npy"));
    let (mut losses, mut gradient) = (Vec::new(), Vec::new());
    for part in 1..=3 {
        let outputs = format!("--part {part}/3 --state-out {part}.json --losses-out lp.npy --grad-out gp.npy");
        let _ = folder.json(&format!("{FILES} {outputs}"));
        losses.extend(read_npy(&folder.path("lp.npy")).1);
        let (header, of_part) = read_npy(&folder.path("gp.npy"));
        assert!(header.contains(&format!("({}, 64", of_part.len() / 64)), "{header}");
        gradient.extend(of_part);
    }
    assert!(losses == read_npy(&folder.path("l.npy")).1);
    assert!(gradient == read_npy(&folder.path("g.npy")).1);
}

#[test]
fn states_of_several_files_add_up() {
    let folder = Folder::new();
    folder.f32("a.npy", "(3,)", &[0.5, -0.25, 2.0]);
    folder.f32("b.npy", "(2,)", &[0.125, 4.0]);
    folder.f32("all.npy", "(5,)", &[0.5, -0.25, 2.0, 0.125, 4.0]);
    folder.i64("ta.npy", &[1, -1, -1]);
    folder.i64("tb.npy", &[1, -1]);
    folder.i64("t.npy", &[1, -1, -1, 1, -1]);
    let binary = "eval binary --device cpu --labels plus-minus-one";
    let of = |name: &str, other: &str| format!("{binary} --scores {name}.npy --targets t{other}.npy");
    let _ = folder.json(&format!("{} --state-out a.json", of("a", "a")));
    let _ = folder.json(&format!("{} --state-out b.json", of("b", "b")));
    assert_eq!(numbers(&folder.json("merge a.json b.json")), numbers(&folder.json(&of("all", ""))));
    // One file by two names is one file.
    std::fs::create_dir(folder.path("sub")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path("a.npy"), folder.path("link.npy")).unwrap();
    for name in ["sub/../a", if cfg!(unix) { "link" } else { "./a" }] {
        let again = format!("{binary} --scores {name}.npy --targets ta.npy --state-out again.json");
        let _ = folder.json(&again);
        folder.fails("merge a.json again.json", 1, &["a.npy is given twice: it is in a.json as well"]);
    }
    // Ones alone fit both encodings.
    folder.i64("tb.npy", &[1, 1]);
    let zero_one = of("b", "b").replace("plus-minus-one", "zero-one");
    let _ = folder.json(&format!("{zero_one} --state-out b.json"));
    folder.fails("merge a.json b.json", 1, &["b.json: expected", "--labels says which there are"]);
    // A state of another loss, kind of scores or reduction is refused, by name.
    for (options, words) in [
        ("--margin 2", "b.json: expected a metric of a loss with margin"),
        ("--score-kind logit", "b.json: expected scores of one kind, as in a.json"),
        ("--reduction sum", "b.json: expected a metric with reduction mean, as in a.json, got sum"),
    ] {
        let _ = folder.json(&format!("{} --state-out b.json {options}", of("b", "b")));
        folder.fails("merge a.json b.json", 1, &[words]);
    }
}

#[test]
fn parts_without_samples_are_no_error() {
    let folder = Folder::new();
    folder.f32("s.npy", "(3,)", &[0.5, -0.25, 2.0]);
    folder.i64("t.npy", &[1, -1, -1]);
    folder.i64("ignored.npy", &[7, 7, 7]);
    let binary = "eval binary --scores s.npy --device cpu --ignore-index 7";
    for part in 1..=4 {
        let report = folder.json(&format!("{binary} --targets t.npy --part {part}/4 --state-out {part}.json"));
        assert_eq!(report["count"], if part == 4 { 3 } else { 0 });
        assert_eq!(report["value"].is_null(), part != 4);
    }
    let one = folder.json(&format!("{binary} --targets t.npy"));
    assert_eq!(numbers(&folder.json(&format!("merge{}", states(1..=4)))), numbers(&one));
    // The mean of nothing is none, in parts as in one run.
    let _ = folder.json(&format!("{binary} --targets ignored.npy --state-out i.json"));
    folder.fails("merge i.json", 1, &["i.json: ", "mean"]);
    folder.fails(&format!("{binary} --targets ignored.npy"), 1, &["ignored.npy: ", "mean"]);
}

#[test]
fn what_cannot_be_cut_or_merged_is_said() {
    let folder = Folder::new();
    folder.f32("s.npy", "(3,)", &[0.5, -0.25, 2.0]);
    folder.i64("t.npy", &[1, -1, -1]);
    let files = "--scores s.npy --targets t.npy";
    let part = "--part 1/2 --state-out p.json";
    for (arguments, words) in [
        (format!("eval binary {files} --part 1/2"), "--state-out"),
        (
            format!("eval binary {files} --part 3/2 --state-out p.json"),
            "expected I/N with I from 1 to N, such as 3/16, got 3/2",
        ),
        (format!("eval binary {files} --state-out p.txt"), "--state-out p.txt: expected a name that ends in .json"),
        (format!("eval binary {files} {part} --reduction none"), "--state-out goes with every --reduction but none"),
        (format!("eval lovasz {files} {part}"), "--part: lovasz without --per-row is one loss of all samples"),
        (
            format!("eval binary {files} {part} --preset torchmetrics"),
            "--part: --score-kind guessed looks at all scores",
        ),
        ("merge".into(), "<S.json>"),
    ] {
        folder.fails(&arguments, 2, &[words]);
    }
    folder.write("x.json", b"{\"version\": 1}");
    folder.write("y.json", b"{\"version\": 9}");
    folder.write("z.json", b"no JSON");
    folder.write("escape.json", b"{\"version\": 1, \"notes\": [\"\\u001b[2J\"]}");
    for (name, words) in [
        ("x.json", "expected a state that eval --state-out wrote: missing field"),
        ("y.json", "its version is 9, this program reads 1"),
        ("z.json", "expected a state that eval --state-out wrote: "),
        ("none.json", "none.json: No such file"),
        (".", "it is no file of at most 64 MB"),
        ("escape.json", "its texts have control characters"),
    ] {
        folder.fails(&format!("merge {name}"), 1, &[words]);
    }
}
