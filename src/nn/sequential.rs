//! A network: a sequence of dense layers and their weights.

use std::ops::Range;

use super::layer::{Activation, Dense};
use super::random::{Stream, generator};
use crate::data::memory::reserved;
use crate::error::{Error, Input, Result};

/// The most parameters of a network: beyond it offsets need more than 32 bits.
const MOST_PARAMETERS: usize = 1 << 30;

/// A sequence of dense layers. Weights are kept as f64, which holds every f32 exactly.
///
/// ```
/// use maxmargin::nn::{Activation, Dense, Initializer, Sequential};
/// let hidden = Dense::new(50).activation(Activation::Relu).initializer(Initializer::HeUniform);
/// let output = Dense::new(1).activation(Activation::Tanh).initializer(Initializer::GlorotUniform);
/// let network = Sequential::new(2, &[hidden, output], 1)?;
/// assert_eq!(network.weight(0).map(<[f64]>::len), Some(100));
/// assert_eq!(network.parameters().len(), 2 * 50 + 50 + 50 + 1);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sequential {
    inputs: usize,
    layers: Vec<Dense>,
    parameters: Vec<f64>,
}

/// Where a layer's numbers lie among all parameters.
#[derive(Clone, Debug)]
pub(crate) struct LayerShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: Activation,
    /// Row-major, outputs x inputs.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Sequential {
    /// A network with random starting weights. The same seed gives the same weights on every machine.
    ///
    /// # Errors
    /// [`Error::Option`] for no layers, a layer without units, no inputs, or more than 2^30 parameters;
    /// [`Error::OutOfMemory`].
    pub fn new(inputs: usize, layers: &[Dense], seed: u64) -> Result<Self> {
        let wrong = |expected: &str, got: String| Error::Option { option: "layers", expected: expected.into(), got };
        if layers.is_empty() || inputs == 0 || layers.iter().any(|layer| layer.units == 0) {
            let got = format!("{inputs} inputs and {}", units(layers));
            return Err(wrong("at least one input and one layer, each of at least one unit", got));
        }
        let mut count = 0usize;
        let mut before = inputs;
        for layer in layers {
            let own = before.checked_add(1).and_then(|rows| rows.checked_mul(layer.units));
            count = own.and_then(|own| own.checked_add(count)).unwrap_or(usize::MAX);
            before = layer.units;
        }
        if count > MOST_PARAMETERS {
            return Err(wrong("at most 2^30 weights", format!("{inputs} inputs and {}", units(layers))));
        }
        let mut random = generator(seed, Stream::Weights);
        let mut parameters = reserved(count)?;
        let mut before = inputs;
        for layer in layers {
            layer.initializer.draw(before, layer.units, &mut random, &mut parameters);
            before = layer.units;
        }
        Ok(Self { inputs, layers: layers.to_vec(), parameters })
    }

    /// Inputs of the first layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs of the last layer.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(self.inputs, |layer| layer.units)
    }

    /// The layers.
    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// All weights: each layer's matrix, row-major (units x inputs), followed by its bias.
    pub fn parameters(&self) -> &[f64] {
        &self.parameters
    }

    /// Replaces all weights. They are rounded to the precision in which the network computes.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of weights.
    pub fn set_parameters(&mut self, parameters: &[f64]) -> Result<()> {
        let (expected, got) = (self.parameters.len(), parameters.len());
        if expected != got {
            return Err(Error::Length { input: Input::Weights, expected, got, unit: "weight of the network" });
        }
        self.parameters.copy_from_slice(parameters);
        Ok(())
    }

    /// The matrix of a dense layer, row-major (units x inputs). Layers count from 0.
    pub fn weight(&self, layer: usize) -> Option<&[f64]> {
        self.parameters.get(self.shapes().get(layer)?.weight.clone())
    }

    /// The bias of a dense layer. Layers count from 0.
    pub fn bias(&self, layer: usize) -> Option<&[f64]> {
        self.parameters.get(self.shapes().get(layer)?.bias.clone())
    }

    pub(crate) fn shapes(&self) -> Vec<LayerShape> {
        let (mut start, mut inputs) = (0, self.inputs);
        let mut shapes = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (outputs, activation) = (layer.units, layer.activation);
            let weight = start..start + inputs * outputs;
            let bias = weight.end..weight.end + outputs;
            start = bias.end;
            shapes.push(LayerShape { inputs, outputs, activation, weight, bias });
            inputs = outputs;
        }
        shapes
    }
}

/// Layers as messages write them.
fn units(layers: &[Dense]) -> String {
    match layers.iter().map(|layer| layer.units.to_string()).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no layers".into(),
        units => format!("layers of {units} units"),
    }
}
