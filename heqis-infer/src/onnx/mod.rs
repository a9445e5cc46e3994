//! Writing ONNX files with a small graph builder, and reading the signature of any ONNX file.
//!
//! The export rules that keep one file loadable by every backend: opset 13 and IR 7 (the newest that TensorRT 8.2
//! reads), static shapes, plain operators, shared initialisers, and the scaler's hash in the metadata. The bytes are a
//! function of the calls that built the graph: no time, no path, no hash-map order.
//!
//! Tree ensembles (`trees`) are read and computed here too, since RTen has no such operator.
//!
//! Not here: running any other graph, and reading more of a foreign file than its signature.

mod graph;
mod proto;
mod signature;
pub(crate) mod trees;

pub use crate::error::GraphFault;
pub use graph::{Attribute, GraphBuilder, Value};
pub use proto::{IR_VERSION, OPSET, OPSETS};
pub(crate) use signature::Decoded;
pub use signature::Signature;
