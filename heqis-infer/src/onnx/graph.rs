//! The graph builder.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto::{self, IR_VERSION, OPSET};
use super::trees::{DOMAIN, DOMAIN_OPSET, OPERATOR};
use crate::error::{GraphFault, InferError};

/// A named value inside a graph under construction: an input, an initialiser, or a node's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Returns the name in the file.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// One integer.
    Int(i64),
    /// One float.
    Float(f32),
    /// One string.
    String(String),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of strings.
    Strings(Vec<String>),
}

/// Builds an ONNX graph node by node, in an order in which every value is defined before it is used.
///
/// [`finish`](GraphBuilder::finish) reports the faults, so that a chain of layers can be written without an error check at
/// each line.
///
/// ```
/// use heqis_infer::onnx::{Attribute, GraphBuilder, Signature};
///
/// let mut graph = GraphBuilder::new("classifier");
/// let x = graph.input("x", &[1, 4]);
/// let weights = graph.weights("weights", &[4, 3], &[0.5; 12]);
/// let scores = graph.node("scores", "MatMul", &[&x, &weights], &[]);
/// let classes = graph.node("classes", "Softmax", &[&scores], &[("axis", Attribute::Int(1))]);
/// graph.output(&classes, &[1, 3]);
/// graph.metadata("author", "an example");
///
/// let signature = Signature::read(&graph.finish()?)?;
/// assert_eq!(signature.inputs[0].to_string(), "x f32 [1, 4]");
/// assert_eq!(signature.metadata["author"], "an example");
/// # Ok::<(), heqis_infer::InferError>(())
/// ```
#[derive(Debug)]
pub struct GraphBuilder {
    graph: proto::Graph,
    metadata: BTreeMap<String, String>,
    defined: BTreeSet<String>,
    /// The first fault; later ones are usually its consequences.
    fault: Option<GraphFault>,
}

impl GraphBuilder {
    /// Starts a graph.
    pub fn new(name: &str) -> Self {
        GraphBuilder {
            graph: proto::Graph {
                name: name.to_owned(),
                ..Default::default()
            },
            metadata: BTreeMap::new(),
            defined: BTreeSet::new(),
            fault: None,
        }
    }

