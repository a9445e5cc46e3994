//! One [`Engine`] trait, its backends, and the checked model bundle.
//!
//! - [`backend`]: the catalogue: every backend with its name, exactness, build file and settings.
//! - [`tensor`]: names, element types and shapes of a model's inputs and outputs, and the borrowed [`TensorView`] that
//!   carries a call's input.
//! - [`engine`]: the [`Engine`] trait. `rows`: the batch loop that the backends share.
//! - [`cpu`]: the reference backend, RTen, compiled into every binary. Each accelerator is compared with it.
//! - [`ort`]: ONNX Runtime, on the CPU and by its CUDA and TensorRT providers; its library is loaded when a topology names it.
//! - [`rknn`]: Rockchip's NPU; its runtime library is loaded when a bundle has a build for it.
//! - [`tensorrt`]: NVIDIA TensorRT 8 and later, through a shim that is compiled on the board.
//! - [`libraries`]: where the vendors' libraries are.
//! - [`open()`]: the first backend of a list that loads the model *and* passes the bundle's self-test (`load`: one backend);
//!   when it fails while it computes, the next takes over within the batch (`fallback`). [`select()`]: the fastest of a list.
//! - [`stateful`]: a model that carries a state from one step to the next, on any backend.
//! - [`bundle`]: a directory of `model.onnx`, `scaler_params.json` and `manifest.json`, checked completely when it is
//!   loaded and replaced as a whole when it is written.
//! - [`onnx`]: a small writer of ONNX files (opset 13, IR 7) and a reader of their signature.
//! - [`error`]: the crate's one error type.
//!
//! Data enters as a [`Bundle`] directory and as `&[TensorView]` per call; it leaves in buffers that the caller owns.
//!
//! Not here: scaling, windows, features and decisions (the scaler is opaque bytes), the roles of bundles in a pipeline
//! (`heqis-bundle`), threads and queues (a stage owns its engine and calls it), and training.
//!
//! ```
//! use heqis_infer::{CpuEngine, Engine, TensorView, onnx::GraphBuilder};
//!
//! # fn main() -> Result<(), heqis_infer::InferError> {
//! let mut graph = GraphBuilder::new("double");
//! let x = graph.input("x", &[1, 2]);
//! let two = graph.weights("two", &[1], &[2.0]);
//! let y = graph.node("y", "Mul", &[&x, &two], &[]);
//! graph.output(&y, &[1, 2]);
//!
//! let mut engine = CpuEngine::load(&graph.finish()?)?;
//! let mut outputs = vec![Vec::new()];
//! // Two rows at once: each row's bits are those of a call with that row alone.
//! engine.run(&[TensorView::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0])], &mut outputs)?;
//! assert_eq!(outputs[0], [2.0, 4.0, 6.0, 8.0]);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod backend;
pub mod bundle;
pub mod cpu;
pub mod engine;
pub mod error;
mod fallback;
pub mod libraries;
mod load;
pub mod onnx;
mod open;
pub mod ort;
pub mod rknn;
mod rows;
mod select;
pub mod stateful;
pub mod tensor;
pub mod tensorrt;

pub use backend::{BackendInfo, BackendKind, Setting, Unavailable};
pub use bundle::{
    Bundle, BundleParts, FileEntry, Golden, GoldenWindow, Manifest, Precision, SelfTest,
    TradingDifference, TrainingSpan, Verified,
};
pub use cpu::CpuEngine;
pub use engine::Engine;
pub use error::InferError;
pub use libraries::Libraries;
pub use load::load;
pub use open::{Opened, open, open_with};
pub use ort::OrtEngine;
pub use rknn::RknnEngine;
pub use select::{BackendPolicy, Timing, select, select_with};
pub use stateful::{ModelState, StatefulModel};
pub use tensor::{Dtype, TensorData, TensorSpec, TensorView};
pub use tensorrt::TensorrtEngine;
