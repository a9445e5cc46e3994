//! Random streams that depend on their purpose and epoch and not on earlier draws, so that a resumed training gives the same
//! result as an uninterrupted one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::phase::Phase;

/// The purpose of a random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The order of samples.
    Order,
    /// Dropout, and sampling in an encoder.
    Noise,
}

/// Returns the random stream of one purpose in one pass over the data; `pass` distinguishes the passes of one epoch.
#[must_use]
pub fn stream(seed: u64, phase: Phase, epoch: usize, pass: usize, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Epochs and passes below 2^24 and 2^16 never share a stream.
    let number = (phase as u64) << 48 | (epoch as u64) << 24 | (pass as u64) << 8 | purpose as u64;
    rng.set_stream(number);
    rng
}

/// Returns the seed of the network at an index: networks of one training have different initial weights.
#[must_use]
pub(crate) fn network_seed(seed: u64, place: usize) -> u64 {
    // The increment of Weyl's sequence in SplitMix64 (Steele and others, 2014).
    seed.wrapping_add((place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
