//! NVIDIA TensorRT on a Jetson, or on any machine with an NVIDIA GPU.
//!
//! - `cuda`: the driver, through `libcuda.so.1`: device, stream, and memory that CPU and GPU share.
//! - `shim`: TensorRT itself, through `libheqis_tensorrt.so`, which `tensorrt/build.sh` compiles on the board.
//! - `build`: an engine made of the bundle's ONNX model by `trtexec`, once for a model, a version and a GPU.
//!
//! All three libraries are loaded when they are needed and never linked. An engine file fits one version of TensorRT and
//! one GPU: a bundle may hold one ([`ENGINE_FILE`], with what it was built for in [`ENGINE_INFO_FILE`]), else it is built.
//!
//! What is tested without a GPU is every step and every error against stand-ins for TensorRT and the driver, the shim
//! against NVIDIA's own headers, and that NVIDIA's own library without a GPU is a clear error; the silicon is not.

mod build;
mod cuda;
mod shim;

use std::ffi::c_void;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::engine::{BackendKind, Engine};
use crate::error::InferError;
use crate::tensor::{self, Dtype, TensorData, TensorSpec, TensorView, Tensors};
use cuda::{Device, Memory, Stream};
use shim::{IoTensor, Runtime};

pub use build::BUILD_LIMIT;

/// Name of the model's engine inside a bundle directory.
pub const ENGINE_FILE: &str = "model.engine";
/// Name of the file that says what [`ENGINE_FILE`] was built for, an [`EngineInfo`] as JSON.
pub const ENGINE_INFO_FILE: &str = "model.engine.json";

/// Why TensorRT cannot be used or stopped computing, one variant for each step on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorrtFault {
    /// The driver's library, the shim or TensorRT cannot be loaded or started.
    #[error("library {path}: {reason}")]
    Library {
        /// Path or name that was looked for.
        path: String,
        /// What the loader, the shim or TensorRT said.
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
    /// The shim was compiled of another version of its source.
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
    /// The bundle's engine was built for something else.
    #[error("{ENGINE_FILE} was built for {built}, this machine has {found}")]
    OtherMachine {
        /// Version and GPU that it was built for.
        built: EngineInfo,
        /// Version and GPU of this machine.
        found: EngineInfo,
    },
    /// What the bundle's engine was built for cannot be read.
    #[error("{ENGINE_INFO_FILE}: {0}")]
    Info(String),
    /// No engine could be built of the ONNX model.
    #[error("building an engine: {0}")]
    Build(String),
    /// The engine's tensors are not those of the bundle, or of a kind that this backend does not know.
    #[error("tensor {name}: {rule}")]
    Tensor {
        /// Name in the bundle.
        name: String,
        /// The rule that is broken, with the value met.
        rule: String,
    },
}

/// What an engine is built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Where NVIDIA's libraries and program are, each a path or a name that the loader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorrtLibraries {
    /// The driver.
    pub cuda: PathBuf,
    /// The shim that was compiled on this machine.
    pub shim: PathBuf,
    /// TensorRT.
    pub tensorrt: PathBuf,
    /// The program that builds engines.
    pub trtexec: PathBuf,
}

impl TensorrtLibraries {
    /// Returns what the environment names in `HEQIS_CUDA_LIBRARY`, `HEQIS_TENSORRT_SHIM`, `HEQIS_TENSORRT_LIBRARY` and
    /// `HEQIS_TRTEXEC`, or else the names and places of JetPack. Of TensorRT, the newest major that is there is named.
    #[must_use]
    pub fn from_env() -> Self {
        let named = |variable: &str, otherwise: &str| {
            std::env::var_os(variable).map_or_else(|| otherwise.into(), PathBuf::from)
        };
        let installed = Path::new("/usr/lib/aarch64-linux-gnu/libnvinfer.so.8");
        let tensorrt = match installed.exists() {
            true => "libnvinfer.so.8",
            false => "libnvinfer.so.10",
        };
        Self {
            cuda: named("HEQIS_CUDA_LIBRARY", "libcuda.so.1"),
            shim: named("HEQIS_TENSORRT_SHIM", "libheqis_tensorrt.so"),
            tensorrt: named("HEQIS_TENSORRT_LIBRARY", tensorrt),
            trtexec: named("HEQIS_TRTEXEC", "/usr/src/tensorrt/bin/trtexec"),
        }
    }
}

