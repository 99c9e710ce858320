//! Linear max-margin models (support vector machines) with a certificate of how good they are.
//!
//! # The problem
//! For rows x_i with labels y_i of -1 or +1 and costs c_i = C * weight of the row * weight of its class:
//!
//! minimise P(w) = 1/2 ||w||^2 + sum of h_i(z_i), with z_i = 1 - y_i (w x_i + b).
//!
//! | loss | h(z) | multipliers | h*(a) |
//! |---|---|---|---|
//! | [`LinearLoss::Hinge`] | c max(0, z) | 0 to c | 0 |
//! | [`LinearLoss::SquaredHinge`] | c max(0, z)^2 | 0 or more | a^2 / (4 c) |
//! | [`LinearLoss::SmoothHinge`] | c z^2/(2 gamma) from 0 to gamma, c (z - gamma/2) beyond | 0 to c | gamma a^2 / (2 c) |
//!
//! b is no part of the model ([`Intercept::None`]), the weight of a constant feature ([`Intercept::Penalized`]), or free
//! of cost ([`Intercept::Free`]). Several classes are solved one against the rest, each a problem of its own, or with the hinge
//! as one problem of all their weights ([`Multiclass`]): P(W) = 1/2 ||W||^2 + sum of h_i, where the violation of another
//! class j is u_j = 1 + w_j x - w_y x and h_i is c times the largest violation (Crammer and Singer) or their sum (Weston and
//! Watkins), 0 at least.
//!
//! # The certificate
//! Every set of multipliers a gives a lower bound of P at any weights, the dual value
//! D(a) = sum of (a_i - h*(a_i)) - 1/2 ||v||^2 with v = sum of a_i y_i x_i. So P(w) - D(a), the gap, says how far w is from
//! the optimum at most. Written as
//!
//! 1/2 ||w - v||^2 + sum of (h_i(z_i) + h*_i(a_i) - a_i z_i)
//!
//! it is a sum of terms that are never negative, and does not cancel. [`Certificate`] is computed anew in f64 from features,
//! weights and multipliers, in one pass; only if it confirms the gap does a fit count as converged. Since P is strongly
//! convex, ||w - w*||^2 <= 2 (P - D): [`LinearModel::certain`] says which labels every optimum shares. With a free intercept
//! the sum of a_i y_i must be 0, which rounding prevents; what is missing is bounded and added to the gap.
//!
//! # The method
//! An augmented Lagrangian whose steps are minimised by Newton's method (`newton/`). Large problems start from the
//! solution of a sixty-fourth and an eighth of their rows; sparse ones ([`Rows::sparse`]), and those with few rows per column, from
//! dual coordinate descent.
//! A Newton step reads all rows once for the change of the violations, and again those rows whose multiplier changed.
//! Classes and folds are solved side by side, so that one read serves all of them. The same problem gives the same bits on
//! one machine, whatever the number of threads. With [`LinearClassifier::device`], a GPU takes these steps in f32 first
//! (`on_gpu.rs`); the certificate is computed as before, and the CPU goes on in f64 where it does not confirm the gap. Rows that lie in
//! parts on several machines are fitted by [`LinearClassifier::fit_parts`], whose passes over the rows are sums of the parts' own.
//!
//! # Coming from another library
//! | there | here, and what differs |
//! |---|---|
//! | scikit-learn `LinearSVC(C, loss)` | the same objective with [`Intercept::Penalized`] of `intercept_scaling`; `loss="squared_hinge"` is its default. It stops by `tol` or after `max_iter` epochs, wherever it then is; here `gap` bounds how far from the optimum |
//! | scikit-learn `LinearSVC(multi_class="crammer_singer")`, LIBLINEAR `-s 4` | [`Multiclass::CrammerSinger`], the same objective; two classes are half of a binary problem with 2 C |
//! | scikit-learn `SVC(kernel="linear", C)` | [`Intercept::Free`], hinge. With several classes SVC compares every pair; here each stands against the rest |
//! | scikit-learn `SGDClassifier(alpha)` | C = 1 / (alpha * rows), [`Intercept::Free`]; its answer depends on the order of the rows |
//! | LIBLINEAR `-s 3`, `-s 1`, `-s 2` | hinge, squared hinge; `-B 1` is [`Intercept::Penalized`] of 1, `-R` with it [`Intercept::Free`], neither [`Intercept::None`] |
//! | cuML `LinearSVC` | [`Intercept::Free`] by default, or with `penalized_intercept=True` [`Intercept::Penalized`] of 1 |
//! | Spark `LinearSVC(regParam)` | C = 1 / (rows * regParam), [`Intercept::Free`], [`LinearClassifier::standardize`] |
//!
//! # The files
//! | file | content |
//! |---|---|
//! | `rows.rs` | features as the caller has them |
//! | `space.rs` | features in the units that are solved for, the intercept |
//! | `solved.rs` | rows in these units, one at a time |
//! | `loss.rs` | losses, conjugates, gaps of a row |
//! | `problem.rs` | one binary problem |
//! | `newton/` | its solver, which asks for products with all rows |
//! | `lockstep.rs` | solvers side by side, and where they start |
//! | `steps.rs` | the solver of rows that lie elsewhere, which are asked for sums |
//! | `on_gpu.rs` | rows on a GPU |
//! | `parts/` | rows in parts, in several processes |
//! | `descent.rs` | the start of sparse problems, and of those with few rows per column |
//! | `joint/` | all classes in one problem |
//! | `hessian.rs` | Newton's equations: Cholesky, conjugate gradients |
//! | `cholesky.rs` | the factorization |
//! | `course.rs` | what a solver does next, and when it ends |
//! | `certificate.rs` | the certificate |
//! | `classifier.rs` | options |
//! | `fit.rs` | checks of the data, one problem per class |
//! | `path.rs` | lists of C, folds, validation |
//! | `file.rs` | models as safetensors files |
//! | `model.rs` | decision values, labels, certain labels |

mod certificate;
mod cholesky;
mod classifier;
mod course;
mod descent;
mod file;
mod fit;
#[cfg(test)]
#[cfg(feature = "gpu")]
mod gpu_tests;
mod hessian;
mod joint;
mod lockstep;
mod loss;
mod model;
mod newton;
#[cfg(not(feature = "gpu"))]
mod no_gpu;
#[cfg(feature = "gpu")]
mod on_gpu;
mod parts;
mod path;
mod problem;
mod rows;
mod solved;
mod space;
#[cfg(test)]
mod sparse_tests;
mod steps;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use classifier::{ClassWeights, LinearClassifier};
pub use course::{FitEnd, FitProgress, OnProgress};
pub use fit::LinearFit;
pub use joint::Multiclass;
pub use loss::LinearLoss;
pub use model::LinearModel;
pub use parts::{Answer, PartSummary, PartsFit, Question, RowPart};
pub use path::{LinearPath, PathModel, Validation};
pub use rows::{EntryValues, RowElements, Rows};
pub use space::Intercept;

#[cfg(not(feature = "gpu"))]
use no_gpu::OnGpu;
#[cfg(feature = "gpu")]
use on_gpu::OnGpu;
