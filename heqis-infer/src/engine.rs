//! The [`Engine`] trait, the kinds of backend, and the choice among them.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, SelfTest};
use crate::cpu::CpuEngine;
use crate::error::InferError;
use crate::fallback::Fallback;
use crate::ort::{self, OrtEngine};
use crate::rknn::{self, RknnEngine};
use crate::tensor::{TensorSpec, TensorView};
use crate::tensorrt::{TensorrtEngine, TensorrtLibraries};

/// A loaded model that computes synchronously on the calling thread's time.
///
/// An engine is owned by one stage and is never shared; it holds no queue. Inputs are given and outputs returned in the
/// order of [`inputs`](Engine::inputs) and [`outputs`](Engine::outputs), which is the model file's order.
pub trait Engine: Send + fmt::Debug {
    /// Returns the kind of backend that computes.
    fn backend(&self) -> BackendKind;

    /// Returns the inputs with names, element types and the shape of one row.
    fn inputs(&self) -> &[TensorSpec];

    /// Returns the outputs with names, element types and the shape of one row.
    fn outputs(&self) -> &[TensorSpec];

    /// Computes one batch.
    ///
    /// Every input must have its specified shape; where all inputs and outputs begin with a batch dimension of 1, the
    /// first dimension may be any n, equal on all inputs, and each row's output has exactly the bits that a call with
    /// that row alone gives. Each buffer in `outputs` is cleared and then filled with n rows; its capacity is kept, so
    /// after the largest batch has been seen the engine's own code allocates nothing more.
    ///
    /// What a model makes of finite inputs may still be NaN or infinite. It is returned as it is, so that one row of a
    /// batch costs no other: who reads it has to look.
    ///
    /// # Errors
    ///
    /// [`InferError::Tensor`] when an input does not fit or is not finite; [`InferError::RunFailed`] when the backend
    /// fails. The buffers then hold no promise.
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError>;

    /// Returns the backends that failed while they computed, in order: the engine has moved on to the next of the
    /// preference list, which computed the same batch again.
    fn lost(&self) -> &[Unavailable] {
        &[]
    }

    /// Leaves the backend in use for the next of the preference list, because what it computes is of no use.
    ///
    /// # Errors
    ///
    /// [`InferError::NoBackend`] when none is left that works.
    fn give_up(&mut self, reason: &str) -> Result<(), InferError> {
        Err(InferError::NoBackend {
            tried: vec![Unavailable {
                backend: self.backend(),
                reason: reason.to_owned(),
            }],
        })
    }

    /// Returns the thread on which [`run`](Engine::run) is cheapest, if the backend has one.
    ///
    /// A loop that calls `run` from inside this thread saves one cross-thread wake per call.
    fn thread(&self) -> Option<EngineThread> {
        None
    }
}

/// The thread that a backend computes on; a cheap handle that can be cloned.
#[derive(Clone, Debug)]
pub struct EngineThread(pub(crate) Arc<rten::ThreadPool>);

impl EngineThread {
    /// Runs `work` on the thread and waits for its result; called on that thread itself, it runs `work` directly.
    ///
    /// # Panics
    ///
    /// Only when `work` does: its panic is passed on.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.run(work)
    }
}

/// A kind of backend, by the name that a topology uses.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// RTen on the CPU: the reference, in every binary.
    Cpu,
    /// Rockchip's NPU runtime.
    Rknn,
    /// NVIDIA TensorRT.
    Tensorrt,
    /// ONNX Runtime on the CPU.
    Ort,
    /// CUDA through ONNX Runtime.
    Cuda,
    /// TensorRT through ONNX Runtime.
    OrtTensorrt,
}

impl BackendKind {
    /// Every kind, the reference first.
    pub const ALL: [BackendKind; 6] = [
        BackendKind::Cpu,
        BackendKind::Rknn,
        BackendKind::Tensorrt,
        BackendKind::Ort,
        BackendKind::Cuda,
        BackendKind::OrtTensorrt,
    ];

