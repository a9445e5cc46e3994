//! The phases of a training.

use serde::{Deserialize, Serialize};

/// The phases of a training, in their order. Names on disk are those of former versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Training of the encoder.
    Encoder,
    /// Supervised pre-training of each generator.
    #[serde(rename = "alone")]
    Pretraining,
    /// Adversarial training of generators and discriminators.
    #[serde(rename = "game")]
    Adversarial,
    /// The training is complete.
    Done,
}
