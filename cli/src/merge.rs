//! `maxmargin merge`: puts the states of an evaluation's parts together, or those of several evaluations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use maxmargin::Error;
use maxmargin::loss::Loss;
use maxmargin::metric::Metric;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::progress;
use crate::report::{About, Report, print};
use crate::state::{Samples, State};
use crate::words::{counted, listed};

/// Put together what `eval --state-out` wrote, in any order: the parts of one evaluation, or evaluations of several files.
///
/// The value has the bits that one run has. A part that is given twice, or is missing, is an error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  maxmargin eval binary --scores scores.npy --targets labels.npy --part 1/2 --state-out 1.json
  maxmargin eval binary --scores scores.npy --targets labels.npy --part 2/2 --state-out 2.json
  maxmargin merge 1.json 2.json")]
pub(crate) struct MergeArguments {
    /// Files that `eval --state-out` wrote.
    #[arg(required = true, value_name = "S.json")]
    states: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long, help_heading = "Report")]
    json: bool,
    /// Print only the value (with --json: the object) and errors.
    #[arg(long, help_heading = "Report")]
    quiet: bool,
}

pub(crate) fn run(arguments: &MergeArguments) -> Outcome<()> {
    let started = Instant::now();
    progress::set_quiet(arguments.quiet);
    let (mut given, mut merged) = (Given::default(), None);
    for path in &arguments.states {
        let state = State::read(path)?;
        given.add(path, &state)?;
        let metric = Metric::from_state(state.metric);
        match &mut merged {
            None => merged = Some(Merged { path: path.clone(), about: state.about, metric }),
            Some(merged) => merged.add(path, &state.about, &metric)?,
        }
    }
    given.check_complete()?;
    let Some(Merged { path, about, mut metric }) = merged else {
        return Err(Failure::usage("no states are given"));
    };
    let evaluation = metric.compute().map_err(|error| Failure::file(&path, error))?;
    let report = Report {
        about,
        part: None,
        states: Some(arguments.states.len()),
        headers: Vec::new(),
        losses_out: None,
        evaluation,
        batches: None,
        written: Vec::new(),
        device_note: None,
        seconds: vec![("total", started.elapsed().as_secs_f64())],
    };
    print(&report.in_form(arguments.json, arguments.quiet))
}

/// What was put together so far, and the file of the first state.
struct Merged {
    path: PathBuf,
    about: About,
    metric: Metric<Box<dyn Loss>>,
}

impl Merged {
    fn add(&mut self, path: &Path, about: &About, metric: &Metric<Box<dyn Loss>>) -> Outcome<()> {
        let fail = |what: String| Failure::file(path, format!("{what}, as in {}", self.path.display()));
        self.metric.merge(metric).map_err(|error| match error {
            Error::Option { expected, got, .. } => {
                let there = self.path.display();
                let failure = Failure::file(path, format!("expected {expected}, as in {there}, got {got}"));
                if expected.contains("labels") { failure.hint("--labels says which there are") } else { failure }
            }
            error => Failure::file(path, error),
        })?;
        let own = &mut self.about;
        if own.options.get("score_kind") != about.options.get("score_kind") {
            return Err(fail("expected scores of one kind".into()));
        }
        if own.classes != about.classes {
            return Err(fail("expected the same classes of text in the same order".into()));
        }
        // A file that differs from state to state is none of the whole.
        for (name, value) in &mut own.options {
            if about.options.get(name) != Some(value) {
                *value = Value::Null;
            }
        }
        if own.device != about.device && !own.device.is_null() {
            own.device = Value::Null;
            own.notes.push("evaluated on several devices, which may round differently".into());
        }
        for note in &about.notes {
            if !own.notes.contains(note) {
                own.notes.push(note.clone());
            }
        }
        Ok(())
    }
}

/// A data set: its files, and the number of its samples.
type DataSet = (Vec<(String, String)>, u64);

/// The states given so far, by data set.
#[derive(Default)]
struct Given(BTreeMap<DataSet, GivenParts>);

/// The parts of one data set.
struct GivenParts {
    first: (PathBuf, Samples),
    /// Where the first one was evaluated.
    device: String,
    /// By number, and for a whole evaluation also by its sums: files of the same name on several machines are different data
    /// where their sums differ.
    paths: BTreeMap<(u64, String), PathBuf>,
}

impl Given {
    /// Adds a state.
    ///
    /// # Errors
    /// Its samples are in another one as well, or may be.
    fn add(&mut self, path: &Path, state: &State) -> Outcome<()> {
        let samples = &state.samples;
        let device = device_of(state).to_owned();
        let new = || GivenParts { first: (path.into(), samples.clone()), device, paths: BTreeMap::new() };
        let given = self.0.entry((samples.files.clone(), samples.total)).or_insert_with(new);
        let (first_path, first) = &given.first;
        let scores = samples.scores();
        if (samples.block, samples.parts) != (first.block, first.parts) {
            let cut = |of: &Samples, device: &str| {
                let parts = counted(of.parts as usize, "part");
                format!("{parts} of {} samples per block on {device}", of.block)
            };
            let (own, others) = (cut(samples, device_of(state)), cut(first, &given.device));
            let message = format!("{scores} is cut into {own} here, and into {others} in {}", first_path.display());
            return Err(Failure::file(path, message));
        }
        let sums = if samples.parts == 1 { state.sums()? } else { String::new() };
        if let Some(there) = given.paths.insert((samples.part, sums), path.into()) {
            let part = if samples.parts == 1 { scores.into() } else { format!("{} of {scores}", samples.words()) };
            return Err(Failure::file(path, format!("{part} is given twice: it is in {} as well", there.display())));
        }
        Ok(())
    }

    /// Refuses data sets of which parts are missing.
    fn check_complete(&self) -> Outcome<()> {
        for (data, GivenParts { first: (_, samples), paths, .. }) in &self.0 {
            let missing = missing(paths.keys().map(|(part, _)| *part), samples.parts);
            if !missing.is_empty() {
                let (scores, count) = (samples.scores(), samples.parts);
                let message = format!("of the {count} parts these are missing: {}", listed(&missing));
                // A part that was evaluated with other files is none of these.
                let other = self.0.iter().find(|(other, _)| *other != data);
                let other = other.map(|(_, other)| format!("; {} is of other files", other.first.0.display()));
                return Err(Failure::data(format!("{scores}: {message}{}", other.unwrap_or_default())));
            }
        }
        Ok(())
    }
}

/// Where a state was evaluated.
fn device_of(state: &State) -> &str {
    state.about.device["name"].as_str().unwrap_or_default()
}

/// The numbers from 1 to `count` that are not given, in words; given ones ascend.
fn missing(given: impl Iterator<Item = u64>, count: u64) -> Vec<String> {
    let (mut next, mut missing) = (1, Vec::new());
    for end in given.chain([count.saturating_add(1)]) {
        match end.saturating_sub(next) {
            0 => {}
            1 => missing.push(next.to_string()),
            _ => missing.push(format!("{next} to {}", end - 1)),
        }
        next = end.saturating_add(1);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_listed() {
        for (given, count, words) in [
            (vec![1, 2, 3], 3, ""),
            (vec![2], 3, "1, 3"),
            (vec![1, 6, 7], 9, "2 to 5, 8 to 9"),
            (vec![5], u64::MAX, "1 to 4, 6 to 18446744073709551614"),
        ] {
            assert_eq!(missing(given.into_iter(), count).join(", "), words);
        }
    }
}
