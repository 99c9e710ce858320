//! The data to train on: read from files, or generated.

use std::path::Path;

use maxmargin::nn::{Dataset, Features};

use super::arguments::TrainArguments;
use crate::failure::{Failure, Outcome};
use crate::file::{self, Array, Data, Shape};
use crate::method::LossName;

/// The data, and the validation data where it has files of its own. A --validation-split is not yet split off.
pub(super) fn load(arguments: &TrainArguments) -> Outcome<(Dataset, Option<Dataset>)> {
    let data = match (&arguments.data, &arguments.features, &arguments.targets) {
        (Some(generated), _, _) => {
            let data = generated.make().map_err(|error| Failure::usage(format!("--data: {error}")))?;
            match arguments.loss {
                LossName::Binary | LossName::Squared | LossName::Embedding => data.signs(),
                _ => data,
            }
        }
        (None, Some(features), Some(targets)) => read(features, targets)?,
        _ => return Err(Failure::usage("expected --data, or --features and --targets")),
    };
    match (&arguments.validation_features, &arguments.validation_targets) {
        (Some(features), Some(targets)) => Ok((data, Some(read(features, targets)?))),
        _ => Ok((data, None)),
    }
}

fn read(features_path: &Path, targets_path: &Path) -> Outcome<Dataset> {
    let (features, columns) = read_features(features_path)?;
    let rows = features.len() / columns;
    let Array { shape, data } = file::read(targets_path)?;
    let width = data.len().checked_div(rows).unwrap_or(0);
    if rows > 0 && !Shape(&shape).matches(&[rows, width]) {
        let got = format!("targets: expected shape ({rows}) or ({rows}, K), got {}", Shape(&shape));
        return Err(Failure::file(targets_path, got));
    }
    Dataset::new(features, columns, data.to_f64()).map_err(|error| Failure::file(targets_path, error))
}

/// Features and their number of columns, the product of all axes but the first.
pub(crate) fn read_features(path: &Path) -> Outcome<(Features, usize)> {
    let Array { shape, data } = file::read(path)?;
    let columns = match &shape[..] {
        [] => Some(1),
        [_, rest @ ..] => rest.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis)),
    };
    let features = match data {
        Data::F32(x) => Features::F32(x),
        Data::F64(x) => Features::F64(x),
        Data::F16(x) => Features::F16(x),
        Data::BF16(x) => Features::BF16(x),
        other => Features::F64(other.to_f64()),
    };
    match columns.filter(|&columns| columns > 0) {
        Some(columns) => Ok((features, columns)),
        None => Err(Failure::file(path, format!("features: expected shape (N, D), got {}", Shape(&shape)))),
    }
}
