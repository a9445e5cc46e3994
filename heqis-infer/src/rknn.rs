//! Rockchip's NPU through its runtime library `librknnrt.so`, which is loaded when it is needed and never linked.
//!
//! - `library`: the raw calls under a session that owns the context and its memory; the only unsafe code here.
//! - `layout`: where each element of a tensor lies in the NPU's own memory layout, and how it is written there.
//!
//! The zero-copy interface is used: one buffer for each tensor is made at load time, in the layout that the NPU itself
//! uses, so that a call is *write, sync, run, sync, read* and neither library copies or converts anything.
//!
//! Written against Rockchip's runtime interface 2.x for RK3566, RK3568 and RK3588. What is tested without a board is the
//! loader, the call sequence, every error code and every layout, against a stand-in library; a real NPU is not.

mod layout;
mod library;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::{BackendKind, Engine};
use crate::error::InferError;
use crate::tensor::{self, Dtype, TensorData, TensorSpec, TensorView, Tensors};
use layout::Layout;
use library::Session;

/// Name of the model's build for the NPU inside a bundle directory.
pub const MODEL_FILE: &str = "model.rknn";
/// Environment variable that names the runtime library, for one that lies outside the loader's path.
pub const LIBRARY_VARIABLE: &str = "HEQIS_RKNN_LIBRARY";
/// Environment variable that says on which cores of the NPU models run, where it has several: `auto`, or core numbers
/// separated by commas, such as `0,1`.
pub const CORES_VARIABLE: &str = "HEQIS_RKNN_CORES";
/// Name of the runtime library on a board.
const LIBRARY_NAME: &str = "librknnrt.so";

/// Why the NPU cannot be used or stopped computing, one variant for each step on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RknnFault {
    /// The runtime library cannot be loaded.
    #[error("library {path} does not load: {reason}")]
    Library {
        /// Path or name that was looked for.
        path: String,
        /// What the loader said.
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
    /// A choice of cores is not understood.
    #[error("cores must be auto or numbers from 0 to 2 separated by commas, got {0:?}")]
    Cores(String),
    /// The runtime gave no memory for a tensor.
    #[error("no memory of {bytes} bytes for {tensor}")]
    NoMemory {
        /// Name of the tensor.
        tensor: String,
        /// Bytes asked for.
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
    /// A tensor is not what the bundle says, or uses something that this backend does not know.
    #[error("{kind} {name}: {rule}")]
    Tensor {
        /// `input` or `output`.
        kind: &'static str,
        /// Name in the bundle.
        name: String,
        /// The rule that is broken, with the value met.
        rule: String,
    },
}

/// Returns the vendor's word for an error code.
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

/// Returns the library to load: the one named by [`LIBRARY_VARIABLE`], else the name that a board's loader knows.
#[must_use]
pub fn library_path() -> PathBuf {
    std::env::var_os(LIBRARY_VARIABLE).map_or_else(|| LIBRARY_NAME.into(), PathBuf::from)
}

/// A model on the NPU.
///
/// One engine has one context and is used by one thread at a time, as the vendor demands. Batches are computed row by
/// row, since the model's shapes are static.
pub struct RknnEngine {
    session: Session,
    tensors: Tensors,
    input_layouts: Vec<Layout>,
    output_layouts: Vec<Layout>,
}

impl fmt::Debug for RknnEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RknnEngine")
            .field("tensors", &self.tensors)
            .field("versions", self.session.versions())
            .finish_non_exhaustive()
    }
}

/// Versions that the runtime reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Version of the runtime library.
    pub runtime: String,
    /// Version of the kernel driver.
    pub driver: String,
}

