//! The batch loop that the backends share: a batch is checked once and computed row by row.
//!
//! A model's shapes are static, so each row is one call of the vendor's runtime, and the bits of a row do not depend on its
//! neighbours.

use std::fmt;

use crate::backend::BackendKind;
use crate::engine::Engine;
use crate::error::InferError;
use crate::tensor::{TensorData, TensorFault, TensorSpec, TensorView};

/// A backend that computes one row at a time; the trait [`Engine`] is implemented for every such type.
pub(crate) trait RowEngine: Send + fmt::Debug {
    /// Returns the kind of backend.
    fn kind(&self) -> BackendKind;

    /// Returns the tensors of the loaded model.
    fn tensors(&self) -> &Tensors;

    /// Computes one row of the inputs and appends its outputs to the buffers, or returns the backend's own reason.
    fn run_row(
        &mut self,
        row: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), String>;

    /// Runs the loop over the rows of a batch, where the backend needs it: on a thread, or in a context.
    fn run_batch(
        &mut self,
        rows: impl FnOnce(&mut Self) -> Result<(), String> + Send,
    ) -> Result<(), String>
    where
        Self: Sized,
    {
        rows(self)
    }
}

impl<T: RowEngine> Engine for T {
    fn backend(&self) -> BackendKind {
        self.kind()
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.tensors().inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.tensors().outputs
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        let rows = self.tensors().begin(inputs, outputs)?;
        let computed = self
            .run_batch(|engine| (0..rows).try_for_each(|row| engine.run_row(row, inputs, outputs)));
        computed.map_err(|reason| InferError::RunFailed {
            backend: self.kind(),
            reason,
        })
    }
}

/// The inputs and outputs of a loaded model, with the check of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Tensors {
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// Whether several rows may be given at once: every shape begins with 1.
    batches: bool,
}

impl Tensors {
    pub(crate) fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Self {
        let batches = inputs
            .iter()
            .chain(&outputs)
            .all(|spec| spec.shape.first() == Some(&1));
        Self {
            inputs,
            outputs,
            batches,
        }
    }

    /// Checks the inputs of a call, clears its buffers, and returns the number of rows to compute. All backends refuse the
    /// same inputs with the same message.
    pub(crate) fn begin(
        &self,
        inputs: &[TensorView<'_>],
        buffers: &mut [Vec<f32>],
    ) -> Result<usize, InferError> {
        let rows = check_inputs(
            &self.inputs,
            self.batches,
            inputs,
            &self.outputs,
            buffers.len(),
        )?;
        for buffer in buffers {
            buffer.clear();
        }
        Ok(rows)
    }
}

/// Returns one row of an input, or `None` when it lies outside the data.
pub(crate) fn row<'a>(
    spec: &TensorSpec,
    input: &TensorView<'a>,
    row: usize,
) -> Option<TensorData<'a>> {
    let len = spec.checked_len()?;
    let range = row.checked_mul(len)?..row.checked_add(1)?.checked_mul(len)?;
    Some(match input.data {
        TensorData::F32(data) => TensorData::F32(data.get(range)?),
        TensorData::I32(data) => TensorData::I32(data.get(range)?),
    })
}

/// Checks a call's inputs against their specifications and returns the number of rows.
fn check_inputs(
    specs: &[TensorSpec],
    batches: bool,
    inputs: &[TensorView<'_>],
    outputs: &[TensorSpec],
    buffers: usize,
) -> Result<usize, InferError> {
    if inputs.len() != specs.len() {
        return Err(fault(
            "inputs",
            TensorFault::Count {
                expected: specs.len(),
                got: inputs.len(),
            },
        ));
    }
    if buffers != outputs.len() {
        return Err(fault(
            "outputs",
            TensorFault::Count {
                expected: outputs.len(),
                got: buffers,
            },
        ));
    }
    let mut rows = 1;
    for (i, (spec, view)) in specs.iter().zip(inputs).enumerate() {
        if view.data.dtype() != spec.dtype {
            return Err(fault(
                &spec.name,
                TensorFault::Dtype {
                    expected: spec.dtype,
                    got: view.data.dtype(),
                },
            ));
        }
        let same_row = view.shape.len() == spec.shape.len()
            && view
                .shape
                .iter()
                .zip(&spec.shape)
                .skip(usize::from(batches))
                .all(|(got, want)| got == want);
        if !same_row {
            return Err(fault(
                &spec.name,
                TensorFault::Shape {
                    expected: spec.shape.clone(),
                    got: view.shape.to_vec(),
                    batches,
                },
            ));
        }
        if batches {
            let got = view.shape[0];
            if i == 0 {
                rows = got;
            } else if got != rows {
                return Err(fault(
                    &spec.name,
                    TensorFault::Rows {
                        expected: rows,
                        got,
                    },
                ));
            }
        }
        // Saturation cannot hide a fault: no slice has usize::MAX elements.
        let expected = spec
            .checked_len()
            .unwrap_or(usize::MAX)
            .saturating_mul(if batches { rows } else { 1 });
        if view.data.len() != expected {
            return Err(fault(
                &spec.name,
                TensorFault::Length {
                    shape: view.shape.to_vec(),
                    expected,
                    got: view.data.len(),
                },
            ));
        }
        if let TensorData::F32(data) = view.data {
            check_finite(&spec.name, data)?;
        }
    }
    Ok(rows)
}

/// Refuses NaN and infinite values by name and index.
fn check_finite(tensor: &str, data: &[f32]) -> Result<(), InferError> {
    match data.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(fault(
            tensor,
            TensorFault::NotFinite {
                index,
                value: data[index],
            },
        )),
        None => Ok(()),
    }
}

fn fault(tensor: &str, fault: TensorFault) -> InferError {
    InferError::Tensor {
        tensor: tensor.to_owned(),
        fault,
    }
}
