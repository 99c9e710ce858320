//! The driver of the target rows pattern: one row of scores and one row of targets per sample.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::course::Course;
use super::dispatch::{Loops, dispatch, loops};
use super::pairs::VectorPairs;
use super::{HostReal, Inputs};
use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::{Job, job_samples};
use crate::data::labels::{TargetRowDecoder, TargetRowRule};
use crate::data::shape::BatchShape;
use crate::data::tensor::with_targets;
use crate::data::weights::{self, sum};
use crate::error::Result;
use crate::loss::penalty::with_common_penalty;
use crate::loss::{
    CategoricalFormula, ListwiseFormula, LovaszFormula, MultilabelFormula, PairSums, PenaltyShape, RowScratch, Rule,
    TargetRows, TargetRowsFormula, TargetRowsSpec,
};

/// Scores per block. The targets of a block are decoded in one go and stay in the nearest cache.
const BLOCK_SCORES: usize = 2 << 10;

pub(super) fn evaluate<T: HostReal>(
    spec: &TargetRowsSpec,
    inputs: &Inputs<'_, T>,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let BatchShape { samples: rows, columns, .. } = inputs.shape;
    let driver = Driver { spec, inputs };
    let course = Course { job_samples: job_samples(rows, columns), vectors: 1, has_correct: spec.has_correct };
    let driver = &driver;
    course.run(inputs, buffers, &|| weights::totals(inputs.batch, rows), &|job, divisor| match spec.formula {
        TargetRowsFormula::Multilabel => DriverJob::<MultilabelFormula, T>::run(driver, job, divisor),
        TargetRowsFormula::Categorical => DriverJob::<CategoricalFormula, T>::run(driver, job, divisor),
        TargetRowsFormula::Listwise => DriverJob::<ListwiseFormula, T>::run(driver, job, divisor),
        TargetRowsFormula::Lovasz => DriverJob::<LovaszFormula, T>::run(driver, job, divisor),
    })
}

struct Driver<'a, T> {
    spec: &'a TargetRowsSpec,
    inputs: &'a Inputs<'a, T>,
}

struct DriverJob<'a, 'j, F, T> {
    driver: &'a Driver<'a, T>,
    job: Job<'j, T>,
    divisor: T,
    formula: PhantomData<F>,
}

struct Scratch<T> {
    weights: Vec<T>,
    /// Targets of a block's rows.
    targets: Vec<i32>,
    /// The block's scores, if they have to be widened.
    widened: Vec<T>,
    /// For one row, as are `ranks` and `times`.
    slopes: Vec<f64>,
    ranks: Vec<T>,
    times: Vec<u32>,
}

impl<T: HostReal> Driver<'_, T> {
    /// The buffers of a job, with its weights read, and its initial sums.
    #[inline(never)]
    fn begin(&self, rows: Range<usize>) -> Result<(Scratch<T>, Totals)> {
        let columns = self.inputs.shape.columns;
        let mut weights = vec![T::ONE; rows.len()];
        dispatch(
            #[inline(always)]
            || weights::read(self.inputs.batch, rows.clone(), &mut weights),
        )?;
        let totals = Totals { count: rows.len() as u64, weight_sum: sum(&weights), ..Totals::default() };
        let scratch = Scratch {
            weights,
            targets: vec![0; block_rows(columns, rows.len()) * columns],
            widened: Vec::new(),
            slopes: vec![0.0; columns],
            ranks: vec![T::ZERO; columns],
            times: vec![0; columns],
        };
        Ok((scratch, totals))
    }
}

/// Reads the targets of rows. Not generic and not inlined, so that the loops over every label type are compiled once.
#[inline(never)]
fn decode(
    batch: &Batch<'_>,
    shape: &BatchShape,
    rule: TargetRowRule,
    rows: Range<usize>,
    targets: &mut [i32],
) -> Result<()> {
    let labels = batch.targets.part(rows.start * shape.target_width..rows.end * shape.target_width);
    let decoder = TargetRowDecoder::new(rule, shape);
    dispatch(
        #[inline(always)]
        || with_targets!(labels, x => decoder.decode_rows(x, targets), _tensor => Err(batch.not_on_host())),
    )
}

fn block_rows(columns: usize, rows: usize) -> usize {
    (BLOCK_SCORES / columns).clamp(1, rows.max(1))
}