    /// Adds an `f32` input of static shape.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        let info = self.value_info(name, shape);
        self.graph.input.push(info);
        self.define(name)
    }

    /// Adds `f32` weights in row-major order; the same shape and bits under an earlier name return that value instead.
    pub fn weights(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            let value = data[index].to_string();
            self.note(GraphFault::NotFinite {
                name: name.to_owned(),
                index,
                value,
            });
        }
        let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initialiser(name, shape, data.len(), proto::FLOAT, raw)
    }

    /// Adds a one-dimensional `i64` initialiser, such as the shape operand of `Reshape`.
    pub fn int64s(&mut self, name: &str, data: &[i64]) -> Value {
        let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initialiser(name, &[data.len()], data.len(), proto::INT64, raw)
    }

    /// Adds a node with one output, whose name is also the node's name.
    pub fn node(
        &mut self,
        output: &str,
        op: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        self.node_of("", output, op, inputs, attributes)
    }

    /// Adds a `TreeEnsembleRegressor` of the domain `ai.onnx.ml` with one output.
    pub fn trees(
        &mut self,
        output: &str,
        input: &Value,
        attributes: &[(&str, Attribute)],
    ) -> Value {
        self.node_of(DOMAIN, output, OPERATOR, &[input], attributes)
    }

    fn node_of(
        &mut self,
        domain: &str,
        output: &str,
        op: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        for value in inputs {
            if !self.defined.contains(value.name()) {
                self.note(GraphFault::Undefined {
                    node: output.to_owned(),
                    value: value.name().to_owned(),
                });
            }
        }
        self.graph.node.push(proto::Node {
            input: inputs.iter().map(|value| value.name().to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
            domain: domain.to_owned(),
        });
        self.define(output)
    }

    /// Declares a value to be an `f32` output of the graph, with its static shape.
    pub fn output(&mut self, value: &Value, shape: &[usize]) {
        if !self.defined.contains(value.name()) {
            self.note(GraphFault::Undefined {
                node: "output".to_owned(),
                value: value.name().to_owned(),
            });
        }
        let info = self.value_info(value.name(), shape);
        self.graph.output.push(info);
    }

    /// Sets an entry of the model's `metadata_props`; a later value for a key replaces the earlier.
    pub fn metadata(&mut self, key: &str, value: impl Into<String>) {
        self.metadata.insert(key.to_owned(), value.into());
    }

    /// Returns the bytes of the `.onnx` file.
    ///
    /// # Errors
    ///
    /// [`InferError::Graph`] with the first fault that the building calls met.
    pub fn finish(mut self) -> Result<Vec<u8>, InferError> {
        if self.graph.node.is_empty() || self.graph.output.is_empty() {
            self.note(GraphFault::Empty);
        }
        if let Some(fault) = self.fault {
            return Err(InferError::Graph {
                graph: self.graph.name,
                fault,
            });
        }
        let mut opset_import = vec![proto::OperatorSet {
            domain: String::new(),
            version: OPSET,
        }];
        if self.graph.node.iter().any(|node| node.domain == DOMAIN) {
            opset_import.push(proto::OperatorSet {
                domain: DOMAIN.to_owned(),
                version: DOMAIN_OPSET,
            });
        }
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: "heqis".to_owned(),
            graph: Some(self.graph),
            opset_import,
            metadata_props: self
                .metadata
                .into_iter()
                .map(|(key, value)| proto::StringPair { key, value })
                .collect(),
        };
        Ok(model.encode_to_vec())
    }

    fn initialiser(
        &mut self,
        name: &str,
        shape: &[usize],
        len: usize,
        data_type: i32,
        raw: Vec<u8>,
    ) -> Value {
        let product = shape
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        if product != Some(len) {
            self.note(GraphFault::Length {
                name: name.to_owned(),
                shape: shape.to_vec(),
                got: len,
            });
        }
        let dims = self.dims(name, shape);
        let same = |have: &&proto::Tensor| {
            have.data_type == data_type && have.dims == dims && have.raw_data == raw
        };
        if let Some(shared) = self.graph.initializer.iter().find(same) {
            return Value(shared.name.clone());
        }
        self.graph.initializer.push(proto::Tensor {
            dims,
            data_type,
            name: name.to_owned(),
            raw_data: raw,
            external_data: Vec::new(),
        });
        self.define(name)
    }

    fn value_info(&mut self, name: &str, shape: &[usize]) -> proto::ValueInfo {
        let dim = self
            .dims(name, shape)
            .into_iter()
            .map(|dim| proto::Dim {
                dim_value: Some(dim),
                dim_param: String::new(),
            })
            .collect();
        let tensor_type = proto::TensorType {
            elem_type: proto::FLOAT,
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

    fn dims(&mut self, name: &str, shape: &[usize]) -> Vec<i64> {
        let dims: Option<Vec<i64>> = shape
            .iter()
            .map(|&dim| i64::try_from(dim).ok().filter(|dim| *dim >= 1))
            .collect();
        dims.unwrap_or_else(|| {
            self.note(GraphFault::Shape {
                name: name.to_owned(),
                shape: shape.to_vec(),
            });
            Vec::new()
        })
    }

    fn define(&mut self, name: &str) -> Value {
        if name.is_empty() || !self.defined.insert(name.to_owned()) {
            self.note(GraphFault::Name(name.to_owned()));
        }
        Value(name.to_owned())
    }

    fn note(&mut self, fault: GraphFault) {
        self.fault.get_or_insert(fault);
    }
}

fn attribute(name: &str, value: &Attribute) -> proto::Attribute {
    let mut attribute = proto::Attribute {
        name: name.to_owned(),
        ..Default::default()
    };
    match value {
        Attribute::Int(i) => {
            attribute.i = *i;
            attribute.set_type(proto::AttributeType::Int);
        }
        Attribute::Float(f) => {
            attribute.f = *f;
            attribute.set_type(proto::AttributeType::Float);
        }
        Attribute::String(s) => {
            attribute.s = s.clone().into_bytes();
            attribute.set_type(proto::AttributeType::String);
        }
        Attribute::Ints(ints) => {
            attribute.ints = ints.clone();
            attribute.set_type(proto::AttributeType::Ints);
        }
        Attribute::Floats(floats) => {
            attribute.floats = floats.clone();
            attribute.set_type(proto::AttributeType::Floats);
        }
        Attribute::Strings(strings) => {
            attribute.strings = strings.iter().map(|s| s.clone().into_bytes()).collect();
            attribute.set_type(proto::AttributeType::Strings);
        }
    }
    attribute
}
