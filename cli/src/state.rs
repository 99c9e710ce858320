//! The state of an evaluation in a file: the sums of some samples, and which samples these are.

use std::path::Path;

use maxmargin::loss::Loss;
use maxmargin::metric::MetricState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::eval::Part;
use crate::failure::{Failure, Outcome};
use crate::file::{file_of, read_bytes};
use crate::report::About;

/// The version of the file. It grows where an older program would misread one.
const VERSION: u32 = 1;

/// What `eval --state-out` writes and `merge` reads, as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    pub(crate) samples: Samples,
    pub(crate) about: About,
    /// The sums, and the loss that they are of.
    pub(crate) metric: MetricState<Box<dyn Loss>>,
}

/// Which samples the sums are of.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Samples {
    /// The files, by option, with absolute paths that follow links.
    pub(crate) files: Vec<(String, String)>,
    /// The samples of the files.
    pub(crate) total: u64,
    /// Samples per block.
    pub(crate) block: u64,
    /// The part of the blocks that was evaluated, counted from 1.
    pub(crate) part: u64,
    pub(crate) parts: u64,
}

/// The most bytes of a state: a million classes have 40 MB.
const MOST_BYTES: u64 = 64 << 20;

/// A file of an option, with what is read of it.
fn absolute(argument: &Path) -> String {
    let file = file_of(argument);
    let place = file.canonicalize().unwrap_or_else(|_| std::path::absolute(&file).unwrap_or_else(|_| file.clone()));
    let (argument, file) = (argument.to_string_lossy(), file.to_string_lossy());
    // What stands behind the file's name says which array or columns of it.
    format!("{}{}", place.display(), argument.strip_prefix(&*file).unwrap_or_default())
}

impl Samples {
    /// Some samples of these files.
    pub(crate) fn of(files: &[(&str, &Path)], total: usize, block: usize, part: Option<Part>) -> Self {
        let part = part.unwrap_or(Part::WHOLE);
        let file = |&(option, path): &(&str, &Path)| (option.to_owned(), absolute(path));
        Self {
            files: files.iter().map(file).collect(),
            total: total as u64,
            block: block as u64,
            part: part.index,
            parts: part.count,
        }
    }

    /// The part in words.
    pub(crate) fn words(&self) -> String {
        format!("part {} of {}", self.part, self.parts)
    }

    /// The file of the scores, which stands for all.
    pub(crate) fn scores(&self) -> &str {
        self.files.first().map_or("", |(_, path)| path)
    }
}

impl State {
    pub(crate) fn new(samples: Samples, about: About, metric: MetricState<Box<dyn Loss>>) -> Self {
        Self { version: VERSION, samples, about, metric }
    }

    pub(crate) fn to_bytes(&self) -> Outcome<Vec<u8>> {
        serde_json::to_vec(self).map_err(Failure::data)
    }

    /// The sums, and what they are of, as text that is equal only where they are.
    pub(crate) fn sums(&self) -> Outcome<String> {
        serde_json::to_string(&self.metric).map_err(Failure::data)
    }

    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::file(path, format!("expected a state that eval --state-out wrote: {what}"))
        };
        let there = std::fs::metadata(path).map_err(|error| Failure::file(path, error))?;
        if !there.is_file() || there.len() > MOST_BYTES {
            return Err(wrong(&"it is no file of at most 64 MB"));
        }
        let value: Value = serde_json::from_slice(&read_bytes(path)?).map_err(|error| wrong(&error))?;
        if has_control_characters(&value) {
            return Err(wrong(&"its texts have control characters"));
        }
        // The version first: a later one may have other fields.
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(wrong(&format!("its version is {version}, this program reads {VERSION}"))),
            None => return Err(wrong(&"it has no version")),
        }
        let state: Self = serde_json::from_value(value).map_err(|error| wrong(&error))?;
        let Samples { part, parts, .. } = state.samples;
        if !(1..=parts).contains(&part) {
            return Err(wrong(&format!("there is no part {part} of {parts}")));
        }
        Ok(state)
    }
}

/// Whether a text in it would do more to a terminal than be there.
fn has_control_characters(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().any(char::is_control),
        Value::Array(values) => values.iter().any(has_control_characters),
        Value::Object(fields) => fields.values().any(has_control_characters),
        _ => false,
    }
}
