//! Two network namespaces that only this program connects: every IP packet between them passes through it, and suffers.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod forward;
mod packet;
mod space;

pub use forward::{Forwarder, Line, Plan, Tally, Ways};
pub use space::{FAR, Pair, missing};

/// SplitMix64, so that a seed names a run.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.draw(range.end - range.start)
    }

    pub fn per_mille(&mut self, chance: u64) -> bool {
        chance > 0 && self.draw(1000) < chance
    }
}
