//! A loss as a value, whatever it is: the trait that devices, metrics and training take.

use std::any::Any;

use super::spec::{Pattern, Spec};
use crate::data::batch::Batch;
use crate::data::evaluation::Request;
use crate::data::shape::BatchShape;
use crate::error::Result;

mod sealed {
    /// Keeps [`super::Loss`] to this crate.
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

    /// The loss's stem, `binary` or `weston_watkins` for instance.
    fn name(&self) -> &'static str {
        self.spec().shader().name
    }

    /// How the loss walks its data.
    fn pattern(&self) -> Pattern {
        self.spec().shader().pattern
    }

    /// Whether a prediction, and so accuracy, means anything.
    fn has_correct(&self) -> bool {
        self.spec().has_correct()
    }

    /// The target of samples that are left out, where there is one.
    fn ignore_index(&self) -> Option<i64> {
        self.spec().ignore_index()
    }

    /// Whether what the loss sees is no classifier's scores, so that no other [`crate::ScoreKind`] than raw makes sense.
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

    /// Checks that the inputs of a batch fit each other and the request, by their shapes alone.
    ///
    /// # Errors
    /// [`crate::Error::Length`], [`crate::Error::Shape`], and [`crate::Error::Option`] for a request that the loss cannot answer.
    fn check_batch(&self, batch: &Batch<'_>, request: &Request) -> Result<BatchShape> {
        self.spec().check_batch(batch, request)
    }
}

/// A loss whose default is `new`.
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

/// What every loss says of itself as a value, for the body of `impl Loss`.
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
