//! Max-margin (hinge) losses, their gradients and the counters that come free with them, on any GPU through wgpu and on
//! the CPU.
//!
//! A **loss** is a plain value, independent of devices: [`BinaryHinge`], [`MulticlassHinge`] and the others of
//! [`loss`]. A [`Batch`] borrows scores, targets and weights in place. A [`Request`] says what to compute. A [`Device`]
//! computes it and returns an [`Evaluation`].
//!
//! ```
//! use maxmargin::{Batch, Device, MulticlassHinge, Penalty, Request};
//!
//! let scores = [0.25f32, 0.20, 0.55, 0.55, 0.05, 0.40, 0.10, 0.30, 0.60, 0.90, 0.05, 0.05];
//! let loss = MulticlassHinge::crammer_singer().penalty(Penalty::Squared);
//! let batch = Batch::rows(&scores, 3, &[0i64, 1, 2, 0]);
//! let evaluation = Device::cpu().evaluate(&loss, &batch, &Request::new().gradient())?;
//! assert!((evaluation.value.unwrap() - 1.113125).abs() < 1e-6);
//! assert_eq!(evaluation.count, 4);
//! # Ok::<(), maxmargin::Error>(())
//! ```
//!
//! # What holds on every device
//! - Up to 2^27 samples, the value is exact to within 1e-6 times the reduction of w*phi(|margin| + |scores used|).
//!   Per-sample arithmetic is in f32 with short chains and fixed trees, the rest in f64.
//! - The same input on the same device gives the same bits.
//! - Labels, weights and shapes are validated where they live; the error names the first bad index and value.
//! - NaN, infinities and overflow follow one table ([`loss`]).
//!
//! # Cost
//! The losses are bound by memory: each score is read once, whatever the request. One call on a GPU is one submission
//! and one small read, plus a pass over labels and weights for the gradient of a weighted mean.

// docs.rs shows which feature each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Compiles and runs the README's snippet.
#[cfg(all(doctest, feature = "gpu", feature = "nn"))]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod compat;
pub(crate) mod cpu;
pub(crate) mod data;
mod device;
pub(crate) mod engine;
mod error;
#[cfg(feature = "gpu")]
#[cfg_attr(not(feature = "nn"), allow(dead_code, reason = "what only training calls is small"))]
pub mod gpu;
#[cfg(feature = "linear")]
pub mod linear;
pub mod loss;
pub mod metric;
mod names;
#[cfg(feature = "nn")]
pub mod nn;
#[cfg(feature = "plot")]
pub mod plot;
// For the tests only: it panics on bad input.
#[doc(hidden)]
pub mod reference;
#[cfg(feature = "nn")]
pub mod train;

pub use data::batch::{Batch, ScoreKind};
pub use data::device_tensor::{DeviceTensor, ElementType};
pub use data::evaluation::{Buffers, Evaluation, FloatsMut, Output, Precision, Reduction, Request};
pub use data::shape::BatchShape;
pub use data::tensor::{BitLabels, Floats, Targets};
pub use device::{DEVICE_VARIABLE, Device};
pub use engine::weigh;
pub use error::{Error, Input, Result};
pub use loss::{
    BinaryHinge, CategoricalHinge, CosineEmbedding, CrammerSinger, Distance, EmbeddingHinge, Kink, LabelEncoding,
    LeeLinWahba, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, OneVsAll, OverClasses,
    OverItems, Penalty, Ties, TopK, TripletMargin, WestonWatkins,
};
