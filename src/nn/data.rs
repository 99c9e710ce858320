//! Data to train on: features and targets, and generators of well-known toy data sets.

use std::f64::consts::PI;

use half::{bf16, f16};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use super::random::{Stream, generator};
use crate::data::batch::Batch;
use crate::data::evaluation::Request;
use crate::data::real::Real;
use crate::data::shape::BatchShape;
use crate::data::tensor::Floats;
use crate::error::{Error, Input, Result, number};
use crate::loss::Spec;

/// Rows of features, row-major.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Features {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision. Rounded to f32 on a GPU, and where the network computes in f32.
    F64(Vec<f64>),
    /// Half precision, in half the memory. Widened when read; the network computes in f32.
    F16(Vec<f16>),
    /// bfloat16, treated as half precision is.
    BF16(Vec<bf16>),
    /// Bytes that stand for x / 255, as in images, in a quarter of the memory.
    U8(Vec<u8>),
}

impl Features {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Features::F32(x) => x.len(),
            Features::F64(x) => x.len(),
            Features::F16(x) => x.len(),
            Features::BF16(x) => x.len(),
            Features::U8(x) => x.len(),
        }
    }

    /// True where there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in f64, with the values that the network computes with.
    pub fn to_f64(&self) -> Vec<f64> {
        let mut all = vec![0.0; self.len()];
        self.read(0, &mut all);
        all
    }

    /// Writes a row to `to`, which must have its length.
    pub(crate) fn read<T: Real>(&self, row: usize, to: &mut [T]) {
        fn copy<T: Real, F: Copy>(from: &[F], to: &mut [T], convert: impl Fn(F) -> T) {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = convert(from));
        }
        let range = row * to.len()..(row + 1) * to.len();
        match self {
            Features::F32(x) => copy(&x[range], to, |x| T::from_f64(x.into())),
            Features::F64(x) => copy(&x[range], to, T::from_f64),
            Features::F16(x) => copy(&x[range], to, |x| T::from_f64(x.into())),
            Features::BF16(x) => copy(&x[range], to, |x| T::from_f64(x.into())),
            Features::U8(x) => copy(&x[range], to, |x| T::from_f64(x.into()) / T::from_f64(255.0)),
        }
    }

    /// The first feature that is not finite, with its index.
    fn first_not_finite(&self) -> Option<(usize, f64)> {
        fn first<T: Copy + Into<f64>>(x: &[T]) -> Option<(usize, f64)> {
            let index = x.iter().position(|&x| !x.into().is_finite())?;
            Some((index, x[index].into()))
        }
        match self {
            Features::F32(x) => first(x),
            Features::F64(x) => first(x),
            Features::F16(x) => first(x),
            Features::BF16(x) => first(x),
            Features::U8(_) => None,
        }
    }

    fn split_off(&mut self, at: usize) -> Self {
        match self {
            Features::F32(x) => Features::F32(x.split_off(at)),
            Features::F64(x) => Features::F64(x.split_off(at)),
            Features::F16(x) => Features::F16(x.split_off(at)),
            Features::BF16(x) => Features::BF16(x.split_off(at)),
            Features::U8(x) => Features::U8(x.split_off(at)),
        }
    }
}

macro_rules! features_from {
    ($($variant:ident($t:ty)),+) => {$(
        impl From<Vec<$t>> for Features {
            fn from(x: Vec<$t>) -> Self {
                Features::$variant(x)
            }
        }
    )+};
}
features_from!(F32(f32), F64(f64), F16(f16), BF16(bf16), U8(u8));

/// Samples: a row of features and a target (or a row of targets) each.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub(crate) features: Features,
    pub(crate) columns: usize,
    pub(crate) targets: Vec<f64>,
    pub(crate) samples: usize,
}

/// A hash of numbers, whatever type they are stored in. It guards against mistakes, not against intent.
fn fingerprint(numbers: impl Iterator<Item = f64>, start: u64) -> u64 {
    numbers.fold(start, |hash, number| mix(hash, number.to_bits()))
}

