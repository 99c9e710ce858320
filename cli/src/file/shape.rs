//! Shapes of arrays: how they match, and how messages write them.

use std::fmt;

/// A shape as messages write it: (4, 3), (4), ().
pub(crate) struct Shape<'a, T = usize>(pub(crate) &'a [T]);

impl Shape<'_> {
    /// Whether the shapes are equal after axes of length 1 are removed. Nothing is broadcast.
    pub(crate) fn matches(&self, other: &[usize]) -> bool {
        self.long_axes() == Shape(other).long_axes()
    }

    /// The axes that are not of length 1.
    pub(crate) fn long_axes(&self) -> Vec<usize> {
        self.0.iter().copied().filter(|&axis| axis != 1).collect()
    }
}

impl<T: fmt::Display> fmt::Display for Shape<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.0.iter().map(T::to_string).collect();
        write!(f, "({})", axes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn axes_of_length_one_do_not_count() {
        for (one, other, expected) in [
            (&[4, 3][..], &[4, 3][..], true),
            (&[4, 3], &[3, 4], false),
            (&[4, 1], &[4], true),
            (&[1, 4], &[4, 1, 1], true),
            (&[4, 3], &[12], false),
            (&[1], &[], true),
            (&[1, 3], &[3, 1], true),
            (&[0], &[1], false),
        ] {
            assert_eq!(Shape(one).matches(other), expected, "{} and {}", Shape(one), Shape(other));
        }
        assert_eq!(format!("{} {} {}", Shape(&[4, 3]), Shape(&[4]), Shape::<usize>(&[])), "(4, 3) (4) ()");
    }
}
