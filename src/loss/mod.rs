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
pub use multiclass::{MulticlassHinge, OverClasses};
pub use multilabel::MultilabelMargin;
pub use one_vs_all::OneVsAll;
pub use penalty::{
    Kink, LinearPenalty, Penalty, PenaltyShape, Piece, Rule, SmoothPenalty, SoftplusPenalty, SquaredPenalty, Ties,
};
pub use ranking::MarginRanking;
pub use top_k::TopK;
pub use triplet::TripletMargin;
pub use weston_watkins::WestonWatkins;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, Request};
use crate::exact;
use crate::gpu::{DeviceTensor, Gpu, Pending, Prepared};
use crate::real::Real;
use crate::tensor::{Batch, BatchShape};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Two or three vectors a sample, of which the loss sees the distances.
    Vectors,
}

/// A loss that a device can evaluate. Implemented for every loss of the crate through its pattern.
pub trait Loss: Sync {
    /// The loss's stem, `binary` or `weston_watkins` for instance.
    fn name(&self) -> &'static str;

    /// Whether a prediction, and so accuracy, means anything.
    fn has_correct(&self) -> bool;

    /// The target of samples that are left out, where there is one.
    fn ignore_index(&self) -> Option<i64> {
        None
    }

    /// Whether what the loss sees is no classifier's scores, so that no other [`crate::ScoreKind`] than raw makes sense.
    fn takes_raw_scores_only(&self) -> bool {
        false
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

    /// Evaluates on the native CPU backend.
    ///
    /// # Errors
    /// As [`crate::Device::evaluate`].
    fn evaluate_on_cpu(&self, batch: &Batch<'_>, request: &Request) -> Result<Evaluation>;

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

/// One sample of an elementwise loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<T> {
    /// The loss.
    pub value: T,
    /// Its derivative with respect to the score.
    pub slope: T,
    /// True where the margin is violated, v > 0.
    pub active: bool,
    /// True where the sign of the score is the target's.
    pub correct: bool,
}

/// A loss of one score and one target a sample.
pub trait ElementwiseLoss: Sync {
    /// The loss's WGSL.
    const SHADER: LossShader;
    /// Whether a prediction, and so accuracy, means anything.
    const HAS_CORRECT: bool;
    /// Whether a sample is a pair of scores, of which the loss sees the difference.
    const PAIRS: bool = false;
    /// Margin, penalty and kink.
    fn terms(&self) -> Terms;
    /// What the targets may be.
    fn target_rule(&self) -> TargetRule;
    /// Checks the options beside the terms.
    ///
    /// # Errors
    /// As [`Loss::check`].
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// As [`Loss::check_batch`].
    ///
    /// # Errors
    /// As [`Loss::check_batch`].
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        refuse_per_class(request, Self::SHADER.name)?;
        batch.check_elementwise(Self::PAIRS)
    }
    /// The loss and its slope at one score. `target` is -1, 0 or +1 as [`TargetRule`] says.
    fn value_and_slope<T: Real, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T>;
}

/// How the penalties of a row's columns make the row's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// The largest: the worst rival decides.
    Max,
    /// The penalty of the mean of the largest violations ([`RowsLoss::top`] of them), the true class's own zero among them.
    Top,
    /// The sum.
    Sum,
}

/// A loss of one row of class scores and one true class a sample.
pub trait RowsLoss: Copy + Sync + 'static {
    /// The loss's WGSL.
    const SHADER: LossShader;
    /// How columns are combined.
    const COMBINATION: Combination;
    /// Whether the true class's own column carries a penalty (with slope -1 on its score) beside the rivals'.
    const TRUE_COLUMN: bool;
    /// The derivative of a rival's violation with respect to the true class's score: -1 where they are compared, or 0.
    /// With respect to the rival's own score it is 1.
    const RIVAL_SLOPE_ON_TRUE: f64;
    /// How many violations [`Combination::Top`] takes the mean of.
    fn top(&self) -> usize {
        1
    }
    /// Checks the method's own options for rows of so many classes.
    ///
    /// # Errors
    /// [`Error::Option`] for one that has no meaning there.
    fn check_classes(&self, _classes: usize) -> Result<()> {
        Ok(())
    }
    /// The margin of one column where the rows have this many classes.
    fn column_margin(margin: f64, _classes: usize) -> f64 {
        margin
    }
    /// The margin violation of one column.
    fn violation<T: Real>(margin: T, score: T, true_score: T, is_true: bool) -> T;
}

