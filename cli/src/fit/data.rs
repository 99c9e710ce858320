//! The files of a fit: features as they are stored, dense or sparse, labels as numbers or text, models.

use std::path::{Path, PathBuf};

use maxmargin::linear::{LinearLoss, LinearModel, Multiclass, Rows};
use maxmargin::{BinaryHinge, Device, LabelEncoding, MulticlassHinge, Penalty, Request};

use crate::failure::{Failure, Outcome};
use crate::file::sparse::{self, SparseArray, Wanted};
use crate::file::{self, Array, Data, Shape, Source, TextOptions};
use crate::words::number_text;

/// Rows of features from a file.
pub(crate) struct FileRows {
    path: PathBuf,
    data: Stored,
    /// For text: whether a header was found, and the names of the columns in it.
    pub(super) has_header: Option<bool>,
    pub(super) names: Vec<String>,
}

enum Stored {
    Dense { data: Data, columns: usize },
    Sparse(SparseArray),
}

impl FileRows {
    pub(super) fn read(path: &Path, text: TextOptions, wanted: Wanted) -> Outcome<Self> {
        if let Some(rows) = sparse::read(path, wanted)? {
            return Ok(Self { path: path.into(), data: Stored::Sparse(rows), has_header: None, names: Vec::new() });
        }
        let source = Source::open(path, text)?;
        let (has_header, names) = (source.has_header(), source.names());
        let Array { shape, data } = source.read_all()?;
        let columns = file::feature_columns(path, &shape)?;
        let data = match data {
            data @ (Data::F32(_) | Data::F64(_) | Data::F16(_) | Data::BF16(_) | Data::U8(_)) => data,
            other => Data::F64(other.to_f64()?),
        };
        Ok(Self { path: path.into(), data: Stored::Dense { data, columns }, has_header, names })
    }

    pub(super) fn rows(&self) -> Outcome<Rows<'_>> {
        let rows = match &self.data {
            Stored::Sparse(rows) => rows.rows(),
            Stored::Dense { data: Data::F32(x), columns } => Rows::new(x, *columns),
            Stored::Dense { data: Data::F64(x), columns } => Rows::new(x, *columns),
            Stored::Dense { data: Data::F16(x), columns } => Rows::new(x, *columns),
            Stored::Dense { data: Data::BF16(x), columns } => Rows::new(x, *columns),
            Stored::Dense { data: Data::U8(x), columns } => Rows::new(x, *columns),
            Stored::Dense { columns, .. } => Rows::new(&[0.0f64; 0], *columns),
        };
        rows.map_err(|error| Failure::file(&self.path, error))
    }

    /// The labels that the file has beside the features.
    pub(super) fn labels(&mut self) -> Option<Labels> {
        let Stored::Sparse(rows) = &mut self.data else { return None };
        let labels = rows.labels.take()?;
        let shape = vec![labels.len()];
        Some(Labels { path: self.path.clone(), shape, data: Data::F64(labels), names: None, has_header: None })
    }

    /// The number of stored entries of sparse rows.
    pub(super) fn entries(&self) -> Option<usize> {
        match &self.data {
            Stored::Sparse(rows) => Some(rows.entries()),
            Stored::Dense { .. } => None,
        }
    }

    /// Bytes of dense features.
    pub(super) fn dense_bytes(&self) -> Option<usize> {
        match &self.data {
            Stored::Sparse(_) => None,
            Stored::Dense { data: Data::F64(x), .. } => Some(size_of_val(&x[..])),
            Stored::Dense { data: Data::F32(x), .. } => Some(size_of_val(&x[..])),
            Stored::Dense { data: Data::U8(x), .. } => Some(x.len()),
            // Half precision.
            Stored::Dense { data, .. } => Some(2 * data.len()),
        }
    }

    /// The first rows of two features, for a plot.
    pub(super) fn points(&self, most: usize) -> Outcome<Vec<(f64, f64)>> {
        match &self.data {
            Stored::Sparse(rows) => Ok(rows.points(most)),
            Stored::Dense { data, .. } => {
                Ok(data.to_f64()?.chunks_exact(2).take(most).map(|row| (row[0], row[1])).collect())
            }
        }
    }
}

/// Labels from a file.
pub(crate) struct Labels {
    path: PathBuf,
    shape: Vec<usize>,
    pub(super) data: Data,
    /// The texts that the labels stand for, in order.
    pub(super) names: Option<Vec<String>>,
    pub(super) has_header: Option<bool>,
}

impl Labels {
    /// Reads labels. Text is numbered in the order of its characters, or by its place among `known`.
    pub(super) fn read(path: &Path, text: TextOptions, known: &[String]) -> Outcome<Self> {
        let source = Source::open_classes(path, text, known)?;
        let (has_header, names) = (source.has_header(), source.classes().map(<[String]>::to_vec));
        let Array { shape, mut data } = source.read_all()?;
        data.widen();
        Ok(Self { path: path.into(), shape, data, names, has_header })
    }

