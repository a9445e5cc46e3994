//! What goes in and comes out of a model: names, element types, shapes, and the borrowed view that carries a call.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::InferError;

/// Element type of a tensor at the border of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit IEEE float.
    F32,
    /// 32-bit signed integer.
    I32,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::I32 => "i32",
        })
    }
}

/// Name, element type and shape of one input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// The name in the model file.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The static shape of one call. A leading 1 on every input and output is the batch dimension.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Returns the specification of an `f32` tensor.
    pub fn f32(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        TensorSpec {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.into(),
        }
    }

    /// Returns the number of elements of one row, or `None` when the product does not fit `usize`.
    pub fn checked_len(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1_usize, |len, &dim| len.checked_mul(dim))
    }
}

/// Borrowed elements of a tensor.
#[derive(Clone, Copy, Debug)]
pub enum TensorData<'a> {
    /// Elements of an `f32` tensor.
    F32(&'a [f32]),
    /// Elements of an `i32` tensor.
    I32(&'a [i32]),
}

impl TensorData<'_> {
    /// Returns the element type.
    pub fn dtype(&self) -> Dtype {
        match self {
            TensorData::F32(_) => Dtype::F32,
            TensorData::I32(_) => Dtype::I32,
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            TensorData::F32(data) => data.len(),
            TensorData::I32(data) => data.len(),
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A borrowed, row-major tensor: a shape and its elements.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The shape; for a batch of n rows the first dimension is n.
    pub shape: &'a [usize],
    /// The elements in row-major order.
    pub data: TensorData<'a>,
}

impl<'a> TensorView<'a> {
    /// Returns a view of `f32` elements. Whether they fill the shape is checked by the engine.
    pub fn f32(shape: &'a [usize], data: &'a [f32]) -> Self {
        TensorView {
            shape,
            data: TensorData::F32(data),
        }
    }

    /// Returns a view of `i32` elements. Whether they fill the shape is checked by the engine.
    pub fn i32(shape: &'a [usize], data: &'a [i32]) -> Self {
        TensorView {
            shape,
            data: TensorData::I32(data),
        }
    }
}

/// How a tensor can fail to fit its specification.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// The call has a different number of tensors than the model.
    #[error("the model has {expected} of this kind, the call gives {got}")]
    Count {
        /// Number in the model.
        expected: usize,
        /// Number in the call.
        got: usize,
    },
    /// The element type differs.
    #[error("element type must be {expected}, got {got}")]
    Dtype {
        /// The model's element type.
        expected: Dtype,
        /// The call's element type.
        got: Dtype,
    },
    /// The shape differs, beyond a free batch dimension.
    #[error("shape must be {expected:?}{}, got {got:?}", if *.batches { " (first dimension free)" } else { "" })]
    Shape {
        /// The model's shape.
        expected: Vec<usize>,
        /// The call's shape.
        got: Vec<usize>,
        /// Whether the model accepts any number of rows.
        batches: bool,
    },
    /// Two inputs of one call have different numbers of rows.
    #[error("has {got} rows, the first input has {expected}")]
    Rows {
        /// Rows of the first input.
        expected: usize,
        /// Rows of this input.
        got: usize,
    },
    /// The elements do not fill the shape.
    #[error("shape {shape:?} needs {expected} elements, got {got}")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// Product of the shape.
        expected: usize,
        /// Number of elements given.
        got: usize,
    },
    /// An element is NaN or infinite.
    #[error("element {index} is {value}; every value must be finite")]
    NotFinite {
        /// Index of the element.
        index: usize,
        /// The value met.
        value: f32,
    },
}

/// The tensors of a loaded model, and what every backend does around its own computing of a batch.
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

    /// Checks a call, so that all backends refuse the same inputs with the same words, clears its buffers, and returns
    /// the number of rows to compute.
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
