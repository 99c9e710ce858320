//! Networks as safetensors files.
//!
//! A network is stored as `layers.N.weight` of shape (outputs, inputs) and `layers.N.bias`, where N counts dense layers
//! from 0; the header's metadata say its layers. Files with other names are read where their order is beyond doubt: the
//! names differ in one number only, as torch's `0.weight` and `2.bias` or Keras's `dense/kernel` and `dense_1/bias`.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::data::memory::{filled, reserved};
use crate::error::{Error, Result};
use crate::nn::{Dense, Sequential};

/// The key of the header's metadata under which a file says its layers and all else. There is one key only, since the
/// library that writes the file puts several in an order of chance.
const NETWORK: &str = "maxmargin.network";

/// The prefix of tensors in a checkpoint that are no weights.
pub(super) const OPTIMIZER: &str = "optimizer.";

/// The most names that a message lists.
const MOST_NAMES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Description {
    inputs: usize,
    layers: Vec<String>,
    #[serde(flatten)]
    texts: Texts,
}

/// What a file says besides its layers.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Texts {
    /// The caller's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// The progress of a training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<String>,
}

impl Description {
    fn of(network: &Sequential, texts: Texts) -> Self {
        let layers = network.layers().iter().map(ToString::to_string).collect();
        Self { inputs: network.inputs(), layers, texts }
    }

    fn has_layers_of(&self, other: &Self) -> bool {
        (self.inputs, &self.layers) == (other.inputs, &other.layers)
    }

    fn text(&self) -> String {
        format!("{} inputs and layers {}", self.inputs, self.layers.join(","))
    }
}

/// The name, shape and place of each tensor of a network.
fn tensors(network: &Sequential) -> Vec<(String, Vec<usize>, Range<usize>)> {
    let mut tensors = Vec::new();
    for (n, shape) in network.shapes().into_iter().enumerate() {
        tensors.push((format!("layers.{n}.weight"), vec![shape.outputs, shape.inputs], shape.weight));
        tensors.push((format!("layers.{n}.bias"), vec![shape.outputs], shape.bias));
    }
    tensors
}

pub(super) fn wrong(expected: impl Into<String>, got: impl Into<String>) -> Error {
    Error::File { what: "weights", expected: expected.into(), got: got.into() }
}

/// A list for a message: the first few entries, and whether there are more.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names if names.len() <= MOST_NAMES => names.join(", "),
        names => format!("{}, ... ({} in all)", names[..MOST_NAMES].join(", "), names.len()),
    }
}

/// A shape as messages write it.
fn written(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", axes.join(", "))
}

/// Numbers as f32 where that loses nothing, else as f64.
fn bytes(numbers: &[f64]) -> Result<(Dtype, Vec<u8>)> {
    let fits = numbers.iter().all(|&x| f64::from(x as f32).to_bits() == x.to_bits() || x.is_nan());
    let (dtype, size) = if fits { (Dtype::F32, 4) } else { (Dtype::F64, 8) };
    let mut bytes = reserved(numbers.len() * size)?;
    match fits {
        true => bytes.extend(numbers.iter().flat_map(|&x| (x as f32).to_le_bytes())),
        false => bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes())),
    }
    Ok((dtype, bytes))
}

/// Writes groups of numbers as tensors. Each group has a prefix and as many numbers as the network has parameters.
pub(super) fn write(network: &Sequential, groups: &[(&str, &[f64])], texts: Texts) -> Result<Vec<u8>> {
    let mut parts = Vec::new();
    for (prefix, numbers) in groups {
        for (name, shape, range) in tensors(network) {
            let numbers = numbers.get(range).unwrap_or_default();
            parts.push((format!("{prefix}{name}"), shape, bytes(numbers)?));
        }
    }
    let failed = |error: safetensors::SafeTensorError| wrong("tensors that can be written", error.to_string());
    let mut views = Vec::new();
    for (name, shape, (dtype, bytes)) in &parts {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?));
    }
    // The library allocates the file itself.
    reserved::<u8>(parts.iter().map(|(_, _, (_, bytes))| bytes.len()).sum())?;
    let description = serde_json::to_string(&Description::of(network, texts));
    let description = description.map_err(|error| wrong("layers as JSON", error.to_string()))?;
    serialize(views, Some(HashMap::from([(NETWORK.to_owned(), description)]))).map_err(failed)
}

