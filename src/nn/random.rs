//! All randomness comes from a seed: the same seed gives the same data, weights and order on every machine.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The purpose of a random stream. Each has its own stream, so that one does not shift another.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Weights,
    Data,
    /// The order of samples in one epoch. It does not depend on earlier epochs, so training can resume at any epoch.
    Order(u64),
}

pub(crate) fn generator(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(match stream {
        Stream::Weights => 0,
        Stream::Data => 1,
        Stream::Order(epoch) => epoch.wrapping_add(2),
    });
    generator
}

pub(crate) fn order(samples: u32, shuffle: bool, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..samples).collect();
    if shuffle {
        order.shuffle(&mut generator(seed, Stream::Order(epoch)));
    }
    order
}
