//! The catalogue of backends: one row each with name, exactness, build file and settings.
//!
//! Everything that lists backends derives from these rows: the names in topologies and on command lines, the opening of an
//! engine (the crate's `load` module), the files that a bundle may carry, the table of `docs/models.md`, and which backends
//! `verify` compares closely. A row names the function that opens the backend as `module::function`; the rest of this module
//! knows no backend's code.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hands every row of the catalogue to another macro, which makes of it what it needs.
macro_rules! for_each_backend {
    ($make:ident) => {
        $make! {
            /// RTen on the CPU: the reference, in every binary.
            Cpu { name: "cpu", exact: true, build_file: None, settings: [], open: cpu::open }
            /// Rockchip's NPU runtime.
            Rknn {
                name: "rknn", exact: false, build_file: Some(RKNN_BUILD),
                settings: [RKNN_LIBRARY, RKNN_CORES], open: rknn::open
            }
            /// NVIDIA TensorRT.
            Tensorrt {
                name: "tensorrt", exact: false, build_file: Some(TENSORRT_BUILD),
                settings: [CUDA_LIBRARY, TENSORRT_SHIM, TENSORRT_LIBRARY, TRTEXEC], open: tensorrt::open
            }
            /// ONNX Runtime on the CPU.
            Ort { name: "ort", exact: true, build_file: None, settings: [ORT_LIBRARY], open: ort::open_cpu }
            /// CUDA through ONNX Runtime.
            Cuda { name: "cuda", exact: false, build_file: None, settings: [ORT_LIBRARY], open: ort::open_cuda }
            /// TensorRT through ONNX Runtime.
            OrtTensorrt {
                name: "ort-tensorrt", exact: false, build_file: None, settings: [ORT_LIBRARY], open: ort::open_tensorrt
            }
        }
    };
}
pub(crate) use for_each_backend;

/// An environment variable that a backend reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// Name of the variable.
    pub variable: &'static str,
    /// The value that holds when the variable is not set; empty when the backend chooses for itself.
    pub default: &'static str,
    /// What it sets, as a lowercase fragment.
    pub about: &'static str,
}

impl Setting {
    const fn new(variable: &'static str, default: &'static str, about: &'static str) -> Self {
        Self {
            variable,
            default,
            about,
        }
    }
}

/// Name of the model's build for Rockchip's NPU inside a bundle.
pub const RKNN_BUILD: &str = "model.rknn";
/// Name of the model's TensorRT engine inside a bundle.
pub const TENSORRT_BUILD: &str = "model.engine";

/// Rockchip's runtime library.
pub const RKNN_LIBRARY: Setting =
    Setting::new("HEQIS_RKNN_LIBRARY", "librknnrt.so", "Rockchip's runtime");
/// Cores of the NPU that models run on, where it has several.
pub const RKNN_CORES: Setting = Setting::new(
    "HEQIS_RKNN_CORES",
    "",
    "cores of an RK3588: `auto`, or numbers such as `0,1`",
);
/// NVIDIA's driver library.
pub const CUDA_LIBRARY: Setting = Setting::new("HEQIS_CUDA_LIBRARY", "libcuda.so.1", "the driver");
/// The shim over TensorRT's C++ interface, compiled on the board.
pub const TENSORRT_SHIM: Setting = Setting::new(
    "HEQIS_TENSORRT_SHIM",
    "libheqis_tensorrt.so",
    "the shim that `heqis-infer/tensorrt/build.sh` compiles on the board",
);
/// NVIDIA's TensorRT library; without a setting, the newest installed version that JetPack names.
pub const TENSORRT_LIBRARY: Setting = Setting::new(
    "HEQIS_TENSORRT_LIBRARY",
    "",
    "TensorRT, by default `libnvinfer.so.8` or `.10`",
);
/// The program that builds engines.
pub const TRTEXEC: Setting = Setting::new(
    "HEQIS_TRTEXEC",
    "/usr/src/tensorrt/bin/trtexec",
    "the program that builds engines",
);
/// The library of ONNX Runtime.
pub const ORT_LIBRARY: Setting =
    Setting::new("HEQIS_ORT_LIBRARY", "libonnxruntime.so", "ONNX Runtime");

/// One row of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The backend.
    pub kind: BackendKind,
    /// The name that a topology, a command line, a metric and a log line use.
    pub name: &'static str,
    /// What computes, as a sentence.
    pub about: &'static str,
    /// Whether it computes in 32-bit floats, so that its results agree with the reference within rounding.
    pub is_exact: bool,
    /// Name of the model's build for this backend inside a bundle; `None` when it loads `model.onnx`.
    pub build_file: Option<&'static str>,
    /// The environment variables that it reads.
    pub settings: &'static [Setting],
}

macro_rules! catalogue {
    ($(
        #[doc = $about:literal]
        $kind:ident {
            name: $name:tt, exact: $exact:literal, build_file: $build_file:expr,
            settings: [$($setting:ident),*], open: $($open:ident)::+
        }
    )*) => {
        /// A kind of backend, by the name that a topology uses.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum BackendKind {
            $(
                #[doc = $about]
                #[serde(rename = $name)]
                $kind,
            )*
        }

        impl BackendKind {
            /// Every kind, the reference first.
            pub const ALL: &'static [BackendKind] = &[$(BackendKind::$kind),*];
        }

        /// The rows, in the order of [`BackendKind::ALL`].
        const CATALOGUE: &[BackendInfo] = &[$(BackendInfo {
            kind: BackendKind::$kind,
            name: $name,
            about: $about.trim_ascii(),
            is_exact: $exact,
            build_file: $build_file,
            settings: &[$($setting),*],
        }),*];
    };
}
for_each_backend!(catalogue);

impl BackendKind {
    /// Returns the catalogue's row.
    #[must_use]
    pub fn info(self) -> &'static BackendInfo {
        // The rows are in the order of the variants, since one macro makes both.
        &CATALOGUE[self as usize]
    }

    /// Returns the name that a topology, a metric and a log line use.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    /// Parses a name, as command lines give it.
    fn from_str(name: &str) -> Result<Self, String> {
        let found = CATALOGUE.iter().find(|row| row.name == name);
        found.map(|row| row.kind).ok_or_else(|| {
            let names: Vec<&str> = CATALOGUE.iter().map(|row| row.name).collect();
            format!("must be one of {}, got {name}", names.join(", "))
        })
    }
}

/// A backend that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend {backend} unavailable: {reason}")]
pub struct Unavailable {
    /// The requested backend.
    pub backend: BackendKind,
    /// The reason, as a lowercase fragment.
    pub reason: String,
}

impl Unavailable {
    /// Returns a backend with the reason, which need not name the backend a second time.
    #[must_use]
    pub fn new(backend: BackendKind, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        let named = format!("backend {backend}: ");
        Self {
            backend,
            reason: reason.strip_prefix(&named).unwrap_or(&reason).to_owned(),
        }
    }
}
