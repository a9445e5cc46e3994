//! Layer normalisation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::layer_norm;
use heqis_infer::onnx::{GraphBuilder, Value};

use crate::nets::graph::{Operators, elements};
use crate::nets::init::Init;

/// Added to the variance before the square root.
pub(crate) const EPSILON: f64 = 1e-5;

/// `y = (x − mean) / √(variance + ε) · γ + β` over the last axis, with the biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// γ, shape `[width]`.
    pub gamma: Param<Tensor<1>>,
    /// β, shape `[width]`.
    pub beta: Param<Tensor<1>>,
}

impl LayerNorm {
    /// Initialises with γ = 1 and β = 0.
    pub(crate) fn init(init: &mut Init<'_>, width: usize) -> Self {
        LayerNorm {
            gamma: init.constant([width], 1.0),
            beta: init.constant([width], 0.0),
        }
    }

    /// Normalises rows of `[B, T, width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.gamma.val(), Some(self.beta.val()), EPSILON)
    }

    /// Writes the layer for `[N, T, width]`, with operators of opset 13.
    pub(crate) fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let [width] = self.gamma.dims();
        let mean = graph.mean(&part("mean"), x, 2, true);
        let centred = graph.binary(&part("centred"), "Sub", x, &mean);
        let squares = graph.binary(&part("squares"), "Mul", &centred, &centred);
        let variance = graph.mean(&part("variance"), &squares, 2, true);
        let epsilon = graph.weights("norm_epsilon", &[1], &[EPSILON as f32]);
        let shifted = graph.binary(&part("shifted"), "Add", &variance, &epsilon);
        let deviation = graph.unary(&part("deviation"), "Sqrt", &shifted);
        let normal = graph.binary(&part("normal"), "Div", &centred, &deviation);
        let gamma = graph.weights(&part("gamma"), &[width], &elements(&self.gamma));
        let beta = graph.weights(&part("beta"), &[width], &elements(&self.beta));
        let scaled = graph.binary(&part("scaled"), "Mul", &normal, &gamma);
        graph.binary(name, "Add", &scaled, &beta)
    }
}
