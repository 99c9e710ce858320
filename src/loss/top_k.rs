//! Top-k: the mean of a row's k largest violations; the true class counts as violation 0.

use serde::{Deserialize, Serialize};

use super::formula::{Combination, Rows};
use super::multiclass::{MulticlassHinge, RowsLoss};
use super::spec::{LossShader, Method, MethodSpec, shader};
use super::value::Sealed;

pub(super) const SHADER: LossShader = shader!("top_k", Rows);

/// phi(mean of the k largest a_j), where a_j = margin + (s_j - s_y) for a rival and 0 for the true class (the
/// top-k hinge alpha of Lapin, Hein and Schiele, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopK {
    k: usize,
}

impl TopK {
    /// The mean of the `k` largest, with k from 1 to C.
    pub fn new(k: usize) -> Self {
        Self { k }
    }

    /// The number of violations in the mean.
    pub fn k(&self) -> usize {
        self.k
    }
}

impl MulticlassHinge<TopK> {
    /// Lapin, Hein and Schiele (2015): lenient while the true class is among the k best.
    ///
    /// For models that are judged by whether the truth is among their first k answers, and for overlapping classes. If
    /// several classes tie at rank k, the lowest indices are taken; with [`crate::Ties::Split`] they share the
    /// remaining places of the k. With k = 1 it is Crammer-Singer, except with [`crate::Penalty::Softplus`]: the
    /// largest violation is at least 0, the true class's own.
    ///
    /// ```
    /// use maxmargin::{Batch, Device, MulticlassHinge, Request};
    /// // The violations are 0 for the true class, and 2, 1.5 and -1.
    /// let batch = Batch::rows(&[1.0f32, 2.0, 1.5, -1.0], 4, &[0i64]);
    /// let value = Device::cpu().evaluate(&MulticlassHinge::top_k(2), &batch, &Request::new())?.value;
    /// assert_eq!(value, Some((2.0 + 1.5) / 2.0));
    /// # Ok::<(), maxmargin::Error>(())
    /// ```
    pub fn top_k(k: usize) -> Self {
        Self::with_method(TopK::new(k))
    }
}

impl Sealed for TopK {}

impl RowsLoss for TopK {
    fn method(&self) -> MethodSpec {
        MethodSpec::of(*self, &SHADER, Method::TopK { k: self.k })
    }
}

impl Rows for TopK {
    const COMBINATION: Combination = Combination::Top;
}
