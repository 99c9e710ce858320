//! Host memory whose size follows from user data: a failure is an error, not the end of the process.

use crate::error::{Error, Result};

/// An empty vector with room for `count` elements.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserved<T>(count: usize) -> Result<Vec<T>> {
    let mut elements = Vec::new();
    elements.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        Error::OutOfMemory { device: "host".into(), operation: format!("allocating {bytes} bytes") }
    })?;
    Ok(elements)
}

#[cfg(any(feature = "nn", feature = "linear"))]
/// `count` times `value`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn filled<T: Clone>(value: T, count: usize) -> Result<Vec<T>> {
    let mut elements = reserved(count)?;
    elements.resize(count, value);
    Ok(elements)
}

/// Checks that this much memory can be had at once, before it is taken in many parts.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn check_room(bytes: usize) -> Result<()> {
    reserved::<u8>(bytes).map(drop)
}
