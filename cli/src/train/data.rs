//! The data to train on: from files, or made up.

use std::path::Path;

use maxmargin::nn::{Dataset, Features};

use super::arguments::TrainArguments;
use crate::failure::{Failure, Outcome};
use crate::file::{self, Array, Data};
use crate::method::LossName;

/// Data that a seed makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Generated {
    Circles { n: usize, noise: f64, factor: f64, seed: u64 },
    Moons { n: usize, noise: f64, seed: u64 },
    Images { n: usize, pixels: usize, classes: usize, seed: u64 },
}

impl Generated {
    /// `NAME` or `NAME:KEY=VALUE,...`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut generated = match name {
            "circles" => Self::Circles { n: 1000, noise: 0.1, factor: 0.8, seed: 1 },
            "moons" => Self::Moons { n: 1000, noise: 0.1, seed: 1 },
            "images" => Self::Images { n: 15_000, pixels: 3 * 28 * 28, classes: 2, seed: 1 },
            _ => return Err(format!("expected circles, moons or images, got {name:?}")),
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').ok_or(format!("expected KEY=VALUE, got {option:?}"))?;
            generated.set(name, key, value)?;
        }
        Ok(generated)
    }

    fn set(&mut self, name: &str, key: &str, value: &str) -> Result<(), String> {
        fn read<T: std::str::FromStr>(to: &mut T, key: &str, value: &str) -> Result<(), String> {
            *to = value.parse().map_err(|_| format!("{key}: expected a number, got {value:?}"))?;
            Ok(())
        }
        match (self, key) {
            (Self::Circles { n, .. } | Self::Moons { n, .. } | Self::Images { n, .. }, "n") => read(n, key, value),
            (Self::Circles { seed, .. } | Self::Moons { seed, .. } | Self::Images { seed, .. }, "seed") => {
                read(seed, key, value)
            }
            (Self::Circles { noise, .. } | Self::Moons { noise, .. }, "noise") => read(noise, key, value),
            (Self::Circles { factor, .. }, "factor") => read(factor, key, value),
            (Self::Images { classes, .. }, "classes") => read(classes, key, value),
            (Self::Images { pixels, .. }, "size") => {
                let sizes: Option<Vec<usize>> = value.split('x').map(|size| size.parse().ok()).collect();
                let product = sizes.and_then(|sizes| sizes.into_iter().try_fold(1usize, usize::checked_mul));
                *pixels = product.ok_or(format!("size: expected numbers with x between, got {value:?}"))?;
                Ok(())
            }
            _ => Err(format!("{name} has no option {key:?}")),
        }
    }

    fn make(self) -> maxmargin::Result<Dataset> {
        match self {
            Self::Circles { n, noise, factor, seed } => Dataset::circles(n, noise, factor, seed),
            Self::Moons { n, noise, seed } => Dataset::moons(n, noise, seed),
            Self::Images { n, pixels, classes, seed } => Dataset::images(n, pixels, classes, seed),
        }
    }
}

/// All data but what files of its own hold for validation, and that.
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
    let targets = file::read(targets_path)?.data.to_f64();
    Dataset::new(features, columns, targets).map_err(|error| Failure::file(targets_path, error))
}

/// Features and their columns: all axes but the first.
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
        None => Err(Failure::file(path, format!("features: expected shape (N, D), got {shape:?}"))),
    }
}
