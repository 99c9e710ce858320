//! The limit set by memory: the time to read and write as many bytes as a case does, with almost no arithmetic.

use std::hint::black_box;

use maxmargin::Device;
use maxmargin::gpu::MemoryProbe;
use rayon::prelude::*;

use super::cases::Case;
use crate::failure::{Failure, Outcome};

/// Bytes that a thread takes at a time.
const CHUNK: usize = 1 << 18;

pub(super) enum Ceiling {
    Cpu { read: Vec<u64>, written: Vec<u64> },
    Gpu(MemoryProbe),
}

impl Ceiling {
    pub(super) fn new(case: &Case, device: &Device) -> Outcome<Self> {
        let words = |bytes: u64| (bytes as usize).div_ceil(8);
        match device {
            Device::Gpu(gpu) => {
                gpu.memory_probe(case.bytes_read, case.bytes_written).map(Self::Gpu).map_err(Failure::data)
            }
            _ => Ok(Self::Cpu {
                // Both are filled now, so that the system has mapped their pages before the time is taken.
                read: (0..words(case.bytes_read) as u64).collect(),
                written: vec![1; words(case.bytes_written)],
            }),
        }
    }

    pub(super) fn run(&mut self) -> Outcome<()> {
        match self {
            Self::Cpu { read, written } => {
                black_box(sum(read));
                written.par_chunks_mut(CHUNK / 8).for_each(|part| part.fill(black_box(1)));
                Ok(())
            }
            Self::Gpu(probe) => probe.run().map_err(Failure::data),
        }
    }
}

fn sum(words: &[u64]) -> u64 {
    let part = |part: &[u64]| part.iter().fold(0u64, |sum, &word| sum.wrapping_add(word));
    words.par_chunks(CHUNK / 8).map(part).reduce(|| 0, u64::wrapping_add)
}
