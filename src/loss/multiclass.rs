//! What the multiclass hinges share: options and builder.

use serde::{Deserialize, Serialize};

use super::margin_matrix::MarginMatrix;
use super::penalty::Ties;
use super::spec::{MethodSpec, RowsSpec, Spec};
use super::terms::{Terms, ignore_index, loss_option, terms_builder};
use super::value::{Loss, Sealed, loss_value};
use crate::data::exact;
use crate::names::names;

/// Whether a row's loss is the sum over its classes, or that sum divided by C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverClasses {
    /// The sum (the literature's form).
    #[default]
    Sum,
    /// The sum divided by the number of classes (torch's MultiMarginLoss).
    Mean,
}

names!(OverClasses, "over_classes": Sum = "sum", Mean = "mean");

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
/// The true class's weight and the sample's weight multiply the row's loss. Rows whose target equals `ignore_index` are
/// left out entirely; the ignored class's column still competes in other rows. `correct` counts the argmax; the lowest
/// index wins ties.
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
    method: M,
    terms: Terms,
    ties: Ties,
    over_classes: OverClasses,
    #[serde(with = "exact::optional_numbers")]
    class_weights: Option<Vec<f64>>,
    ignore_index: Option<i64>,
    #[serde(default)]
    margin_matrix: Option<MarginMatrix>,
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

    /// The method.
    pub fn get_method(&self) -> &M {
        &self.method
    }

    terms_builder!("The margin between the true class and a rival.");

    loss_option! {
        /// Which of equally bad rivals receives the gradient (Crammer-Singer and top-k).
        ties, get_ties: Ties = [ties]
    }

    loss_option! {
        /// Whether a sum over classes is divided by C. Crammer-Singer and top-k have no such sum and refuse `Mean`.
        over_classes, get_over_classes: OverClasses = [over_classes]
    }

    /// One non-negative, finite weight per class. The weight of the true class multiplies a sample's loss.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.class_weights = Some(weights.into());
        self
    }

    /// One weight per class (C), if given.
    pub fn get_class_weights(&self) -> Option<&[f64]> {
        self.class_weights.as_deref()
    }

    ignore_index!("Leaves out the samples with this target, which may lie outside [0, C).");

    /// One margin per pair of classes, replacing the single margin, for costs of confusing classes (margin rescaling:
    /// Tsochantaridis et al., 2005). A row-major C x C matrix: row y, column i holds the margin of the true class y
    /// over the rival i. The diagonal is ignored.
    ///
    /// Crammer-Singer, Weston-Watkins and top-k take it. Crammer-Singer's rival is the i with the largest margin(y,i) +
    /// s_i.
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
        self.margin_matrix = Some(MarginMatrix::new(margins.into()));
        self
    }

    /// One margin per pair of classes (C, C), row-major, if given.
    pub fn get_margin_matrix(&self) -> Option<&[f64]> {
        self.margin_matrix.as_ref().map(MarginMatrix::margins)
    }
}

/// A method of the multiclass hinge: [`crate::CrammerSinger`], [`crate::WestonWatkins`], [`crate::OneVsAll`],
/// [`crate::LeeLinWahba`] or [`crate::TopK`]. Sealed.
pub trait RowsLoss: Sealed + Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// What a backend needs of the method.
    #[doc(hidden)]
    fn method(&self) -> MethodSpec;
}

macro_rules! rows_loss {
    ($method:ident) => {
        impl $crate::loss::value::Sealed for $method {}

        impl $crate::loss::RowsLoss for $method {
            fn method(&self) -> $crate::loss::spec::MethodSpec {
                use $crate::loss::spec::{Method, MethodSpec};
                MethodSpec::of(*self, &SHADER, Method::$method)
            }
        }
    };
}
pub(super) use rows_loss;

impl<M> Sealed for MulticlassHinge<M> {}

impl<M: RowsLoss> Loss for MulticlassHinge<M> {
    fn spec(&self) -> Spec<'_> {
        Spec::Rows(RowsSpec {
            method: self.method.method(),
            terms: self.terms,
            ties: self.ties,
            is_mean: self.over_classes == OverClasses::Mean,
            class_weights: self.class_weights.as_deref(),
            ignore_index: self.ignore_index,
            margin_matrix: self.margin_matrix.as_ref(),
        })
    }

    loss_value!();
}
