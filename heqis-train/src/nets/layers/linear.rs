//! The linear layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::linear;
use heqis_infer::onnx::{GraphBuilder, Value};

use crate::nets::graph::{Operators, elements, transposed};
use crate::nets::init::Init;

/// `y = x W + b` over the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    /// W, shape `[inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// b, shape `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Initialises weights and bias uniformly in ±1/√inputs.
    pub(crate) fn init(init: &mut Init<'_>, inputs: usize, outputs: usize) -> Self {
        Self::scaled(init, inputs, outputs, 1.0)
    }

    /// Initialises as [`Self::init`] does, times `gain`.
    pub(crate) fn scaled(init: &mut Init<'_>, inputs: usize, outputs: usize, gain: f64) -> Self {
        let bound = gain / (inputs as f64).sqrt();
        Linear {
            weight: init.uniform([inputs, outputs], bound),
            bias: init.uniform([outputs], bound),
        }
    }

    /// Maps rows: `[rows, inputs]` → `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.val(), Some(self.bias.val()))
    }

    /// Maps sequences: `[B, T, inputs]` → `[B, T, outputs]`, as one matrix product over all rows.
    pub(crate) fn forward_rows(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, inputs] = x.dims();
        let [_, outputs] = self.weight.dims();
        self.forward(x.reshape([batch * rows, inputs]))
            .reshape([batch, rows, outputs])
    }

    /// Writes the layer for rows `[N, inputs]` or sequences `[N, T, inputs]`.
    pub(crate) fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let [inputs, outputs] = self.weight.dims();
        let weight = graph.weights(
            &format!("{name}.weight"),
            &[inputs, outputs],
            &elements(&self.weight),
        );
        let bias = graph.weights(&format!("{name}.bias"), &[outputs], &elements(&self.bias));
        let product = graph.binary(&format!("{name}.product"), "MatMul", x, &weight);
        graph.binary(name, "Add", &product, &bias)
    }

    /// Writes the layer as a convolution whose kernel covers a whole image `[N, channels, height, width]`, for images flattened
    /// in the order of `axes`, the image's axes 0 to 2 from slowest to fastest.
    ///
    /// Returns `[N, outputs]`.
    pub(crate) fn to_onnx_conv(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        batch: usize,
        image: [usize; 3],
        axes: [usize; 3],
    ) -> Value {
        let [inputs, outputs] = self.weight.dims();
        let rows = transposed(&elements(&self.weight), inputs, outputs);
        let stride = |axis: usize| -> usize {
            let place = axes.iter().position(|&other| other == axis).unwrap_or(0);
            axes[place + 1..].iter().map(|&axis| image[axis]).product()
        };
        let strides = [stride(0), stride(1), stride(2)];
        let mut kernel = Vec::with_capacity(inputs * outputs);
        for row in rows.chunks(inputs) {
            for channel in 0..image[0] {
                for y in 0..image[1] {
                    for x in 0..image[2] {
                        kernel.push(row[channel * strides[0] + y * strides[1] + x * strides[2]]);
                    }
                }
            }
        }
        let shape = [outputs, image[0], image[1], image[2]];
        let weight = graph.weights(&format!("{name}.weight"), &shape, &kernel);
        let bias = graph.weights(&format!("{name}.bias"), &[outputs], &elements(&self.bias));
        let conv = graph.conv(&format!("{name}.conv"), x, &weight, &bias, 1, [0; 4]);
        graph.reshape(name, &conv, &[batch, outputs])
    }
}
