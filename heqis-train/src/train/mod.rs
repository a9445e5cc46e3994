//! Training: from a data set to the weights of generators that played against discriminators.
//!
//! - [`config`] and [`spec`]: the settings, one TOML file.
//! - [`corpus`]: a data set as samples: scaled rows, windows, targets, spans; [`look_back`] and [`cut`]: which rows belong to one.
//! - [`device`]: the processor, or a GPU.
//! - [`loss`]: the losses as plain functions on tensors.
//! - [`schedule`]: pair weights, learning rates, early stopping.
//! - [`optimiser`]: AdamW with one clip for a whole network.
//! - [`phase`]: the phases. [`random`]: random numbers by purpose and epoch.
//! - `workers`: the threads.
//! - `passes`: a generator alone, a student with its teacher, the encoder.
//! - `game`: discriminators' turn and generators' turn, over what `candidate` puts before a discriminator.
//! - [`trainer`]: phases and epochs in their order.
//! - [`state`] and [`tensors`]: everything that an epoch hands to the next, and its file.
//! - [`mod@run`]: the run directory, written and read.
//! - [`predict`]: what a trained generator says, and how good it is.
//! - [`curves`], [`progress`] and `plots`: what is told on the way.
//!
//! ```text
//! prepared data set ▸ corpus ▸ encoder alone ▸ each generator alone ▸ the game ▸ run directory
//! ```
//!
//! What is *not* here: the networks ([`crate::nets`]), baselines, export, and anything that looks at the test span.

mod adversarial;
mod candidate;
pub mod config;
pub mod corpus;
pub mod curves;
pub mod cut;
pub mod device;
mod epoch;
pub mod look_back;
pub mod loss;
pub mod optimiser;
pub mod phase;
mod plots;
pub mod predict;
pub mod progress;
pub mod random;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod state;
pub mod tensors;
pub mod trainer;
mod worker_pool;

pub use config::TrainConfig;
pub use corpus::{Corpus, Split};
pub use device::DeviceKind;
pub use run::{SavedWeights, TrainedGenerator, TrainedRun};
pub use trainer::train;

/// Settles how this process computes beside its trainings: with so many threads, 0 for one a core, and with memory that is
/// kept.
pub fn configure_process(threads: usize) {
    crate::nets::memory::keep_freed();
    // Fails only when a pool is there already, which then stays.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}
