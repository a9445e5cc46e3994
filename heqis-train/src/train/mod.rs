//! Training: from a data set to the weights of generators trained against discriminators.
//!
//! - [`config`] and [`spec`]: the settings, one TOML file.
//! - `data`: the chosen series of a data set as a corpus; [`batch`]: its samples as tensors.
//! - [`device`]: the CPU, or a GPU.
//! - [`loss`]: the losses as plain functions on tensors; [`cross_section`]: those that compare the instruments of a day, with
//!   batches of days.
//! - [`schedule`]: pair weights, learning rates, early stopping.
//! - [`optimiser`]: AdamW, with the gradients of a network clipped by their common norm.
//! - [`phase`]: the phases. [`random`]: random numbers by purpose and epoch.
//! - `worker_pool`: the threads.
//! - `epoch`: supervised passes of a generator, distillation from a teacher to a student, the encoder.
//! - `adversarial`: the steps of discriminators and generators, over the `candidate`s that discriminators classify.
//! - [`trainer`]: phases and epochs in their order.
//! - [`state`] and [`tensors`]: everything that one epoch passes to the next, and its file.
//! - [`mod@run`]: the run directory, written and read.
//! - [`predict`]: forecasts of a trained generator.
//! - [`curves`], [`progress`] and `plots`: what is reported during a training.
//!
//! ```text
//! prepared data set ▸ corpus ▸ encoder ▸ supervised pre-training ▸ adversarial training ▸ run directory
//! ```
//!
//! What is *not* here: samples ([`crate::corpus`]), networks ([`crate::nets`]), baselines, export, and any use of the test span.

mod adversarial;
pub mod batch;
mod candidate;
pub mod config;
pub mod cross_section;
pub mod curves;
mod data;
pub mod device;
mod epoch;
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
pub use device::DeviceKind;
pub use run::{SavedWeights, TrainedGenerator, TrainedRun};
pub use trainer::train;

/// Sets the number of threads for work outside of trainings (0: one for each core), and makes the allocator keep freed memory.
/// Call it once per process.
pub fn configure_process(threads: usize) {
    crate::nets::memory::keep_freed();
    // Fails only when the global pool exists already; that pool is then used.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}
