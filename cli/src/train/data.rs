//! The data to train on: read from files, or generated.

use std::path::Path;

use maxmargin::Error;
use maxmargin::nn::{Dataset, Features};

use super::arguments::TrainArguments;
use crate::failure::{Failure, Outcome};
use crate::file::{Array, Data, Shape, Source, TextOptions, feature_columns};
use crate::method::LossName;
use crate::words::{listed, suggestion};

/// The data, and what was found in files of text.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    /// Validation data from files of its own. A --validation-split is not yet split off.
    pub(crate) validation: Option<Dataset>,
    /// For each file of text, by its option: whether a header was found.
    pub(crate) headers: Vec<(&'static str, bool)>,
    /// The classes that the targets index, where their file holds text.
    pub(crate) classes: Option<Vec<String>>,
    /// The names of the features' columns, where their file says them.
    pub(crate) feature_names: Vec<String>,
}

pub(super) fn load(arguments: &TrainArguments, loss: LossName) -> Outcome<Loaded> {
    let reading = Reading {
        has_classes: loss.has_classes(),
        outputs: arguments.layers.last().map_or(0, |layer| layer.units()),
        text: arguments.text,
    };
    let mut loaded = match (&arguments.data, &arguments.features, &arguments.targets) {
        (Some(generated), _, _) => {
            let data = generated.make().map_err(|error| Failure::usage(format!("--data: {}", in_own_words(error))))?;
            let data = if loss.has_classes() { data } else { data.signs() };
            Loaded { data, validation: None, headers: vec![], classes: None, feature_names: vec![] }
        }
        (None, Some(features), Some(targets)) => {
            reading.read([("--features", features), ("--targets", targets)], None)?
        }
        _ => return Err(Failure::usage("expected --data, or --features and --targets")),
    };
    if let (Some(features), Some(targets)) = (&arguments.validation_features, &arguments.validation_targets) {
        let files = [("--validation-features", &**features), ("--validation-targets", &**targets)];
        let validation = reading.read(files, loaded.classes.as_deref())?;
        loaded.validation = Some(validation.data);
        loaded.headers.extend(validation.headers);
    }
    Ok(loaded)
}

/// An option of a generator under its name on the command line.
fn in_own_words(error: Error) -> String {
    match error {
        Error::Option { option, expected, got } => {
            let name = match option {
                "samples" => "n",
                "pixels" => "size",
                other => other,
            };
            format!("{name}: expected {expected}, got {got}")
        }
        other => other.to_string(),
    }
}

/// How features and targets are read.
pub(crate) struct Reading {
    /// Whether targets are class indices, which may be text.
    pub(crate) has_classes: bool,
    /// Outputs of the network.
    pub(crate) outputs: usize,
    pub(crate) text: TextOptions,
}

impl Reading {
    /// Reads features and targets. Classes of text must be among `known`, where these are given.
    pub(crate) fn read(
        &self,
        [(features_option, features_path), (targets_option, targets_path)]: [(&'static str, &Path); 2],
        known: Option<&[String]>,
    ) -> Outcome<Loaded> {
        let features = read_features(features_path, self.text)?;
        let targets = match self.has_classes {
            true => Source::open_classes(targets_path, self.text, known.unwrap_or_default())?,
            false => Source::open(targets_path, self.text).map_err(|failure| {
                let as_classes = Source::open_classes(targets_path, self.text, &[]);
                let is_text = as_classes.is_ok_and(|source| source.classes().is_some());
                if is_text { failure.hint("classes as text need --loss multiclass") } else { failure }
            })?,
        };
        let outputs = self.outputs;
        if let Some(classes) = targets.classes() {
            if let (Some(known), Some(unknown)) =
                (known, classes.iter().find(|class| known.is_some_and(|known| !known.contains(class))))
            {
                let near = suggestion(unknown, known);
                let message = format!("targets: the class {unknown:?} is not among {}{near}", listed(known));
                return Err(Failure::file(targets_path, message));
            }
            if known.is_none() && classes.len() != outputs {
                let message = format!("targets: {} classes of text for {outputs} outputs of --layers", classes.len());
                return Err(Failure::file(targets_path, message + targets.header_hint()));
            }
        }
        let headers = [(features_option, features.has_header), (targets_option, targets.has_header())];
        let headers = headers.into_iter().filter_map(|(option, found)| Some((option, found?))).collect();
        let classes = targets.classes().map(<[String]>::to_vec);
        let Array { shape, data } = targets.read_all()?;
        let rows = features.values.len() / features.columns;
        let width = data.len().checked_div(rows).unwrap_or(0);
        if rows > 0 && !Shape(&shape).matches(&[rows, width]) {
            let got = format!("targets: expected shape ({rows}) or ({rows}, K), got {}", Shape(&shape));
            return Err(Failure::file(targets_path, got));
        }
        let data = Dataset::new(features.values, features.columns, data.to_f64()?);
        let data = data.map_err(|error| Failure::file(targets_path, error))?;
        Ok(Loaded { data, validation: None, headers, classes, feature_names: features.names })
    }
}

/// Rows of features from a file.
pub(crate) struct FileFeatures {
    pub(crate) values: Features,
    /// The product of all axes but the first.
    pub(crate) columns: usize,
    /// For text: whether a header was found, and the names of the columns in it.
    pub(crate) has_header: Option<bool>,
    pub(crate) names: Vec<String>,
}

/// Reads features, all of which must be finite.
pub(crate) fn read_features(path: &Path, text: TextOptions) -> Outcome<FileFeatures> {
    let source = Source::open(path, text)?;
    let (has_header, names) = (source.has_header(), source.names());
    let Array { shape, data } = source.read_all()?;
    let columns = feature_columns(path, &shape)?;
    if let Some((index, value)) = data.first_beyond_f32() {
        let place = format!("row {}, column {}", index / columns, index % columns);
        let message = format!("features: {place}: expected a finite number in f32's range, got {value:?}");
        return Err(Failure::file(path, message));
    }
    let values = match data {
        Data::F32(x) => Features::F32(x),
        Data::F64(x) => Features::F64(x),
        Data::F16(x) => Features::F16(x),
        Data::BF16(x) => Features::BF16(x),
        other => Features::F64(other.to_f64()?),
    };
    Ok(FileFeatures { values, columns, has_header, names })
}
