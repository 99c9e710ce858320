//! What all ways to visit rows share: a job's inputs, and its rows in chunks with decoded class indices and weights.

use std::ops::Range;

use crate::cpu::dispatch::dispatch;
use crate::cpu::{HostReal, Inputs};
use crate::data::batch::Batch;
use crate::data::jobs::Job;
use crate::data::labels::{IGNORED, decode_class_indices};
use crate::data::tensor::with_targets;
use crate::data::weights;
use crate::error::Result;
use crate::loss::{MarginMatrix, Penalty, RowsSpec, Rule};

/// Rows whose labels and weights are decoded at a time. They stay in the first-level cache.
pub(super) const SCRATCH: usize = 1024;

/// A loss with its numbers in the precision of the computation.
pub(super) struct Driver<'a, T> {
    pub(super) spec: &'a RowsSpec<'a>,
    pub(super) inputs: &'a Inputs<'a, T>,
    pub(super) rule: Rule<T, Penalty>,
    /// What a row's sum is divided by.
    pub(super) class_divisor: T,
    pub(super) class_weights: Option<Vec<T>>,
    pub(super) margin_matrix: Option<Vec<T>>,
}

impl<'a, T: HostReal> Driver<'a, T> {
    pub(super) fn new(spec: &'a RowsSpec<'a>, inputs: &'a Inputs<'a, T>) -> Self {
        let columns = inputs.shape.columns;
        let rounded = |x: Option<&[f64]>| x.map(|x| x.iter().map(|&x| T::from_f64(x)).collect());
        Self {
            spec,
            inputs,
            rule: Rule::new(spec.column_margin(columns), spec.terms.kink, spec.terms.penalty),
            class_divisor: T::from_f64(spec.class_divisor(columns)),
            class_weights: rounded(spec.class_weights),
            margin_matrix: rounded(spec.margin_matrix.map(MarginMatrix::margins)),
        }
    }
}

/// Class indices and weights of one chunk of rows. After the last row the classes are [`IGNORED`].
pub(super) struct Scratch<T> {
    pub(super) classes: [i32; SCRATCH],
    pub(super) weights: [T; SCRATCH],
}

pub(super) struct DriverJob<'a, 'j, T> {
    pub(super) driver: &'a Driver<'a, T>,
    pub(super) job: Job<'j, T>,
    pub(super) divisor: T,
}

impl<T: HostReal> DriverJob<'_, '_, T> {
    /// Calls `visit` with each chunk of rows, counted from the job's first row, and its decoded labels and weights.
    #[inline(always)]
    pub(super) fn each_chunk(&mut self, mut visit: impl FnMut(&mut Self, Range<usize>, &Scratch<T>)) -> Result<()> {
        let mut scratch = Scratch { classes: [IGNORED; SCRATCH], weights: [T::ONE; SCRATCH] };
        for start in (0..self.job.samples).step_by(SCRATCH) {
            let rows = start..(start + SCRATCH).min(self.job.samples);
            self.decode(rows.clone(), &mut scratch).map_err(|error| error.shifted(start as u64))?;
            visit(self, rows, &scratch);
        }
        Ok(())
    }

    /// Reads the class indices and weights of some of the job's rows. Weights are 1 if none were given.
    #[inline(never)]
    fn decode(&self, of_job: Range<usize>, scratch: &mut Scratch<T>) -> Result<()> {
        let Inputs { batch, shape, .. } = *self.driver.inputs;
        let rows = self.job.start + of_job.start..self.job.start + of_job.end;
        let (classes, after) = scratch.classes.split_at_mut(rows.len());
        let weights = &mut scratch.weights[..rows.len()];
        after.fill(IGNORED);
        decode_classes(batch, rows.clone(), shape.columns, self.driver.spec.ignore_index, classes)?;
        dispatch(
            #[inline(always)]
            || weights::read(batch, rows.clone(), weights),
        )
    }
}

/// Reads the class indices of rows. Not generic and not inlined, so that it is compiled once per label type.
#[inline(never)]
fn decode_classes(
    batch: &Batch<'_>,
    rows: Range<usize>,
    columns: usize,
    ignore_index: Option<i64>,
    classes: &mut [i32],
) -> Result<()> {
    let labels = batch.targets.part(rows);
    dispatch(
        #[inline(always)]
        || {
            with_targets!(labels, x => decode_class_indices(x, columns, ignore_index, classes),
                _tensor => Err(batch.not_on_host()))
        },
    )
}
