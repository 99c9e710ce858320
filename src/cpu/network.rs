//! Training on the native CPU backend, in f32 or f64.
//!
//! Weights on the host are f64, which holds every f32, so that one type serves both precisions.

use std::sync::atomic::Ordering;

use super::HostReal;
use super::gemm::{Gemm, Strided, product};
use crate::data::evaluation::{Buffers, Output, Request};
use crate::data::tensor::Floats;
use crate::error::Result;
use crate::loss::Loss;
use crate::nn::{
    Accuracy, Dataset, Elementary, Engine, EngineParts, EpochPart, EpochSums, Evaluated, LayerShape, Memory,
    MemorySlot, Optimizer, Progress, RowCounter, batch,
};

/// Rows per forward pass when nothing is trained.
const EVALUATED_ROWS: usize = 1024;

/// A number that networks compute with.
pub(crate) trait NetworkReal: Gemm + Elementary {
    fn floats(x: &[Self]) -> Floats<'_>;
    fn gradient(output: Option<Output>) -> Option<Vec<Self>>;
}

macro_rules! network_real {
    ($t:ty, $variant:ident) => {
        impl NetworkReal for $t {
            fn floats(x: &[Self]) -> Floats<'_> {
                x.into()
            }

            fn gradient(output: Option<Output>) -> Option<Vec<Self>> {
                match output {
                    Some(Output::$variant(x)) => Some(x),
                    _ => None,
                }
            }
        }
    };
}
network_real!(f32, F32);
network_real!(f64, F64);

/// Activations of one batch, and the gradients of its backward pass.
struct Workspace<T> {
    features: Vec<T>,
    targets: Vec<f64>,
    /// One per layer.
    outputs: Vec<Vec<T>>,
    /// The gradients with respect to the weighted sums of a layer, and of the layer before it.
    slopes: Vec<T>,
    slopes_before: Vec<T>,
}

pub(crate) struct CpuEngine<'a, T> {
    loss: &'a dyn Loss,
    optimizer: Optimizer,
    accuracy: Accuracy,
    batch_size: usize,
    shapes: Vec<LayerShape>,
    training: &'a Dataset,
    validation: Option<&'a Dataset>,
    evaluates_training: bool,
    parameters: Vec<T>,
    gradient: Vec<T>,
    first: Vec<T>,
    second: Vec<T>,
    /// Parameters and both optimizer moments, per [`MemorySlot`].
    remembered: [[Vec<T>; 3]; 2],
    workspace: Workspace<T>,
    progress: RowCounter<'a>,
}

fn rounded<T: HostReal>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::from_f64(x)).collect()
}

fn widened<T: HostReal>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

impl<'a, T: NetworkReal> CpuEngine<'a, T> {
    pub(crate) fn new(parts: EngineParts<'a>) -> Self {
        let layers = parts.shapes.len();
        Self {
            loss: parts.loss,
            optimizer: parts.optimizer,
            accuracy: parts.accuracy,
            batch_size: parts.batch_size.unwrap_or(1),
            shapes: parts.shapes,
            training: parts.training,
            validation: parts.validation,
            evaluates_training: parts.evaluates_training,
            gradient: vec![T::ZERO; parts.memory.parameters.len()],
            parameters: rounded(&parts.memory.parameters),
            first: rounded(&parts.memory.first),
            second: rounded(&parts.memory.second),
            remembered: Default::default(),
            progress: parts.progress,
            workspace: Workspace {
                features: vec![],
                targets: vec![],
                outputs: (0..layers).map(|_| vec![]).collect(),
                slopes: vec![],
                slopes_before: vec![],
            },
        }
    }

    /// Leaves the network's outputs for these rows, and their targets, in the workspace.
    fn forward(&mut self, data: &Dataset, rows: impl ExactSizeIterator<Item = usize>) {
        let (columns, width, count) = (data.columns, data.target_width(), rows.len());
        let Workspace { features, targets, outputs, .. } = &mut self.workspace;
        features.resize(count * columns, T::ZERO);
        targets.clear();
        for (row, to) in rows.zip(features.chunks_exact_mut(columns)) {
            data.features.read(row, to);
            targets.extend_from_slice(&data.targets[row * width..(row + 1) * width]);
        }
        let mut input: &[T] = features;
        for (shape, output) in self.shapes.iter().zip(outputs) {
            output.clear();
            let bias = &self.parameters[shape.bias.clone()];
            (0..count).for_each(|_| output.extend_from_slice(bias));
            let weights = Strided::new(&self.parameters[shape.weight.clone()], shape.inputs).transposed();
            let size = (count, shape.inputs, shape.outputs);
            product(size, Strided::new(input, shape.inputs), weights, T::ONE, output);
            output.iter_mut().for_each(|z| *z = shape.activation.apply(*z));
            input = output;
        }
    }

