//! One of several parts of an evaluation, for jobs that share its work.

use std::ops::Range;
use std::str::FromStr;

/// The `index`-th of `count` parts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) index: u64,
    pub(crate) count: u64,
}

impl Part {
    /// The only part of an evaluation that is not shared.
    pub(crate) const WHOLE: Self = Self { index: 1, count: 1 };

    /// Which of so many blocks are in the part. Parts differ by one block at most; together they have each block once.
    pub(super) fn blocks(self, blocks: usize) -> Range<usize> {
        // A quotient of at most `blocks`.
        let before = |parts: u64| (blocks as u128 * u128::from(parts) / u128::from(self.count.max(1))) as usize;
        before(self.index - 1)..before(self.index)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err(format!("expected I/N with I from 1 to N, such as 3/16, got {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_every_block_once() {
        for blocks in [0, 1, 5, 16, 1000] {
            for count in [1, 3, 16, 1000, u64::MAX] {
                let parts: Vec<_> = (1..=count.min(1000)).map(|index| Part { index, count }.blocks(blocks)).collect();
                assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{blocks} {count}");
                assert_eq!(parts[0].start, 0);
                assert_eq!(Part { index: count, count }.blocks(blocks).end, blocks, "{blocks} {count}");
                let lengths = parts.iter().map(|part| part.len());
                assert!(lengths.clone().max() <= lengths.min().map(|least| least + 1), "{blocks} {count}");
            }
        }
    }

    #[test]
    fn parts_count_from_one() {
        assert_eq!("3/16".parse(), Ok(Part { index: 3, count: 16 }));
        for wrong in ["0/4", "5/4", "1/0", "/4", "1", "a/b", "-1/4", "1/4/4", ""] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
