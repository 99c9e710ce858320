//! What a loss says of itself, as plain values: all that a backend needs to evaluate it. A backend reads a [`Spec`] and
//! picks its driver; no loss knows a backend.

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
    /// One row of class scores and one row of targets per sample. Lists are rows of this kind on the CPU, where one list after
    /// the other is sorted.
    TargetRows,
    /// One list of scores and one list of targets per sample, whose items are compared with each other pair by pair, on a GPU:
    /// O(L^2) steps spread over lanes, without a sort, atomics or an order that could change.
    Segments,
    /// One list of scores and one list of targets per sample, which is sorted, on a GPU.
    Ranked,
    /// Two or three vectors per sample, of which the loss sees the distances. The pattern measures them and carries the slopes
    /// back to the components, so any distance goes with any loss.
    Vectors,
}

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

/// The shader of the loss of this name and pattern, with its bytes of workgroup memory if it has any.
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

/// By the name alone: every call looks its kernel up, and texts are long.
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
    /// Rows or lists of scores with as many targets.
    TargetRows(TargetRowsSpec),
    /// Vectors.
    Vectors(VectorsSpec),
}

/// The formula of an elementwise loss.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementwiseFormula {
    /// [`super::formula::SignedHinge`].
    Signed,
    /// [`super::embedding::EmbeddingFormula`].
    Embedding,
}

/// A loss of one score and one target a sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ElementwiseSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: ElementwiseFormula,
    pub(crate) terms: Terms,
    pub(crate) has_correct: bool,
    /// Whether a sample is a pair of scores, of which the loss sees the difference.
    pub(crate) pairs: bool,
    /// What the targets may be.
    pub(crate) target_rule: TargetRule,
}

/// The methods of the multiclass hinge.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// [`super::CrammerSinger`].
    CrammerSinger,
    /// [`super::WestonWatkins`].
    WestonWatkins,
    /// [`super::OneVsAll`].
    OneVsAll,
    /// [`super::LeeLinWahba`].
    LeeLinWahba,
    /// [`super::TopK`].
    TopK {
        /// How many violations it takes the mean of.
        k: usize,
    },
}

/// A method with what its formula says of itself.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) name: Method,
    /// How columns are combined.
    pub(crate) combination: Combination,
    /// Whether the true class's own column carries a penalty.
    pub(crate) has_true_column: bool,
    /// Whether a rival's violation depends on the true class's score.
    pub(crate) compares: bool,
}

impl MethodSpec {
    pub(super) fn of<M: Rows>(method: M, shader: &'static LossShader, name: Method) -> Self {
        let (has_true_column, compares) = (method.has_true_column(), method.compares());
        Self { shader, name, combination: M::COMBINATION, has_true_column, compares }
    }
}

/// A loss of one row of class scores and one class index a sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct RowsSpec<'a> {
    pub(crate) method: MethodSpec,
    pub(crate) terms: Terms,
    pub(crate) ties: Ties,
    /// Whether a row's sum is divided by the number of classes.
    pub(crate) is_mean: bool,
    pub(crate) class_weights: Option<&'a [f64]>,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) margin_matrix: Option<&'a MarginMatrix>,
}

impl RowsSpec<'_> {
    /// How many violations [`Combination::Top`] takes the mean of.
    pub(crate) fn top(&self) -> usize {
        if let Method::TopK { k } = self.method.name { k } else { 1 }
    }

    /// The margin of a column, where there is no matrix of them.
    pub(crate) fn column_margin(&self, classes: usize) -> f64 {
        match self.method.name {
            // There are at least two classes.
            Method::LeeLinWahba => self.terms.margin / classes.saturating_sub(1).max(1) as f64,
            _ => self.terms.margin,
        }
    }

    /// What a sum over columns is divided by.
    pub(crate) fn class_divisor(&self, classes: usize) -> f64 {
        if self.is_mean { classes as f64 } else { 1.0 }
    }

    /// The numbers of the classes as a GPU reads them: weights, then margins.
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
            if request.reduction == Reduction::None {
                return refuse("reduction mean or sum", "none");
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

/// The formula of a loss of rows of targets.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetRowsFormula {
    /// Multilabel margin.
    Multilabel,
    /// Categorical hinge.
    Categorical,
    /// Listwise hinge.
    Listwise,
    /// Lovasz hinge.
    Lovasz,
}

/// A loss of one row of class scores and one row of targets a sample, or of one list of scores and one of targets.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct TargetRowsSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: TargetRowsFormula,
    pub(crate) terms: Terms,
    pub(crate) has_correct: bool,
    /// What the targets may be.
    pub(crate) target_rule: TargetRowRule,
    /// Who receives the gradient of a tied maximum.
    pub(crate) ties: Ties,
    /// Whether a row's sum is divided by its length.
    pub(crate) is_mean: bool,
}

impl TargetRowsSpec {
    /// What the sum of a row of so many columns is divided by.
    pub(crate) fn divisor(&self, columns: usize) -> f64 {
        if self.is_mean { columns as f64 } else { 1.0 }
    }
}

/// The formula of a loss of vectors.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorsFormula {
    /// Triplet margin.
    Triplet,
    /// Cosine embedding.
    Cosine,
}

/// A loss of the distances of two or three vectors a sample.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct VectorsSpec {
    pub(crate) shader: &'static LossShader,
    pub(crate) formula: VectorsFormula,
    pub(crate) terms: Terms,
    /// Vectors a sample: 2 or 3.
    pub(crate) inputs: usize,
    /// What the targets may be, where there are any.
    pub(crate) target_rule: Option<TargetRule>,
    /// What a distance is.
    pub(crate) distance: Distance,
    /// Whether the distance of second and third is wanted beside those of first and second and of first and third.
    pub(crate) has_third_distance: bool,
}

impl Spec<'_> {
    /// The loss's WGSL.
    pub(crate) fn shader(&self) -> &'static LossShader {
        match self {
            Spec::Elementwise(spec) => spec.shader,
            Spec::Rows(spec) => spec.method.shader,
            Spec::TargetRows(spec) => spec.shader,
            Spec::Vectors(spec) => spec.shader,
        }
    }

    /// Whether a prediction, and so accuracy, means anything.
    pub(crate) fn has_correct(&self) -> bool {
        match self {
            Spec::Elementwise(spec) => spec.has_correct,
            Spec::Rows(_) => true,
            Spec::TargetRows(spec) => spec.has_correct,
            Spec::Vectors(_) => false,
        }
    }

    /// Whether what the loss sees is no classifier's scores.
    pub(crate) fn takes_raw_scores_only(&self) -> bool {
        matches!(self.shader().pattern, Pattern::Segments | Pattern::Ranked | Pattern::Vectors)
    }

    /// The target of samples that are left out, where there is one.
    pub(crate) fn ignore_index(&self) -> Option<i64> {
        if let Spec::Rows(spec) = self { spec.ignore_index } else { None }
    }

    /// Checks the options.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Spec::Elementwise(spec) => spec.terms.check(),
            Spec::Rows(spec) => spec.check(),
            Spec::TargetRows(spec) => spec.terms.check(),
            Spec::Vectors(spec) => spec.terms.check().and_then(|()| spec.distance.check()),
        }
    }

    /// Checks that the inputs of a batch fit each other and the request, by their shapes alone.
    #[inline]
    pub(crate) fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        match self {
            Spec::Rows(spec) => spec.check_batch(batch, request),
            // Per-class values exist only where there are classes.
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
