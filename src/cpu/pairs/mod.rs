//! Sums over the pairs of a row or list: by a step a pair, or for long lists by sorting.

mod direct;
mod sorted;

pub(crate) use direct::VectorPairs;
pub(crate) use sorted::{PairRule, sum};
