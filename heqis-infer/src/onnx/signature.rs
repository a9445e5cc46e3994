//! What a model file says about itself, read without a backend.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto;
use crate::error::InferError;
use crate::tensor::{Dtype, TensorSpec};

/// Inputs, outputs and metadata of an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The graph's inputs in file order, without those that an initialiser fills.
    pub inputs: Vec<TensorSpec>,
    /// The graph's outputs in file order; always `f32`.
    pub outputs: Vec<TensorSpec>,
    /// The model's `metadata_props`.
    pub metadata: BTreeMap<String, String>,
}

impl Signature {
    /// Reads the signature of a model file.
    ///
    /// A symbolic *first* dimension is read as a batch dimension of 1.
    ///
    /// # Errors
    ///
    /// [`InferError::Onnx`] when the bytes are not an ONNX model, when a shape is missing or symbolic beyond its first
    /// dimension, when an input is neither `f32` nor `i32`, or when an output is not `f32`.
    pub fn read(bytes: &[u8]) -> Result<Signature, InferError> {
        let model =
            proto::Model::decode(bytes).map_err(|error| InferError::Onnx(error.to_string()))?;
        let graph = model
            .graph
            .ok_or_else(|| InferError::Onnx("the model has no graph".to_owned()))?;
        let filled: BTreeSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let inputs = graph
            .input
            .iter()
            .filter(|info| !filled.contains(info.name.as_str()))
            .map(tensor_spec)
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = graph
            .output
            .iter()
            .map(tensor_spec)
            .collect::<Result<Vec<_>, _>>()?;
        if outputs.is_empty() {
            return Err(InferError::Onnx("the graph has no output".to_owned()));
        }
        if let Some(spec) = outputs.iter().find(|spec| spec.dtype != Dtype::F32) {
            return Err(InferError::Onnx(format!(
                "output {} must be f32, got {}",
                spec.name, spec.dtype
            )));
        }
        let metadata = model
            .metadata_props
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect();
        Ok(Signature {
            inputs,
            outputs,
            metadata,
        })
    }
}

fn tensor_spec(info: &proto::ValueInfo) -> Result<TensorSpec, InferError> {
    let name = &info.name;
    let tensor = info
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref())
        .ok_or_else(|| InferError::Onnx(format!("{name} must be a tensor")))?;
    let dtype = match tensor.elem_type {
        proto::FLOAT => Dtype::F32,
        proto::INT32 => Dtype::I32,
        other => {
            return Err(InferError::Onnx(format!(
                "{name} must be f32 or i32, got onnx element type {other}"
            )));
        }
    };
    let shape = tensor
        .shape
        .as_ref()
        .ok_or_else(|| InferError::Onnx(format!("{name} must have a shape, got none")))?;
    let shape = shape
        .dim
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim.dim_value {
            Some(value) => usize::try_from(value)
                .ok()
                .filter(|value| *value >= 1)
                .ok_or_else(|| {
                    InferError::Onnx(format!(
                        "{name} has dimension {value} at axis {axis}; at least 1"
                    ))
                }),
            None if axis == 0 => Ok(1),
            None => Err(InferError::Onnx(format!(
                "{name} must have static dimensions after the first, got {:?} at axis {axis}",
                dim.dim_param
            ))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let spec = TensorSpec {
        name: name.clone(),
        dtype,
        shape,
    };
    match spec.checked_len() {
        Some(_) => Ok(spec),
        None => Err(InferError::Onnx(format!(
            "{name} has shape {:?}, whose product overflows",
            spec.shape
        ))),
    }
}
