//! The crate's one public error type, and the leaf enums of bundles and graphs.

mod bundle;
mod graph;

pub use bundle::BundleFault;
pub use graph::GraphFault;

use std::fmt::Display;

use crate::backend::{BackendKind, Unavailable};
use crate::tensor::TensorFault;

/// Longest message that is shown whole, and what is shown of a longer one, characters.
const LONGEST: usize = 1000;
const HEAD: usize = 600;
const TAIL: usize = 200;

/// Returns a message that may quote a file: control characters are escaped, and of a long message the middle is left out.
#[must_use]
pub fn shown(message: impl Display) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    let text: Vec<char> = message.to_string().chars().collect();
    let show = |part: &[char]| part.iter().copied().map(escape).collect::<String>();
    match text.len() > LONGEST {
        true => format!(
            "{} … {} characters … {}",
            show(&text[..HEAD]),
            text.len() - HEAD - TAIL,
            show(&text[text.len() - TAIL..])
        ),
        false => show(&text),
    }
}

/// Returns the begin of a message about a bundle.
fn place(bundle: &str) -> String {
    match bundle.is_empty() {
        true => String::new(),
        false => format!("bundle {bundle}: "),
    }
}

/// The errors of this crate; each message names the place, the rule and the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A bundle directory breaks one of its rules.
    #[error("bundle file {file}: {}", shown(fault))]
    Bundle {
        /// Path of the offending file or directory, as given plus the file's name.
        file: String,
        /// The rule that was broken, with the value that broke it.
        #[source]
        fault: BundleFault,
    },
    /// The model names an operator that the backend does not have.
    #[error("backend {backend}: operator not supported: {operator}")]
    OperatorNotSupported {
        /// The backend.
        backend: BackendKind,
        /// The first such operator, after its domain unless that is the default one.
        operator: String,
    },
    /// The backend could not load the model file.
    #[error("backend {backend}: model does not load: {reason}")]
    ModelNotLoaded {
        /// The backend.
        backend: BackendKind,
        /// The backend's message.
        reason: String,
    },
    /// The backend failed while computing.
    #[error("backend {backend}: run failed: {reason}")]
    RunFailed {
        /// The backend that was running.
        backend: BackendKind,
        /// The backend's message.
        reason: String,
    },
    /// The bytes are not an ONNX model whose signature can be read.
    #[error("not a usable onnx model: {0}")]
    Onnx(String),
    /// A graph under construction breaks a rule.
    #[error("onnx graph {graph}: {fault}")]
    Graph {
        /// Name of the graph.
        graph: String,
        /// The rule that was broken.
        #[source]
        fault: GraphFault,
    },
    /// A tensor passed to an engine, or returned by it, does not fit its specification.
    #[error("tensor {tensor}: {fault}")]
    Tensor {
        /// Name of the tensor in the model.
        tensor: String,
        /// The rule that was broken.
        #[source]
        fault: TensorFault,
    },
    /// The engine's outputs on the golden windows differ from the bundle's by more than its tolerance.
    #[error(
        "self-test: window {window}, output {output}[{index}]: expected {expected}, got {got}, tolerance {tolerance}"
    )]
    SelfTest {
        /// Index of the golden window in the manifest.
        window: usize,
        /// Name of the output tensor.
        output: String,
        /// Index of the element in the output.
        index: usize,
        /// The manifest's value.
        expected: f32,
        /// The engine's value.
        got: f32,
        /// Largest absolute difference that the manifest allows.
        tolerance: f32,
    },
    /// A list of backends is empty or names one twice.
    #[error("backend list: {0}")]
    BackendList(String),
    /// The first backend of the list is unavailable and falling back is forbidden.
    #[error("bundle {bundle}: {unavailable}; strict forbids falling back")]
    Strict {
        /// Directory of the bundle.
        bundle: String,
        /// The backend, with its reason.
        #[source]
        unavailable: Unavailable,
    },
    /// No backend of the list is available.
    #[error("{}no backend available: {}", place(bundle), tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoBackend {
        /// Directory of the bundle; empty for an engine without one.
        bundle: String,
        /// Every backend that was tried, with its reason, in order of preference.
        tried: Vec<Unavailable>,
    },
}

impl InferError {
    /// Returns whether a backend failed, and not the input.
    #[must_use]
    pub fn is_of_the_backend(&self) -> bool {
        matches!(
            self,
            Self::RunFailed { .. } | Self::Strict { .. } | Self::NoBackend { .. }
        )
    }
}