impl RknnEngine {
    /// Loads a model that was built for this chip into the NPU.
    ///
    /// `inputs` and `outputs` are the bundle's tensors. The model's must be as many, in the same order and of the same
    /// number of elements; names may differ, since the converter appends to them.
    ///
    /// # Errors
    ///
    /// [`RknnFault`] with the first step that failed.
    pub fn load(
        library: &Path,
        model: &[u8],
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<RknnEngine, RknnFault> {
        let session = Session::open(library, model)?;
        let input_layouts = layouts("input", inputs, session.inputs())?;
        let output_layouts = layouts("output", outputs, session.outputs())?;
        Ok(RknnEngine {
            tensors: Tensors::new(inputs.to_vec(), outputs.to_vec()),
            session,
            input_layouts,
            output_layouts,
        })
    }

    /// Chooses the cores of the NPU that the model runs on: `auto`, or core numbers separated by commas. Chips with one core
    /// refuse it.
    ///
    /// # Errors
    ///
    /// [`RknnFault::Cores`] when the text is neither, [`RknnFault::Symbol`] and [`RknnFault::Call`] when the runtime knows no
    /// cores or not these.
    pub fn set_cores(&mut self, library: &Path, cores: &str) -> Result<(), RknnFault> {
        let mask = match cores {
            "auto" => 0,
            list => list
                .split(',')
                .try_fold(0, |mask: u8, core| match core.parse::<u8>() {
                    Ok(core @ 0..3) => Ok(mask | 1 << core),
                    _ => Err(RknnFault::Cores(cores.to_owned())),
                })?,
        };
        self.session.set_cores(library, mask)
    }

    /// Returns the versions of runtime and driver.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        self.session.versions()
    }

    /// Computes one row and appends its outputs to the buffers.
    fn run_row(
        &mut self,
        row: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), RknnFault> {
        for (i, (layout, input)) in self.input_layouts.iter().zip(inputs).enumerate() {
            let spec = &self.tensors.inputs[i];
            match tensor::row(spec, input, row) {
                Some(TensorData::F32(values)) => layout.write(values, self.session.input_bytes(i)),
                _ => return Err(not_f32("input", spec)),
            }
        }
        self.session.run()?;
        for (o, (layout, buffer)) in self.output_layouts.iter().zip(outputs).enumerate() {
            layout.read(self.session.output_bytes(o), buffer);
        }
        Ok(())
    }
}

impl Engine for RknnEngine {
    fn backend(&self) -> BackendKind {
        BackendKind::Rknn
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.tensors.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.tensors.outputs
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        let rows = self.tensors.begin(inputs, outputs)?;
        for row in 0..rows {
            self.run_row(row, inputs, outputs)
                .map_err(|fault| InferError::RunFailed {
                    backend: BackendKind::Rknn,
                    reason: fault.to_string(),
                })?;
        }
        Ok(())
    }
}

fn not_f32(kind: &'static str, spec: &TensorSpec) -> RknnFault {
    RknnFault::Tensor {
        kind,
        name: spec.name.clone(),
        rule: format!("element type must be f32, the bundle says {}", spec.dtype),
    }
}

/// Lays the model's tensors over the bundle's.
fn layouts(
    kind: &'static str,
    specs: &[TensorSpec],
    found: &[library::TensorAttr],
) -> Result<Vec<Layout>, RknnFault> {
    if specs.len() != found.len() {
        return Err(RknnFault::Count {
            kind,
            expected: specs.len(),
            got: found.len(),
        });
    }
    specs
        .iter()
        .zip(found)
        .map(|(spec, attr)| {
            if spec.dtype != Dtype::F32 {
                return Err(not_f32(kind, spec));
            }
            let fault = |rule: String| RknnFault::Tensor {
                kind,
                name: spec.name.clone(),
                rule,
            };
            let layout = Layout::of(attr).map_err(fault)?;
            if spec.checked_len() != Some(layout.len()) {
                return Err(fault(format!(
                    "shape must be {:?}, the model has {} elements in {:?}",
                    spec.shape,
                    layout.len(),
                    attr.dims
                )));
            }
            Ok(layout)
        })
        .collect()
}