/// The tensor of a file, and whether it is a matrix of shape (inputs, outputs).
struct Named {
    name: String,
    is_transposed: bool,
}

/// What a tensor's name says: `dense_1/kernel` has the stem `dense_`, the number 1 and the part `kernel`.
fn parse(name: &str) -> Option<(&str, Option<u64>, &str)> {
    let (layer, part) = name.rsplit_once(['.', '/'])?;
    let stem = layer.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &layer[stem.len()..];
    let number = if number.is_empty() { None } else { Some(number.parse().ok()?) };
    // Keras's first layer of a kind has no number.
    Some((stem.trim_end_matches('_'), number, part))
}

/// The tensors in the order of [`tensors`]; `None` where the names leave the order open, or one would not be used.
fn in_order(names: &[&str]) -> Option<Vec<Named>> {
    let (first_stem, _, _) = parse(names.first()?)?;
    let mut layers: BTreeMap<Option<u64>, [Option<Named>; 2]> = BTreeMap::new();
    for &name in names {
        let (stem, number, part) = parse(name)?;
        let (place, is_transposed) = match part {
            "weight" => (0, false),
            "kernel" => (0, true),
            "bias" => (1, false),
            _ => return None,
        };
        let slot = &mut layers.entry(number).or_default()[place];
        if stem != first_stem || slot.is_some() {
            return None;
        }
        *slot = Some(Named { name: name.to_owned(), is_transposed });
    }
    layers.into_values().flatten().collect()
}

/// Reads all tensors under a prefix.
pub(super) fn read(file: &SafeTensors<'_>, network: &Sequential, prefix: &str) -> Result<Vec<f64>> {
    let names: Vec<&str> = file.names();
    let mut names: Vec<&str> = names.into_iter().filter_map(|name| name.strip_prefix(prefix)).collect();
    if prefix.is_empty() {
        names.retain(|name| !name.starts_with(OPTIMIZER));
    }
    names.sort_unstable();
    let wanted = tensors(network);
    let found = in_order(&names).filter(|found| found.len() == wanted.len()).ok_or_else(|| {
        let wanted: Vec<_> = wanted.iter().map(|(name, shape, _)| format!("{name} {}", written(shape))).collect();
        let named = |name: &&str| {
            let tensor = file.tensor(&format!("{prefix}{name}"));
            format!("{name} {}", tensor.map(|tensor| written(tensor.shape())).unwrap_or_default())
        };
        let expected = format!("the tensors {} and no others", listed(&wanted));
        wrong(expected, listed(&names.iter().map(named).collect::<Vec<_>>()))
    })?;
    let mut numbers = filled(0.0f64, network.parameters().len())?;
    for ((_, mut shape, range), Named { name, is_transposed }) in wanted.into_iter().zip(found) {
        let name = format!("{prefix}{name}");
        let tensor = file.tensor(&name).map_err(|error| wrong(format!("a tensor {name}"), error.to_string()))?;
        if is_transposed {
            shape.reverse();
        }
        if tensor.shape() != shape {
            let expected = format!("{name} of shape {}, as the layers say", written(&shape));
            return Err(wrong(expected, written(tensor.shape())));
        }
        let to = &mut numbers[range];
        let place = |index: usize| match shape[..] {
            [inputs, outputs] if is_transposed => index % outputs * inputs + index / outputs,
            _ => index,
        };
        let data = tensor.data();
        macro_rules! copy {
            ($t:ty) => {
                data.as_chunks().0.iter().enumerate().for_each(|(i, &b)| to[place(i)] = <$t>::from_le_bytes(b).into())
            };
        }
        match tensor.dtype() {
            Dtype::F32 => copy!(f32),
            Dtype::F64 => copy!(f64),
            Dtype::F16 => copy!(half::f16),
            Dtype::BF16 => copy!(half::bf16),
            other => return Err(wrong(format!("{name} of F16, BF16, F32 or F64"), other.to_string())),
        }
        if let Some(at) = to.iter().position(|x| !x.is_finite()) {
            return Err(wrong(format!("finite numbers in {name}"), format!("{} at [{at}]", to[at])));
        }
    }
    Ok(numbers)
}

