//! The ways in which a model is computed.

use std::path::{Path, PathBuf};

use heqis_infer::{BackendKind, Bundle, CpuEngine, Engine, Libraries, TensorView, load};

use crate::error::LabError;
use crate::python;
use crate::side::Side;
use crate::windows::{Answers, Windows};

/// Windows that the pipeline's engine is given at once, as in the shipped topologies.
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
    /// [`LabError::Infer`] when RTen refuses it.
    pub fn new(model: &[u8]) -> Result<Self, LabError> {
        Ok(Self(CpuEngine::load(model)?))
    }
}

impl Side for Rten {
    fn name(&self) -> String {
        "RTen".to_owned()
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Cpu)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
        in_batches(&mut self.0, windows, 1)
    }
}

/// An engine as a stage has it: on one backend, in batches.
#[derive(Debug)]
pub struct Pipeline {
    engine: Box<dyn Engine>,
    backend: BackendKind,
}

impl Pipeline {
    /// Loads the model of a bundle on a backend. What it computes is measured here, so that neither an earlier measurement
    /// nor the self-test is asked.
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

impl Side for Pipeline {
    fn name(&self) -> String {
        format!(
            "engine of the pipeline ({}, batches of {BATCH})",
            self.backend
        )
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(self.backend)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
        in_batches(self.engine.as_mut(), windows, BATCH)
    }
}

fn in_batches(
    engine: &mut dyn Engine,
    windows: &Windows,
    batch: usize,
) -> Result<Answers, LabError> {
    let shapes: Vec<Vec<usize>> = engine
        .inputs()
        .iter()
        .map(|spec| spec.shape.clone())
        .collect();
    let mut answers: Answers = vec![Vec::new(); engine.outputs().len()];
    let mut outputs = answers.clone();
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
        for (all, part) in answers.iter_mut().zip(&outputs) {
            all.extend_from_slice(part);
        }
    }
    Ok(answers)
}

/// ONNX Runtime in a Python of its own: another implementation, by other people.
#[derive(Debug)]
pub struct OnnxRuntime {
    python: PathBuf,
    model: PathBuf,
    /// Number of elements of each output.
    outputs: Vec<usize>,
    /// What the program said of itself.
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

impl Side for OnnxRuntime {
    fn name(&self) -> String {
        match self.about.is_empty() {
            true => "ONNX Runtime".to_owned(),
            false => format!("ONNX Runtime ({})", self.about),
        }
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Ort)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
        let arguments = [self.model.display().to_string(), windows.count.to_string()];
        let input = windows.inputs.iter().flatten().copied();
        let answer = (self.outputs.as_slice(), windows.count);
        let (about, answers) = python::compute(
            "ONNX Runtime",
            &self.python,
            SCRIPT,
            &arguments,
            input,
            answer,
        )?;
        self.about = about;
        Ok(answers)
    }
}

/// A model that takes several windows in one call, computed by a side to which a call is a window.
#[derive(Debug)]
pub struct Batched<S> {
    side: S,
    batch: usize,
}

impl<S: Side> Batched<S> {
    /// Hands `batch` windows at a time to a side.
    pub fn new(side: S, batch: usize) -> Self {
        Self { side, batch }
    }
}

impl<S: Side> Side for Batched<S> {
    fn name(&self) -> String {
        format!("{}, model for {} windows", self.side.name(), self.batch)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
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
        let mut answers = self.side.compute(&filled)?;
        for answer in &mut answers {
            answer.truncate(answer.len() / (calls * self.batch) * windows.count);
        }
        Ok(answers)
    }
}
