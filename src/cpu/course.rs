//! The course of an evaluation on the CPU, the same for every pattern: the gradient's divisor, room for the outputs, the
//! samples in jobs on all threads, and the sums in the end.

use super::outputs::Destinations;
use super::{HostReal, Inputs};
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::{Job, run_jobs};
use crate::error::Result;

/// What a pattern's driver says of its course.
pub(super) struct Course {
    /// Samples a job.
    pub(super) job_samples: usize,
    /// Vectors of scores a sample, each with a gradient of its own.
    pub(super) vectors: usize,
    /// Whether a prediction means anything.
    pub(super) has_correct: bool,
}

impl Course {
    /// Runs the jobs and finishes the evaluation. `totals` counts and weighs the whole batch, for a mean that must know
    /// beforehand; `run` takes a job and what the gradient is divided by.
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
