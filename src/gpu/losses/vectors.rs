//! The launcher of the vectors pattern.

use std::ops::Range;

use super::dispatch::Dispatch;
use super::launcher::{
    HostTargets, Launcher, Pass, Resident, ResidentOutputs, has_tame_terms, is_tame, penalty_numbers,
};
use super::shader::{Constants, Loads, Variant};
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::evaluation::Request;
use crate::data::labels::TargetRule;
use crate::data::shape::BatchShape;
use crate::data::tensor::{Targets, with_targets};
use crate::error::{Error, Result};
use crate::gpu::device::command::groups_in_row;
use crate::gpu::device::context::Gpu;
use crate::gpu::device::kernel::params;
use crate::gpu::device::tensor::Window;
use crate::gpu::workgroups::{WORKGROUP, Walks, check_row, max_samples, team_lanes, units_each};
use crate::loss::{Distance, VectorsSpec};

params! {
    /// `Params` of shaders/patterns/vectors.wgsl.
    pub struct VectorsParams {
        samples: u32,
        dimensions: u32,
        groups_in_row: u32,
        groups: u32,
        lanes: u32,
        samples_per_team: u32,
        first_shift: u32,
        second_shift: u32,
        third_shift: u32,
        targets_shift: u32,
        weights_shift: u32,
        losses_shift: u32,
        first_gradient_shift: u32,
        second_gradient_shift: u32,
        third_gradient_shift: u32,
        margin: f32,
        kink_slope: f32,
        penalty_gamma: f32,
        penalty_scale: f32,
        divisor: f32,
        exponent: f32,
        epsilon: f32,
    }
    padding: [u32; 2]
}

/// Samples a team takes at most: the length of its chain of losses.
const MOST_SAMPLES: usize = 16;

/// Walks over the vectors of a sample.
const WALKS: Walks = Walks::by_elements(3);

/// A loss over a batch.
pub(super) struct Vectors {
    pub(super) loss: VectorsSpec,
    pub(super) shape: BatchShape,
}

/// The number by which vectors.wgsl knows a distance, its exponent and its epsilon.
fn distance_numbers(distance: Distance) -> (u8, f32, f32) {
    match distance {
        Distance::Norm { p: 1.0, epsilon } => (0, 1.0, epsilon as f32),
        Distance::Norm { p: 2.0, epsilon } => (1, 2.0, epsilon as f32),
        Distance::Norm { p: f64::INFINITY, epsilon } => (2, 1.0, epsilon as f32),
        Distance::Norm { p, epsilon } => (3, p as f32, epsilon as f32),
        Distance::Cosine => (4, 1.0, Distance::COSINE_EPSILON as f32),
    }
}

/// Components of every vector that a GPU's lane takes: 8 Mi of them in vectors of 128, a triplet's with gradient, took an H100
/// 173 us by 8 lanes, 118 by 16 and 119 by 32.
const COMPONENTS_EACH: usize = 4;

impl Launcher for Vectors {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn has_tame_options(&self) -> bool {
        has_tame_terms(&self.loss.terms) && is_tame(distance_numbers(self.loss.distance).2.into())
    }

    fn check_training(&self) -> Result<()> {
        // A network gives one vector a sample, never two.
        let expected = "a loss of one output a sample".into();
        Err(Error::Option { option: "loss", expected, got: self.loss.shader.name.into() })
    }

    fn target_expected(&self) -> String {
        self.loss.target_rule.map_or("no targets", TargetRule::expected).into()
    }

    fn target_types(&self) -> (&'static [ElementType], &'static str) {
        use ElementType::{Bit, F32, I8, I32, U8};
        (&[I32, F32, I8, U8, Bit], "i32, f32, i8, u8 or bits")
    }

