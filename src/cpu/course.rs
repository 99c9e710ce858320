//! The steps of every evaluation on the CPU: the gradient's divisor, memory for the outputs, jobs on all threads, sums.

use super::outputs::Destinations;
use super::{HostReal, Inputs};
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::{Job, run_jobs};
use crate::error::Result;

/// The values that differ between the patterns' drivers.
pub(super) struct Course {
    /// Samples per job.
    pub(super) job_samples: usize,
    /// Vectors of scores per sample, each with its own gradient.
    pub(super) vectors: usize,
    /// Whether the loss has a prediction that can be correct.
    pub(super) has_correct: bool,
}

impl Course {
    /// Runs the jobs and finishes the evaluation. `totals` counts and weighs the whole batch, for a mean that must know
    /// these beforehand. `run` takes a job and the divisor of the gradient.
    pub(super) fn run<T: HostReal>(
        &self,
        inputs: &Inputs<'_, T>,
        buffers: Buffers<'_>,
        totals: &dyn Fn() -> Result<Totals>,
        run: &(dyn Fn(Job<'_, T>, T) -> Result<Totals> + Sync),
    ) -> Result<Evaluation> {
        let Inputs { shape, request, .. } = *inputs;
        let divisor = request.divisor_of_gradient(shape.samples, totals)?;
        let mut outputs = Destinations::new(shape, self.vectors, request, buffers)?;
        let (losses, gradient) = outputs.slices();
        let mut totals = run_jobs(shape, self.job_samples, losses, gradient, &|job| run(job, divisor))?;
        if request.per_class && totals.per_class.is_empty() {
            totals.per_class = vec![0.0; shape.columns];
        }
        totals.finish(request, shape.samples, self.has_correct, outputs.finish(T::PRECISION))
    }
}