    /// Returns the name that a topology, a metric and a log line use.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Cpu => "cpu",
            BackendKind::Rknn => "rknn",
            BackendKind::Tensorrt => "tensorrt",
            BackendKind::Ort => "ort",
            BackendKind::Cuda => "cuda",
            BackendKind::OrtTensorrt => "ort-tensorrt",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A backend that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend {backend} unavailable: {reason}")]
pub struct Unavailable {
    /// The backend that was asked for.
    pub backend: BackendKind,
    /// The reason, as a lowercase fragment.
    pub reason: String,
}

/// What [`open`] returns: an engine that has passed the bundle's self-test.
#[derive(Debug)]
pub struct Opened {
    /// The engine, ready for work.
    pub engine: Box<dyn Engine>,
    /// The backend that was chosen.
    pub backend: BackendKind,
    /// The preferred backends that were unavailable, in order. Empty when the first choice works.
    pub fallbacks: Vec<Unavailable>,
    /// What the self-test measured.
    pub self_test: SelfTest,
    /// Whether the backend failed its gate when the bundle was verified and was opened because
    /// [`Bundle::force`] allows it.
    pub forced: bool,
}

/// Where the vendors' libraries are, each a path or a name that the loader knows.
#[derive(Clone, Debug)]
pub struct Libraries {
    /// Rockchip's runtime.
    pub rknn: PathBuf,
    /// Cores of Rockchip's NPU, see [`rknn::CORES_VARIABLE`]; the chip's own choice when there is none.
    pub rknn_cores: Option<String>,
    /// ONNX Runtime.
    pub ort: PathBuf,
    /// NVIDIA's.
    pub tensorrt: TensorrtLibraries,
    /// Directory that keeps what is built once for a machine.
    pub cache: PathBuf,
    /// Raised when nobody waits for the engine any more: what takes minutes is broken off, and its backend is unavailable.
    pub stop: Arc<AtomicBool>,
}

/// Environment variable that names the directory of [`Libraries::cache`].
pub const CACHE_VARIABLE: &str = "HEQIS_CACHE";

impl Libraries {
    /// Returns the libraries that the environment names, see [`rknn::LIBRARY_VARIABLE`], [`ort::LIBRARY_VARIABLE`] and
    /// [`TensorrtLibraries::from_env`], or else the names by which a board's loader finds them. The cache is the directory of [`CACHE_VARIABLE`], else the
    /// one that systemd gives a service, else one below the directory of temporary files.
    #[must_use]
    pub fn from_env() -> Self {
        let cache = [CACHE_VARIABLE, "CACHE_DIRECTORY"]
            .into_iter()
            .find_map(std::env::var_os);
        Self {
            rknn: rknn::library_path(),
            rknn_cores: std::env::var(rknn::CORES_VARIABLE).ok(),
            ort: ort::library_path(),
            tensorrt: TensorrtLibraries::from_env(),
            cache: cache.map_or_else(|| std::env::temp_dir().join("heqis-cache"), PathBuf::from),
            stop: Arc::default(),
        }
    }
}

/// Opens a bundle's model on the first backend of `backends` that loads it and passes its self-test, with the libraries
/// of [`Libraries::from_env`].
///
/// Each backend that is passed over is logged as a warning and returned in [`Opened::fallbacks`]. Unless `strict` is set,
/// an engine whose backend fails while it computes moves on to the next that works, computes the same batch there, and
/// says so in [`Engine::lost`].
///
/// # Errors
///
/// [`InferError::BackendList`] when the list is empty or names a backend twice; [`InferError::Strict`] when `strict`
/// is set and the first backend is unavailable; [`InferError::NoBackend`] when none is available.
pub fn open(bundle: &Bundle, backends: &[BackendKind], strict: bool) -> Result<Opened, InferError> {
    open_with(bundle, backends, strict, &Libraries::from_env())
}

/// Opens a bundle's model as [`open`] does, with these libraries.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    libraries: &Libraries,
) -> Result<Opened, InferError> {
    if backends.is_empty() {
        return Err(InferError::BackendList(
            "must name at least one backend, got none".to_owned(),
        ));
    }
    if let Some(twice) = backends
        .iter()
        .enumerate()
        .find(|(i, kind)| backends[..*i].contains(kind))
    {
        return Err(InferError::BackendList(format!(
            "must name each backend once, got {} twice",
            twice.1
        )));
    }
    let name = bundle.manifest().name.as_str();
    let mut fallbacks = Vec::new();
    for (i, &backend) in backends.iter().enumerate() {
        match open_one(bundle, backend, libraries) {
            Ok((engine, self_test)) => {
                tracing::info!(
                    bundle = name,
                    backend = backend.name(),
                    golden_windows = self_test.windows,
                    max_abs_error = self_test.max_abs_error,
                    "engine ready"
                );
                let rest: VecDeque<_> = match strict {
                    true => VecDeque::new(),
                    false => backends[i + 1..].iter().copied().collect(),
                };
                let engine: Box<dyn Engine> = match rest.is_empty() {
                    true => engine,
                    false => Box::new(Fallback {
                        bundle: bundle.clone(),
                        libraries: libraries.clone(),
                        engine,
                        rest,
                        lost: Vec::new(),
                    }),
                };
                return Ok(Opened {
                    engine,
                    backend,
                    fallbacks,
                    self_test,
                    forced: bundle.gate(backend).is_some(),
                });
            }
            Err(unavailable) => {
                tracing::warn!(
                    bundle = name,
                    backend = backend.name(),
                    reason = unavailable.reason.as_str(),
                    strict,
                    "backend unavailable"
                );
                if strict {
                    return Err(InferError::Strict(unavailable));
                }
                fallbacks.push(unavailable);
            }
        }
    }
    Err(InferError::NoBackend { tried: fallbacks })
}

