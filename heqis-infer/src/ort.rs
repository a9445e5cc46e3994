//! ONNX Runtime, through its shared library, which is loaded at run time and never linked: on the CPU, and on NVIDIA's
//! hardware by its CUDA and TensorRT execution providers.
//!
//! A process has one ONNX Runtime: every later engine uses the first library that was loaded. One engine has one session and
//! computes on the calling thread, without a pool of its own.
//!
//! The tests run without a GPU: they cover the CPU provider with the official cases, and that the other two report what is
//! missing.

use std::error::Error as _;
use std::fmt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::ort::environment::Environment;
use ::ort::ep::{CUDA, TensorRT};
use ::ort::logging::LogLevel;
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::session::{Session, SessionInputValue};
use ::ort::value::TensorRef;

use crate::backend::{BackendKind, ORT_LIBRARY};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::libraries::Libraries;
use crate::onnx::Decoded;
use crate::rows::{self, RowEngine, Tensors};
use crate::tensor::{TensorData, TensorSpec, TensorView};

/// Why ONNX Runtime cannot be used, one variant for each step on the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrtFault {
    /// The library cannot be loaded, is another library, or is too old.
    #[error("library {path}: {reason}")]
    Library {
        /// Path or name of the library.
        path: String,
        /// The loader's message.
        reason: String,
    },
    /// The process has loaded another library of ONNX Runtime already.
    #[error("library {path}: the process already uses {loaded}")]
    OtherLibrary {
        /// Path or name that was requested.
        path: String,
        /// Path or name that is in use.
        loaded: String,
    },
    /// The library refuses an execution provider, because the provider, its libraries, the driver or the device is missing.
    #[error("execution provider {name}: {reason}")]
    Provider {
        /// ONNX Runtime's name of the provider.
        name: &'static str,
        /// The library's message.
        reason: String,
    },
    /// The library lacks an operator of the model.
    #[error("operator not supported: {0}")]
    Operator(String),
    /// The library refuses the model for another reason.
    #[error("model does not load: {0}")]
    Model(String),
    /// The model has a signature that no engine accepts.
    #[error("{0}")]
    Signature(String),
}

/// A model loaded into ONNX Runtime.
///
/// Batches are computed row by row, so that a row's bits do not depend on its neighbours.
pub struct OrtEngine {
    session: Session,
    provider: Provider,
    tensors: Tensors,
}

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// Its own kernels on one CPU thread.
    Cpu,
    /// CUDA; operators that it lacks are computed on the CPU.
    Cuda,
    /// TensorRT in FP16; operators that it lacks are computed by CUDA or on the CPU.
    Tensorrt,
}

impl Provider {
    /// Returns the backend that a topology names for this provider.
    #[must_use]
    pub fn backend(self) -> BackendKind {
        match self {
            Provider::Cpu => BackendKind::Ort,
            Provider::Cuda => BackendKind::Cuda,
            Provider::Tensorrt => BackendKind::OrtTensorrt,
        }
    }
}

impl fmt::Debug for OrtEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrtEngine")
            .field("provider", &self.provider)
            .field("tensors", &self.tensors)
            .finish_non_exhaustive()
    }
}