impl<'a, 'j, F: TargetRows, T: HostReal> DriverJob<'a, 'j, F, T> {
    fn run(driver: &'a Driver<'a, T>, job: Job<'j, T>, divisor: T) -> Result<Totals> {
        loops(Self { driver, job, divisor, formula: PhantomData })
    }
}

impl<F: TargetRows, T: HostReal> Loops for DriverJob<'_, '_, F, T> {
    type Output = Result<Totals>;
    const WIDE: bool = false;

    #[inline(always)]
    fn on_vectors<S: Simd>(self, simd: S) -> Result<Totals> {
        with_common_penalty!(self.driver.spec.terms.penalty, T::COMMON, penalty => {
            simd.vectorize(Loop { job: self, penalty })
        })
    }

    fn on_baseline<S: Simd>(self, simd: S) -> Result<Totals> {
        let penalty = self.driver.spec.terms.penalty;
        Loop { job: self, penalty }.with_simd(simd)
    }
}

struct Loop<'a, 'j, F, P, T> {
    job: DriverJob<'a, 'j, F, T>,
    penalty: P,
}

impl<F: TargetRows, P: PenaltyShape, T: HostReal> WithSimd for Loop<'_, '_, F, P, T> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<Totals> {
        let Self { mut job, penalty } = self;
        let driver = job.driver;
        let terms = driver.spec.terms;
        let rule = Rule::new(terms.margin, terms.kink, penalty);
        let pairs = VectorPairs::new(simd, &rule);
        let rows = job.job.start..job.job.start + job.job.samples;
        let (mut scratch, mut totals) = driver.begin(rows.clone())?;
        let each = block_rows(driver.inputs.shape.columns, rows.len());
        for start in (0..rows.len()).step_by(each) {
            job.block(start..(start + each).min(rows.len()), &rule, &pairs, &mut scratch, &mut totals)?;
        }
        Ok(totals)
    }
}

impl<F: TargetRows, T: HostReal> DriverJob<'_, '_, F, T> {
    #[inline(always)]
    fn block(
        &mut self,
        of_job: Range<usize>,
        rule: &Rule<T, impl PenaltyShape>,
        pairs: &impl PairSums<T>,
        scratch: &mut Scratch<T>,
        totals: &mut Totals,
    ) -> Result<()> {
        let driver = self.driver;
        let BatchShape { columns, target_width, .. } = driver.inputs.shape;
        let rows = self.job.start + of_job.start..self.job.start + of_job.end;
        let targets = &mut scratch.targets[..rows.len() * columns];
        let Inputs { batch, ref shape, .. } = *driver.inputs;
        decode(batch, shape, driver.spec.target_rule, rows.clone(), targets)
            .map_err(|error| error.shifted((of_job.start * target_width) as u64))?;
        let scores = driver.inputs.scores.read(rows.start * columns..rows.end * columns, &mut scratch.widened);
        let any_nan = scores.iter().fold(false, |any, score| any | score.is_nan());
        let class_divisor = T::from_f64(driver.spec.divisor(columns));
        let samples = scores.chunks_exact(columns).zip(targets.chunks_exact(columns));
        for (offset, (scores, targets)) in of_job.zip(samples) {
            let weight = scratch.weights[offset];
            let wanted = self.job.gradient.is_some().then(|| {
                scratch.slopes.fill(0.0);
                &mut scratch.slopes[..]
            });
            let of_row = RowScratch { slopes: wanted, ranks: &mut scratch.ranks, times: &mut scratch.times, pairs };
            let point = F::row(rule, driver.spec.ties, scores, targets, of_row);
            let is_nan = any_nan && scores.iter().zip(targets).any(|(s, &t)| s.is_nan() && !F::is_padding(t));
            let value = if is_nan { T::NAN } else { T::from_f64(point.value) };
            let loss = value / class_divisor * weight;
            totals.sum += loss.to_f64();
            totals.active += u64::from(point.active && !value.is_nan());
            totals.correct += u64::from(point.correct && !is_nan);
            if let Some(losses) = self.job.losses.as_deref_mut() {
                losses[offset] = loss;
            }
            let Some(gradient) = self.job.gradient.as_deref_mut() else { continue };
            let gradient = &mut gradient[offset * columns..][..columns];
            if value.is_nan() {
                gradient.fill(T::NAN);
                continue;
            }
            let coefficient = weight / self.divisor / class_divisor;
            for (g, &slope) in gradient.iter_mut().zip(&scratch.slopes) {
                *g = T::from_f64(slope) * coefficient;
            }
        }
        Ok(())
    }
}
