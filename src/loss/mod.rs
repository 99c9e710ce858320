//! What is computed: options, formulas and value-and-slope functions. No loops over data live here.
//!
//! A loss belongs to one of the access patterns. [`ElementwiseLoss`] sees one score (or the difference of a pair) and its
//! target; [`RowsLoss`] sees one row of class scores and the index of its true class; [`TargetRowsLoss`] one row of class
//! scores and one row of targets, or one list of scores and one of targets; [`VectorsLoss`] the
//! distances of two or three vectors. The pattern's drivers (`src/cpu`, `src/gpu`)
//! do the rest: weights, ignored rows, validation, reduction, counters and non-finite values.
//!
//! To add a loss of a known pattern: its spec here in `X.rs`, its f64 definition in `src/reference/X.rs`, its WGSL in
//! `shaders/loss/X.wgsl`, its rows in `tests/cases/`, one `mod` line in each folder, and its shader in
//! [`SHADERS`].
//!
//! # Non-finite values
//! The same on every device:
//!
//! | row | loss | gradient | active | correct |
//! |---|---|---|---|---|
//! | ignored, whatever it holds | 0 | 0 | not counted | not counted |
//! | NaN anywhere in the scores | NaN | NaN in the whole row | no | no |
//! | infinite scores, formula has a limit (a hinge at -inf, one rival at +inf, ...) | the limit: 0, finite or +-inf | the limit of the slope | v > 0 | by comparison |
//! | vectors with infinite components | by their distance, which is infinite; a cosine is NaN | NaN where the infinite distance has a part in it | v > 0 | none |
//! | infinite scores, no limit (true class and a rival both +inf, or both -inf) | NaN | NaN in the whole row | no | by comparison |
//! | finite, but a result beyond the range of the precision used | +-inf | +-inf where a slope overflows | v > 0 | by comparison |
//!
//! Weights multiply the loss and the slopes by IEEE rules: 0 * inf and 0 * NaN are NaN. A sum that holds NaN, or both
//! infinities, is NaN. Two NaN are never told apart by their bits. Overflow happens where the arithmetic does: a row's
//! sum over classes before it is divided by C, a maximum's slope before ties share it, a sum of target times score before
//! it is compared.

mod binary;
mod categorical;
mod cosine;
mod crammer_singer;
mod distance;
mod embedding;
pub(crate) mod labels;
mod lee_lin_wahba;
mod listwise;
mod lovasz;
mod multiclass;
mod multilabel;
mod one_vs_all;
pub(crate) mod pattern;
pub(crate) mod penalty;
mod ranking;
mod top_k;
mod triplet;
mod weston_watkins;

pub use binary::BinaryHinge;
pub use categorical::CategoricalHinge;
pub use cosine::CosineEmbedding;
pub use crammer_singer::CrammerSinger;
pub use distance::Distance;
pub use embedding::EmbeddingHinge;
pub use labels::{Label, LabelEncoding, TargetRowRule, TargetRule};
pub use lee_lin_wahba::LeeLinWahba;
pub use listwise::{ListwiseHinge, OverItems};
pub use lovasz::LovaszHinge;
pub(crate) use multiclass::rival_violation;
pub use multiclass::{MulticlassHinge, OverClasses};
pub use multilabel::MultilabelMargin;
pub use one_vs_all::OneVsAll;
pub use pattern::{
    Combination, Combined, ElementwiseLoss, Higher, PairSums, Point, RowPoint, RowScratch, RowsLoss, TargetRowsLoss,
    VectorsLoss,
};
pub(crate) use pattern::{
    evaluate_elementwise, evaluate_pattern, evaluate_segments, evaluate_target_rows, evaluate_vectors,
};
pub use penalty::{
    Kink, LinearPenalty, Penalty, PenaltyShape, Piece, Rule, SmoothPenalty, SoftplusPenalty, SquaredPenalty, Ties,
};
pub use ranking::MarginRanking;
pub use top_k::TopK;
pub use triplet::TripletMargin;
pub use weston_watkins::WestonWatkins;

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, BatchShape};
use crate::error::{Error, Result};
use crate::evaluation::{Buffers, Evaluation, Request};
use crate::exact;
use crate::gpu::{DeviceTensor, Gpu, Pending, Prepared};
use crate::real::Number;