impl OrtEngine {
    /// Loads an ONNX model from memory into the ONNX Runtime of `library`.
    ///
    /// `cache` is the directory in which TensorRT keeps the engines that it builds; the other providers do not use it.
    ///
    /// # Errors
    ///
    /// [`OrtFault`] with the first step that failed.
    pub fn load(
        library: &Path,
        model: &[u8],
        provider: Provider,
        cache: &Path,
    ) -> Result<OrtEngine, OrtFault> {
        let signature = |error: InferError| OrtFault::Signature(error.to_string());
        // Before the bytes reach C++.
        let decoded = Decoded::read(model).map_err(signature)?;
        let environment = environment(library)?;
        let session = builder(&environment)
            .map_err(|error| OrtFault::Model(message(&error)))
            .and_then(|builder| provide(builder, provider, cache))?
            .commit_from_memory(model)
            .map_err(|error| refusal(&error))?;
        // After the operators: of two faults, a missing operator is reported first, since no other export fixes it.
        let signature = decoded.signature().map_err(signature)?;
        let same = |names: &[::ort::value::Outlet], specs: &[TensorSpec]| {
            names
                .iter()
                .map(::ort::value::Outlet::name)
                .eq(specs.iter().map(|spec| spec.name.as_str()))
        };
        if !same(session.inputs(), &signature.inputs)
            || !same(session.outputs(), &signature.outputs)
        {
            return Err(OrtFault::Model(
                "its tensors are in another order than in the file".to_owned(),
            ));
        }
        Ok(OrtEngine {
            session,
            provider,
            tensors: Tensors::new(signature.inputs, signature.outputs),
        })
    }
}

/// Opens a bundle's model on the CPU.
pub(crate) fn open_cpu(bundle: &Bundle, libraries: &Libraries) -> Result<Box<dyn Engine>, String> {
    open(bundle, libraries, Provider::Cpu)
}

/// Opens a bundle's model by CUDA.
pub(crate) fn open_cuda(bundle: &Bundle, libraries: &Libraries) -> Result<Box<dyn Engine>, String> {
    open(bundle, libraries, Provider::Cuda)
}

/// Opens a bundle's model by TensorRT.
pub(crate) fn open_tensorrt(
    bundle: &Bundle,
    libraries: &Libraries,
) -> Result<Box<dyn Engine>, String> {
    open(bundle, libraries, Provider::Tensorrt)
}

fn open(
    bundle: &Bundle,
    libraries: &Libraries,
    provider: Provider,
) -> Result<Box<dyn Engine>, String> {
    let library = libraries.path(ORT_LIBRARY);
    let engine = OrtEngine::load(&library, bundle.model(), provider, &libraries.cache)
        .map_err(|fault| fault.to_string())?;
    Ok(Box::new(engine))
}

impl RowEngine for OrtEngine {
    fn kind(&self) -> BackendKind {
        self.provider.backend()
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
        let failed = |error: ::ort::Error| message(&error);
        let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(inputs.len());
        for (spec, input) in self.tensors.inputs.iter().zip(inputs) {
            let shape = spec.shape.as_slice();
            values.push(match rows::row(spec, input, row) {
                Some(TensorData::F32(data)) => TensorRef::from_array_view((shape, data))
                    .map_err(failed)?
                    .into(),
                Some(TensorData::I32(data)) => TensorRef::from_array_view((shape, data))
                    .map_err(failed)?
                    .into(),
                None => return Err(format!("input {} has no row {row}", spec.name)),
            });
        }
        let computed = self.session.run(values.as_slice()).map_err(failed)?;
        for ((spec, value), buffer) in self
            .tensors
            .outputs
            .iter()
            .zip(computed.values())
            .zip(outputs)
        {
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let expected = spec.shape.iter().map(|&dim| i64::try_from(dim));
            if !shape.iter().map(|&dim| Ok(dim)).eq(expected) {
                return Err(format!(
                    "output {} must have shape {:?}, got {shape}",
                    spec.name, spec.shape
                ));
            }
            buffer.extend_from_slice(data);
        }
        Ok(())
    }
}