/// A word is mixed in by a multiplication with an odd number, and shifted so that high bits reach low ones.
fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

impl Dataset {
    /// `features` is a row-major matrix with `columns` columns. `targets` has one element per row; for losses over rows
    /// of targets it has as many per row as the network has outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Length`] where the sizes do not match, [`Error::Value`] for a feature that is not
    /// finite, [`Error::DeviceLimit`] for 2^32 rows or more.
    pub fn new(features: impl Into<Features>, columns: usize, targets: impl Into<Vec<f64>>) -> Result<Self> {
        let data = Self::of_any_numbers(features.into(), columns, targets.into())?;
        match data.features.first_not_finite() {
            None => Ok(data),
            Some((index, value)) => Err(Error::Value {
                input: Input::Features,
                index: index as u64,
                value: number(value),
                expected: "a finite feature".into(),
            }),
        }
    }

    /// As [`Dataset::new`], but features may be NaN or infinite.
    pub(crate) fn of_any_numbers(features: Features, columns: usize, targets: Vec<f64>) -> Result<Self> {
        let len = features.len();
        if columns == 0 || !len.is_multiple_of(columns) {
            let got = format!("{len} elements in {columns} columns");
            return Err(Error::Shape { input: Input::Features, expected: "(N, D) with D of 1 or more".into(), got });
        }
        let samples = len / columns;
        if targets.len().checked_rem(samples).unwrap_or(targets.len()) != 0 || (samples > 0 && targets.is_empty()) {
            let (input, unit) = (Input::Targets, "row of features");
            return Err(Error::Length { input, expected: samples, got: targets.len(), unit });
        }
        if samples as u64 >= 1 << 32 {
            return Err(Error::DeviceLimit { what: "rows to train on", limit: (1 << 32) - 1, got: samples as u64 });
        }
        Ok(Self { features, columns, targets, samples })
    }

