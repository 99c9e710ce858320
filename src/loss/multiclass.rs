//! What the multiclass hinges share: options, builder, and the way from a row's columns to its loss.

use serde::{Deserialize, Serialize};

use super::penalty::Ties;
use super::{Combination, Loss, Pattern, RowsLoss, Terms, terms_builder};
use crate::batch::{Batch, BatchShape};
use crate::error::{Error, Input, Result};
use crate::evaluation::{Buffers, Evaluation, Reduction, Request};
use crate::exact;
use crate::gpu::{DeviceTensor, Gpu, Pending, Prepared, launch, rows};

/// Whether a row's loss is the sum over its classes, or that sum divided by C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverClasses {
    /// The sum (the literature's form).
    #[default]
    Sum,
    /// The sum divided by the number of classes (torch's MultiMarginLoss).
    Mean,
}

/// A multiclass hinge loss over rows of raw class scores; the method `M` says which.
///
/// | constructor | a row's loss |
/// |---|---|
/// | [`MulticlassHinge::crammer_singer`] | phi(margin + max over i != y of (s_i - s_y)) |
/// | [`MulticlassHinge::weston_watkins`] | sum over i != y of phi(margin + (s_i - s_y)) |
/// | [`MulticlassHinge::lee_lin_wahba`] | sum over i != y of phi(s_i + margin/(C-1)) |
/// | [`MulticlassHinge::top_k`] | phi(mean of the k largest of 0 and margin + (s_i - s_y) for i != y) |
/// | [`MulticlassHinge::one_vs_all`] | sum over i of phi(margin - t_i*s_i), t_i = +1 for i = y, else -1 |
///
/// The row's loss is multiplied by the true class's weight and the sample's weight. Rows whose target equals
/// `ignore_index` are left out of everything; the ignored class's column still competes in the other rows.
/// The lowest index wins the argmax that `correct` counts.
///
/// ```
/// use maxmargin::{Batch, Device, MulticlassHinge, Request};
/// let scores = [0.25f32, 0.20, 0.55, 0.55, 0.05, 0.40, 0.10, 0.30, 0.60, 0.90, 0.05, 0.05];
/// let batch = Batch::rows(&scores, 3, &[0i64, 1, 2, 0]);
/// let value = Device::cpu().evaluate(&MulticlassHinge::crammer_singer(), &batch, &Request::new())?.value;
/// assert!((value.unwrap() - 0.9125).abs() < 1e-6);
/// # Ok::<(), maxmargin::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MulticlassHinge<M> {
    pub(crate) method: M,
    pub(crate) terms: Terms,
    pub(crate) ties: Ties,
    pub(crate) over_classes: OverClasses,
    #[serde(with = "exact::optional_numbers")]
    pub(crate) class_weights: Option<Vec<f64>>,
    pub(crate) ignore_index: Option<i64>,
    /// Margins of C x C pairs of classes, in the place of the one margin.
    #[serde(with = "exact::optional_numbers", default)]
    pub(crate) margin_matrix: Option<Vec<f64>>,
}

impl OverClasses {
    /// What a sum over `classes` classes is divided by.
    pub(crate) fn divisor(self, classes: usize) -> f64 {
        match self {
            OverClasses::Sum => 1.0,
            OverClasses::Mean => classes as f64,
        }
    }
}

impl<M: RowsLoss> MulticlassHinge<M> {
    /// A multiclass hinge with this method: margin 1, linear penalty, sum over classes, no weights, nothing ignored.
    pub fn with_method(method: M) -> Self {
        Self {
            method,
            terms: Terms::new(),
            ties: Ties::First,
            over_classes: OverClasses::Sum,
            class_weights: None,
            ignore_index: None,
            margin_matrix: None,
        }
    }

    terms_builder!("The margin between the true class and a rival.");

    /// Which of equal best rivals receives the gradient (Crammer-Singer and top-k).
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }

    /// Whether a sum over classes is divided by their number. Crammer-Singer and top-k have no such sum and
    /// refuse `Mean`.
    pub fn over_classes(mut self, over_classes: OverClasses) -> Self {
        self.over_classes = over_classes;
        self
    }

    /// One non-negative, finite weight a class; a sample's loss is multiplied by its true class's.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.class_weights = Some(weights.into());
        self
    }

    /// Leaves out the samples with this target, which may lie outside [0, C).
    pub fn ignore_index(mut self, index: i64) -> Self {
        self.ignore_index = Some(index);
        self
    }

    /// A margin for each pair of classes, in the place of the one margin: a row-major C x C matrix, where row y and column
    /// i hold what the true class y must keep from the rival i. The diagonal is ignored. For costs of confusing classes
    /// (Tsochantaridis et al., 2005, call it margin rescaling).
    ///
    /// Crammer-Singer, Weston-Watkins and top-k take it. Crammer-Singer's rival is the one with the largest margin(y,i) + s_i.
    ///
    /// ```
    /// use maxmargin::{Batch, Device, MulticlassHinge, Request};
    /// // Class 0 must not be taken for class 2.
    /// let costs = [0.0, 1.0, 5.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0];
    /// let loss = MulticlassHinge::crammer_singer().margin_matrix(costs);
    /// let batch = Batch::rows(&[2.0f32, 1.5, 0.0], 3, &[0i64]);
    /// assert_eq!(Device::cpu().evaluate(&loss, &batch, &Request::new())?.value, Some(3.0));
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    pub fn margin_matrix(mut self, margins: impl Into<Vec<f64>>) -> Self {
        self.margin_matrix = Some(margins.into());
        self
    }

    /// The margin of a column, where there is no matrix of them.
    pub(crate) fn column_margin(&self, classes: usize) -> f64 {
        M::column_margin(self.terms.margin, classes)
    }

    /// The numbers of the classes as a GPU reads them: weights, then margins.
    pub(crate) fn class_table(&self) -> impl Iterator<Item = f64> {
        self.class_weights.iter().chain(&self.margin_matrix).flatten().copied()
    }

    fn check_margin_matrix(&self, classes: usize) -> Result<()> {
        let Some(margins) = &self.margin_matrix else { return Ok(()) };
        let input = Input::MarginMatrix;
        if margins.len() != classes * classes {
            let unit = "pair of classes";
            return Err(Error::Length { input, expected: classes * classes, got: margins.len(), unit });
        }
        let is_bad = |&(i, margin): &(usize, &f64)| i % (classes + 1) != 0 && !(*margin as f32).is_finite();
        match margins.iter().enumerate().find(is_bad) {
            None => Ok(()),
            Some((index, margin)) => Err(Error::Value {
                input,
                index: index as u64,
                value: margin.to_string(),
                expected: "a finite number in f32's range".into(),
            }),
        }
    }

    /// The factor of the sum over columns: 1, or 1/C by division.
    pub(crate) fn class_divisor(&self, classes: usize) -> f64 {
        self.over_classes.divisor(classes)
    }
}

