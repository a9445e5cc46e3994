//! Inputs of models for comparison: golden windows and random windows.

use heqis_infer::{Bundle, Dtype};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::LabError;

/// Windows: for each input of the model, in its order, the elements of all windows in sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Number of windows.
    pub count: usize,
    /// Elements of each input, `[count * length]`.
    pub inputs: Vec<Vec<f32>>,
}

/// Outputs: for each output of the model, in its order, the elements of all windows, `[count * length]`.
pub type Outputs = Vec<Vec<f32>>;

/// Returns the golden windows of a bundle with their expected outputs.
///
/// # Errors
///
/// [`LabError::Rule`] when an input of the model is not `f32`.
pub fn golden(bundle: &Bundle) -> Result<(Windows, Outputs), LabError> {
    let manifest = bundle.manifest();
    require_floats(bundle)?;
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

/// Draws `count` windows from a seed. Elements are uniform over −1.5 to 1.5, which exceeds the range of every scaler on
/// either side, because factors have no bounds.
///
/// # Errors
///
/// As [`golden`].
pub fn random(bundle: &Bundle, count: usize, seed: u64) -> Result<Windows, LabError> {
    require_floats(bundle)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lengths = bundle.manifest().inputs.iter().map(|spec| {
        // Loading the manifest has checked that the product of each shape fits.
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

fn require_floats(bundle: &Bundle) -> Result<(), LabError> {
    let mut inputs = bundle.manifest().inputs.iter();
    match inputs.find(|spec| spec.dtype != Dtype::F32) {
        None => Ok(()),
        Some(spec) => Err(LabError::rule(
            "verify",
            format!("input {} must be f32, got {}", spec.name, spec.dtype),
        )),
    }
}