pub(super) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| wrong("a safetensors file", error.to_string()))
}

/// What a file says about its layers, if anything.
fn described(bytes: &[u8]) -> Result<Option<Description>> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| wrong("a safetensors file", error.to_string()))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|map| map.get(NETWORK)) else { return Ok(None) };
    let description = serde_json::from_str(text);
    description.map(Some).map_err(|error| wrong(format!("layers under {NETWORK}"), error.to_string()))
}

/// What a file says besides its layers.
pub(super) fn texts(bytes: &[u8]) -> Result<Texts> {
    Ok(described(bytes)?.map(|description| description.texts).unwrap_or_default())
}

impl Sequential {
    /// The network of a file from [`Sequential::to_safetensors`] or [`crate::train::Trainer::checkpoint`], which say
    /// their layers; `None` for a file that does not.
    ///
    /// ```
    /// use maxmargin::nn::{Dense, Sequential};
    /// let network = Sequential::new(3, &[Dense::new(2), Dense::new(1)], 7)?;
    /// assert_eq!(Sequential::from_safetensors(&network.to_safetensors()?)?, Some(network));
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Sequential::load_safetensors`].
    pub fn from_safetensors(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(description) = described(bytes)? else { return Ok(None) };
        let layers = description.layers.iter().map(|layer| layer.parse()).collect::<Result<Vec<Dense>>>()?;
        let mut network = Self::new(description.inputs, &layers, 0)?;
        network.load_safetensors(bytes)?;
        Ok(Some(network))
    }

    /// The weights as a safetensors file, which also says the layers: names, shapes and types of tensors are in the
    /// module's documentation.
    ///
    /// # Errors
    /// [`Error::File`] where the format cannot hold the weights, [`Error::OutOfMemory`].
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        write(self, &[("", self.parameters())], Texts::default())
    }

    /// As [`Sequential::to_safetensors`], with a note of the caller's that [`Sequential::note_in_safetensors`] reads.
    ///
    /// # Errors
    /// As [`Sequential::to_safetensors`].
    pub fn to_safetensors_with_note(&self, note: &str) -> Result<Vec<u8>> {
        write(self, &[("", self.parameters())], Texts { note: Some(note.to_owned()), checkpoint: None })
    }

    /// The note of a file from [`Sequential::to_safetensors_with_note`]; `None` for a file without one.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is not safetensors.
    pub fn note_in_safetensors(bytes: &[u8]) -> Result<Option<String>> {
        texts(bytes).map(|texts| texts.note)
    }

    /// Replaces the weights with those of a safetensors file: `layers.N.weight` of shape (outputs, inputs) and
    /// `layers.N.bias`, torch's `N.weight` and `N.bias`, or Keras's `dense_N/kernel` of shape (inputs, outputs) and
    /// `dense_N/bias`. Layers are in the order of N, which may have gaps. No tensor may be left over.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is not safetensors, says other layers, lacks a tensor or has one too many, or
    /// holds another shape, another type or a number that is not finite; [`Error::OutOfMemory`]. The weights are then
    /// unchanged.
    pub fn load_safetensors(&mut self, bytes: &[u8]) -> Result<()> {
        let own = Description::of(self, Texts::default());
        if let Some(saved) = described(bytes)?.filter(|saved| !saved.has_layers_of(&own)) {
            return Err(wrong(own.text(), saved.text()));
        }
        let numbers = read(&open(bytes)?, self, "")?;
        self.set_parameters(&numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Dense};

    fn file(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, _, x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes);
        let views =
            views.map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
        serialize(views, None).unwrap()
    }

    /// Two layers of two units, so that no shape tells inputs from outputs or one layer from the other.
    fn load(names: [&str; 4]) -> Result<Vec<f64>> {
        let mut network = Sequential::new(2, &[Dense::new(2), Dense::new(2)], 1)?;
        let [first, first_bias, second, second_bias] = names;
        network.load_safetensors(&file(&[
            (first, &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            (first_bias, &[2], &[5.0, 6.0]),
            (second, &[2, 2], &[7.0, 8.0, 9.0, 10.0]),
            (second_bias, &[2], &[11.0, 12.0]),
        ]))?;
        Ok(network.parameters().to_vec())
    }

    #[test]
    fn names_of_torch_and_keras_are_read_in_the_order_of_their_numbers() {
        let rows: Vec<f64> = (1..=12).map(f64::from).collect();
        assert_eq!(load(["0.weight", "0.bias", "2.weight", "2.bias"]), Ok(rows.clone()));
        // 10 comes after 9.
        assert_eq!(load(["net.9.weight", "net.9.bias", "net.10.weight", "net.10.bias"]), Ok(rows.clone()));
        assert_eq!(load(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]), Ok(rows));
        let columns = [1.0, 3.0, 2.0, 4.0, 5.0, 6.0, 7.0, 9.0, 8.0, 10.0, 11.0, 12.0];
        let keras = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"];
        assert_eq!(load(keras), Ok(columns.to_vec()));
    }

    #[test]
    fn an_order_that_is_open_is_an_error() {
        for names in [
            ["hidden.weight", "hidden.bias", "output.weight", "output.bias"],
            ["0.weight", "0.bias", "1.weight", "2.bias"],
            ["0.weight", "0.kernel", "1.weight", "1.bias"],
            ["0.gamma", "0.bias", "1.weight", "1.bias"],
        ] {
            let error = load(names).unwrap_err().to_string();
            assert!(error.contains("layers.0.weight (2, 2)") && error.contains(names[0]), "{error}");
        }
    }

    #[test]
    fn a_note_is_read_back_and_the_same_network_gives_the_same_file() {
        let network = Sequential::new(2, &[Dense::new(3), Dense::new(1)], 1).unwrap();
        let bytes = network.to_safetensors_with_note("hinge").unwrap();
        assert!((0..20).all(|_| network.to_safetensors_with_note("hinge").unwrap() == bytes));
        assert_eq!(Sequential::note_in_safetensors(&bytes), Ok(Some("hinge".into())));
        assert_eq!(Sequential::from_safetensors(&bytes), Ok(Some(network.clone())));
        assert_eq!(Sequential::note_in_safetensors(&network.to_safetensors().unwrap()), Ok(None));
    }

    #[test]
    fn a_file_of_another_network_is_refused() {
        let relu = Dense::new(8).activation(Activation::Relu);
        let saved = Sequential::new(2, &[relu, Dense::new(1)], 1).unwrap().to_safetensors().unwrap();
        let tanh = Dense::new(1).activation(Activation::Tanh);
        for layers in [&[relu][..], &[relu, tanh], &[Dense::new(8), Dense::new(1)]] {
            let mut other = Sequential::new(2, layers, 1).unwrap();
            let before = other.clone();
            let error = other.load_safetensors(&saved).unwrap_err();
            assert!(matches!(error, Error::File { .. }) && error.to_string().contains("layers 8:relu,1"), "{error}");
            assert_eq!(other, before);
        }
        // Without metadata, a tensor too many.
        let mut one = Sequential::new(2, &[Dense::new(2)], 1).unwrap();
        let bytes = file(&[("0.weight", &[2, 2], &[0.0; 4]), ("0.bias", &[2], &[0.0; 2]), ("1.bias", &[2], &[0.0; 2])]);
        assert!(one.load_safetensors(&bytes).is_err());
    }
}
