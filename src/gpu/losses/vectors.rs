//! The launcher of the vectors pattern.

use std::ops::Range;

use super::launcher::{DispatchPlan, DispatchStep, HostTargets, Launcher, Pass, Resident, has_tame_terms, is_tame};
use super::shader::{Constants, Loads, Variant, target_rule_number};
use super::templates::LossParams;
use crate::data::device_tensor::ElementType;
use crate::data::evaluation::Request;
use crate::data::labels::TargetRule;
use crate::data::shape::BatchShape;
use crate::data::tensor::{Targets, with_targets};
use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;
use crate::gpu::workgroups::{WORKGROUP, Walks, check_row, max_samples, team_lanes, units_each};
use crate::loss::{Distance, Terms, VectorsSpec};

/// Most samples per team: the length of its chain of losses.
const MOST_SAMPLES: usize = 16;

const WALKS: Walks = Walks::by_elements(3);

pub(super) struct Vectors {
    pub(super) loss: VectorsSpec,
    pub(super) shape: BatchShape,
}

/// The number of a distance in vectors.wgsl, its exponent and its epsilon.
fn distance_numbers(distance: Distance) -> (u8, f32, f32) {
    match distance {
        Distance::Norm { p: 1.0, epsilon } => (0, 1.0, epsilon as f32),
        Distance::Norm { p: 2.0, epsilon } => (1, 2.0, epsilon as f32),
        Distance::Norm { p: f64::INFINITY, epsilon } => (2, 1.0, epsilon as f32),
        Distance::Norm { p, epsilon } => (3, p as f32, epsilon as f32),
        Distance::Cosine => (4, 1.0, Distance::COSINE_EPSILON as f32),
    }
}

/// Components of each vector per lane on a GPU. On an H100, 8 Mi components in vectors of 128 (triplets, with gradient)
/// took 173 us with 8 lanes, 118 with 16 and 119 with 32.
const COMPONENTS_EACH: usize = 4;

impl Launcher for Vectors {
    fn shape(&self) -> BatchShape {
        self.shape
    }

    fn terms(&self) -> Terms {
        self.loss.terms
    }

    fn has_tame_options(&self) -> bool {
        has_tame_terms(&self.loss.terms) && is_tame(distance_numbers(self.loss.distance).2.into())
    }

    fn check_training(&self) -> Result<()> {
        // A network gives one vector per sample, never two.
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
            target_rule: target_rule_number(TargetRule::Signs),
            distance: distance_numbers(self.loss.distance).0,
            third: self.loss.has_third_distance,
            ..Constants::penalty(self.loss.terms.penalty)
        };
        inputs.variant(*self.loss.shader, Loads::Words, pass, request, own)
    }

    fn plan<'a>(&'a self, gpu: &'a Gpu, inputs: &Resident, _: &Request, _: Pass) -> Result<DispatchPlan<'a>> {
        let dimensions = self.shape.columns;
        let (_, exponent, epsilon) = distance_numbers(self.loss.distance);
        let lanes = team_lanes(gpu, inputs.samples, dimensions, COMPONENTS_EACH, WALKS);
        let teams = WORKGROUP as usize / lanes;
        let steps = WALKS.steps(dimensions, lanes);
        let most_turns = gpu.description().loop_limit().map_or(MOST_SAMPLES, |limit| limit as usize / steps);
        check_row(gpu, dimensions, WALKS)?;
        let steps = move |samples: usize| {
            let samples_per_team = units_each(gpu, samples, teams, most_turns.clamp(1, MOST_SAMPLES));
            let params = LossParams {
                lanes: lanes as u32,
                samples_per_team: samples_per_team as u32,
                exponent,
                epsilon,
                ..LossParams::default()
            };
            vec![DispatchStep { params, groups: samples.div_ceil(teams * samples_per_team), ..DispatchStep::default() }]
        };
        Ok(DispatchPlan { most_samples: max_samples(gpu, dimensions)?, steps: Box::new(steps) })
    }
}
