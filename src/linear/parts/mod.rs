//! Fits whose rows lie in parts, in several processes or on several machines.
//!
//! A fit asks a [`Question`] of every part, and needs the sum of their answers, element by element: what an all-reduce of any library
//! gives, or a reduction of any engine. Between questions, a part keeps a state of 32 bytes per row, which only it needs. An answer
//! depends on the part's rows, its state and the question alone, so what a lost machine had can be computed again.
//!
//! ```
//! use maxmargin::linear::{LinearClassifier, LinearLoss, RowPart, Rows};
//!
//! let parts = [([0.0f32, 1.0, 1.0, 3.0], [0i64, 0]), ([4.0, 1.0, 5.0, 3.0], [1, 1])];
//! let rows: Vec<Rows> = parts.iter().map(|(x, _)| Rows::new(x, 2)).collect::<Result<_, _>>()?;
//! let part = |n: usize| RowPart::new(rows[n], &parts[n].1, None);
//! let mut summary = part(0)?.summary()?;
//! summary.merge(&part(1)?.summary()?)?;
//!
//! let mut states = [Vec::new(), Vec::new()];
//! let fit = LinearClassifier::new(LinearLoss::Hinge).c(10.0).gap(1e-6).fit_parts(
//!     &summary,
//!     None,
//!     // Each part would answer where it is.
//!     &mut |question| {
//!         let mut sums: Vec<f64> = Vec::new();
//!         for (n, state) in states.iter_mut().enumerate() {
//!             let answer = part(n)?.answer(question, state)?;
//!             if let Some(new) = answer.state {
//!                 *state = new;
//!             }
//!             sums.resize(answer.sums.len(), 0.0);
//!             sums.iter_mut().zip(&answer.sums).for_each(|(sum, x)| *sum += x);
//!         }
//!         Ok(sums)
//!     },
//!     &mut |_| true,
//! )?;
//! assert!(fit.model.relative_gap() <= 1e-6);
//! # Ok::<(), maxmargin::Error>(())
//! ```

mod answer;
mod fit;
mod summary;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Question, RowPart};
pub use fit::PartsFit;
pub use summary::PartSummary;
