//! The trait [`Loss`], which devices, metrics and training take.

use std::any::Any;

use super::spec::{Pattern, Spec};
use crate::data::batch::Batch;
use crate::data::evaluation::Request;
use crate::data::shape::BatchShape;
use crate::error::Result;

mod sealed {
    /// Prevents implementations of [`super::Loss`] outside this crate.
    pub trait Sealed {}
}
pub(super) use sealed::Sealed;

/// A loss of this crate: a plain value that names no device. Sealed and dyn-safe.
///
/// ```
/// use maxmargin::loss::Loss;
/// use maxmargin::{Batch, BinaryHinge, Device, EmbeddingHinge, Request};
/// let losses: [Box<dyn Loss>; 2] = [Box::new(BinaryHinge::new()), Box::new(EmbeddingHinge::new())];
/// let batch = Batch::new(&[0.5f32, 0.25], &[1i8, -1]);
/// for loss in &losses {
///     println!("{} {:?}", loss.name(), Device::cpu().evaluate(loss, &batch, &Request::new())?.value);
/// }
/// # Ok::<(), maxmargin::Error>(())
/// ```
pub trait Loss: Sealed + Any + std::fmt::Debug + Send + Sync {
    /// What a backend needs of the loss.
    #[doc(hidden)]
    fn spec(&self) -> Spec<'_>;

    /// The loss with its options, in a box.
    fn boxed(&self) -> Box<dyn Loss>;

    /// Whether the other is the same loss with the same options.
    fn equals(&self, other: &dyn Loss) -> bool;

    /// The value, for a downcast.
    #[doc(hidden)]
    fn as_any(&self) -> &dyn Any;

    /// The loss's short name, for instance `binary` or `weston_watkins`.
    fn name(&self) -> &'static str {
        self.spec().shader().name
    }

    /// How the loss walks its data.
    fn pattern(&self) -> Pattern {
        self.spec().shader().pattern
    }

    /// Whether a prediction, and so accuracy, has a meaning.
    fn has_correct(&self) -> bool {
        self.spec().has_correct()
    }

    /// The target of samples that are left out, if any.
    fn ignore_index(&self) -> Option<i64> {
        self.spec().ignore_index()
    }

    /// Whether the loss's inputs are not a classifier's scores, so that only [`crate::ScoreKind::Raw`] makes sense.
    fn takes_raw_scores_only(&self) -> bool {
        self.spec().takes_raw_scores_only()
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`crate::Error::Option`] for an option that has no meaning.
    fn check(&self) -> Result<()> {
        self.spec().check()
    }

    /// Checks, by shapes alone, that a batch's inputs fit each other and the request.
    ///
    /// # Errors
    /// [`crate::Error::Length`], [`crate::Error::Shape`], and [`crate::Error::Option`] for a request that the loss
    /// cannot answer.
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        self.spec().check_batch(batch, request)
    }
}

macro_rules! loss_type {
    ($loss:ident) => {
        impl Default for $loss {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $crate::loss::value::Sealed for $loss {}
    };
}
pub(super) use loss_type;

macro_rules! loss_value {
    () => {
        fn boxed(&self) -> Box<dyn $crate::loss::Loss> {
            Box::new(self.clone())
        }

        fn equals(&self, other: &dyn $crate::loss::Loss) -> bool {
            other.as_any().downcast_ref::<Self>() == Some(self)
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    };
}
pub(super) use loss_value;

impl Sealed for Box<dyn Loss> {}

impl Loss for Box<dyn Loss> {
    fn spec(&self) -> Spec<'_> {
        (**self).spec()
    }

    fn boxed(&self) -> Box<dyn Loss> {
        (**self).boxed()
    }

    fn equals(&self, other: &dyn Loss) -> bool {
        (**self).equals(other)
    }

    fn as_any(&self) -> &dyn Any {
        (**self).as_any()
    }
}

impl Clone for Box<dyn Loss> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}

impl PartialEq for dyn Loss {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}
