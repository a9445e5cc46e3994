//! Weights as named tensors, collected from a network for checkpoints and digests and restored bit for bit.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedTensor {
    /// Path in the network, such as `heads.value.weight`.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

/// Returns the parameters of a network in the order of its fields.
///
/// # Errors
///
/// [`TrainError::Rule`] when a tensor cannot be read from the device.
pub fn collect<M: Module>(network: &M) -> Result<Vec<NamedTensor>, TrainError> {
    let mut collector = Collector::default();
    network.visit(&mut collector);
    match collector.fault {
        None => Ok(collector.tensors),
        Some(rule) => Err(TrainError::rule("weights", rule)),
    }
}

/// Returns `network` with the parameters replaced; their ids and gradient settings stay.
///
/// # Errors
///
/// [`TrainError::Rule`] when a parameter of the network is missing or has another shape, or a tensor is left over.
pub fn restore<M: Module>(network: M, tensors: &[NamedTensor]) -> Result<M, TrainError> {
    let mut restorer = Restorer {
        path: Vec::new(),
        tensors: tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect(),
        fault: None,
    };
    let network = network.map(&mut restorer);
    let left = restorer.tensors.keys().next();
    match restorer
        .fault
        .or_else(|| left.map(|name| format!("no parameter is called {name:?}")))
    {
        None => Ok(network),
        Some(rule) => Err(TrainError::rule("weights", rule)),
    }
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Vec<NamedTensor>,
    fault: Option<String>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, value) = (self.path.join("."), param.val());
        let shape = value.dims().to_vec();
        match value.try_to_vec_as::<f32>() {
            Ok(data) => self.tensors.push(NamedTensor { name, shape, data }),
            Err(error) => {
                self.fault.get_or_insert(format!("{name}: {error:?}"));
            }
        }
    }
}

struct Restorer<'a> {
    path: Vec<String>,
    /// The tensors that are not used yet.
    tensors: BTreeMap<&'a str, &'a NamedTensor>,
    fault: Option<String>,
}

impl ModuleMapper for Restorer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let shape = param.shape().dims::<D>();
        let rule = match self.tensors.remove(name.as_str()) {
            None => format!("parameter {name:?} is missing"),
            Some(tensor) if tensor.shape != shape => {
                format!("{name} must have shape {shape:?}, got {:?}", tensor.shape)
            }
            Some(tensor) if tensor.data.len() != shape.iter().product::<usize>() => {
                format!(
                    "{name} of shape {shape:?} got {} elements",
                    tensor.data.len()
                )
            }
            Some(tensor) => {
                let data = TensorData::new(tensor.data.clone(), shape);
                return param.map(|old| {
                    let new = Tensor::from_data(data, &old.device());
                    match old.is_require_grad() {
                        true => new.require_grad(),
                        false => new,
                    }
                });
            }
        };
        self.fault.get_or_insert(rule);
        param
    }
}