    pub(super) fn fail(&self, message: &str) -> Failure {
        Failure::file(&self.path, format!("targets: {message}"))
    }

    /// Refuses text where the labels that it is compared with are numbers, and numbers where they are text.
    pub(super) fn check_kind(&self, known: Option<&[String]>, of: &str) -> Outcome<()> {
        match (&self.names, known) {
            (Some(_), None) => Err(self.fail(&format!("expected whole numbers, as the labels of {of} are, got text"))),
            (None, Some(_)) => Err(self.fail(&format!("expected text, as the labels of {of} are, got numbers"))),
            _ => Ok(()),
        }
    }

    /// The first of these numbers that is no label of a model, in words.
    pub(super) fn stranger_to(&self, model: &LinearModel, names: Option<&[String]>) -> Outcome<Option<String>> {
        if names.is_some() {
            return Ok(Some("the labels of the model are text".into()));
        }
        let has = |label: f64| label.fract() == 0.0 && model.classes().binary_search(&(label as i64)).is_ok();
        let labels = self.data.to_f64()?;
        let place = labels.iter().position(|&label| !has(label));
        Ok(place.map(|row| format!("row {row} has the label {}, which the model has not", number_text(labels[row]))))
    }

    /// Whether there are two different labels.
    pub(super) fn are_two(&self) -> Outcome<bool> {
        let mut labels = self.data.to_f64()?;
        labels.sort_unstable_by(f64::total_cmp);
        labels.dedup();
        Ok(labels.len() == 2)
    }

    pub(super) fn check_shape(&self, rows: usize) -> Outcome<()> {
        if Shape(&self.shape).matches(&[rows]) {
            return Ok(());
        }
        Err(self.fail(&format!("expected shape ({rows}), one label per row of features, got {}", Shape(&self.shape))))
    }
}

/// One number per row.
pub(super) fn numbers(path: &Path, text: TextOptions, what: &str, rows: usize) -> Outcome<Vec<f64>> {
    let array = file::read(path, text)?;
    if !Shape(&array.shape).matches(&[rows]) {
        let message = format!("{what}: expected shape ({rows}), one per row of features, got {}", Shape(&array.shape));
        return Err(Failure::file(path, message));
    }
    array.data.to_f64()
}

/// A model, and the texts that its labels stand for.
pub(super) fn model(path: &Path) -> Outcome<(LinearModel, Option<Vec<String>>)> {
    let bytes = file::read_bytes(path)?;
    let (model, note) = LinearModel::from_safetensors(&bytes).map_err(|error| Failure::file(path, error))?;
    let names = note.and_then(|note| serde_json::from_str::<Vec<String>>(&note).ok());
    let names = names.filter(|names| names.len() == model.classes().len());
    Ok((model, names))
}

/// The mean loss that `eval` gives on the decision values, and the accuracy.
pub(super) fn score(model: &LinearModel, rows: &Rows<'_>, targets: &Labels) -> Outcome<(f64, f64)> {
    let penalty = match model.loss() {
        LinearLoss::SquaredHinge => Penalty::Squared,
        LinearLoss::SmoothHinge(gamma) => Penalty::smooth(gamma),
        _ => Penalty::Linear,
    };
    let values = model.decision_values(rows).map_err(Failure::data)?;
    let mut classes = Vec::with_capacity(rows.len());
    for (row, label) in targets.data.to_f64()?.into_iter().enumerate() {
        if label.fract() != 0.0 || label.is_nan() {
            return Err(targets.fail(&format!("row {row}: expected a whole number, got {}", number_text(label))));
        }
        let Ok(place) = model.classes().binary_search(&(label as i64)) else {
            let message = format!("row {row}: expected a label of the model, got {}", number_text(label));
            return Err(targets.fail(&message));
        };
        classes.push(place as i64);
    }
    let evaluation = match model.outputs() {
        1 => {
            let loss = BinaryHinge::new().penalty(penalty).labels(LabelEncoding::ZeroOne);
            Device::cpu().evaluate(&loss, &maxmargin::Batch::new(&values, &classes), &Request::new())
        }
        columns => {
            let (device, batch) = (Device::cpu(), maxmargin::Batch::rows(&values, columns, &classes));
            match model.multiclass() {
                Multiclass::CrammerSinger => {
                    device.evaluate(&MulticlassHinge::crammer_singer(), &batch, &Request::new())
                }
                Multiclass::WestonWatkins => {
                    device.evaluate(&MulticlassHinge::weston_watkins(), &batch, &Request::new())
                }
                _ => device.evaluate(&MulticlassHinge::one_vs_all().penalty(penalty), &batch, &Request::new()),
            }
        }
    };
    let evaluation = evaluation.map_err(Failure::data)?;
    Ok((evaluation.value.unwrap_or(f64::NAN), evaluation.accuracy().unwrap_or(f64::NAN)))
}
