//! The start-up check: the golden windows are run through the engine.

use super::files::{MANIFEST_FILE, at};
use super::load::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::tensor::{Dtype, TensorView};

/// The result of a passed self-test.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelfTest {
    /// Number of golden windows compared.
    pub windows: usize,
    /// Largest absolute difference, at most the manifest's tolerance.
    pub max_abs_error: f32,
}

impl Bundle {
    /// Runs the golden windows through an engine and compares its outputs with the manifest's.
    ///
    /// # Errors
    ///
    /// [`InferError::SelfTest`] at the first value outside the tolerance, [`InferError::Bundle`] when the engine's
    /// tensors are not the manifest's, and whatever the engine reports.
    pub fn self_test(&self, engine: &mut dyn Engine) -> Result<SelfTest, InferError> {
        self_test(self, engine)
    }
}

fn self_test(bundle: &Bundle, engine: &mut dyn Engine) -> Result<SelfTest, InferError> {
    let manifest = bundle.manifest();
    manifest
        .check_tensors(engine.inputs(), engine.outputs())
        .map_err(|fault| at(bundle.dir(), MANIFEST_FILE, fault))?;
    let tolerance = manifest.tolerance(engine.backend());
    let mut max_abs_error = 0.0_f32;
    let mut got: Vec<Vec<f32>> = vec![Vec::new(); manifest.outputs.len()];
    for (window, golden) in manifest.golden.windows.iter().enumerate() {
        // The manifest was checked to hold every tensor at its full length.
        let floats: Vec<&[f32]> = manifest
            .inputs
            .iter()
            .map(|spec| values(&golden.inputs, &spec.name))
            .collect();
        let ints: Vec<Vec<i32>> = floats
            .iter()
            .map(|data| data.iter().map(|&value| value as i32).collect())
            .collect();
        let views: Vec<TensorView<'_>> = manifest
            .inputs
            .iter()
            .zip(floats.iter().zip(&ints))
            .map(|(spec, (floats, ints))| match spec.dtype {
                Dtype::F32 => TensorView::f32(&spec.shape, floats),
                Dtype::I32 => TensorView::i32(&spec.shape, ints),
            })
            .collect();
        engine.run(&views, &mut got)?;
        for (spec, got) in manifest.outputs.iter().zip(&got) {
            for (index, (&expected, &got)) in values(&golden.outputs, &spec.name)
                .iter()
                .zip(got)
                .enumerate()
            {
                let error = (expected - got).abs();
                if error > tolerance || error.is_nan() {
                    return Err(InferError::SelfTest {
                        window,
                        output: spec.name.clone(),
                        index,
                        expected,
                        got,
                        tolerance,
                    });
                }
                max_abs_error = max_abs_error.max(error);
            }
        }
    }
    Ok(SelfTest {
        windows: manifest.golden.windows.len(),
        max_abs_error,
    })
}

fn values<'a>(tensors: &'a std::collections::BTreeMap<String, Vec<f32>>, name: &str) -> &'a [f32] {
    tensors.get(name).map(Vec::as_slice).unwrap_or_default()
}