    /// The loss of the outputs that [`CpuEngine::forward`] left, and its gradient with respect to them if asked for.
    fn objective(&self, with_gradient: bool) -> Result<(EpochSums, Option<Vec<T>>)> {
        let scores = self.workspace.outputs.last().map_or(&[][..], |x| x);
        let outputs = self.shapes.last().map_or(1, |shape| shape.outputs);
        let targets = &self.workspace.targets;
        let batch = batch(T::floats(scores), outputs, targets);
        let request = if with_gradient { Request::new().gradient() } else { Request::new() };
        let evaluation = super::evaluate(&self.loss.spec(), &batch, &request, Buffers::new())?;
        let mut sums = EpochSums::of(&evaluation);
        if self.accuracy == Accuracy::Keras && outputs == 1 {
            let half = T::from_f64(0.5);
            let right = |(&score, &target): (&T, &f64)| target == if score > half { 1.0 } else { 0.0 };
            sums.correct = scores.iter().zip(targets).filter(|&pair| right(pair)).count() as u64;
        }
        Ok((sums, T::gradient(evaluation.gradient)))
    }

    /// Computes the gradient with respect to all parameters from the gradient with respect to the outputs.
    fn backward(&mut self, output_gradient: Vec<T>) {
        let Workspace { features, outputs, slopes, slopes_before, .. } = &mut self.workspace;
        *slopes = output_gradient;
        let rows = features.len() / self.shapes.first().map_or(1, |shape| shape.inputs);
        for (layer, shape) in self.shapes.iter().enumerate().rev() {
            if layer + 1 == self.shapes.len() {
                slopes.iter_mut().zip(&outputs[layer]).for_each(|(g, &y)| *g = *g * shape.activation.slope(y));
            }
            let input: &[T] = if layer == 0 { features } else { &outputs[layer - 1] };
            let rows_slopes = Strided::new(&slopes[..], shape.outputs);
            let weight_gradient = &mut self.gradient[shape.weight.clone()];
            let size = (shape.outputs, rows, shape.inputs);
            product(size, rows_slopes.transposed(), Strided::new(input, shape.inputs), T::ZERO, weight_gradient);
            let bias_gradient = &mut self.gradient[shape.bias.clone()];
            bias_gradient.fill(T::ZERO);
            for row in slopes.chunks_exact(shape.outputs) {
                bias_gradient.iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
            }
            if layer > 0 {
                slopes_before.resize(rows * shape.inputs, T::ZERO);
                let weights = Strided::new(&self.parameters[shape.weight.clone()], shape.inputs);
                product((rows, shape.outputs, shape.inputs), rows_slopes, weights, T::ZERO, slopes_before);
                let activation = self.shapes[layer - 1].activation;
                slopes_before.iter_mut().zip(input).for_each(|(g, &y)| *g = *g * activation.slope(y));
                std::mem::swap(slopes, slopes_before);
            }
        }
    }

    pub(crate) fn gradient(&mut self, rows: &[u32]) -> Result<(EpochSums, &[T])> {
        self.forward(self.training, rows.iter().map(|&row| row as usize));
        let (sums, gradient) = self.objective(true)?;
        self.backward(gradient.unwrap_or_default());
        Ok((sums, &self.gradient))
    }

    pub(crate) fn predict(&mut self, data: &Dataset) -> Vec<T> {
        let mut all = Vec::new();
        for start in (0..data.samples).step_by(EVALUATED_ROWS) {
            self.forward(data, start..(start + EVALUATED_ROWS).min(data.samples));
            all.extend(self.workspace.outputs.last().into_iter().flatten());
        }
        all
    }
}

impl<T: NetworkReal> Engine for CpuEngine<'_, T> {
    fn train(&mut self, part: &EpochPart<'_>) -> Result<Progress> {
        let mut progress = Progress::new();
        for rows in part.order.chunks(self.batch_size).skip(part.first_batch) {
            let (sums, _) = self.gradient(rows)?;
            self.progress.add(rows.len());
            if !progress.add(sums, part.first_batch) {
                break;
            }
            let update = self.optimizer.update(part.updates + progress.batches() as u64);
            update.apply(&mut self.parameters, &self.gradient, &mut self.first, &mut self.second);
            if part.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                break;
            }
        }
        Ok(progress)
    }

    fn evaluate(&mut self, data: Evaluated) -> Result<Option<EpochSums>> {
        let data = match data {
            Evaluated::Training => Some(self.training).filter(|_| self.evaluates_training),
            Evaluated::Validation => self.validation,
        };
        let Some(data) = data else { return Ok(None) };
        let mut total = EpochSums::default();
        for start in (0..data.samples).step_by(EVALUATED_ROWS) {
            let end = (start + EVALUATED_ROWS).min(data.samples);
            self.forward(data, start..end);
            total.add(self.objective(false)?.0);
            self.progress.add(end - start);
        }
        Ok(Some(total))
    }

    fn memory(&mut self) -> Result<Memory> {
        let (first, second) = (widened(&self.first), widened(&self.second));
        Ok(Memory { parameters: widened(&self.parameters), first, second })
    }

    fn remember(&mut self, slot: MemorySlot) -> Result<()> {
        let [parameters, first, second] = &mut self.remembered[slot as usize];
        parameters.clone_from(&self.parameters);
        first.clone_from(&self.first);
        second.clone_from(&self.second);
        Ok(())
    }

    fn recall(&mut self, slot: MemorySlot) -> Result<()> {
        let [parameters, first, second] = &self.remembered[slot as usize];
        self.parameters.clone_from(parameters);
        self.first.clone_from(first);
        self.second.clone_from(second);
        Ok(())
    }
}
