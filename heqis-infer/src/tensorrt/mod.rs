//! NVIDIA TensorRT on a Jetson, or on any machine with an NVIDIA GPU.
//!
//! - `cuda`: the driver, through `libcuda.so.1`: device, stream, and memory that the CPU and the GPU share.
//! - `shim`: TensorRT itself, through `libheqis_tensorrt.so`, which `tensorrt/build.sh` compiles on the board.
//! - `build`: building an engine from the bundle's ONNX model by `trtexec`, once per model, version and GPU.
//! - `fault`: what can go wrong.
//!
//! All three libraries are loaded at run time and never linked. An engine file fits one version of TensorRT and
//! one GPU: a bundle may hold one ([`TENSORRT_BUILD`](crate::backend::TENSORRT_BUILD), with what it was built for in [`ENGINE_INFO_FILE`]), else it is built.
//!
//! The tests run without a GPU: they cover every step and every error against stand-ins for TensorRT and the driver, the shim
//! against NVIDIA's own headers, and the error of NVIDIA's own library, but not a real GPU.

mod build;
mod cuda;
mod fault;
mod shim;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{BackendKind, CUDA_LIBRARY, TENSORRT_LIBRARY, TENSORRT_SHIM, TRTEXEC};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::libraries::Libraries;
use crate::rows::{self, RowEngine, Tensors};
use crate::tensor::{Dtype, TensorData, TensorSpec, TensorView};
use cuda::{Device, Memory, Stream};
use shim::{IoTensor, Runtime};

pub use build::BUILD_LIMIT;
pub use fault::{ENGINE_INFO_FILE, EngineInfo, TensorrtFault};

/// A model on the GPU.
///
/// One engine has one execution context and one stream and is used by one thread at a time. Batches are computed row by
/// row, since the model's shapes are static.
pub struct TensorrtEngine {
    // Dropped in this order: TensorRT releases memory and stream before they are freed.
    runtime: Runtime,
    stream: Stream,
    /// One for each tensor of the engine, in its order.
    memory: Vec<Memory>,
    /// Indices of the bundle's inputs and outputs among the engine's tensors.
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
    /// Opens a bundle's engine where it fits this machine, else builds one from its ONNX model, or takes an earlier build
    /// from [`Libraries::cache`]. Building ends early when [`Libraries::stop`] is raised.
    ///
    /// # Errors
    ///
    /// [`TensorrtFault`] with the first step that failed. An engine of another machine is only an error when none can be
    /// built either.
    pub fn open(bundle: &Bundle, libraries: &Libraries) -> Result<TensorrtEngine, TensorrtFault> {
        // The driver first: without one, TensorRT's own errors are misleading.
        let device = Device::open(&libraries.path(CUDA_LIBRARY))?;
        device.enter()?;
        let runtime = Runtime::open(&libraries.path(TENSORRT_SHIM), &tensorrt_library(libraries))?;
        let info = EngineInfo {
            tensorrt: runtime.version(),
            gpu: device.name().to_owned(),
        };
        let build = || {
            let Libraries { cache, stop, .. } = libraries;
            build::engine(&libraries.path(TRTEXEC), bundle.model(), &info, cache, stop)
        };
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
            // Each shape has been compared with a checked one.
            let len = tensor.dims.iter().product::<i64>();
            Memory::new(&device, usize::try_from(len).unwrap_or_default())
        });
        let memory = memory.collect::<Result<Vec<_>, _>>()?;
        runtime.bind(memory.iter().map(Memory::address).collect());
        Ok(TensorrtEngine {
            memory,
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
}

/// Opens a bundle's model and logs what a report of a fault must name.
pub(crate) fn open(bundle: &Bundle, libraries: &Libraries) -> Result<Box<dyn Engine>, String> {
    let engine = TensorrtEngine::open(bundle, libraries).map_err(|fault| fault.to_string())?;
    tracing::info!(info = %engine.info(), "tensorrt runtime");
    Ok(Box::new(engine))
}

/// Returns the library of TensorRT: the one that is set, else the version that JetPack has installed.
fn tensorrt_library(libraries: &Libraries) -> PathBuf {
    if let Some(library) = libraries.get(TENSORRT_LIBRARY) {
        return library.into();
    }
    let installed = Path::new("/usr/lib/aarch64-linux-gnu/libnvinfer.so.8");
    match installed.exists() {
        true => "libnvinfer.so.8".into(),
        false => "libnvinfer.so.10".into(),
    }
}

impl RowEngine for TensorrtEngine {
    fn kind(&self) -> BackendKind {
        BackendKind::Tensorrt
    }

    fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    fn run_row(
        &mut self,
        row: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), String> {
        let specs = self.tensors.inputs.iter().zip(&self.input_at);
        for ((spec, &at), input) in specs.zip(inputs) {
            let memory = self.memory[at].bits_mut();
            match rows::row(spec, input, row) {
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
                    return Err(format!("input {} has no row {row}", spec.name));
                }
            }
        }
        let computed = self.runtime.enqueue(self.stream.raw());
        computed
            .and_then(|()| self.stream.wait())
            .map_err(|fault| fault.to_string())?;
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

    /// Enters the device's context first: the stage may run on another thread than the one that opened the engine.
    fn run_batch(
        &mut self,
        rows: impl FnOnce(&mut Self) -> Result<(), String> + Send,
    ) -> Result<(), String> {
        self.device.enter().map_err(|fault| fault.to_string())?;
        rows(self)
    }
}

/// Returns the bundle's own engine, if it carries one, or why it does not fit.
fn carried<'a>(bundle: &'a Bundle, found: &EngineInfo) -> Result<Option<&'a [u8]>, TensorrtFault> {
    let Some(blob) = bundle.build(BackendKind::Tensorrt) else {
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
