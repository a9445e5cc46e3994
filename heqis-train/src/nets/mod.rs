//! The networks: generators, discriminators and encoders, each with its forward pass and its ONNX export.
//!
//! - [`generator`]: window → next scaled target and class logits; one type for eight kinds.
//! - [`discriminator`]: series and classes → logit of being real.
//! - [`encoder`]: window → factors, by [`cae`] or [`t3vae`]; [`student`]: the mathematics of the latter.
//! - [`layers`]: their layers.
//! - [`memory`]: settings of the memory allocator for training.
//! - [`weights`]: parameters as named tensors, collected and restored.
//!
//! A network is built from a configuration and a seed. The same two give the same weights, bit for bit, on every device, because
//! initial weights, dropout masks and latent samples are random numbers of the host.
//!
//! What is *not* here: optimisers, schedules and data (the training loop), and bundles.

use crate::error::TrainError;

pub mod cae;
pub mod discriminator;
pub mod encoder;
pub mod generator;
pub(crate) mod graph;
mod init;
pub mod layers;
pub mod memory;
pub mod student;
pub mod t3vae;
pub mod weights;

/// Refuses sizes of 0.
fn positive(place: &'static str, sizes: &[(&str, usize)]) -> Result<(), TrainError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        None => Ok(()),
        Some((name, _)) => Err(TrainError::rule(
            place,
            format!("{name} must be at least 1, got 0"),
        )),
    }
}
