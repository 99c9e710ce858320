//! A loss's description of itself as plain values: all that a backend needs to choose a driver and evaluate it. No loss
//! knows a backend.

use super::distance::Distance;
use super::formula::{Combination, Rows};
use super::margin_matrix::MarginMatrix;
use super::penalty::Ties;
use super::terms::Terms;
use crate::data::batch::Batch;
use crate::data::evaluation::{Reduction, Request};
use crate::data::labels::{TargetRowRule, TargetRule};
use crate::data::shape::BatchShape;
use crate::data::weights;
use crate::error::{Error, Input, Result};

/// How a loss walks its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pattern {
    /// One score, or a pair of scores, and one target per sample.
    Elementwise,
    /// One row of class scores and one class index per sample.
    Rows,
    /// One row of class scores and one row of targets per sample. Lists use this pattern on the CPU, which sorts one
    /// list after another.
    TargetRows,
    /// On a GPU: one list of scores and one list of targets per sample, whose items are compared pair by pair. O(L^2)
    /// steps spread over lanes, without a sort or atomics, in a fixed order.
    Segments,
    /// On a GPU: one list of scores and one list of targets per sample, which is sorted.
    Ranked,
    /// Two or three vectors per sample; the loss sees only their distances. The pattern measures them and carries the
    /// slopes back to the components, so any distance works with any loss.
    Vectors,
}

/// A loss's part of a kernel: its WGSL functions and the pattern that calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossShader {
    /// The loss's file name without its ending: `shaders/loss/NAME.wgsl`.
    pub name: &'static str,
    /// The pattern's template: `shaders/patterns/PATTERN.wgsl`.
    pub pattern: Pattern,
    /// The text of `shaders/loss/NAME.wgsl`.
    pub source: &'static str,
    /// Bytes of workgroup memory in addition to the pattern's.
    pub workgroup_bytes: u64,
}

/// The shader of a loss by name and pattern, with its bytes of workgroup memory, if any.
macro_rules! shader {
    ($name:literal, $pattern:ident) => {
        $crate::loss::spec::shader!($name, $pattern, 0)
    };
    ($name:literal, $pattern:ident, $workgroup_bytes:expr) => {
        $crate::loss::LossShader {
            name: $name,
            pattern: $crate::loss::Pattern::$pattern,
            source: include_str!(concat!("../../shaders/loss/", $name, ".wgsl")),
            workgroup_bytes: $workgroup_bytes,
        }
    };
}
pub(super) use shader;

/// By the name only: every call looks up its kernel, and the source texts are long.
impl std::hash::Hash for LossShader {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A loss as its pattern sees it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Spec<'a> {
    /// Single scores, or pairs.
    Elementwise(ElementwiseSpec),
    /// Rows of class scores with a class index each.
    Rows(RowsSpec<'a>),
    /// Rows or lists of scores with rows of targets.
    TargetRows(TargetRowsSpec),
    /// Vectors.
    Vectors(VectorsSpec),
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementwiseFormula {
    Signed,
    Embedding,
}

/// A loss of one score and one target per sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ElementwiseSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: ElementwiseFormula,
    pub(crate) terms: Terms,
    pub(crate) has_correct: bool,
    /// Whether a sample is a pair of scores; the loss then sees the difference.
    pub(crate) pairs: bool,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) target_rule: TargetRule,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    CrammerSinger,
    WestonWatkins,
    OneVsAll,
    LeeLinWahba,
    TopK { k: usize },
}

/// A method and the properties of its formula.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) name: Method,
    pub(crate) combination: Combination,
    /// As [`super::formula::Rows::has_true_column`].
    pub(crate) has_true_column: bool,
    /// As [`super::formula::Rows::compares`].
    pub(crate) compares: bool,
}

impl MethodSpec {
    pub(super) fn of<M: Rows>(method: M, shader: &'static LossShader, name: Method) -> Self {
        let (has_true_column, compares) = (method.has_true_column(), method.compares());
        Self { shader, name, combination: M::COMBINATION, has_true_column, compares }
    }
}

/// A loss of one row of class scores and one class index per sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct RowsSpec<'a> {
    pub(crate) method: MethodSpec,
    pub(crate) terms: Terms,
    pub(crate) ties: Ties,
    pub(crate) is_mean: bool,
    pub(crate) class_weights: Option<&'a [f64]>,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) margin_matrix: Option<&'a MarginMatrix>,
}

