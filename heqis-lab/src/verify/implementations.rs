//! Implementations of a model's computation.

use std::path::{Path, PathBuf};

use heqis_infer::{BackendKind, Bundle, CpuEngine, Engine, Libraries, TensorView, load};

use crate::error::LabError;
use crate::implementation::Implementation;
use crate::python;
use crate::windows::{Outputs, Windows};

/// Windows in one batch of the pipeline's engine, as in the shipped topologies.
const BATCH: usize = 8;
/// The program that computes with ONNX Runtime.
const SCRIPT: &str = include_str!("onnx_runtime.py");

/// RTen, one window at a time.
#[derive(Debug)]
pub struct Rten(CpuEngine);

impl Rten {
    /// Loads a model.
    ///
    /// # Errors
    ///
    /// [`LabError::Infer`] when RTen rejects it.
    pub fn new(model: &[u8]) -> Result<Self, LabError> {
        Ok(Self(CpuEngine::load(model)?))
    }
}

impl Implementation for Rten {
    fn name(&self) -> String {
        "RTen".to_owned()
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Cpu)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        in_batches(&mut self.0, windows, 1)
    }
}

/// An engine as a stage uses it: on one backend, in batches.
#[derive(Debug)]
pub struct Pipeline {
    engine: Box<dyn Engine>,
    backend: BackendKind,
}

impl Pipeline {
    /// Loads the model of a bundle on a backend. Verification measures its outputs, so neither an earlier
    /// measurement nor the self-test applies.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] when the backend does not work.
    pub fn new(bundle: &Bundle, backend: BackendKind) -> Result<Self, LabError> {
        let engine = load(bundle, backend, &Libraries::from_env())
            .map_err(|unavailable| LabError::rule("verify", unavailable.to_string()))?;
        Ok(Self { engine, backend })
    }
}

impl Implementation for Pipeline {
    fn name(&self) -> String {
        format!(
            "engine of the pipeline ({}, batches of {BATCH})",
            self.backend
        )
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(self.backend)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        in_batches(self.engine.as_mut(), windows, BATCH)
    }
}

fn in_batches(
    engine: &mut dyn Engine,
    windows: &Windows,
    batch: usize,
) -> Result<Outputs, LabError> {
    let shapes: Vec<Vec<usize>> = engine
        .inputs()
        .iter()
        .map(|spec| spec.shape.clone())
        .collect();
    let mut all: Outputs = vec![Vec::new(); engine.outputs().len()];
    let mut outputs = all.clone();
    for start in (0..windows.count).step_by(batch) {
        let rows = batch.min(windows.count - start);
        let inputs: Vec<(Vec<usize>, &[f32])> = shapes
            .iter()
            .zip(&windows.inputs)
            .map(|(shape, data)| {
                let length = data.len() / windows.count;
                let mut shape = shape.clone();
                if rows > 1 {
                    shape[0] = rows;
                }
                (shape, &data[start * length..(start + rows) * length])
            })
            .collect();
        let views: Vec<TensorView<'_>> = inputs
            .iter()
            .map(|(shape, data)| TensorView::f32(shape, data))
            .collect();
        engine.run(&views, &mut outputs)?;
        for (all, part) in all.iter_mut().zip(&outputs) {
            all.extend_from_slice(part);
        }
    }
    Ok(all)
}

/// ONNX Runtime in its own Python process: an independent implementation.
#[derive(Debug)]
pub struct OnnxRuntime {
    python: PathBuf,
    model: PathBuf,
    /// Number of elements of each output.
    outputs: Vec<usize>,
    /// The program's description of itself.
    about: String,
}

impl OnnxRuntime {
    /// Prepares to run a bundle's model with `python`, in which `onnx`, `onnxruntime` and `numpy` are installed: the file
    /// that takes `batch` windows in one call.
    pub fn new(bundle: &Bundle, file: &str, batch: usize, python: &Path) -> Self {
        let outputs = bundle.manifest().outputs.iter();
        Self {
            python: python.to_owned(),
            model: bundle.dir().join(file),
            outputs: outputs
                .map(|spec| batch * spec.checked_len().unwrap_or_default())
                .collect(),
            about: String::new(),
        }
    }
}

impl Implementation for OnnxRuntime {
    fn name(&self) -> String {
        match self.about.is_empty() {
            true => "ONNX Runtime".to_owned(),
            false => format!("ONNX Runtime ({})", self.about),
        }
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Ort)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        let arguments = [self.model.display().to_string(), windows.count.to_string()];
        let input = windows.inputs.iter().flatten().copied();
        let shape = (self.outputs.as_slice(), windows.count);
        let (about, outputs) = python::compute(
            "ONNX Runtime",
            &self.python,
            SCRIPT,
            &arguments,
            input,
            shape,
        )?;
        self.about = about;
        Ok(outputs)
    }
}

/// A model that takes several windows in one call, computed by an implementation for which one call is one window.
#[derive(Debug)]
pub struct Batched<S> {
    implementation: S,
    batch: usize,
}

impl<S: Implementation> Batched<S> {
    /// Passes `batch` windows per call to an implementation.
    pub fn new(implementation: S, batch: usize) -> Self {
        Self {
            implementation,
            batch,
        }
    }
}

impl<S: Implementation> Implementation for Batched<S> {
    fn name(&self) -> String {
        format!(
            "{}, model for {} windows",
            self.implementation.name(),
            self.batch
        )
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        let calls = windows.count.div_ceil(self.batch);
        let filled = windows.inputs.iter().map(|data| {
            // Zeros fill the last call.
            let mut data = data.clone();
            data.resize(data.len() / windows.count * calls * self.batch, 0.0);
            data
        });
        let filled = Windows {
            count: calls,
            inputs: filled.collect(),
        };
        let mut outputs = self.implementation.compute(&filled)?;
        for output in &mut outputs {
            output.truncate(output.len() / (calls * self.batch) * windows.count);
        }
        Ok(outputs)
    }
}
