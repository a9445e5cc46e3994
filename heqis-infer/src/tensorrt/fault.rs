//! What can go wrong with TensorRT, and what an engine was built for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::TENSORRT_BUILD;

/// Name of the file that says what [`TENSORRT_BUILD`] was built for, an [`EngineInfo`] as JSON.
pub const ENGINE_INFO_FILE: &str = "model.engine.json";

/// What an engine is built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EngineInfo {
    /// Version of TensorRT, such as `8.5.2`.
    pub tensorrt: String,
    /// Name of the GPU, as the driver gives it.
    pub gpu: String,
}

impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorRT {} on {}", self.tensorrt, self.gpu)
    }
}

/// Why TensorRT cannot be used or stopped computing, one variant for each step on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorrtFault {
    /// The driver's library, the shim or TensorRT cannot be loaded or started.
    #[error("library {path}: {reason}")]
    Library {
        /// Path or name of the library.
        path: String,
        /// The message of the loader, the shim or TensorRT.
        reason: String,
    },
    /// A library lacks a function, so it is too old or another library.
    #[error("library {path} has no function {name}")]
    Symbol {
        /// Path or name of the library.
        path: String,
        /// The function.
        name: &'static str,
    },
    /// The shim was compiled from another version of its source.
    #[error("library {path} has interface {found}, this program needs 1; build it again")]
    ShimAbi {
        /// Path or name of the shim.
        path: String,
        /// The interface that it has.
        found: i32,
    },
    /// A call of the driver returned an error code.
    #[error("{call} returned {code} ({name})")]
    Cuda {
        /// The function.
        call: String,
        /// The code.
        code: i32,
        /// The driver's name of the code.
        name: String,
    },
    /// A call of TensorRT failed.
    #[error("tensorrt: {0}")]
    Call(String),
    /// The bundle's engine was built for another version or GPU.
    #[error("{TENSORRT_BUILD} was built for {built}, this machine has {found}")]
    OtherMachine {
        /// Version and GPU that it was built for.
        built: EngineInfo,
        /// Version and GPU of this machine.
        found: EngineInfo,
    },
    /// The file that says what the bundle's engine was built for cannot be read.
    #[error("{ENGINE_INFO_FILE}: {0}")]
    Info(String),
    /// No engine could be built from the ONNX model.
    #[error("building an engine: {0}")]
    Build(String),
    /// The engine's tensors differ from the bundle's, or are of a type that this backend does not support.
    #[error("tensor {name}: {rule}")]
    Tensor {
        /// Name in the bundle.
        name: String,
        /// The broken rule, with the value.
        rule: String,
    },
}