/// Every loss's WGSL: one list for the pipeline cache, the shader tests and the documentation.
pub const SHADERS: &[LossShader] = &[
    binary::SHADER,
    embedding::SHADER,
    ranking::SHADER,
    crammer_singer::SHADER,
    weston_watkins::SHADER,
    one_vs_all::SHADER,
    lee_lin_wahba::SHADER,
    top_k::SHADER,
    multilabel::SHADER,
    categorical::SHADER,
    listwise::SHADER,
    lovasz::SHADER,
    triplet::SHADER,
    cosine::SHADER,
];

/// A loss's part of a kernel: its WGSL functions and the pattern that calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossShader {
    /// The loss's stem: `shaders/loss/NAME.wgsl`.
    pub name: &'static str,
    /// The pattern's template: `shaders/patterns/PATTERN.wgsl`.
    pub pattern: Pattern,
    /// The text of `shaders/loss/NAME.wgsl`.
    pub source: &'static str,
    /// Bytes of workgroup memory beside the pattern's.
    pub workgroup_bytes: u64,
}

/// By the name alone: every call looks its kernel up, and texts are long.
impl Hash for LossShader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A loss of single scores for kernels other than its pattern's.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ElementwiseKernel {
    pub(crate) shader: LossShader,
    pub(crate) terms: Terms,
    /// The number of the rule for targets that were decoded.
    pub(crate) target_rule: u8,
}

/// How a loss walks its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pattern {
    /// One score, or a pair of scores, and one target a sample.
    Elementwise,
    /// One row of class scores and one class index a sample.
    Rows,
    /// One row of class scores and one row of targets a sample.
    TargetRows,
    /// One list of scores and one list of targets a sample, whose items are compared with each other.
    Segments,
    /// One list of scores and one list of targets a sample, whose items are seen in an order.
    Ranked,
    /// Two or three vectors a sample, of which the loss sees the distances.
    Vectors,
}

/// A loss that a device can evaluate. Implemented for every loss of the crate through its pattern.
pub trait Loss: Sync + std::fmt::Debug {
    /// The loss's stem, `binary` or `weston_watkins` for instance.
    fn name(&self) -> &'static str;

    /// Whether a prediction, and so accuracy, means anything.
    fn has_correct(&self) -> bool;

    /// The target of samples that are left out, where there is one.
    fn ignore_index(&self) -> Option<i64> {
        None
    }

    /// How the loss walks its data.
    fn pattern(&self) -> Pattern;

    /// Whether what the loss sees is no classifier's scores, so that no other [`crate::ScoreKind`] than raw makes sense.
    fn takes_raw_scores_only(&self) -> bool {
        matches!(self.pattern(), Pattern::Segments | Pattern::Ranked | Pattern::Vectors)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Option`] for an option that has no meaning.
    fn check(&self) -> Result<()>;

    /// Checks that the inputs of a batch fit each other and the request, by their shapes alone.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Shape`], and [`Error::Option`] for a request that the loss cannot answer.
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape>;

    /// How many samples of a batch on the host are kept, and the sum of their weights (their number where there are none):
    /// what the mean of a larger batch is divided by, part by part. Looks at the elements of targets and weights alone, so
    /// that the batch may be without scores; where its targets do not tell the number of samples, it then has weights.
    ///
    /// # Errors
    /// As [`Loss::check_batch`] where there are scores, [`Error::Length`] for weights that do not fit the targets,
    /// [`Error::Shape`] where nothing tells the number of samples, and [`Error::Value`] for a bad weight, or a bad class
    /// index where some are ignored.
    fn weigh(&self, batch: &Batch<'_>) -> Result<(u64, f64)> {
        let samples = match batch.is_empty() {
            true => batch.samples_without_scores(self.pattern())?,
            false => self.check_batch(batch, &Request::new())?.samples,
        };
        let totals = crate::cpu::elementwise::weight_totals(batch, samples)?;
        Ok((totals.count, totals.weight_sum))
    }