/// The process's ONNX Runtime and the library that it came from.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads the library, or returns the environment of the library that is already loaded.
fn environment(library: &Path) -> Result<Environment, OrtFault> {
    let path = library.display().to_string();
    // A panic under the lock leaves a consistent state: the entry is written last.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((from, environment)) = &*loaded {
        return match from == library {
            true => Ok(environment.clone()),
            false => Err(OrtFault::OtherLibrary {
                path,
                loaded: from.display().to_string(),
            }),
        };
    }
    let fault = |reason: String| OrtFault::Library {
        path: path.clone(),
        reason,
    };
    // The crate panics on a file that is not an ONNX Runtime.
    let environment = catch_unwind(|| -> Result<Environment, String> {
        ::ort::init_from(library)
            .map_err(|error| loading(&error))?
            .with_name("heqis")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| message(&error))
    })
    .map_err(|_| fault("it is not a usable ONNX Runtime".to_owned()))?
    .map_err(fault)?;
    environment.set_log_level(LogLevel::Warning);
    tracing::info!(
        library = path.as_str(),
        build = ::ort::info(),
        "onnx runtime"
    );
    *loaded = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}

fn log(level: LogLevel, category: &str, _: &str, place: &str, message: &str) {
    // Errors are returned to the caller; the library's log adds their place in its source.
    if level >= LogLevel::Warning {
        tracing::debug!(category, place, message, "onnx runtime");
    }
}

/// One thread, the caller's, without spinning.
fn builder(environment: &Environment) -> ::ort::Result<SessionBuilder> {
    let set = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_log_level(LogLevel::Warning)?;
    Ok(set)
}

/// Adds an execution provider and requires it: by default ONNX Runtime would fall back to the CPU silently.
fn provide(
    builder: SessionBuilder,
    provider: Provider,
    cache: &Path,
) -> Result<SessionBuilder, OrtFault> {
    let cuda = CUDA::default().build().error_on_failure();
    let (name, providers) = match provider {
        Provider::Cpu => return Ok(builder),
        Provider::Cuda => ("cuda", vec![cuda]),
        Provider::Tensorrt => {
            let tensorrt = TensorRT::default()
                .with_fp16(true)
                .with_engine_cache(true)
                .with_engine_cache_path(cache.display())
                .build()
                .error_on_failure();
            ("tensorrt", vec![tensorrt, cuda])
        }
    };
    builder
        .with_execution_providers(providers)
        .map_err(|error| OrtFault::Provider {
            name,
            reason: message(&error),
        })
}

/// Returns why a library does not load; the loader's own message is the source of the error.
fn loading(error: &::ort::LoadDynamicError) -> String {
    match error {
        ::ort::LoadDynamicError::Dlopen { error, .. } => error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

/// Returns an error's message on one line.
fn message<R>(error: &::ort::Error<R>) -> String {
    error
        .message()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Separates a missing operator from other reasons why a model does not load.
fn refusal(error: &::ort::Error) -> OrtFault {
    let message = message(error);
    match unsupported_operator(&message) {
        Some(operator) => OrtFault::Operator(operator.to_owned()),
        None => OrtFault::Model(message),
    }
}

/// Returns the operator that ONNX Runtime's error calls unknown or not implemented.
///
/// The name is in the message only, so the phrases are matched; tests hold them in place.
fn unsupported_operator(message: &str) -> Option<&str> {
    let after = |phrase| message.split_once(phrase).map(|(_, after)| after);
    let before = |phrase| message.split_once(phrase).map(|(before, _)| before);
    let name = after("No Op registered for ")
        .or_else(|| after("Could not find an implementation for "))
        .map(|rest| rest.split(' ').next())
        .or_else(|| before(" is not a registered function/op").map(|rest| rest.rsplit(' ').next()));
    // A version may follow the name: `Name(13)`.
    name.flatten()?.split('(').next()
}

#[cfg(test)]
mod tests {
    use super::unsupported_operator;

    #[test]
    fn the_operator_is_found_in_each_phrase_of_the_library() {
        for message in [
            "Error No Op registered for Tumble with domain_version of 13",
            "Could not find an implementation for Tumble(7) node with name 'y'",
            "Load model from memory failed:Fatal error: Tumble(-1) is not a registered function/op",
        ] {
            assert_eq!(unsupported_operator(message), Some("Tumble"), "{message}");
        }
        assert_eq!(unsupported_operator("Type Error: Shape of input x"), None);
    }
}
