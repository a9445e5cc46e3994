//! Convolutions.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use heqis_infer::onnx::{GraphBuilder, Value};

use crate::nets::graph::{Operators, elements, transposed};
use crate::nets::init::Init;

/// A convolution over time with stride 1 that keeps the number of rows.
///
/// It runs as one matrix product over the concatenated taps, which on CPUs is several times as fast as the framework's
/// convolution for narrow series.
#[derive(Module, Debug)]
pub struct Conv1d {
    /// Taps in time order, each `[inputs, outputs]`, stacked: `[kernel · inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// Shape `[outputs]`.
    pub bias: Param<Tensor<1>>,
    /// Number of taps.
    pub kernel: usize,
    /// Rows between neighbouring taps.
    pub dilation: usize,
    /// Whether all taps lie in the past, the last on the current row; otherwise they are centred on it.
    pub causal: bool,
}

impl Conv1d {
    /// Initialises weights and bias uniformly in ±1/√(kernel · inputs).
    pub(crate) fn init(
        init: &mut Init<'_>,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        dilation: usize,
        causal: bool,
    ) -> Self {
        let bound = 1.0 / ((kernel * inputs) as f64).sqrt();
        Conv1d {
            weight: init.uniform([kernel * inputs, outputs], bound),
            bias: init.uniform([outputs], bound),
            kernel,
            dilation,
            causal,
        }
    }

    /// Rows of zeros before and after the series.
    fn padding(&self) -> (usize, usize) {
        let reach = (self.kernel - 1) * self.dilation;
        match self.causal {
            true => (reach, 0),
            false => (reach / 2, reach - reach / 2),
        }
    }

    /// Convolves `[B, T, inputs]` → `[B, T, outputs]`, with zeros outside the series.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, inputs] = x.dims();
        let [_, outputs] = self.weight.dims();
        let taps = if self.kernel == 1 {
            x
        } else {
            let device = x.device();
            let (before, after) = self.padding();
            let zeros = |rows| Tensor::<3>::zeros([batch, rows, inputs], &device);
            let mut parts = vec![x];
            if before > 0 {
                parts.insert(0, zeros(before));
            }
            if after > 0 {
                parts.push(zeros(after));
            }
            let padded = Tensor::cat(parts, 1);
            let taps = (0..self.kernel)
                .map(|tap| padded.clone().narrow(1, tap * self.dilation, rows))
                .collect();
            Tensor::cat(taps, 2)
        };
        let flat = taps.reshape([batch * rows, self.kernel * inputs]);
        linear(flat, self.weight.val(), Some(self.bias.val())).reshape([batch, rows, outputs])
    }

    /// Writes the layer for images `[N, inputs, 1, T]` → `[N, outputs, 1, T]`.
    pub(crate) fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let [taps, outputs] = self.weight.dims();
        let inputs = taps / self.kernel;
        // [kernel, inputs, outputs] → [outputs, inputs, kernel]
        let rows = transposed(&elements(&self.weight), taps, outputs);
        let kernel: Vec<f32> = rows
            .chunks(taps)
            .flat_map(|row| transposed(row, self.kernel, inputs))
            .collect();
        let shape = [outputs, inputs, 1, self.kernel];
        let weight = graph.weights(&format!("{name}.weight"), &shape, &kernel);
        let bias = graph.weights(&format!("{name}.bias"), &[outputs], &elements(&self.bias));
        let (before, after) = self.padding();
        graph.conv(
            name,
            x,
            &weight,
            &bias,
            self.dilation,
            [0, before, 0, after],
        )
    }
}

/// A 3 × 3 convolution of images with stride 1 and zero padding of one pixel.
#[derive(Module, Debug)]
pub struct Conv3x3 {
    /// Shape `[outputs, inputs, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    /// Shape `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Conv3x3 {
    /// Initialises weights and bias uniformly in ±1/√(9 · inputs).
    pub(crate) fn init(init: &mut Init<'_>, inputs: usize, outputs: usize) -> Self {
        let bound = 1.0 / ((9 * inputs) as f64).sqrt();
        Conv3x3 {
            weight: init.uniform([outputs, inputs, 3, 3], bound),
            bias: init.uniform([outputs], bound),
        }
    }

    /// Convolves `[B, inputs, H, W]` → `[B, outputs, H, W]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }

    /// Writes the layer.
    pub(crate) fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let shape = self.weight.dims();
        let weight = graph.weights(&format!("{name}.weight"), &shape, &elements(&self.weight));
        let bias = graph.weights(&format!("{name}.bias"), &[shape[0]], &elements(&self.bias));
        graph.conv(name, x, &weight, &bias, 1, [1; 4])
    }
}