    /// Evaluates on the native CPU backend.
    ///
    /// # Errors
    /// As [`crate::Device::evaluate_into`].
    fn evaluate_on_cpu(&self, batch: &Batch<'_>, request: &Request, buffers: Buffers<'_>) -> Result<Evaluation>;

    /// Evaluates on a GPU.
    ///
    /// # Errors
    /// As [`crate::Device::evaluate`].
    fn evaluate_on_gpu(
        &self,
        gpu: &Gpu,
        batch: &Batch<'_>,
        request: &Request,
    ) -> impl Future<Output = Result<Evaluation>>;

    /// Submits the sums of a batch to a GPU and leaves them there, to be folded later.
    ///
    /// # Errors
    /// As [`crate::Device::evaluate`], but for what only shows when the sums are folded.
    fn accumulate_on_gpu(
        &self,
        gpu: &Gpu,
        batch: &Batch<'_>,
        request: &Request,
    ) -> impl Future<Output = Result<Vec<Pending>>>;

    /// Uploads the targets of a checked batch as [`Loss::prepare_on_gpu`] wants them.
    ///
    /// # Errors
    /// [`Error::Value`] for a target that the loss does not take, and the device's own failures.
    #[doc(hidden)]
    fn upload_targets_to_gpu(
        &self,
        gpu: &Gpu,
        targets: &[f64],
        shape: BatchShape,
    ) -> impl Future<Output = Result<DeviceTensor>>;

    /// The loss's part of a kernel that trains small networks, where its pattern is [`Pattern::Elementwise`].
    #[doc(hidden)]
    fn elementwise_kernel(&self) -> Option<ElementwiseKernel> {
        None
    }

    /// Binds the loss's kernel to scores, uploaded targets and a gradient (that of the mean) that stay where they are.
    ///
    /// # Errors
    /// The device's own failures.
    #[doc(hidden)]
    fn prepare_on_gpu(
        &self,
        gpu: &Gpu,
        shape: BatchShape,
        scores: &DeviceTensor,
        targets: &DeviceTensor,
        gradient: Option<&DeviceTensor>,
    ) -> impl Future<Output = Result<Prepared>>;
}

/// The numbers and conventions that a pattern's driver needs of every loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The margin that a score must clear.
    #[serde(with = "exact::number")]
    pub margin: f64,
    /// The penalty of a violation.
    pub penalty: Penalty,
    /// The slope at the kink.
    pub kink: Kink,
}

impl Terms {
    pub(crate) fn new() -> Self {
        Self { margin: 1.0, penalty: Penalty::Linear, kink: Kink::Zero }
    }

    /// The margin must be finite also where the computation is in f32.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.penalty.check()?;
        if (self.margin as f32).is_finite() {
            Ok(())
        } else {
            Err(Error::Option {
                option: "margin",
                expected: "a finite number in f32's range".into(),
                got: self.margin.to_string(),
            })
        }
    }
}

/// The builder methods of a loss with [`Terms`]; the documentation of the margin is the loss's own.
macro_rules! terms_builder {
    ($margin:literal) => {
        #[doc = $margin]
        pub fn margin(mut self, margin: f64) -> Self {
            self.terms.margin = margin;
            self
        }

        /// The penalty of a violation.
        pub fn penalty(mut self, penalty: $crate::loss::Penalty) -> Self {
            self.terms.penalty = penalty;
            self
        }

        /// The slope where a margin is met exactly.
        pub fn kink(mut self, kink: $crate::loss::Kink) -> Self {
            self.terms.kink = kink;
            self
        }
    };
}
use terms_builder;

/// phi(margin - t*s) for label t in {-1, +1} and a score s that predicts its sign, 0 the sign -1.
#[inline(always)]
fn signed_hinge<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T> {
    let zero = score.splat(0.0);
    let agreement = target * score;
    let violation = rule.margin - agreement;
    let (value, slope) = rule.penalise(violation);
    Point {
        value,
        slope: -target * slope,
        active: zero.below(violation),
        correct: zero.below(agreement) | (score.equals(zero) & target.below(zero)),
    }
}
