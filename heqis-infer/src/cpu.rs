//! The reference backend: RTen on one CPU thread, and tree ensembles, which RTen lacks, by the code of `onnx::trees`.
//!
//! RTen selects its kernels by the instruction set of the machine, so output bits repeat on one machine type and agree
//! within rounding between types. On one machine they depend on the input alone: the model is static, it runs on one
//! thread, and a batch is computed row by row.
//!
//! RTen allocates inside each call (its plan state, intermediate tensors, and the vector of inputs that its interface
//! takes by value); the code here adds nothing to that once the caller's buffers have their capacity.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use rten_tensor::prelude::*;

use crate::backend::BackendKind;
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::libraries::Libraries;
use crate::onnx::trees::Ensemble;
use crate::onnx::{Decoded, Signature};
use crate::rows::{self, RowEngine, Tensors};
use crate::tensor::{Dtype, TensorData, TensorSpec, TensorView};

/// A model on the CPU.
pub struct CpuEngine {
    model: Computed,
    tensors: Tensors,
    /// The engine's own thread: without work-stealing, so that the order of summation does not depend on load.
    pool: Arc<ThreadPool>,
}

/// How a model is computed.
enum Computed {
    /// By RTen.
    Rten {
        model: Box<Model>,
        input_ids: Vec<NodeId>,
        output_ids: Vec<NodeId>,
    },
    /// As tree ensembles, one for each output, each with the index of its input.
    Trees(Vec<(usize, Ensemble)>),
}

impl std::fmt::Debug for CpuEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuEngine")
            .field("tensors", &self.tensors)
            .finish_non_exhaustive()
    }
}

impl CpuEngine {
    /// Loads an ONNX model from memory.
    ///
    /// # Errors
    ///
    /// [`InferError::Onnx`] when the bytes are not an ONNX model with static shapes, `f32` or `i32` inputs and `f32`
    /// outputs; [`InferError::OperatorNotSupported`] when RTen lacks an operator; [`InferError::ModelNotLoaded`] when
    /// RTen refuses the model for another reason.
    pub fn load(model: &[u8]) -> Result<CpuEngine, InferError> {
        let not_loaded = |reason: String| InferError::ModelNotLoaded {
            backend: BackendKind::Cpu,
            reason,
        };
        // First, because RTen 0.27 reads a length beyond 2^63 as a negative offset and then loops forever.
        let decoded = Decoded::read(model)?;
        if let Some(trees) = decoded.trees() {
            return trees
                .and_then(|trees| Self::of_trees(trees, decoded.signature()))
                .map_err(not_loaded)?;
        }
        // RTen guards its parser, but a model can also reach its optimiser, which runs operators.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            ModelOptions::with_all_ops()
                .prepack_weights(true)
                .load(model.to_vec())
        }))
        .map_err(|panic| not_loaded(panic_text(panic.as_ref())))?;
        let loaded = loaded.map_err(|error| {
            let message = error.to_string();
            match unsupported_operator(&message) {
                Some(operator) => InferError::OperatorNotSupported {
                    backend: BackendKind::Cpu,
                    operator,
                },
                None => not_loaded(message),
            }
        })?;
        // After the operators: of two faults, a missing operator is reported first, since no other export fixes it.
        let signature = decoded.signature()?;
        let ids = |specs: &[TensorSpec]| -> Result<Vec<NodeId>, InferError> {
            specs
                .iter()
                .map(|spec| {
                    loaded
                        .node_id(&spec.name)
                        .map_err(|error| not_loaded(error.to_string()))
                })
                .collect()
        };
        let (input_ids, output_ids) = (ids(&signature.inputs)?, ids(&signature.outputs)?);
        Ok(CpuEngine {
            model: Computed::Rten {
                model: Box::new(loaded),
                input_ids,
                output_ids,
            },
            tensors: Tensors::new(signature.inputs, signature.outputs),
            pool: Arc::new(ThreadPool::with_num_threads(1)),
        })
    }

    /// Returns an engine of tree ensembles: each output is one of them, over the values of a row of an input.
    fn of_trees(
        trees: Vec<Ensemble>,
        signature: Result<Signature, InferError>,
    ) -> Result<Result<Self, InferError>, String> {
        let signature = match signature {
            Ok(signature) => signature,
            Err(error) => return Ok(Err(error)),
        };
        let mut computed = Vec::with_capacity(signature.outputs.len());
        for output in &signature.outputs {
            let ensemble = trees.iter().find(|trees| trees.output == output.name);
            let ensemble = ensemble.ok_or_else(|| format!("no node computes {}", output.name))?;
            let mut inputs = signature.inputs.iter().enumerate();
            let input = inputs.find(|(_, spec)| spec.name == ensemble.input);
            let is_row =
                |spec: &TensorSpec| spec.dtype == Dtype::F32 && spec.shape.first() == Some(&1);
            let input = input.filter(|(_, spec)| is_row(spec) && spec.shape.len() == 2);
            let (at, input) = input.ok_or_else(|| {
                format!(
                    "{} must read an f32 input of shape [1, values]",
                    output.name
                )
            })?;
            if ensemble.inputs() > input.shape[1] {
                let (needs, has) = (ensemble.inputs(), input.shape[1]);
                return Err(format!(
                    "{} reads {needs} values, the input has {has}",
                    output.name
                ));
            }
            if output.shape != [1, ensemble.targets()] {
                let (targets, shape) = (ensemble.targets(), &output.shape);
                return Err(format!(
                    "{} must have shape [1, {targets}], got {shape:?}",
                    output.name
                ));
            }
            computed.push((at, ensemble.clone()));
        }
        Ok(Ok(Self {
            model: Computed::Trees(computed),
            tensors: Tensors::new(signature.inputs, signature.outputs),
            pool: Arc::new(ThreadPool::with_num_threads(1)),
        }))
    }

    /// Returns the thread on which [`run`](Engine::run) is cheapest: a loop that calls it from inside this thread saves one
    /// cross-thread wake per call.
    #[must_use]
    pub fn thread(&self) -> EngineThread {
        EngineThread(self.pool.clone())
    }
}