/// One sample of a loss of [`Pattern::TargetRows`], before its sum over classes is divided and its weight is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowPoint {
    /// The loss.
    pub value: f64,
    /// Any violation v > 0.
    pub active: bool,
    /// The prediction agrees with the targets.
    pub correct: bool,
}

/// What a row's loss writes beside its value, one element a class.
#[derive(Debug)]
pub struct RowScratch<'a> {
    /// The derivative with respect to each score; zeros before.
    pub slopes: &'a mut [f64],
    /// Room for the loss's own use.
    pub members: &'a mut [bool],
}

/// A loss of one row of class scores and one row of targets a sample, or of one list of scores and one of targets.
pub trait TargetRowsLoss: Sync {
    /// The loss's WGSL.
    const SHADER: LossShader;
    /// Whether a prediction, and so accuracy, means anything.
    const HAS_CORRECT: bool;
    /// What the targets may be.
    fn target_rule(&self) -> TargetRowRule;
    /// Margin, penalty and kink.
    fn terms(&self) -> Terms;
    /// Who receives the gradient of a tied maximum.
    fn ties(&self) -> Ties;
    /// What the sum of a row of so many columns is divided by.
    fn divisor(&self, columns: usize) -> f64;
    /// Whether a score with this target takes no part, whatever it is.
    fn is_padding(_target: i32) -> bool {
        false
    }
    /// Checks the options beside the terms.
    ///
    /// # Errors
    /// As [`Loss::check`].
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// As [`Loss::check_batch`].
    ///
    /// # Errors
    /// As [`Loss::check_batch`].
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        refuse_per_class(request, Self::SHADER.name)?;
        batch.check_target_rows(self.target_rule())
    }
    /// The loss and its slopes. A NaN score is seen to by the driver.
    fn row<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        ties: Ties,
        scores: &[T],
        targets: &[i32],
        scratch: RowScratch<'_>,
    ) -> RowPoint;
}

/// One sample of a loss of [`Pattern::Vectors`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combined<T> {
    /// The loss.
    pub value: T,
    /// Its derivatives with respect to the distances.
    pub slopes: [T; 3],
    /// True where the margin is violated, v > 0.
    pub active: bool,
}

/// A loss of the distances of two or three vectors a sample.
pub trait VectorsLoss: Sync {
    /// The loss's WGSL.
    const SHADER: LossShader;
    /// Vectors a sample: 2 or 3.
    const INPUTS: usize;
    /// What the targets may be, where there are any.
    const TARGETS: Option<TargetRule>;
    /// No prediction is made.
    const HAS_CORRECT: bool = false;
    /// Margin, penalty and kink.
    fn terms(&self) -> Terms;
    /// What a distance is.
    fn distance(&self) -> Distance;
    /// Whether the distance of second and third is wanted beside those of first and second and of first and third.
    fn has_third_distance(&self) -> bool {
        false
    }
    /// Checks the options beside the terms.
    ///
    /// # Errors
    /// As [`Loss::check`].
    fn check(&self) -> Result<()> {
        self.distance().check()
    }
    /// As [`Loss::check_batch`].
    ///
    /// # Errors
    /// As [`Loss::check_batch`].
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        refuse_per_class(request, Self::SHADER.name)?;
        batch.check_vectors(Self::INPUTS, Self::TARGETS.is_some())
    }
    /// The loss and its slopes, given the distances. `target` is -1, 0 or +1 as [`TargetRule`] says.
    fn combine<T: Real, P: PenaltyShape>(
        rule: &Rule<T, P>,
        distances: [T; 3],
        has_third: bool,
        target: T,
    ) -> Combined<T>;
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