/// Loads a bundle's model on one backend and proves nothing: neither its gate nor the self-test is asked. For measuring what
/// they shall be; a pipeline calls [`open`].
///
/// # Errors
///
/// [`Unavailable`] with the first step that failed.
pub fn load(
    bundle: &Bundle,
    backend: BackendKind,
    libraries: &Libraries,
) -> Result<Box<dyn Engine>, Unavailable> {
    let unavailable = |reason: String| Unavailable { backend, reason };
    let engine: Box<dyn Engine> = match backend {
        BackendKind::Cpu => Box::new(
            CpuEngine::load(bundle.model()).map_err(|error| unavailable(error.to_string()))?,
        ),
        BackendKind::Rknn => {
            let cores = libraries.rknn_cores.as_deref();
            Box::new(open_rknn(bundle, &libraries.rknn, cores).map_err(unavailable)?)
        }
        BackendKind::Tensorrt => Box::new(open_tensorrt(bundle, libraries).map_err(unavailable)?),
        BackendKind::Ort => open_ort(bundle, ort::Provider::Cpu, libraries).map_err(unavailable)?,
        BackendKind::Cuda => {
            open_ort(bundle, ort::Provider::Cuda, libraries).map_err(unavailable)?
        }
        BackendKind::OrtTensorrt => {
            open_ort(bundle, ort::Provider::Tensorrt, libraries).map_err(unavailable)?
        }
    };
    Ok(engine)
}

/// Opens and proves one backend. Every failure is a reason, since the caller may have another backend to try.
pub(crate) fn open_one(
    bundle: &Bundle,
    backend: BackendKind,
    libraries: &Libraries,
) -> Result<(Box<dyn Engine>, SelfTest), Unavailable> {
    let unavailable = |reason: String| Unavailable { backend, reason };
    if let Some(reason) = bundle.gate(backend) {
        if !bundle.is_forced() {
            return Err(unavailable(reason));
        }
        let (bundle, backend) = (bundle.manifest().name.as_str(), backend.name());
        tracing::warn!(bundle, backend, reason, "forced");
    }
    let mut engine = load(bundle, backend, libraries)?;
    let self_test = bundle
        .self_test(engine.as_mut())
        .map_err(|error| unavailable(error.to_string()))?;
    Ok((engine, self_test))
}

/// Opens a bundle's build for Rockchip's NPU and logs the versions that a report of a fault must name.
fn open_rknn(bundle: &Bundle, library: &Path, cores: Option<&str>) -> Result<RknnEngine, String> {
    let model = bundle
        .file(rknn::MODEL_FILE)
        .ok_or_else(|| format!("the bundle has no {}", rknn::MODEL_FILE))?;
    let manifest = bundle.manifest();
    let mut engine = RknnEngine::load(library, model, &manifest.inputs, &manifest.outputs)
        .map_err(|fault| fault.to_string())?;
    if let Some(cores) = cores {
        let set = engine.set_cores(library, cores);
        set.map_err(|fault| fault.to_string())?;
    }
    let versions = engine.versions();
    tracing::info!(
        runtime = versions.runtime.as_str(),
        driver = versions.driver.as_str(),
        "rknn runtime"
    );
    Ok(engine)
}

/// Opens a bundle's model in ONNX Runtime.
fn open_ort(
    bundle: &Bundle,
    provider: ort::Provider,
    libraries: &Libraries,
) -> Result<Box<dyn Engine>, String> {
    OrtEngine::load(&libraries.ort, bundle.model(), provider, &libraries.cache)
        .map(|engine| Box::new(engine) as Box<dyn Engine>)
        .map_err(|fault| fault.to_string())
}

/// Opens a bundle's model in TensorRT and logs what a report of a fault must name.
fn open_tensorrt(bundle: &Bundle, libraries: &Libraries) -> Result<TensorrtEngine, String> {
    let Libraries {
        tensorrt,
        cache,
        stop,
        ..
    } = libraries;
    let engine =
        TensorrtEngine::open(bundle, tensorrt, cache, stop).map_err(|fault| fault.to_string())?;
    tracing::info!(info = %engine.info(), "tensorrt runtime");
    Ok(engine)
}
