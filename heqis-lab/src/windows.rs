//! What a model is asked: golden windows, and windows drawn at random.

use heqis_infer::{Bundle, Dtype};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::LabError;

/// Some windows: for each input of the model, in its order, the elements of all windows one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Number of windows.
    pub count: usize,
    /// Elements of each input, `[count * length]`.
    pub inputs: Vec<Vec<f32>>,
}

/// What was answered: for each output of the model, in its order, the elements of all windows, `[count * length]`.
pub type Answers = Vec<Vec<f32>>;

/// Returns the golden windows of a bundle with their answers.
///
/// # Errors
///
/// [`LabError::Rule`] when the model reads anything but `f32`.
pub fn golden(bundle: &Bundle) -> Result<(Windows, Answers), LabError> {
    let manifest = bundle.manifest();
    floats_only(bundle)?;
    let golden = &manifest.golden.windows;
    let inputs = manifest.inputs.iter().map(|spec| {
        let windows = golden.iter();
        windows
            .flat_map(|window| window.inputs[&spec.name].clone())
            .collect()
    });
    let outputs = manifest.outputs.iter().map(|spec| {
        let windows = golden.iter();
        windows
            .flat_map(|window| window.outputs[&spec.name].clone())
            .collect()
    });
    let windows = Windows {
        count: golden.len(),
        inputs: inputs.collect(),
    };
    Ok((windows, outputs.collect()))
}

/// Draws `count` windows from a seed: elements even over −1.5 to 1.5, which holds the range of every scaler and some room
/// on either side, because factors have no bounds.
///
/// # Errors
///
/// As [`golden`].
pub fn random(bundle: &Bundle, count: usize, seed: u64) -> Result<Windows, LabError> {
    floats_only(bundle)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lengths = bundle.manifest().inputs.iter().map(|spec| {
        // The manifest was checked to have shapes whose product fits.
        spec.checked_len().unwrap_or_default()
    });
    let inputs = lengths
        .map(|length| {
            (0..count * length)
                .map(|_| rng.random_range(-1.5f32..1.5))
                .collect()
        })
        .collect();
    Ok(Windows { count, inputs })
}

fn floats_only(bundle: &Bundle) -> Result<(), LabError> {
    let mut inputs = bundle.manifest().inputs.iter();
    match inputs.find(|spec| spec.dtype != Dtype::F32) {
        None => Ok(()),
        Some(spec) => Err(LabError::rule(
            "verify",
            format!("input {} must be f32, got {}", spec.name, spec.dtype),
        )),
    }
}
