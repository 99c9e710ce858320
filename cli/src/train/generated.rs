//! Generated data by its name: `circles:n=1000,noise=0.1`.

use std::str::FromStr;

use maxmargin::nn::Dataset;

use crate::words::suggestion;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Generated {
    Circles { n: usize, noise: f64, factor: f64, seed: u64 },
    Moons { n: usize, noise: f64, seed: u64 },
    Images { n: usize, pixels: usize, classes: usize, seed: u64 },
}

impl Generated {
    fn set(&mut self, name: &str, key: &str, value: &str) -> Result<(), String> {
        fn read<T: FromStr>(to: &mut T, key: &str, value: &str) -> Result<(), String> {
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
            _ => Err(format!(
                "{name} has no option {key:?}{}",
                suggestion(key, &["n", "noise", "factor", "seed", "classes", "size"])
            )),
        }
    }

    pub(super) fn make(self) -> maxmargin::Result<Dataset> {
        match self {
            Self::Circles { n, noise, factor, seed } => Dataset::circles(n, noise, factor, seed),
            Self::Moons { n, noise, seed } => Dataset::moons(n, noise, seed),
            Self::Images { n, pixels, classes, seed } => Dataset::images(n, pixels, classes, seed),
        }
    }
}

impl FromStr for Generated {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut generated = match name {
            "circles" => Self::Circles { n: 1000, noise: 0.1, factor: 0.8, seed: 1 },
            "moons" => Self::Moons { n: 1000, noise: 0.1, seed: 1 },
            "images" => Self::Images { n: 15_000, pixels: 3 * 28 * 28, classes: 2, seed: 1 },
            _ => {
                let near = suggestion(name, &["circles", "moons", "images"]);
                return Err(format!("expected circles, moons or images, got {name:?}{near}"));
            }
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').ok_or(format!("expected KEY=VALUE, got {option:?}"))?;
            generated.set(name, key, value)?;
        }
        Ok(generated)
    }
}
