//! Prints a short report, or one JSON object.

use std::io::Write;
use std::path::PathBuf;

use maxmargin::{Device, Evaluation, Precision};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::eval::Batches;
use crate::failure::{Failure, Outcome, listed_paths};
use crate::words::number_text;

/// What is evaluated, and where. It is saved with the sums of an evaluation.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) loss: String,
    pub(crate) options: Map<String, Value>,
    /// The classes in the order of their indices, where the targets are text.
    pub(crate) classes: Option<Vec<String>>,
    pub(crate) reduction: String,
    /// [`device_json`]; null for several devices.
    pub(crate) device: Value,
    /// What the numbers do not say by themselves.
    pub(crate) notes: Vec<String>,
}

/// An evaluation with the other values of its report.
pub(crate) struct Report {
    pub(crate) about: About,
    /// The part that is evaluated, if it is one.
    pub(crate) part: Option<String>,
    /// The number of states that are put together, if they are.
    pub(crate) states: Option<usize>,
    /// For each file of text, by its option: whether a header was found.
    pub(crate) headers: Vec<(&'static str, bool)>,
    pub(crate) evaluation: Evaluation,
    pub(crate) batches: Option<Batches>,
    /// The files that are written.
    pub(crate) written: Vec<PathBuf>,
    /// Where the losses are written.
    pub(crate) losses_out: Option<PathBuf>,
    /// Why this device was chosen, if it was not named.
    pub(crate) device_note: Option<String>,
    /// What took how long.
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

/// The most memory that the program has held so far, where the system reports it (Linux).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Writes a line to stdout. A closed pipe is no error: the reader has read enough.
pub(crate) fn print(text: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::data(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

pub(crate) fn device_json(device: &Device) -> Value {
    match device {
        Device::Gpu(gpu) => {
            let d = gpu.description();
            json!({
                "kind": "gpu",
                "index": d.index,
                "name": d.name,
                "software": d.is_software(),
                "backend": d.backend.to_str(),
                "driver": d.driver,
            })
        }
        _ => json!({ "kind": "cpu", "name": device.name(), "backend": "native", "driver": Value::Null }),
    }
}

/// The device's name for people; equal adapters differ in their index.
pub(crate) fn device_text(device: &Device) -> String {
    text_of_device(&device_json(device))
}

/// As [`device_text`], from [`device_json`].
fn text_of_device(device: &Value) -> String {
    let name = device["name"].as_str().unwrap_or("several");
    match device["index"].as_u64() {
        Some(index) => {
            let kind = if device["software"] == true { ", software" } else { "" };
            format!("{name} (gpu:{index}{kind})")
        }
        None => name.into(),
    }
}

/// Whether headers were found, by option.
pub(crate) fn headers_json(headers: &[(&'static str, bool)]) -> Value {
    headers.iter().map(|&(option, found)| (option.to_owned(), Value::Bool(found))).collect::<Map<_, _>>().into()
}

/// The most classes that a report for people lists.
const MOST_CLASSES: usize = 20;

/// What was found in files of text, for the report: lines that begin with a word in `width` characters.
pub(crate) fn inputs_text(headers: &[(&'static str, bool)], classes: Option<&[String]>, width: usize) -> String {
    let mut text = String::new();
    if !headers.is_empty() {
        let each = headers.iter().map(|(option, found)| format!("{option} {}", if *found { "yes" } else { "no" }));
        text += &format!("{:<width$}{}\n", "header", each.collect::<Vec<_>>().join(", "));
    }
    if let Some(classes) = classes {
        let more = if classes.len() > MOST_CLASSES { ", ..." } else { "" };
        let first = classes.iter().take(MOST_CLASSES).cloned().collect::<Vec<_>>().join(", ");
        text += &format!("{:<width$}{first}{more}\n", "classes");
    }
    text
}

/// JSON has no NaN and no infinities, so they are strings.
pub(crate) fn number(x: f64) -> Value {
    if x.is_nan() {
        "NaN".into()
    } else if x.is_infinite() {
        if x > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        json!(x)
    }
}

/// The most batches whose values a report for people lists.
pub(crate) const MOST_BATCHES: usize = 10;

/// The first batches' values, and where the others are.
fn batches_text(batches: &Batches) -> String {
    let value = |values: &Vec<f64>| match &values[..] {
        [] => "none".into(),
        values => values.iter().map(|&x| number_text(x)).collect::<Vec<_>>().join(" "),
    };
    let mut text = batches.values.iter().take(MOST_BATCHES).map(value).collect::<Vec<_>>().join(", ");
    if batches.count > MOST_BATCHES {
        text += ", ... (--json lists all, --plot-out draws them)";
    }
    text
}

impl Report {
    fn value(&self) -> Value {
        match (&self.evaluation.per_class, self.evaluation.value) {
            (Some(values), _) => values.iter().map(|&x| number(x)).collect(),
            (None, Some(value)) => number(value),
            (None, None) => Value::Null,
        }
    }

    fn precision(&self) -> &'static str {
        match self.evaluation.precision {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        }
    }

    /// As the options of the command line ask for it.
    pub(crate) fn in_form(&self, json: bool, quiet: bool) -> String {
        match (json, quiet) {
            (true, _) => self.json(),
            (false, true) => self.plain_value(),
            (false, false) => self.text(),
        }
    }

    fn json(&self) -> String {
        let mut object = json!({
            "loss": self.about.loss,
            "options": self.about.options,
            "value": self.value(),
            "reduction": self.about.reduction,
            "count": self.evaluation.count,
            "weight_sum": number(self.evaluation.weight_sum),
            "active": self.evaluation.active,
            "accuracy": self.evaluation.accuracy(),
            "precision": self.precision(),
            "device": self.about.device,
            "seconds": self.seconds.iter().map(|&(what, seconds)| (what.into(), json!(seconds))).collect::<Map<_, _>>(),
            "peak_memory_bytes": peak_memory_bytes(),
        });
        if let Some(part) = &self.part {
            object["part"] = part.as_str().into();
        }
        if let Some(states) = self.states {
            object["states"] = states.into();
        }
        if !self.headers.is_empty() {
            object["csv_header"] = headers_json(&self.headers);
        }
        if let Some(classes) = &self.about.classes {
            object["classes"] = json!(classes);
        }
        if let (Some(batches), Some(object)) = (&self.batches, object.as_object_mut()) {
            let value = |values: &Vec<f64>| match (&self.evaluation.per_class, &values[..]) {
                (None, []) => Value::Null,
                (None, [value, ..]) => number(*value),
                (Some(_), values) => values.iter().map(|&x| number(x)).collect(),
            };
            object.insert("batch_values".into(), batches.values.iter().map(value).collect());
        }
        if !self.written.is_empty() {
            object["written"] = self.written.iter().map(|path| path.to_string_lossy()).collect();
        }
        if !self.about.notes.is_empty() {
            object["notes"] = json!(self.about.notes);
        }
        if let (Some(note), Some(device)) = (&self.device_note, object.get_mut("device")) {
            device["note"] = note.as_str().into();
        }
        object.to_string()
    }

    fn plain_value(&self) -> String {
        match (&self.evaluation.per_class, self.evaluation.value) {
            (Some(values), _) => values.iter().map(|&x| number_text(x)).collect::<Vec<_>>().join(" "),
            (None, Some(value)) => number_text(value),
            (None, None) => "none".into(),
        }
    }

    /// What --reduction none gave.
    fn losses_note(&self) -> String {
        match &self.losses_out {
            Some(path) => format!("one loss per sample, in {}", path.display()),
            None => "one loss per sample: --losses-out writes them".into(),
        }
    }

    fn text(&self) -> String {
        let e = &self.evaluation;
        let options: Vec<String> = self
            .about
            .options
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let value = value.as_f64().map_or_else(|| value.to_string(), number_text);
                format!("{name} {}", value.trim_matches('"'))
            })
            .collect();
        let mut text = format!(
            "{:<10}{}  ({})\n{:<10}{}  ({})\n{:<10}{}  weight sum {}\n{:<10}{}\n",
            "loss",
            self.about.loss,
            options.join(", "),
            "value",
            self.plain_value(),
            if self.about.reduction == "none" { self.losses_note() } else { self.about.reduction.clone() },
            "samples",
            e.count,
            number_text(e.weight_sum),
            "active",
            e.active
        );
        if let Some(accuracy) = e.accuracy() {
            text += &format!("{:<10}{accuracy}\n", "accuracy");
        }
        if let Some(batches) = &self.batches {
            text += &format!("{:<10}{}: {}\n", "batches", batches.count, batches_text(batches));
        }
        if let Some(part) = &self.part {
            text += &format!("{:<10}{part}\n", "part");
        }
        if let Some(states) = self.states {
            text += &format!("{:<10}{states}\n", "states");
        }
        text += &inputs_text(&self.headers, self.about.classes.as_deref(), 10);
        let note = self.device_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        if !self.written.is_empty() {
            text += &format!("{:<10}{}\n", "wrote", listed_paths(&self.written));
        }
        for note in &self.about.notes {
            text += &format!("{:<10}{note}\n", "note");
        }
        let device = text_of_device(&self.about.device);
        text += &format!("{:<10}{device}{note}, {}\n", "device", self.precision());
        let seconds: Vec<String> = self.seconds.iter().map(|(what, seconds)| format!("{what} {seconds:.4}")).collect();
        text + &format!("{:<10}{}", "seconds", seconds.join(", "))
    }
}
