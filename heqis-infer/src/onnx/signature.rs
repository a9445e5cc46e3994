//! The signature of a model file, read without a backend.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto;
use super::trees::Ensemble;
use crate::error::InferError;
use crate::tensor::{Dtype, TensorSpec};

/// Inputs, outputs and metadata of an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature {
    /// The graph's inputs in file order, without those that an initialiser fills.
    pub inputs: Vec<TensorSpec>,
    /// The graph's outputs in file order; always `f32`.
    pub outputs: Vec<TensorSpec>,
    /// The model's `metadata_props`.
    pub metadata: BTreeMap<String, String>,
    /// Version of the default operator set, if the model imports it.
    pub opset: Option<i64>,
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
        Decoded::read(bytes)?.signature()
    }
}

/// A model file whose wire format is valid.
pub(crate) struct Decoded(proto::Model);

impl Decoded {
    /// Decodes a file, which proves that every length in it stays inside its message.
    pub(crate) fn read(bytes: &[u8]) -> Result<Decoded, InferError> {
        proto::Model::decode(bytes)
            .map(Decoded)
            .map_err(|error| InferError::Onnx(error.to_string()))
    }

    /// Returns the tree ensembles that the model consists of; `None` when it has none, and a reason when it has other nodes
    /// too or one breaks a rule.
    pub(crate) fn trees(&self) -> Option<Result<Vec<Ensemble>, String>> {
        Ensemble::all(self.0.graph.as_ref()?)
    }

    /// Returns the signature; see [`Signature::read`].
    pub(crate) fn signature(self) -> Result<Signature, InferError> {
        let model = self.0;
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
        let default = |set: &&proto::OperatorSet| matches!(set.domain.as_str(), "" | "ai.onnx");
        let opset = model.opset_import.iter().find(default);
        Ok(Signature {
            inputs,
            outputs,
            metadata,
            opset: opset.map(|set| set.version),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cpu::CpuEngine;
    use crate::engine::Engine;
    use crate::tensor::TensorView;

    fn value(name: &str, elem_type: i32, dims: &[Option<i64>]) -> proto::ValueInfo {
        let dim = dims
            .iter()
            .map(|&dim_value| proto::Dim {
                dim_value,
                dim_param: "n".to_owned(),
            })
            .collect();
        let tensor_type = proto::TensorType {
            elem_type,
            shape: Some(proto::Shape { dim }),
        };
        proto::ValueInfo {
            name: name.to_owned(),
            r#type: Some(proto::Type {
                tensor_type: Some(tensor_type),
                sequence_type: None,
            }),
        }
    }

    /// A model `y = cast(x)` with the given declarations of `x` and `y`.
    fn model(x: proto::ValueInfo, y: proto::ValueInfo) -> Vec<u8> {
        let to = proto::Attribute {
            name: "to".to_owned(),
            i: proto::FLOAT.into(),
            r#type: proto::AttributeType::Int.into(),
            ..Default::default()
        };
        let cast = proto::Node {
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            op_type: "Cast".to_owned(),
            attribute: vec![to],
            ..Default::default()
        };
        let graph = proto::Graph {
            node: vec![cast],
            input: vec![x],
            output: vec![y],
            ..Default::default()
        };
        let opset = proto::OperatorSet {
            version: proto::OPSET,
            ..Default::default()
        };
        proto::Model {
            ir_version: 7,
            graph: Some(graph),
            opset_import: vec![opset],
            ..Default::default()
        }
        .encode_to_vec()
    }

    fn refusal(x: proto::ValueInfo, y: proto::ValueInfo) -> String {
        Signature::read(&model(x, y)).unwrap_err().to_string()
    }

    #[test]
    fn a_symbolic_first_dimension_is_a_batch_of_one_and_accepts_any_number_of_rows() {
        let model = model(
            value("x", proto::FLOAT, &[None, Some(2)]),
            value("y", proto::FLOAT, &[None, Some(2)]),
        );
        assert_eq!(
            Signature::read(&model).unwrap().inputs,
            [TensorSpec::f32("x", [1, 2])]
        );
        let mut engine = CpuEngine::load(&model).unwrap();
        let mut outputs = vec![Vec::new()];
        engine
            .run(
                &[TensorView::f32(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])],
                &mut outputs,
            )
            .unwrap();
        assert_eq!(outputs[0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn integers_go_in_and_floats_come_out() {
        let model = model(
            value("x", proto::INT32, &[Some(1), Some(2)]),
            value("y", proto::FLOAT, &[Some(1), Some(2)]),
        );
        let mut engine = CpuEngine::load(&model).unwrap();
        let mut outputs = vec![Vec::new()];
        engine
            .run(&[TensorView::i32(&[2, 2], &[1, -2, 3, -4])], &mut outputs)
            .unwrap();
        assert_eq!(outputs[0], [1.0, -2.0, 3.0, -4.0]);
    }

    #[test]
    fn an_input_with_an_initialiser_is_not_an_input_of_the_signature() {
        let mut graph = crate::onnx::GraphBuilder::new("filled");
        let x = graph.input("x", &[1, 2]);
        let two = graph.weights("two", &[2], &[2.0, 2.0]);
        let y = graph.node("y", "Mul", &[&x, &two], &[]);
        graph.output(&y, &[1, 2]);
        let mut model = proto::Model::decode(graph.finish().unwrap().as_slice()).unwrap();
        // Older files list every initialiser among the inputs.
        model
            .graph
            .as_mut()
            .unwrap()
            .input
            .push(value("two", proto::FLOAT, &[Some(2)]));
        assert_eq!(
            Signature::read(&model.encode_to_vec()).unwrap().inputs,
            [TensorSpec::f32("x", [1, 2])]
        );
    }

    #[test]
    fn shapes_and_types_that_no_engine_accepts_are_refused_by_name() {
        let good = || value("y", proto::FLOAT, &[Some(1), Some(2)]);
        assert_eq!(
            refusal(value("x", proto::FLOAT, &[Some(1), None]), good()),
            "not a usable onnx model: x must have static dimensions after the first, got \"n\" at axis 1"
        );
        assert_eq!(
            refusal(value("x", proto::FLOAT, &[Some(1), Some(0)]), good()),
            "not a usable onnx model: x has dimension 0 at axis 1; at least 1"
        );
        assert_eq!(
            refusal(value("x", proto::FLOAT, &[Some(1), Some(-1)]), good()),
            "not a usable onnx model: x has dimension -1 at axis 1; at least 1"
        );
        assert!(
            refusal(
                value("x", proto::FLOAT, &[Some(i64::MAX), Some(i64::MAX)]),
                good()
            )
            .ends_with("overflows")
        );
        assert_eq!(
            refusal(value("x", 11, &[Some(1), Some(2)]), good()),
            "not a usable onnx model: x must be f32 or i32, got onnx element type 11"
        );
        assert_eq!(
            refusal(good(), value("y", proto::INT32, &[Some(1), Some(2)])),
            "not a usable onnx model: output y must be f32, got i32"
        );
        let mut shapeless = good();
        if let Some(tensor) = shapeless
            .r#type
            .as_mut()
            .and_then(|kind| kind.tensor_type.as_mut())
        {
            tensor.shape = None;
        }
        assert_eq!(
            refusal(shapeless, good()),
            "not a usable onnx model: y must have a shape, got none"
        );
    }
}
