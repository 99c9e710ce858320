//! The access patterns as traits: what a loss of each pattern says of itself, and how it becomes a [`crate::loss::Loss`].

use super::{Distance, LossShader, PenaltyShape, Rule, TargetRowRule, TargetRule, Terms, Ties};
use crate::batch::{Batch, BatchShape};
use crate::error::{Error, Result};
use crate::evaluation::Request;
use crate::real::{Number, Real};

/// One sample of an elementwise loss, or a vector of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<T: Number> {
    /// The loss.
    pub value: T,
    /// Its derivative with respect to the score.
    pub slope: T,
    /// True where the margin is violated, v > 0.
    pub active: T::Mask,
    /// True where the sign of the score is the target's.
    pub correct: T::Mask,
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
    /// As [`crate::loss::Loss::check`].
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// As [`crate::loss::Loss::check_batch`].
    ///
    /// # Errors
    /// As [`crate::loss::Loss::check_batch`].
    #[inline(always)]
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        refuse_per_class(request, Self::SHADER.name)?;
        batch.check_elementwise(Self::PAIRS)
    }
    /// The loss and its slope at one score, or at each of a vector of scores. `target` is what [`TargetRule`] allows.
    fn value_and_slope<T: Number, P: PenaltyShape>(rule: &Rule<T, P>, score: T, target: T) -> Point<T>;
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
pub trait RowsLoss: Copy + std::fmt::Debug + Sync + 'static {
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
    fn violation<T: Number>(margin: T, score: T, true_score: T, is_true: T::Mask) -> T;
}

/// One sample of a loss of [`crate::loss::Pattern::TargetRows`], before its sum over classes is divided and its weight is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowPoint {
    /// The loss.
    pub value: f64,
    /// Any violation v > 0.
    pub active: bool,
    /// The prediction agrees with the targets.
    pub correct: bool,
}

/// What a row's loss writes beside its value, one element a class, and what helps it.
#[derive(Debug)]
pub struct RowScratch<'a, T, S> {
    /// The derivative with respect to each score, zeros before; none where nobody asks for it.
    pub slopes: Option<&'a mut [f64]>,
    /// Room for a rank a class.
    pub ranks: &'a mut [T],
    /// Room for a count a class.
    pub times: &'a mut [u32],
    /// Adds up pairs.
    pub pairs: &'a S,
}

/// An item of a row or list that forms pairs with lower ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Higher {
    /// Where it stands.
    pub index: usize,
    /// How often each of its pairs counts.
    pub times: u32,
}

/// Sums over the pairs of a row's or list's items.
pub trait PairSums<T> {
    /// The sum of phi(margin + s_lower - s_higher) over the pairs of each of these items with all items whose rank is lower, and
    /// whether a margin is violated. An item whose rank is NaN is lower than none. The derivatives are added to `slopes`,
    /// where they are wanted. All slices are as long.
    fn add(
        &self,
        items: impl Iterator<Item = Higher>,
        scores: &[T],
        ranks: &[T],
        slopes: Option<&mut [f64]>,
    ) -> (f64, bool);
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
    /// As [`crate::loss::Loss::check`].
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// As [`crate::loss::Loss::check_batch`].
    ///
    /// # Errors
    /// As [`crate::loss::Loss::check_batch`].
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
        scratch: RowScratch<'_, T, impl PairSums<T>>,
    ) -> RowPoint;
}

/// One sample of a loss of [`crate::loss::Pattern::Vectors`].
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
    /// As [`crate::loss::Loss::check`].
    fn check(&self) -> Result<()> {
        self.distance().check()
    }
    /// As [`crate::loss::Loss::check_batch`].
    ///
    /// # Errors
    /// As [`crate::loss::Loss::check_batch`].
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

/// Per-class values exist only where there are classes.
#[inline(always)]
fn refuse_per_class(request: &Request, loss: &'static str) -> Result<()> {
    if request.per_class {
        let (option, expected) = ("per-class values", "a multiclass loss".into());
        return Err(Error::Option { option, expected, got: loss.into() });
    }
    Ok(())
}

