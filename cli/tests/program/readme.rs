//! The README's promises, compared with the program, the library and the examples.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use maxmargin::loss::{Loss, SHADERS};
use maxmargin::{
    BinaryHinge, CategoricalHinge, CosineEmbedding, EmbeddingHinge, ListwiseHinge, LovaszHinge, MarginRanking,
    MulticlassHinge, MultilabelMargin, TripletMargin,
};

use crate::support::Folder;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap()
}

/// The words of a text that begin with `start`, without the punctuation after them.
fn words_with(text: &str, start: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.match_indices(start).map(|(at, _)| &text[at..]);
    let ends = |word: &str| word[start.len()..].find(|c| !is_part(c)).map_or(word.len(), |end| start.len() + end);
    words.map(|word| word[..ends(word)].to_owned()).collect()
}

fn help(arguments: &str) -> String {
    let output = Folder::new().run(&format!("{arguments} --help"));
    assert!(output.status.success(), "{arguments} --help");
    String::from_utf8(output.stdout).unwrap()
}

const FAMILIES: [&str; 10] = [
    "binary",
    "ranking",
    "embedding",
    "multiclass",
    "multilabel",
    "categorical",
    "listwise",
    "lovasz",
    "triplet",
    "cosine",
];

#[test]
fn every_option_of_the_readme_exists() {
    let commands = ["devices", "train", "fit", "predict", "bench"].map(str::to_owned);
    let families = FAMILIES.map(|family| format!("eval {family}"));
    let mut known: BTreeSet<String> = BTreeSet::new();
    for command in commands.iter().chain(&families) {
        known.extend(words_with(&help(command), "--"));
    }
    // cargo's own options, and the lines of tables.
    let of_cargo = ["--release", "--features", "--example", "--path", "--open", "--help", "--"];
    let text = document("README.md").replace("---", "");
    let promised = words_with(&text, "--");
    let missing: Vec<_> =
        promised.iter().filter(|option| !known.contains(*option) && !of_cargo.contains(&option.as_str())).collect();
    assert!(missing.is_empty(), "in the README and not in --help: {missing:?}");
    assert!(promised.len() > 10, "{promised:?}");
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let text = document("README.md");
    let mut shown = 0;
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut lines = block.lines();
        let Some(arguments) = lines.next().and_then(|line| line.strip_prefix("$ cargo run --release -- ")) else {
            continue;
        };
        let folder = Folder::new();
        let arguments = arguments.replace("examples/data", &format!("{ROOT}/examples/data"));
        let output = folder.run(&arguments);
        let printed = String::from_utf8(output.stdout).unwrap();
        // Times differ from run to run, and last digits from machine to machine.
        let words = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with("seconds"));
            lines.flat_map(str::split_whitespace).map(|word| word.trim_matches(',').to_owned()).collect::<Vec<_>>()
        };
        let (expected, printed) = (words(&lines.collect::<Vec<_>>().join("\n")), words(&printed));
        assert_eq!(printed.len(), expected.len(), "{arguments}: {printed:?}");
        for (printed, expected) in printed.iter().zip(&expected) {
            match (printed.parse::<f64>(), expected.parse::<f64>()) {
                (Ok(x), Ok(y)) => assert!((x - y).abs() <= 1e-3 * y.abs(), "{arguments}: {x} and not {y}"),
                _ => assert_eq!(printed, expected, "{arguments}"),
            }
        }
        shown += 1;
    }
    assert_eq!(shown, 2);
}

#[test]
fn every_loss_and_example_is_in_the_readme() {
    let losses: [(&str, Box<dyn Loss>); 14] = [
        ("BinaryHinge", Box::new(BinaryHinge::new())),
        ("MarginRanking", Box::new(MarginRanking::new())),
        ("EmbeddingHinge", Box::new(EmbeddingHinge::new())),
        ("MulticlassHinge::crammer_singer", Box::new(MulticlassHinge::crammer_singer())),
        ("MulticlassHinge::weston_watkins", Box::new(MulticlassHinge::weston_watkins())),
        ("MulticlassHinge::one_vs_all", Box::new(MulticlassHinge::one_vs_all())),
        ("MulticlassHinge::lee_lin_wahba", Box::new(MulticlassHinge::lee_lin_wahba())),
        ("MulticlassHinge::top_k", Box::new(MulticlassHinge::top_k(2))),
        ("MultilabelMargin", Box::new(MultilabelMargin::new())),
        ("CategoricalHinge", Box::new(CategoricalHinge::new())),
        ("ListwiseHinge", Box::new(ListwiseHinge::new())),
        ("LovaszHinge", Box::new(LovaszHinge::new())),
        ("TripletMargin", Box::new(TripletMargin::new())),
        ("CosineEmbedding", Box::new(CosineEmbedding::new())),
    ];
    let listed: BTreeSet<_> = losses.iter().map(|(_, loss)| loss.name()).collect();
    assert_eq!(listed, SHADERS.iter().map(|shader| shader.name).collect());
    let text = document("README.md");
    for (name, _) in &losses {
        assert!(text.contains(&format!("\n| `{name}` |")), "no row for {name}");
    }
    let files = std::fs::read_dir(format!("{ROOT}/examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let stems: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into()).collect();
    let promised: BTreeSet<String> = words_with(&text, "--example ").iter().map(|word| word[10..].to_owned()).collect();
    assert_eq!(promised, stems);
}

#[test]
fn every_family_is_in_the_help() {
    let text = help("eval");
    let commands = text.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: BTreeSet<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|&name| name != "help")
        .collect();
    assert_eq!(names, FAMILIES.into_iter().collect());
}
