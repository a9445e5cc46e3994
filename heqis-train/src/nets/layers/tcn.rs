//! The temporal convolution network (arXiv 1803.01271): residual pairs of causal convolutions of growing dilation.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use heqis_infer::onnx::{GraphBuilder, Value};

use super::conv::Conv1d;
use crate::nets::graph::Operators;
use crate::nets::init::Init;

/// Kernel size of each convolution.
const KERNEL: usize = 3;

/// `relu(skip x + relu(conv relu(conv x)))`.
#[derive(Module, Debug)]
pub struct TcnBlock {
    /// First convolution.
    pub first: Conv1d,
    /// Second convolution.
    pub second: Conv1d,
    /// Projects the input to the block's width, if they differ.
    pub skip: Option<Conv1d>,
}

impl TcnBlock {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = relu(self.first.forward(x.clone()));
        let inner = relu(self.second.forward(inner));
        let skip = match &self.skip {
            Some(skip) => skip.forward(x),
            None => x,
        };
        relu(skip + inner)
    }

    fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let first = self.first.to_onnx(graph, &part("first"), x);
        let first = graph.unary(&part("first.relu"), "Relu", &first);
        let second = self.second.to_onnx(graph, &part("second"), &first);
        let second = graph.unary(&part("second.relu"), "Relu", &second);
        let skip = match &self.skip {
            Some(skip) => skip.to_onnx(graph, &part("skip"), x),
            None => x.clone(),
        };
        let sum = graph.binary(&part("sum"), "Add", &skip, &second);
        graph.unary(name, "Relu", &sum)
    }
}

/// A stack of blocks whose dilation doubles, read at the last row.
#[derive(Module, Debug)]
pub struct Tcn {
    /// The blocks, first to last.
    pub blocks: Vec<TcnBlock>,
}

impl Tcn {
    /// Initialises a stack; block i has dilation 2^i.
    pub(crate) fn init(init: &mut Init<'_>, inputs: usize, hidden: usize, layers: usize) -> Self {
        let blocks = (0..layers)
            .map(|layer| {
                let inputs = if layer == 0 { inputs } else { hidden };
                let dilation = 1 << layer;
                TcnBlock {
                    first: Conv1d::init(init, inputs, hidden, KERNEL, dilation, true),
                    second: Conv1d::init(init, hidden, hidden, KERNEL, dilation, true),
                    skip: (inputs != hidden)
                        .then(|| Conv1d::init(init, inputs, hidden, 1, 1, true)),
                }
            })
            .collect();
        Tcn { blocks }
    }

    /// Returns the last row's state: `[B, T, inputs]` → `[B, hidden]`.
    pub fn forward(&self, mut x: Tensor<3>) -> Tensor<2> {
        for block in &self.blocks {
            x = block.forward(x);
        }
        let [batch, rows, hidden] = x.dims();
        x.narrow(1, rows - 1, 1).reshape([batch, hidden])
    }

    /// Writes the stack for `[N, T, inputs]` of the given shape → `[N, hidden]`.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
    ) -> Value {
        let [batch, rows, _] = shape;
        let mut image = graph.image(&format!("{name}.image"), x, shape);
        let mut hidden = shape[2];
        for (index, block) in self.blocks.iter().enumerate() {
            image = block.to_onnx(graph, &format!("{name}.{index}"), &image);
            [_, hidden] = block.second.weight.dims();
        }
        let last = graph.slice(&format!("{name}.last"), &image, 3, rows - 1, rows);
        graph.reshape(name, &last, &[batch, hidden])
    }
}