/// The thread that an engine computes on; a cheap handle that can be cloned.
#[derive(Clone, Debug)]
pub struct EngineThread(Arc<ThreadPool>);

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

/// Opens a bundle's model.
pub(crate) fn open(bundle: &Bundle, _: &Libraries) -> Result<Box<dyn Engine>, String> {
    let engine = CpuEngine::load(bundle.model()).map_err(|error| error.to_string())?;
    Ok(Box::new(engine))
}

impl RowEngine for CpuEngine {
    fn kind(&self) -> BackendKind {
        BackendKind::Cpu
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
        let (model, input_ids, output_ids) = match &self.model {
            Computed::Rten {
                model,
                input_ids,
                output_ids,
            } => (model, input_ids, output_ids),
            Computed::Trees(trees) => {
                for ((at, ensemble), buffer) in trees.iter().zip(outputs) {
                    let spec = &self.tensors.inputs[*at];
                    let Some(TensorData::F32(data)) = rows::row(spec, &inputs[*at], row) else {
                        return Err(format!("input {} has no row {row}", spec.name));
                    };
                    ensemble.run(data, buffer);
                }
                return Ok(());
            }
        };
        let mut views: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for ((spec, &id), input) in self.tensors.inputs.iter().zip(input_ids).zip(inputs) {
            let value = view(spec, row, input)
                .ok_or_else(|| format!("input {} has no row {row}", spec.name))?;
            views.push((id, value.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let values = catch_unwind(AssertUnwindSafe(|| {
            model.run(views, output_ids, Some(options))
        }))
        .map_err(|panic| panic_text(panic.as_ref()))?
        .map_err(|error| error.to_string())?;
        for ((spec, value), buffer) in self.tensors.outputs.iter().zip(&values).zip(outputs) {
            let Value::FloatTensor(value) = value else {
                return Err(format!("output {} is not f32", spec.name));
            };
            if value.shape() != spec.shape.as_slice() {
                return Err(format!(
                    "output {} must have shape {:?}, got {:?}",
                    spec.name,
                    spec.shape,
                    value.shape()
                ));
            }
            match value.data() {
                Some(data) => buffer.extend_from_slice(data),
                None => buffer.extend(value.iter().copied()),
            }
        }
        Ok(())
    }

    /// Wakes the thread once for the whole batch.
    fn run_batch(
        &mut self,
        rows: impl FnOnce(&mut Self) -> Result<(), String> + Send,
    ) -> Result<(), String> {
        let pool = self.pool.clone();
        pool.run(|| rows(self))
    }
}

/// Returns row `row` of an input as RTen's view, or `None` when it lies outside the data.
fn view<'a>(spec: &TensorSpec, row: usize, input: &TensorView<'a>) -> Option<ValueView<'a>> {
    let shape = spec.shape.as_slice();
    Some(match rows::row(spec, input, row)? {
        TensorData::F32(data) => {
            ValueView::FloatTensor(rten_tensor::TensorView::try_from_data(shape, data).ok()?)
        }
        TensorData::I32(data) => {
            ValueView::Int32Tensor(rten_tensor::TensorView::try_from_data(shape, data).ok()?)
        }
    })
}

/// Returns the operator that RTen's error calls unsupported.
///
/// RTen gives the operator's name in its message only, so the phrase is matched; a test detects a change of it.
fn unsupported_operator(message: &str) -> Option<String> {
    let message = message.strip_suffix(" operator not supported or not enabled")?;
    message.rsplit(' ').next().map(str::to_owned)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned());
    format!("the runtime panicked: {text}")
}
