//! Inputs and outputs of a model: names, element types, shapes, and the borrowed view that carries a call.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Element type of an engine's input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
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

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.dtype, self.shape)
    }
}

/// Borrowed elements of a tensor.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
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

/// The rule of its specification that a tensor breaks.
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
        /// The value.
        value: f32,
    },
}
