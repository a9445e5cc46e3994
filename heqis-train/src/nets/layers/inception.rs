//! An inception-style network over rows: parallel branches with kernels of one, three and five bars.

use burn::module::Module;
use burn::tensor::Tensor;
use heqis_infer::onnx::{GraphBuilder, Value};

use super::activation::silu;
use super::conv::Conv1d;
use super::linear::Linear;
use crate::nets::graph::Operators;
use crate::nets::init::Init;

/// Kernel size of each branch.
const KERNELS: [usize; 3] = [1, 3, 5];

/// Parallel branches with different kernel sizes, combined by a linear layer.
#[derive(Module, Debug)]
pub struct Inception {
    /// One branch per kernel size.
    pub branches: Vec<Conv1d>,
    /// Combines the branches: branches · hidden → hidden.
    pub mix: Linear,
}

impl Inception {
    pub(crate) fn init(init: &mut Init<'_>, inputs: usize, hidden: usize) -> Self {
        Inception {
            branches: KERNELS
                .iter()
                .map(|&kernel| Conv1d::init(init, inputs, hidden, kernel, 1, false))
                .collect(),
            mix: Linear::init(init, KERNELS.len() * hidden, hidden),
        }
    }

    /// Maps `[B, T, inputs]` → `[B, T, hidden]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let branches = self
            .branches
            .iter()
            .map(|branch| silu(branch.forward(x.clone())))
            .collect();
        self.mix.forward_rows(Tensor::cat(branches, 2))
    }

    /// Writes the network for `[N, T, inputs]` of the given shape → `[N, T, hidden]`.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
    ) -> Value {
        let [batch, rows, _] = shape;
        let image = graph.image(&format!("{name}.image"), x, shape);
        let branches: Vec<Value> = self
            .branches
            .iter()
            .enumerate()
            .map(|(index, branch)| {
                let conv = branch.to_onnx(graph, &format!("{name}.{index}"), &image);
                graph.silu(&format!("{name}.{index}.silu"), &conv)
            })
            .collect();
        let [width, _] = self.mix.weight.dims();
        let joined = graph.concat(&format!("{name}.joined"), &branches, 1);
        let series = graph.series(&format!("{name}.series"), &joined, [batch, rows, width]);
        self.mix.to_onnx(graph, name, &series)
    }
}