    fn decode_targets<'t>(&self, targets: Targets<'t>, range: Range<usize>) -> Result<HostTargets<'t>> {
        let Some(rule) = self.loss.target_rule else { return Ok(HostTargets::I32(Vec::new())) };
        let mut signs = vec![0f32; range.len()];
        with_targets!(targets.part(range), x => rule.decode(x, &mut signs)?, _tensor => {});
        Ok(HostTargets::F32(signs))
    }

    fn gradient_blocks(&self) -> usize {
        self.loss.inputs
    }

    fn variant(&self, inputs: &Resident, request: &Request, pass: Pass) -> Variant {
        let own = Constants {
            distance: distance_numbers(self.loss.distance).0,
            third: self.loss.has_third_distance,
            ..Constants::penalty(self.loss.terms.penalty)
        };
        inputs.variant(*self.loss.shader, Loads::Words, pass, request, own)
    }

    fn dispatches<'a>(
        &self,
        gpu: &Gpu,
        inputs: &'a Resident,
        outputs: &'a ResidentOutputs,
        _: &Request,
        pass: Pass,
    ) -> Result<Vec<Dispatch<'a>>> {
        let dimensions = self.shape.columns;
        let terms = self.loss.terms;
        let (penalty_gamma, penalty_scale) = penalty_numbers(terms.penalty);
        let (_, exponent, epsilon) = distance_numbers(self.loss.distance);
        let lanes = team_lanes(gpu, inputs.samples, dimensions, COMPONENTS_EACH, WALKS);
        let teams = WORKGROUP as usize / lanes;
        let steps = WALKS.steps(dimensions, lanes);
        let most_turns = gpu.description().loop_limit().map_or(MOST_SAMPLES, |limit| limit as usize / steps);
        check_row(gpu, dimensions, WALKS)?;
        let most = max_samples(gpu, dimensions)?;
        let total = inputs.samples;
        let mut dispatches = Vec::new();
        for start in (0..total).step_by(most) {
            let samples = most.min(total - start);
            let samples_per_team = units_each(gpu, samples, teams, most_turns.clamp(1, MOST_SAMPLES));
            let groups = samples.div_ceil(teams * samples_per_team) as u32;
            let of_samples = |tensor: &'a DeviceTensor| tensor.window(start, samples);
            let of_vectors = |tensor: &'a DeviceTensor| tensor.window(start * dimensions, samples * dimensions);
            let of_block = |block: usize| {
                let gradient = outputs.gradient.as_ref().filter(|_| block < self.loss.inputs)?;
                Some(gradient.window((block * total + start) * dimensions, samples * dimensions))
            };
            let first = of_vectors(&inputs.scores);
            let [second, third] = [&inputs.second_scores, &inputs.third_scores].map(|x| x.as_ref().map(of_vectors));
            let targets = self.loss.target_rule.map(|_| of_samples(&inputs.targets));
            let weights = inputs.sample_weights.as_ref().map(of_samples);
            let losses = outputs.losses.as_ref().map(of_samples);
            let gradients = [0, 1, 2].map(of_block);
            let shift = |window: Option<Window<'_>>| window.map_or(0, |w| w.shift);
            let params = VectorsParams {
                samples: samples as u32,
                dimensions: dimensions as u32,
                groups_in_row: groups_in_row(gpu, groups),
                groups,
                lanes: lanes as u32,
                samples_per_team: samples_per_team as u32,
                first_shift: first.shift,
                second_shift: shift(second),
                third_shift: shift(third),
                targets_shift: shift(targets),
                weights_shift: shift(weights),
                losses_shift: shift(losses),
                first_gradient_shift: shift(gradients[0]),
                second_gradient_shift: shift(gradients[1]),
                third_gradient_shift: shift(gradients[2]),
                margin: terms.margin as f32,
                kink_slope: terms.kink.slope() as f32,
                penalty_gamma,
                penalty_scale,
                divisor: pass.divisor,
                exponent,
                epsilon,
                padding: [0; 2],
            };
            dispatches.push(Dispatch {
                params: bytemuck::bytes_of(&params).to_vec(),
                inputs: vec![Some(first), second, third, targets, weights],
                outputs: [losses].into_iter().chain(gradients).collect(),
                groups,
                first_sample: start,
                ..Dispatch::default()
            });
        }
        Ok(dispatches)
    }
}