/// Implements [`crate::loss::Loss`] for a loss of one pattern: a blanket implementation would exclude every other pattern.
macro_rules! evaluate_pattern {
    ($loss:ty, $trait:ident, $cpu:ident, $gpu:ident $(, $elementwise_kernel:item)*) => {
        impl $crate::loss::Loss for $loss {
            fn name(&self) -> &'static str {
                <$loss as $crate::loss::$trait>::SHADER.name
            }
            fn has_correct(&self) -> bool {
                <$loss as $crate::loss::$trait>::HAS_CORRECT
            }
            fn pattern(&self) -> $crate::loss::Pattern {
                <$loss as $crate::loss::$trait>::SHADER.pattern
            }
            fn check(&self) -> $crate::error::Result<()> {
                $crate::loss::$trait::terms(self).check()?;
                $crate::loss::$trait::check(self)
            }
            fn check_batch(
                &self,
                batch: &$crate::batch::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<$crate::batch::BatchShape> {
                $crate::loss::$trait::check_batch(self, batch, request)
            }
            fn evaluate_on_cpu(
                &self,
                batch: &$crate::batch::Batch<'_>,
                request: &$crate::evaluation::Request,
                buffers: $crate::evaluation::Buffers<'_>,
            ) -> $crate::error::Result<$crate::evaluation::Evaluation> {
                $crate::cpu::$cpu::evaluate(self, batch, request, buffers)
            }
            async fn evaluate_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                batch: &$crate::batch::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<$crate::evaluation::Evaluation> {
                let launcher = $crate::gpu::$gpu::launcher(self, $crate::loss::Loss::check_batch(self, batch, request)?);
                $crate::gpu::launch::evaluate(gpu, &launcher, batch, request).await
            }
            async fn accumulate_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                batch: &$crate::batch::Batch<'_>,
                request: &$crate::evaluation::Request,
            ) -> $crate::error::Result<Vec<$crate::gpu::Pending>> {
                let launcher = $crate::gpu::$gpu::launcher(self, $crate::loss::Loss::check_batch(self, batch, request)?);
                $crate::gpu::launch::accumulate(gpu, &launcher, batch, request).await
            }
            $($elementwise_kernel)*
            async fn upload_targets_to_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                targets: &[f64],
                shape: $crate::batch::BatchShape,
            ) -> $crate::error::Result<$crate::gpu::DeviceTensor> {
                $crate::gpu::launch::upload_targets(gpu, &$crate::gpu::$gpu::launcher(self, shape), targets).await
            }
            async fn prepare_on_gpu(
                &self,
                gpu: &$crate::gpu::Gpu,
                shape: $crate::batch::BatchShape,
                scores: &$crate::gpu::DeviceTensor,
                targets: &$crate::gpu::DeviceTensor,
                gradient: Option<&$crate::gpu::DeviceTensor>,
            ) -> $crate::error::Result<$crate::gpu::Prepared> {
                let launcher = $crate::gpu::$gpu::launcher(self, shape);
                $crate::gpu::launch::prepare(gpu, &launcher, scores, targets, gradient).await
            }
        }
    };
}

/// [`evaluate_pattern`] for an [`ElementwiseLoss`].
macro_rules! evaluate_elementwise {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!(
            $loss,
            ElementwiseLoss,
            elementwise,
            elementwise,
            fn elementwise_kernel(&self) -> Option<$crate::loss::ElementwiseKernel> {
                $crate::gpu::elementwise::kernel(self)
            }
        );
    };
}

/// [`evaluate_pattern`] for a [`TargetRowsLoss`].
macro_rules! evaluate_target_rows {
    ($loss:ty) => {
        $crate::loss::evaluate_pattern!($loss, TargetRowsLoss, target_rows, target_rows);
    };
}

/// [`evaluate_pattern`] for a [`TargetRowsLoss`] of lists: [`crate::loss::Pattern::Segments`] or
/// [`crate::loss::Pattern::Ranked`].
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
