//! What is computed: options, formulas and value-and-slope functions, without loops over data.
//!
//! A loss belongs to one access pattern ([`Pattern`]). Per sample it sees one of these:
//! - one score (or the difference of a pair) and its target;
//! - one row of class scores and the index of the true class;
//! - one row of class scores and one row of targets, or one list of each;
//! - the distances between two or three vectors.
//!
//! A loss describes itself as a plain value (`spec.rs`) and a formula (`formula.rs`), and names no backend. The
//! pattern's drivers (`src/cpu`, `src/gpu`) handle weights, ignored rows, validation, reduction, counters and
//! non-finite values. [`Loss`] is dyn-safe: `Box<dyn Loss>` is a loss too, and a use of a loss compiles nothing new.
//!
//! To add a loss X of a known pattern: write its spec and formula in `X.rs`, its f64 definition in `src/reference/X.rs`
//! and its WGSL in `shaders/loss/X.wgsl`. Name the formula in `spec.rs` and in the pattern's driver in `src/cpu`. Add a
//! `mod` line here and in `src/reference/mod.rs`, its shader to [`SHADERS`], its rows to `tests/suite/cases/`, and its
//! name to the program (`cli/src`).
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
//! infinities, is NaN. NaN payloads are never distinguished. Overflow follows the order of the arithmetic: a row's sum
//! over classes may overflow before it is divided by C, a maximum's slope before ties share it, and a sum of target
//! times score before it is compared.

mod binary;
mod categorical;
mod cosine;
mod crammer_singer;
pub(crate) mod difference;
mod distance;
mod embedding;
mod formula;
mod lee_lin_wahba;
mod listwise;
mod lovasz;
mod margin_matrix;
mod multiclass;
mod multilabel;
mod one_vs_all;
pub(crate) mod penalty;
mod ranking;
mod saved;
mod sorted_pairs;
mod spec;
mod terms;
mod top_k;
mod triplet;
mod value;
mod weston_watkins;

pub use crate::data::labels::LabelEncoding;
pub use binary::BinaryHinge;
pub(crate) use categorical::CategoricalFormula;
pub use categorical::CategoricalHinge;
pub use cosine::CosineEmbedding;
pub(crate) use cosine::CosineFormula;
pub use crammer_singer::CrammerSinger;
pub use distance::Distance;
pub(crate) use embedding::EmbeddingFormula;
pub use embedding::EmbeddingHinge;
pub(crate) use formula::{
    AnySum, Combination, Combined, Elementwise, Higher, PairSums, Point, RowScratch, Rows, SignedHinge, TargetRows,
    Vectors, rival_violation,
};
pub use lee_lin_wahba::LeeLinWahba;
pub(crate) use listwise::ListwiseFormula;
pub use listwise::{ListwiseHinge, OverItems};
pub(crate) use lovasz::LovaszFormula;
pub use lovasz::LovaszHinge;
pub(crate) use margin_matrix::MarginMatrix;
pub use multiclass::{MulticlassHinge, OverClasses, RowsLoss};
pub(crate) use multilabel::MultilabelFormula;
pub use multilabel::MultilabelMargin;
pub use one_vs_all::OneVsAll;
pub use penalty::{Kink, Penalty, Ties};
pub(crate) use penalty::{PenaltyShape, Rule};
pub use ranking::MarginRanking;
pub(crate) use spec::{
    ElementwiseFormula, ElementwiseSpec, Method, MethodSpec, RowsSpec, Spec, TargetRowsFormula, TargetRowsSpec,
    VectorsFormula, VectorsSpec,
};
pub use spec::{LossShader, Pattern};
pub(crate) use terms::Terms;
pub use top_k::TopK;
pub(crate) use triplet::TripletFormula;
pub use triplet::TripletMargin;
pub use value::Loss;
pub use weston_watkins::WestonWatkins;

/// Every loss's WGSL, for the pipeline cache, the shader tests and the documentation.
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