/// Per-class values exist only where there are classes.
fn refuse_per_class(request: &Request, loss: &'static str) -> Result<()> {
    if request.per_class {
        let (option, expected) = ("per-class values", "a multiclass loss".into());
        return Err(Error::Option { option, expected, got: loss.into() });
    }
    Ok(())
}

/// phi(margin - t*s) for label t in {-1, +1} and a score s that predicts its sign.
#[inline(always)]
fn signed_hinge<T: Real, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T> {
    let violation = rule.margin - target * score;
    let (value, slope) = rule.penalise(violation);
    Point {
        value,
        slope: -target * slope,
        active: violation > T::ZERO,
        correct: ((score > T::ZERO) == (target > T::ZERO)) & !score.is_nan(),
    }
}

/// Implements [`Loss`] for a loss of one pattern: a blanket implementation would exclude every other pattern.
macro_rules! evaluate_pattern {
    ($loss:ty, $trait:ident, $cpu:ident, $gpu:ident) => {
        impl $crate::loss::Loss for $loss {
            fn name(&self) -> &'static str {
                <$loss as $crate::loss::$trait>::SHADER.name
            }
            fn has_correct(&self) -> bool {
                <$loss as $crate::loss::$trait>::HAS_CORRECT
            }
            fn takes_raw_scores_only(&self) -> bool {
                use $crate::loss::Pattern::{Segments, Vectors};
                matches!(<$loss as $crate::loss::$trait>::SHADER.pattern, Segments | Vectors)
            }
            fn check(&self) -> $crate::error::Result<()> {
                $crate::loss::$trait::terms(self).check()?;
                $crate::loss::$trait::check(self)
            }
            fn check_batch(
                &self,
                batch: &$crate::tensor::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<$crate::tensor::BatchShape> {
                $crate::loss::$trait::check_batch(self, batch, request)
            }
            fn evaluate_on_cpu(
                &self,
                batch: &$crate::tensor::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<$crate::evaluation::Evaluation> {
                $crate::cpu::$cpu::evaluate(self, batch, request)
            }
            async fn evaluate_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                batch: &$crate::tensor::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<$crate::evaluation::Evaluation> {
                $crate::gpu::$gpu::evaluate(gpu, self, batch, request).await
            }
            async fn accumulate_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                batch: &$crate::tensor::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<Vec<$crate::gpu::Pending>> {
                $crate::gpu::$gpu::accumulate(gpu, self, batch, request).await
            }
            fn elementwise_kernel(&self) -> Option<$crate::loss::ElementwiseKernel> {
                $crate::gpu::$gpu::kernel(self)
            }
            async fn upload_targets_to_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                targets: &[f64],
                shape: $crate::tensor::BatchShape,
            ) -> $crate::error::Result<$crate::gpu::DeviceTensor> {
                $crate::gpu::$gpu::upload_targets(gpu, self, targets, shape).await
            }
            async fn prepare_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                shape: $crate::tensor::BatchShape,
                scores: &$crate::gpu::DeviceTensor,
                targets: &$crate::gpu::DeviceTensor,
                gradient: Option<&$crate::gpu::DeviceTensor>,
            ) -> $crate::error::Result<$crate::gpu::Prepared> {
                $crate::gpu::$gpu::prepare(gpu, self, shape, scores, targets, gradient).await
            }
        }
    };
}

/// [`evaluate_pattern`] for an [`ElementwiseLoss`].
macro_rules! evaluate_elementwise {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!($loss, ElementwiseLoss, elementwise, elementwise);
    };
}

/// [`evaluate_pattern`] for a [`TargetRowsLoss`].
macro_rules! evaluate_target_rows {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!($loss, TargetRowsLoss, target_rows, target_rows);
    };
}

/// [`evaluate_pattern`] for a [`TargetRowsLoss`] of [`Pattern::Segments`].
macro_rules! evaluate_segments {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!($loss, TargetRowsLoss, target_rows, segments);
    };
}

/// [`evaluate_pattern`] for a [`VectorsLoss`].
macro_rules! evaluate_vectors {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!($loss, VectorsLoss, vectors, vectors);
    };
}
pub(crate) use {evaluate_elementwise, evaluate_pattern, evaluate_segments, evaluate_target_rows, evaluate_vectors};
