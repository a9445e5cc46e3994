//! One [`Engine`] trait, the backends behind it, and the checked model bundle.
//!
//! - [`tensor`]: names, element types and shapes of what goes in and comes out of a model, and the borrowed
//!   [`TensorView`] that carries a call's input.
//! - [`engine`]: the [`Engine`] trait, the list of [`BackendKind`]s, and [`open`], which returns the first backend of a
//!   preference list that loads the model *and* passes the bundle's self-test; when it fails in mid-run, the next takes
//!   over within the batch.
//! - [`cpu`]: the reference backend, RTen, compiled into every binary. Each accelerator is compared with it.
//! - [`ort`]: ONNX Runtime, on the CPU and by its CUDA and TensorRT providers, through its library, loaded when named.
//! - [`rknn`]: Rockchip's NPU, through its runtime library, which is loaded when a bundle has a build for it.
//! - [`tensorrt`]: NVIDIA TensorRT 8 and later, through a shim that is compiled on the board.
//! - [`stream`]: a model that carries a state from one tick to the next, on any backend.
//! - [`bundle`]: a directory of `model.onnx`, `scaler_params.json` and `manifest.json`, checked completely when it is
//!   loaded and replaced as a whole when it is written.
//! - [`onnx`]: a small writer of ONNX files (opset 13, IR 7) and a reader of their signature.
//! - [`error`]: the crate's one error type.
//!
//! Data enters as a [`Bundle`] directory and as `&[TensorView]` per call; it leaves in buffers that the caller owns.
//!
//! What is *not* here: scaling, windows, features and decisions (the scaler travels through as bytes), threads and
//! queues (a stage owns its engine and calls it), and training.
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

pub mod bundle;
mod choice;
pub mod cpu;
pub mod engine;
pub mod error;
mod fallback;
pub mod onnx;
pub mod ort;
pub mod rknn;
pub mod stream;
pub mod tensor;
pub mod tensorrt;

pub use bundle::{
    Bundle, BundleParts, FileEntry, Golden, GoldenWindow, Manifest, Precision, SelfTest,
    TradingDifference, TrainingSpan, Verified,
};
pub use choice::{Prefer, Timing, choose, choose_with};
pub use cpu::CpuEngine;
pub use engine::{
    BackendKind, Engine, EngineThread, Libraries, Opened, Unavailable, load, open, open_with,
};
pub use error::InferError;
pub use ort::OrtEngine;
pub use rknn::RknnEngine;
pub use stream::{Memory, Stream};
pub use tensor::{Dtype, TensorData, TensorSpec, TensorView};
pub use tensorrt::TensorrtEngine;
