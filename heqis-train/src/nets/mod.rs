//! The networks: generators, discriminators and encoders, with their forward pass and their ONNX form side by side.
//!
//! - [`generator`]: window → next scaled target and class logits; eight kinds behind one type.
//! - [`discriminator`]: series and classes → logit of being real.
//! - [`encoder`]: window → factors, by [`cae`] or [`t3vae`], the latter over the mathematics of [`student`].
//! - [`layers`]: what they are built of.
//! - [`memory`]: how the allocator treats tensors while networks train.
//! - [`weights`]: parameters as named tensors, out and in.
//!
//! A network enters as a configuration and a seed; the same two give the same weights, bit for bit, on every device,
//! because all first weights, dropout masks and latent draws are random numbers of the host.
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
