//! The phases of a training.

use serde::{Deserialize, Serialize};

/// The phases of a training, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The encoder learns.
    Encoder,
    /// Each generator learns alone.
    Alone,
    /// Generators play discriminators.
    Game,
    /// Nothing is left to do.
    Done,
}
