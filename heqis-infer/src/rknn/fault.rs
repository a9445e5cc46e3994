//! What can go wrong on the NPU, and the versions that a report of it must name.

/// Versions that the runtime reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// Version of the runtime library.
    pub runtime: String,
    /// Version of the kernel driver.
    pub driver: String,
}

/// Why the NPU cannot be used or stopped computing, one variant for each step on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RknnFault {
    /// The runtime library cannot be loaded.
    #[error("library {path} does not load: {reason}")]
    Library {
        /// Path or name of the library.
        path: String,
        /// The loader's message.
        reason: String,
    },
    /// The library lacks a function, so it is too old or another library.
    #[error("library {path} has no function {name}")]
    Symbol {
        /// Path or name of the library.
        path: String,
        /// The function.
        name: &'static str,
    },
    /// The model is too large for the interface's 32-bit length.
    #[error("model has {bytes} bytes, the runtime takes at most {}", u32::MAX)]
    ModelSize {
        /// Size of the model.
        bytes: usize,
    },
    /// A call returned an error code.
    #[error("{call} returned {code} ({})", meaning(*code))]
    Call {
        /// The function, with the tensor or query where it has one.
        call: String,
        /// The code.
        code: i32,
    },
    /// The selection of cores is invalid.
    #[error("cores must be auto or numbers from 0 to 2 separated by commas, got {0:?}")]
    Cores(String),
    /// The runtime allocated no memory for a tensor.
    #[error("no memory of {bytes} bytes for {tensor}")]
    NoMemory {
        /// Name of the tensor.
        tensor: String,
        /// Requested bytes.
        bytes: u32,
    },
    /// The model has a different number of tensors than the bundle says.
    #[error("the model has {got} {kind}s, the bundle {expected}")]
    Count {
        /// `input` or `output`.
        kind: &'static str,
        /// Number in the bundle.
        expected: usize,
        /// Number in the model.
        got: usize,
    },
    /// A tensor differs from the bundle's, or uses a feature that this backend does not support.
    #[error("{kind} {name}: {rule}")]
    Tensor {
        /// `input` or `output`.
        kind: &'static str,
        /// Name in the bundle.
        name: String,
        /// The broken rule, with the value.
        rule: String,
    },
}

/// Returns the vendor's name of an error code.
fn meaning(code: i32) -> &'static str {
    match code {
        -1 => "failed",
        -2 => "timed out",
        -3 => "device unavailable",
        -4 => "out of memory",
        -5 => "invalid parameter",
        -6 => "invalid model",
        -7 => "invalid context",
        -8 => "invalid input",
        -9 => "invalid output",
        -10 => "device does not match, update the runtime or the driver",
        -11 => "pre-compiled model does not match the driver",
        -12 => "optimisation level does not match the runtime",
        -13 => "model was built for another chip",
        _ => "unknown code",
    }
}
