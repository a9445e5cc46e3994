//! The ways in which a model is computed.

use std::io::{BufRead, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heqis_infer::bundle::MODEL_FILE;
use heqis_infer::{BackendKind, Bundle, CpuEngine, Engine, TensorView, open};

use super::windows::{Answers, Windows};
use crate::error::LabError;

/// Windows that the pipeline's engine is given at once, as in the shipped topologies.
const BATCH: usize = 8;

/// The program that computes with ONNX Runtime.
const SCRIPT: &str = include_str!("onnx_runtime.py");

/// One way of computing a model.
pub trait Side {
    /// Returns its name, with versions where there are some.
    fn name(&self) -> String;

    /// Computes every window.
    ///
    /// # Errors
    ///
    /// [`LabError`] with what this side said.
    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError>;
}

/// RTen, one window at a time.
#[derive(Debug)]
pub struct Rten(CpuEngine);

impl Rten {
    /// Loads the model of a bundle.
    ///
    /// # Errors
    ///
    /// [`LabError::Infer`] when RTen refuses it.
    pub fn new(bundle: &Bundle) -> Result<Self, LabError> {
        Ok(Self(CpuEngine::load(bundle.model())?))
    }
}

impl Side for Rten {
    fn name(&self) -> String {
        "RTen".to_owned()
    }

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
        in_batches(&mut self.0, windows, 1)
    }
}

/// The engine as a stage opens it: the backends in order, the self-test, batches.
#[derive(Debug)]
pub struct Pipeline {
    engine: Box<dyn Engine>,
    backend: BackendKind,
}

impl Pipeline {
    /// Opens the engine on the first backend that works.
    ///
    /// # Errors
    ///
    /// [`LabError::Infer`] when none does.
    pub fn new(bundle: &Bundle, backends: &[BackendKind]) -> Result<Self, LabError> {
        let opened = open(bundle, backends, false)?;
        Ok(Self {
            engine: opened.engine,
            backend: opened.backend,
        })
    }
}

impl Side for Pipeline {
    fn name(&self) -> String {
        format!(
            "engine of the pipeline ({}, batches of {BATCH})",
            self.backend
        )
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
    /// Prepares to run a bundle's model with `python`, in which `onnx`, `onnxruntime` and `numpy` are installed.
    pub fn new(bundle: &Bundle, python: &Path) -> Self {
        let outputs = bundle.manifest().outputs.iter();
        Self {
            python: python.to_owned(),
            model: bundle.dir().join(MODEL_FILE),
            outputs: outputs
                .map(|spec| spec.checked_len().unwrap_or_default())
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

    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError> {
        let fault = |rule: String| LabError::Verify(format!("ONNX Runtime: {rule}"));
        let run = |error: std::io::Error| LabError::file(&self.python, error);
        let mut child = Command::new(&self.python)
            .args(["-c", SCRIPT])
            .arg(&self.model)
            .arg(windows.count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(run)?;
        let bytes: Vec<u8> = windows
            .inputs
            .iter()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        // The program reads everything before it writes anything. When it ends early, its own words say more than a
        // broken pipe.
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(&bytes);
        }
        let output = child.wait_with_output().map_err(run)?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            let last = words.lines().rev().find(|line| !line.trim().is_empty());
            return Err(fault(last.unwrap_or("ended without a word").to_owned()));
        }
        let mut answer = Cursor::new(output.stdout);
        let mut about = String::new();
        answer.read_line(&mut about).map_err(run)?;
        let about: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&about).map_err(|error| fault(error.to_string()))?;
        let about: Vec<String> = about
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        self.about = about.join(", ").replace('"', "");
        let mut rest = Vec::new();
        answer.read_to_end(&mut rest).map_err(run)?;
        let expected = self.outputs.iter().sum::<usize>() * windows.count * 4;
        if rest.len() != expected {
            return Err(fault(format!(
                "must answer {expected} bytes, got {}",
                rest.len()
            )));
        }
        let mut values = rest
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes));
        let outputs = self.outputs.iter();
        Ok(outputs
            .map(|length| values.by_ref().take(length * windows.count).collect())
            .collect())
    }
}