    /// A number that almost surely differs between different data: a resumed training must have the same.
    pub(crate) fn fingerprint(&self) -> u64 {
        fn of<T: Copy + Into<f64>>(x: &[T], start: u64) -> u64 {
            fingerprint(x.iter().map(|&x| x.into()), start)
        }
        let start = mix(self.columns as u64, self.features.len() as u64);
        let features = match &self.features {
            Features::F32(x) => of(x, start),
            Features::F64(x) => of(x, start),
            Features::F16(x) => of(x, start),
            Features::BF16(x) => of(x, start),
            Features::U8(x) => of(x, start),
        };
        of(&self.targets, features)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// True where there are no rows.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Features per row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All features.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// All targets.
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    pub(crate) fn target_width(&self) -> usize {
        self.targets.len().checked_div(self.samples).unwrap_or(1)
    }

    /// The shape in which a loss sees the data, for a network with this many outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Length`] where the loss does not take such outputs and targets.
    pub(crate) fn shape(&self, spec: &Spec<'_>, outputs: usize) -> Result<BatchShape> {
        let none = || Error::OutOfMemory { device: "the host".into(), operation: "looking at the data's shape".into() };
        // Zeroed memory takes no physical pages until it is touched, and nothing touches it.
        let count = self.samples.checked_mul(outputs).ok_or_else(none)?;
        let scores: Box<[f32]> = bytemuck::allocation::try_zeroed_slice_box(count).map_err(|()| none())?;
        spec.check_batch(&batch((&*scores).into(), outputs, &self.targets), &Request::new())
    }

    /// Turns class 0 into -1 and all others into +1, the labels of the binary and the embedding hinge.
    pub fn signs(mut self) -> Self {
        self.targets.iter_mut().for_each(|t| *t = if *t == 0.0 { -1.0 } else { 1.0 });
        self
    }

    /// Splits off the last `fraction` of the rows, as Keras splits off validation data. With N rows the first part has
    /// floor(N * (1 - fraction)) rows.
    ///
    /// # Errors
    /// [`Error::Option`] where the fraction is not in [0, 1) or one part would be empty.
    pub fn split_tail(mut self, fraction: f64) -> Result<(Self, Self)> {
        let first = (self.samples as f64 * (1.0 - fraction)).floor() as usize;
        if !(0.0..1.0).contains(&fraction) || first == 0 || first == self.samples {
            return Err(Error::Option {
                option: "fraction",
                expected: format!("a fraction in (0, 1) that leaves some of {} rows on both sides", self.samples),
                got: number(fraction),
            });
        }
        let width = self.target_width();
        let features = self.features.split_off(first * self.columns);
        let targets = self.targets.split_off(first * width);
        let tail = Self { features, columns: self.columns, targets, samples: self.samples - first };
        self.samples = first;
        Ok((self, tail))
    }

    /// Two circles around the origin, as scikit-learn's make_circles: class 0 has radius 1, class 1 has radius
    /// `factor`. Normal noise is added to each coordinate, and the order is random. The random stream is this crate's
    /// own.
    ///
    /// # Errors
    /// [`Error::Option`] for a factor outside [0, 1), noise that is negative or not finite, or too many samples.
    pub fn circles(samples: usize, noise: f64, factor: f64, seed: u64) -> Result<Self> {
        if !(0.0..1.0).contains(&factor) {
            let expected = "a number in [0, 1)".into();
            return Err(Error::Option { option: "factor", expected, got: number(factor) });
        }
        let outer = samples / 2;
        let point = |i: usize| {
            let (class, i, n, radius) =
                if i < outer { (0.0, i, outer, 1.0) } else { (1.0, i - outer, samples - outer, factor) };
            // No point at 2*pi: it would repeat the first one.
            let angle = 2.0 * PI * i as f64 / n as f64;
            ([radius * angle.cos(), radius * angle.sin()], class)
        };
        Self::noisy(samples, point, noise, seed)
    }

    /// Two interleaved half circles, as scikit-learn's make_moons.
    ///
    /// # Errors
    /// [`Error::Option`] for noise that is negative or not finite, or too many samples.
    pub fn moons(samples: usize, noise: f64, seed: u64) -> Result<Self> {
        let outer = samples / 2;
        let point = |i: usize| {
            let (class, i, n) = if i < outer { (0.0, i, outer) } else { (1.0, i - outer, samples - outer) };
            // Both ends belong to the half circle.
            let angle = PI * i as f64 / (n.max(2) - 1) as f64;
            let outer_point = [angle.cos(), angle.sin()];
            (if class == 0.0 { outer_point } else { [1.0 - outer_point[0], 0.5 - outer_point[1]] }, class)
        };
        Self::noisy(samples, point, noise, seed)
    }

    fn noisy(samples: usize, point: impl Fn(usize) -> ([f64; 2], f64), noise: f64, seed: u64) -> Result<Self> {
        if !(noise.is_finite() && noise >= 0.0) {
            let expected = "a finite number, 0 or more".into();
            return Err(Error::Option { option: "noise", expected, got: number(noise) });
        }
        if samples > u32::MAX as usize {
            let expected = format!("at most {}", u32::MAX);
            return Err(Error::Option { option: "samples", expected, got: samples.to_string() });
        }
        let mut points = Vec::new();
        let too_many = |_| Error::Option {
            option: "samples",
            expected: "as many as fit in memory".into(),
            got: samples.to_string(),
        };
        points.try_reserve_exact(samples).map_err(too_many)?;
        points.extend((0..samples).map(point));
        let mut random = generator(seed, Stream::Data);
        points.shuffle(&mut random);
        let mut jitter = || -> f64 { StandardNormal.sample(&mut random) };
        let features: Vec<f32> = points.iter().flat_map(|(p, _)| *p).map(|x| (x + noise * jitter()) as f32).collect();
        Self::new(features, 2, points.into_iter().map(|(_, class)| class).collect::<Vec<_>>())
    }

    /// Images of independent, uniformly random bytes with random classes. They measure only speed: there is nothing to
    /// learn. Each image is a row of `pixels` features.
    ///
    /// # Errors
    /// [`Error::Option`] for no pixels or no classes; [`Error::DeviceLimit`] for more bytes than memory addresses.
    pub fn images(samples: usize, pixels: usize, classes: usize, seed: u64) -> Result<Self> {
        if pixels == 0 || classes == 0 {
            let expected = "at least one pixel and one class".into();
            return Err(Error::Option {
                option: "pixels and classes",
                expected,
                got: format!("{pixels} and {classes}"),
            });
        }
        let bytes = samples.checked_mul(pixels).filter(|&bytes| bytes <= isize::MAX as usize);
        let limit = Error::DeviceLimit { what: "bytes of images", limit: isize::MAX as u64, got: u64::MAX };
        let mut random = generator(seed, Stream::Data);
        let mut features = Vec::new();
        features.try_reserve_exact(bytes.ok_or(limit.clone())?).map_err(|_| limit)?;
        features.resize(samples * pixels, 0u8);
        random.fill(&mut features[..]);
        let targets: Vec<f64> = (0..samples).map(|_| random.random_range(0..classes) as f64).collect();
        Self::new(features, pixels, targets)
    }
}

pub(crate) fn batch<'a>(scores: Floats<'a>, outputs: usize, targets: &'a [f64]) -> Batch<'a> {
    match outputs {
        1 => Batch::new(scores, targets),
        columns => Batch::rows(scores, columns, targets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_moons_without_noise_lie_on_their_curves() {
        let circles = Dataset::circles(101, 0.0, 0.5, 1).unwrap();
        let Features::F32(x) = circles.features() else { panic!("not f32") };
        for (point, class) in x.chunks_exact(2).zip(circles.targets()) {
            let radius = if *class == 0.0 { 1.0 } else { 0.5 };
            assert!((point[0].hypot(point[1]) - radius).abs() < 1e-6);
        }
        assert_eq!(circles.targets().iter().filter(|&&t| t == 0.0).count(), 50);
        let moons = Dataset::moons(100, 0.0, 1).unwrap();
        let Features::F32(x) = moons.features() else { panic!("not f32") };
        for (point, class) in x.chunks_exact(2).zip(moons.targets()) {
            let (dx, dy) = if *class == 0.0 { (point[0], point[1]) } else { (1.0 - point[0], 0.5 - point[1]) };
            assert!((dx.hypot(dy) - 1.0).abs() < 1e-6 && dy > -1e-6);
        }
    }

    #[test]
    fn images_are_uniform_bytes() {
        let images = Dataset::images(100, 2352, 2, 3).unwrap();
        let Features::U8(x) = images.features() else { panic!("not u8") };
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64 / 255.0;
        let square = x.iter().map(|&x| (f64::from(x) / 255.0 - mean).powi(2)).sum::<f64>() / x.len() as f64;
        // Five standard errors around the mean and the deviation of k / 255.
        assert!((mean - 0.5).abs() < 5.0 * 0.29 / (x.len() as f64).sqrt(), "{mean}");
        assert!((square.sqrt() - 0.2898).abs() < 2e-3, "{}", square.sqrt());
    }

    #[test]
    fn the_tail_is_split_off_as_keras_does() {
        let data = Dataset::new(vec![0f32, 1.0, 2.0, 3.0, 4.0], 1, vec![0.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
        let (first, tail) = data.clone().split_tail(0.3).unwrap();
        assert_eq!((first.targets(), tail.targets()), (&[0.0, 1.0, 2.0][..], &[3.0, 4.0][..]));
        assert!(data.clone().split_tail(0.0).is_err() && data.clone().split_tail(1.0).is_err());
        assert!(data.split_tail(0.99).is_err());
    }
}