/// A model on the GPU.
///
/// One engine has one execution context and one stream and is used by one thread at a time. Batches are computed row by
/// row, since the model's shapes are static.
pub struct TensorrtEngine {
    // Dropped in this order: TensorRT lets go of memory and stream before they go.
    runtime: Runtime,
    stream: Stream,
    /// One for each tensor of the engine, in its order.
    memory: Vec<Memory>,
    /// Where each input and output of the bundle is among the engine's tensors.
    input_at: Vec<usize>,
    output_at: Vec<usize>,
    tensors: Tensors,
    device: Arc<Device>,
    info: EngineInfo,
}

impl fmt::Debug for TensorrtEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorrtEngine")
            .field("tensors", &self.tensors)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl TensorrtEngine {
    /// Opens a bundle's engine where it fits this machine, else builds one of its ONNX model, or takes the one that was
    /// built before from `cache`. Building ends early when `stop` is raised.
    ///
    /// # Errors
    ///
    /// [`TensorrtFault`] with the first step that failed. An engine of another machine is only an error when none can be
    /// built either.
    pub fn open(
        bundle: &Bundle,
        libraries: &TensorrtLibraries,
        cache: &Path,
        stop: &AtomicBool,
    ) -> Result<TensorrtEngine, TensorrtFault> {
        // The driver first: without one, TensorRT's own answers are of no use.
        let device = Device::open(&libraries.cuda)?;
        device.enter()?;
        let runtime = Runtime::open(&libraries.shim, &libraries.tensorrt)?;
        let info = EngineInfo {
            tensorrt: runtime.version(),
            gpu: device.name().to_owned(),
        };
        let build = || build::engine(&libraries.trtexec, bundle.model(), &info, cache, stop);
        let built;
        let blob = match carried(bundle, &info) {
            Ok(Some(blob)) => blob,
            Ok(None) => {
                built = build()?;
                &built
            }
            Err(fault) => {
                tracing::warn!(reason = %fault, "the bundle's engine does not fit, building one");
                built = build()
                    .map_err(|second| TensorrtFault::Build(format!("{second}, since {fault}")))?;
                &built
            }
        };
        let manifest = bundle.manifest();
        Self::load(
            device,
            runtime,
            blob,
            (&manifest.inputs, &manifest.outputs),
            info,
        )
    }

    fn load(
        device: Arc<Device>,
        mut runtime: Runtime,
        blob: &[u8],
        (inputs, outputs): (&[TensorSpec], &[TensorSpec]),
        info: EngineInfo,
    ) -> Result<TensorrtEngine, TensorrtFault> {
        runtime.load(blob)?;
        let found = runtime.tensors()?;
        let places = |specs: &[TensorSpec], is_input: bool| {
            let place = |spec| place(spec, &found, is_input);
            specs.iter().map(place).collect::<Result<Vec<_>, _>>()
        };
        let (input_at, output_at) = (places(inputs, true)?, places(outputs, false)?);
        if let Some(other) =
            (0..found.len()).find(|at| !input_at.contains(at) && !output_at.contains(at))
        {
            return Err(TensorrtFault::Tensor {
                name: found[other].name.clone(),
                rule: "the engine has it, the bundle has not".to_owned(),
            });
        }
        let memory = found.iter().map(|tensor| {
            // Each has been compared with a checked shape.
            let len = tensor.dims.iter().product::<i64>();
            Memory::new(&device, usize::try_from(len).unwrap_or_default())
        });
        Ok(TensorrtEngine {
            memory: memory.collect::<Result<_, _>>()?,
            stream: Stream::new(&device)?,
            runtime,
            input_at,
            output_at,
            tensors: Tensors::new(inputs.to_vec(), outputs.to_vec()),
            device,
            info,
        })
    }

    /// Returns the version and the GPU that compute.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Computes one row and appends its outputs to the buffers.
    fn run_row(
        &mut self,
        row: usize,
        pointers: &[*mut c_void],
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), TensorrtFault> {
        let specs = self.tensors.inputs.iter().zip(&self.input_at);
        for ((spec, &at), input) in specs.zip(inputs) {
            let memory = self.memory[at].bits_mut();
            match tensor::row(spec, input, row) {
                Some(TensorData::F32(values)) => {
                    let bits = values.iter().map(|value| value.to_bits());
                    memory
                        .iter_mut()
                        .zip(bits)
                        .for_each(|(to, from)| *to = from);
                }
                Some(TensorData::I32(values)) => {
                    let bits = values.iter().map(|value| value.cast_unsigned());
                    memory
                        .iter_mut()
                        .zip(bits)
                        .for_each(|(to, from)| *to = from);
                }
                None => {
                    return Err(TensorrtFault::Call(format!(
                        "input {} has no row {row}",
                        spec.name
                    )));
                }
            }
        }
        self.runtime.enqueue(pointers, self.stream.raw())?;
        self.stream.wait()?;
        for (&at, buffer) in self.output_at.iter().zip(outputs) {
            buffer.extend(
                self.memory[at]
                    .bits()
                    .iter()
                    .map(|&bits| f32::from_bits(bits)),
            );
        }
        Ok(())
    }
}

