//! Prints a short report, or one JSON object.

use std::io::Write;

use maxmargin::{Device, Evaluation, Precision};
use serde_json::{Map, Value, json};

use crate::eval::Batches;
use crate::failure::{Failure, Outcome};

/// An evaluation with the other values of its report.
pub(crate) struct Report {
    pub(crate) loss: String,
    pub(crate) options: Map<String, Value>,
    /// For each file of text, by its option: whether a header was found.
    pub(crate) headers: Vec<(&'static str, bool)>,
    /// The classes in the order of their indices, where the targets are text.
    pub(crate) classes: Option<Vec<String>>,
    pub(crate) reduction: String,
    pub(crate) evaluation: Evaluation,
    pub(crate) batches: Option<Batches>,
    pub(crate) device: Device,
    /// Why this device was chosen, if it was not named.
    pub(crate) device_note: Option<String>,
    pub(crate) read_seconds: f64,
    pub(crate) compute_seconds: f64,
    pub(crate) total_seconds: f64,
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
            let backend = format!("{:?}", d.backend).to_lowercase();
            json!({ "kind": "gpu", "name": d.name, "backend": backend, "driver": d.driver })
        }
        _ => json!({ "kind": "cpu", "name": device.name(), "backend": "native", "driver": Value::Null }),
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

    pub(crate) fn json(&self) -> String {
        let mut object = json!({
            "loss": self.loss,
            "options": self.options,
            "value": self.value(),
            "reduction": self.reduction,
            "count": self.evaluation.count,
            "weight_sum": number(self.evaluation.weight_sum),
            "active": self.evaluation.active,
            "accuracy": self.evaluation.accuracy(),
            "precision": self.precision(),
            "device": device_json(&self.device),
            "seconds": {
                "read": self.read_seconds,
                "upload": self.evaluation.upload_time.as_secs_f64(),
                "compute": self.compute_seconds,
                "total": self.total_seconds,
            },
            "peak_memory_bytes": peak_memory_bytes(),
        });
        if !self.headers.is_empty() {
            object["csv_header"] = headers_json(&self.headers);
        }
        if let Some(classes) = &self.classes {
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
        if let (Some(note), Some(device)) = (&self.device_note, object.get_mut("device")) {
            device["note"] = note.as_str().into();
        }
        object.to_string()
    }

    pub(crate) fn plain_value(&self) -> String {
        match (&self.evaluation.per_class, self.evaluation.value) {
            (Some(values), _) => values.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
            (None, Some(value)) => value.to_string(),
            (None, None) => "none".into(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let e = &self.evaluation;
        let options: Vec<String> = self
            .options
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", value.to_string().trim_matches('"')))
            .collect();
        let mut text = format!(
            "{:<10}{}  ({})\n{:<10}{}  ({})\n{:<10}{}  weight sum {}\n{:<10}{}\n",
            "loss",
            self.loss,
            options.join(", "),
            "value",
            self.plain_value(),
            self.reduction,
            "samples",
            e.count,
            e.weight_sum,
            "active",
            e.active
        );
        if let Some(accuracy) = e.accuracy() {
            text += &format!("{:<10}{accuracy}\n", "accuracy");
        }
        if let Some(batches) = &self.batches {
            text += &format!("{:<10}{}\n", "batches", batches.count);
        }
        text += &inputs_text(&self.headers, self.classes.as_deref(), 10);
        let note = self.device_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        text += &format!("{:<10}{}{note}, {}\n", "device", self.device.name(), self.precision());
        text + &format!(
            "{:<10}read {:.4}, upload {:.4}, compute {:.4}, total {:.4}",
            "seconds",
            self.read_seconds,
            e.upload_time.as_secs_f64(),
            self.compute_seconds,
            self.total_seconds
        )
    }
}