impl RowsSpec<'_> {
    pub(crate) fn top(&self) -> usize {
        if let Method::TopK { k } = self.method.name { k } else { 1 }
    }

    /// The margin of a column if there is no margin matrix.
    pub(crate) fn column_margin(&self, classes: usize) -> f64 {
        match self.method.name {
            Method::LeeLinWahba => self.terms.margin / classes.saturating_sub(1).max(1) as f64,
            _ => self.terms.margin,
        }
    }

    pub(crate) fn class_divisor(&self, classes: usize) -> f64 {
        if self.is_mean { classes as f64 } else { 1.0 }
    }

    /// Per-class numbers in the order in which a GPU reads them: weights, then margins.
    #[cfg(feature = "gpu")]
    pub(crate) fn class_table(&self) -> impl Iterator<Item = f64> {
        let margins = self.margin_matrix.map(MarginMatrix::margins);
        self.class_weights.into_iter().chain(margins).flatten().copied()
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.terms.check()?;
        let name = self.method.shader.name;
        if self.method.combination != Combination::Sum && self.is_mean {
            return Err(Error::Option {
                option: "over_classes",
                expected: format!("sum, since {name} takes the worst of the classes"),
                got: "mean".into(),
            });
        }
        if self.margin_matrix.is_some() && !self.method.compares {
            return Err(Error::Option {
                option: "margin_matrix",
                expected: "a method that compares each rival with the true class".into(),
                got: name.into(),
            });
        }
        Ok(())
    }

    pub(crate) fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        let shape = batch.check_rows()?;
        let columns = shape.columns;
        if let Some(weights) = self.class_weights {
            if weights.len() != columns {
                return Err(Error::Length {
                    input: Input::ClassWeights,
                    expected: columns,
                    got: weights.len(),
                    unit: "class",
                });
            }
            weights::check(weights, Input::ClassWeights)?;
        }
        if let Method::TopK { k } = self.method.name
            && !(1..=columns).contains(&k)
        {
            let expected = format!("a number from 1 to the {columns} classes");
            return Err(Error::Option { option: "k", expected, got: k.to_string() });
        }
        self.margin_matrix.map_or(Ok(()), |matrix| matrix.check(columns))?;
        if request.per_class {
            let refuse = |expected: &str, got: &str| {
                Err(Error::Option { option: "per_class", expected: expected.into(), got: got.into() })
            };
            if self.method.combination != Combination::Sum || !self.method.has_true_column {
                return refuse("a loss that is a sum of one term a class (one-vs-all)", self.method.shader.name);
            }
            if matches!(request.reduction, Reduction::None | Reduction::MeanOverActive) {
                return refuse("reduction mean or sum", &request.reduction.to_string());
            }
            if request.gradient {
                return refuse("no gradient (there is no single value to differentiate)", "a gradient");
            }
            if self.is_mean {
                return refuse("the sum over classes", "the mean over classes");
            }
        }
        Ok(shape)
    }
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetRowsFormula {
    Multilabel,
    Categorical,
    Listwise,
    Lovasz,
}

/// A loss of one row of class scores and one row of targets per sample, or of one list of each.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct TargetRowsSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: TargetRowsFormula,
    pub(crate) terms: Terms,
    pub(crate) has_correct: bool,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) target_rule: TargetRowRule,
    pub(crate) ties: Ties,
    pub(crate) is_mean: bool,
}

impl TargetRowsSpec {
    pub(crate) fn divisor(&self, columns: usize) -> f64 {
        if self.is_mean { columns as f64 } else { 1.0 }
    }
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorsFormula {
    Triplet,
    Cosine,
}

/// A loss of the distances between two or three vectors per sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct VectorsSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: VectorsFormula,
    pub(crate) terms: Terms,
    pub(crate) inputs: usize,
    pub(crate) ignore_index: Option<i64>,
    /// What the targets may be; `None` if the loss has none.
    pub(crate) target_rule: Option<TargetRule>,
    pub(crate) distance: Distance,
    /// Whether the loss also needs the distance of the second and third vectors, besides first-second and first-third.
    pub(crate) has_third_distance: bool,
}

impl Spec<'_> {
    pub(crate) fn shader(&self) -> &'static LossShader {
        match self {
            Spec::Elementwise(spec) => spec.shader,
            Spec::Rows(spec) => spec.method.shader,
            Spec::TargetRows(spec) => spec.shader,
            Spec::Vectors(spec) => spec.shader,
        }
    }

    pub(crate) fn has_correct(&self) -> bool {
        match self {
            Spec::Elementwise(spec) => spec.has_correct,
            Spec::Rows(_) => true,
            Spec::TargetRows(spec) => spec.has_correct,
            Spec::Vectors(_) => false,
        }
    }

    pub(crate) fn takes_raw_scores_only(&self) -> bool {
        matches!(self.shader().pattern, Pattern::Segments | Pattern::Ranked | Pattern::Vectors)
    }

    pub(crate) fn ignore_index(&self) -> Option<i64> {
        match self {
            Spec::Elementwise(spec) => spec.ignore_index,
            Spec::Rows(spec) => spec.ignore_index,
            Spec::TargetRows(spec) => spec.ignore_index,
            Spec::Vectors(spec) => spec.ignore_index,
        }
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Spec::Elementwise(spec) => spec.terms.check(),
            Spec::Rows(spec) => spec.check(),
            Spec::TargetRows(spec) => spec.terms.check(),
            Spec::Vectors(spec) => spec.terms.check().and_then(|()| spec.distance.check()),
        }
    }

    #[inline]
    pub(crate) fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        match self {
            Spec::Rows(spec) => spec.check_batch(batch, request),
            _ if request.per_class => Err(Error::Option {
                option: "per_class",
                expected: "a multiclass loss".into(),
                got: self.shader().name.into(),
            }),
            Spec::Elementwise(spec) => batch.check_elementwise(spec.pairs),
            Spec::TargetRows(spec) => batch.check_target_rows(spec.target_rule),
            Spec::Vectors(spec) => batch.check_vectors(spec.inputs, spec.target_rule.is_some()),
        }
    }
}
