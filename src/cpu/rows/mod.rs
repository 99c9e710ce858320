//! The driver of the rows pattern: one row of class scores and one class index per sample.
//!
//! | file | contents |
//! |---|---|
//! | `driver.rs` | a job: its rows chunk by chunk, with labels and weights decoded |
//! | `groups.rs`, `walk.rs` | groups of as many rows as a vector has lanes; losses and counters with one lane per row |
//! | `by_row.rs` | long rows, visited one by one |
//! | `by_column.rs`, `transpose.rs` | short rows, visited column by column |
//! | `by_tile.rs`, `tile.rs`, `largest.rs`, `largest_gradient.rs` | rarer methods and options, sixteen rows at a time |

use super::course::Course;
use super::dispatch::loops;
use super::{HostReal, Inputs};
use crate::data::evaluation::{Buffers, Evaluation, Totals};
use crate::data::jobs::job_samples;
use crate::data::weights;
use crate::error::Result;
use crate::loss::{
    AnySum, CrammerSinger, LeeLinWahba, Method, MethodSpec, OneVsAll, Rows, RowsSpec, Ties, TopK, WestonWatkins,
};

use by_tile::Tiles;
use driver::{Driver, DriverJob};
use groups::Groups;

mod by_column;
mod by_row;
mod by_tile;
mod driver;
mod groups;
mod largest;
mod largest_gradient;
mod tile;
mod transpose;
mod walk;

/// At most this many jobs if each keeps per-class sums, so that the sums stay small beside the scores.
const PER_CLASS_JOBS: usize = 256;

/// Rows of at least this many columns are visited one by one; shorter rows column by column, several at once. Measured
/// on AVX2 (Zen 3), 16 Mi scores on two threads: Crammer-Singer and Weston-Watkins forward, and the latter with
/// gradient, times relative to column by column. f32: 16 columns 0.91, 1.22 and 0.99; 24 columns 0.78, 1.05 and 0.84;
/// 32 columns 0.76, 0.92 and 0.78; 64 columns 0.34, 0.37 and 0.46. f64: 10 columns 1.10, 1.29 and 0.94; 16 columns
/// 0.78, 1.01 and 0.84; 64 columns 0.37, 0.37 and 0.45.
pub(super) const LONG_IN_F32: usize = 24;
/// As [`LONG_IN_F32`], in f64.
pub(super) const LONG_IN_F64: usize = 16;

pub(super) fn evaluate<T: HostReal>(
    spec: &RowsSpec<'_>,
    inputs: &Inputs<'_, T>,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let (rows, columns) = (inputs.shape.samples, inputs.shape.columns);
    let driver = Driver::new(spec, inputs);
    let job_rows = job_samples(rows, columns);
    let job_rows = if inputs.request.per_class { job_rows.max(rows.div_ceil(PER_CLASS_JOBS)) } else { job_rows };
    let course = Course { job_samples: job_rows, vectors: 1, has_correct: true };
    // A mean needs a pass over labels and weights.
    let totals = || weights::kept_totals(inputs.batch, columns, spec.ignore_index);
    course.run(inputs, buffers, &totals, &|job, divisor| run(DriverJob { driver: &driver, job, divisor }))
}

fn run<T: HostReal>(job: DriverJob<'_, '_, T>) -> Result<Totals> {
    let Driver { spec, inputs, ref margin_matrix, .. } = *job.driver;
    // One margin for all classes, no values per class, and column indices that are exact in `T`.
    let is_plain = margin_matrix.is_none() && !inputs.request.per_class && inputs.shape.columns <= T::EXACT_COLUMNS;
    let MethodSpec { name, has_true_column, compares, .. } = spec.method;
    match (name, spec.ties) {
        (Method::CrammerSinger, Ties::First) if is_plain => in_groups(job, CrammerSinger),
        (Method::WestonWatkins, _) if is_plain => in_groups(job, WestonWatkins),
        (Method::OneVsAll, _) if is_plain => in_groups(job, OneVsAll),
        (Method::LeeLinWahba, _) if is_plain => in_groups(job, LeeLinWahba),
        (Method::CrammerSinger, _) => loops(Tiles { job, method: CrammerSinger }),
        (Method::TopK { k }, _) => loops(Tiles { job, method: TopK::new(k) }),
        (Method::WestonWatkins | Method::OneVsAll | Method::LeeLinWahba, _) => {
            loops(Tiles { job, method: AnySum { has_true_column, compares } })
        }
    }
}

fn in_groups<M: Rows, T: HostReal>(job: DriverJob<'_, '_, T>, method: M) -> Result<Totals> {
    match job.driver.inputs.shape.columns >= T::LONG_ROW {
        true => loops(Groups::<M, T, true> { job, method }),
        false => loops(Groups::<M, T, false> { job, method }),
    }
}