impl<M: RowsLoss> Loss for MulticlassHinge<M> {
    fn name(&self) -> &'static str {
        M::SHADER.name
    }

    fn has_correct(&self) -> bool {
        true
    }

    fn pattern(&self) -> Pattern {
        Pattern::Rows
    }

    fn ignore_index(&self) -> Option<i64> {
        self.ignore_index
    }

    fn check(&self) -> Result<()> {
        self.terms.check()?;
        if M::COMBINATION != Combination::Sum && self.over_classes == OverClasses::Mean {
            return Err(Error::Option {
                option: "over-classes",
                expected: format!("sum, since {} takes the worst of the classes", M::SHADER.name),
                got: "mean".into(),
            });
        }
        if self.margin_matrix.is_some() && M::RIVAL_SLOPE_ON_TRUE == 0.0 {
            return Err(Error::Option {
                option: "margin matrix",
                expected: "a method that compares each rival with the true class".into(),
                got: M::SHADER.name.into(),
            });
        }
        Ok(())
    }

    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        let shape = batch.check_rows()?;
        let columns = shape.columns;
        if let Some(weights) = &self.class_weights {
            if weights.len() != columns {
                return Err(Error::Length {
                    input: Input::ClassWeights,
                    expected: columns,
                    got: weights.len(),
                    unit: "class",
                });
            }
            crate::cpu::weights::check(weights, Input::ClassWeights)?;
        }
        self.method.check_classes(columns)?;
        self.check_margin_matrix(columns)?;
        if request.per_class {
            let refuse = |expected: &str, got: &str| {
                Err(Error::Option { option: "per-class values", expected: expected.into(), got: got.into() })
            };
            if M::COMBINATION != Combination::Sum || !M::TRUE_COLUMN {
                return refuse("a loss that is a sum of one term a class (one-vs-all)", M::SHADER.name);
            }
            if request.reduction == Reduction::None {
                return refuse("reduction mean or sum", "none");
            }
            if request.gradient {
                return refuse("no gradient (there is no single value to differentiate)", "a gradient");
            }
            if self.over_classes == OverClasses::Mean {
                return refuse("the sum over classes", "the mean over classes");
            }
        }
        Ok(shape)
    }

    fn weigh(&self, batch: &Batch<'_>) -> Result<(u64, f64)> {
        if batch.is_empty() {
            batch.samples_without_scores(Pattern::Rows)?;
        } else {
            self.check_batch(batch, &Request::new())?;
        }
        let totals = crate::cpu::rows::weight_totals(batch, batch.check_scores(2)?.1, self.ignore_index)?;
        Ok((totals.count, totals.weight_sum))
    }

    fn evaluate_on_cpu(&self, batch: &Batch<'_>, request: &Request, buffers: Buffers<'_>) -> Result<Evaluation> {
        crate::cpu::rows::evaluate(self, batch, request, buffers)
    }

    async fn evaluate_on_gpu(&self, gpu: &Gpu, batch: &Batch<'_>, request: &Request) -> Result<Evaluation> {
        let launcher = rows::launcher(self, self.check_batch(batch, request)?);
        launch::evaluate(gpu, &launcher, batch, request).await
    }

    async fn accumulate_on_gpu(&self, gpu: &Gpu, batch: &Batch<'_>, request: &Request) -> Result<Vec<Pending>> {
        let launcher = rows::launcher(self, self.check_batch(batch, request)?);
        launch::accumulate(gpu, &launcher, batch, request).await
    }

    async fn upload_targets_to_gpu(&self, gpu: &Gpu, targets: &[f64], shape: BatchShape) -> Result<DeviceTensor> {
        launch::upload_targets(gpu, &rows::launcher(self, shape), targets).await
    }

    async fn prepare_on_gpu(
        &self,
        gpu: &Gpu,
        shape: BatchShape,
        scores: &DeviceTensor,
        targets: &DeviceTensor,
        gradient: Option<&DeviceTensor>,
    ) -> Result<Prepared> {
        launch::prepare(gpu, &rows::launcher(self, shape), scores, targets, gradient).await
    }
}

/// margin + (s_i - s_y), in this order: two large scores cancel before the margin is added, so it is not lost.
#[inline(always)]
pub(crate) fn rival_violation<T: crate::real::Number>(margin: T, score: T, true_score: T) -> T {
    margin + (score - true_score)
}