impl Engine for TensorrtEngine {
    fn backend(&self) -> BackendKind {
        BackendKind::Tensorrt
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
        let pointers: Vec<*mut c_void> = self.memory.iter().map(Memory::address).collect();
        // The stage may run on another thread than the one that opened the engine.
        let mut computed = self.device.enter();
        for row in 0..rows {
            computed = computed.and_then(|()| self.run_row(row, &pointers, inputs, outputs));
        }
        computed.map_err(|fault| InferError::RunFailed {
            backend: BackendKind::Tensorrt,
            reason: fault.to_string(),
        })?;
        Ok(())
    }
}

/// Returns the bundle's own engine, if it has one, or why it does not fit.
fn carried<'a>(bundle: &'a Bundle, found: &EngineInfo) -> Result<Option<&'a [u8]>, TensorrtFault> {
    let Some(blob) = bundle.file(ENGINE_FILE) else {
        return Ok(None);
    };
    let info = bundle
        .file(ENGINE_INFO_FILE)
        .ok_or_else(|| TensorrtFault::Info("the bundle has none".to_owned()))?;
    let built: EngineInfo =
        serde_json::from_slice(info).map_err(|error| TensorrtFault::Info(error.to_string()))?;
    match built == *found {
        true => Ok(Some(blob)),
        false => Err(TensorrtFault::OtherMachine {
            built,
            found: found.clone(),
        }),
    }
}

/// Finds a tensor of the bundle among the engine's.
fn place(spec: &TensorSpec, found: &[IoTensor], is_input: bool) -> Result<usize, TensorrtFault> {
    let fault = |rule: String| TensorrtFault::Tensor {
        name: spec.name.clone(),
        rule,
    };
    let at = found
        .iter()
        .position(|tensor| tensor.name == spec.name && tensor.is_input == is_input)
        .ok_or_else(|| {
            let kind = if is_input { "input" } else { "output" };
            fault(format!("the engine has no such {kind}"))
        })?;
    let IoTensor { element, dims, .. } = &found[at];
    // TensorRT's numbers of 32-bit floats and integers.
    let dtype = match element {
        0 => Some(Dtype::F32),
        3 => Some(Dtype::I32),
        _ => None,
    };
    if dtype != Some(spec.dtype) {
        let rule = format!(
            "element type must be {}, the engine has number {element}",
            spec.dtype
        );
        return Err(fault(rule));
    }
    let same = spec
        .shape
        .iter()
        .map(|&dim| i64::try_from(dim))
        .eq(dims.iter().map(|&dim| Ok(dim)));
    match same {
        true => Ok(at),
        false => Err(fault(format!(
            "shape must be {:?}, the engine has {dims:?}",
            spec.shape
        ))),
    }
}
