//! Shorthands over the graph builder for the operators of exported networks.
//!
//! The rules: opset 13, static shapes, convolutions and pools over `[N, C, 1, T]` images with explicit attributes, and no operator
//! that a board's converter refuses.

use burn::module::Param;
use burn::tensor::Tensor;
use heqis_infer::onnx::{Attribute, GraphBuilder, Value};

/// Returns the elements of a parameter.
///
/// If they cannot be read from the device, the result is empty, and the graph builder refuses it by name as too short for its
/// shape.
pub(crate) fn elements<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().try_to_vec_as::<f32>().unwrap_or_default()
}

/// Turns a row-major matrix `[rows, columns]` into `[columns, rows]`.
pub(crate) fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| row * columns + column))
        .filter_map(|index| matrix.get(index).copied())
        .collect()
}

/// The operators, each named after its output.
pub(crate) trait Operators {
    fn unary(&mut self, name: &str, op: &str, x: &Value) -> Value;
    fn binary(&mut self, name: &str, op: &str, a: &Value, b: &Value) -> Value;
    fn reshape(&mut self, name: &str, x: &Value, shape: &[usize]) -> Value;
    fn transpose(&mut self, name: &str, x: &Value, axes: &[i64]) -> Value;
    /// Keeps the elements from `start` to before `end` of one axis.
    fn slice(&mut self, name: &str, x: &Value, axis: usize, start: usize, end: usize) -> Value;
    fn concat(&mut self, name: &str, parts: &[Value], axis: usize) -> Value;
    fn mean(&mut self, name: &str, x: &Value, axis: usize, keep: bool) -> Value;
    fn silu(&mut self, name: &str, x: &Value) -> Value;
    fn softmax(&mut self, name: &str, x: &Value, axis: usize) -> Value;
    fn leaky_relu(&mut self, name: &str, x: &Value, slope: f64) -> Value;
    /// Convolves an image; `pads` are rows and columns before, then after.
    fn conv(
        &mut self,
        name: &str,
        x: &Value,
        weight: &Value,
        bias: &Value,
        dilation: usize,
        pads: [usize; 4],
    ) -> Value;
    /// Pools an image without overlap.
    fn pool(&mut self, name: &str, op: &str, x: &Value, kernel: [usize; 2]) -> Value;
    /// Turns a series `[N, T, C]` into an image `[N, C, 1, T]`.
    fn image(&mut self, name: &str, x: &Value, shape: [usize; 3]) -> Value;
    /// Turns an image `[N, C, 1, T]` into a series `[N, T, C]` of the given shape.
    fn series(&mut self, name: &str, x: &Value, shape: [usize; 3]) -> Value;
}

impl Operators for GraphBuilder {
    fn unary(&mut self, name: &str, op: &str, x: &Value) -> Value {
        self.node(name, op, &[x], &[])
    }

    fn binary(&mut self, name: &str, op: &str, a: &Value, b: &Value) -> Value {
        self.node(name, op, &[a, b], &[])
    }

    fn reshape(&mut self, name: &str, x: &Value, shape: &[usize]) -> Value {
        let shape = self.int64s(&format!("{name}.shape"), &integers(shape));
        self.node(name, "Reshape", &[x, &shape], &[])
    }

    fn transpose(&mut self, name: &str, x: &Value, axes: &[i64]) -> Value {
        let axes = ("perm", Attribute::Ints(axes.to_vec()));
        self.node(name, "Transpose", &[x], &[axes])
    }

    fn slice(&mut self, name: &str, x: &Value, axis: usize, start: usize, end: usize) -> Value {
        let mut operand =
            |part: &str, value: usize| self.int64s(&format!("{name}.{part}"), &integers(&[value]));
        let (starts, ends) = (operand("starts", start), operand("ends", end));
        let axes = operand("axes", axis);
        self.node(name, "Slice", &[x, &starts, &ends, &axes], &[])
    }

    fn concat(&mut self, name: &str, parts: &[Value], axis: usize) -> Value {
        let parts: Vec<&Value> = parts.iter().collect();
        self.node(name, "Concat", &parts, &[("axis", int(axis))])
    }

    fn mean(&mut self, name: &str, x: &Value, axis: usize, keep: bool) -> Value {
        let axes = ("axes", ints(&[axis]));
        let keep = ("keepdims", int(usize::from(keep)));
        self.node(name, "ReduceMean", &[x], &[axes, keep])
    }

    fn silu(&mut self, name: &str, x: &Value) -> Value {
        let gate = self.unary(&format!("{name}.gate"), "Sigmoid", x);
        self.binary(name, "Mul", x, &gate)
    }

    fn softmax(&mut self, name: &str, x: &Value, axis: usize) -> Value {
        self.node(name, "Softmax", &[x], &[("axis", int(axis))])
    }

    fn leaky_relu(&mut self, name: &str, x: &Value, slope: f64) -> Value {
        let alpha = ("alpha", Attribute::Float(slope as f32));
        self.node(name, "LeakyRelu", &[x], &[alpha])
    }

    fn conv(
        &mut self,
        name: &str,
        x: &Value,
        weight: &Value,
        bias: &Value,
        dilation: usize,
        pads: [usize; 4],
    ) -> Value {
        let attributes = [
            ("dilations", ints(&[1, dilation])),
            ("pads", ints(&pads)),
            ("strides", ints(&[1, 1])),
        ];
        self.node(name, "Conv", &[x, weight, bias], &attributes)
    }

    fn pool(&mut self, name: &str, op: &str, x: &Value, kernel: [usize; 2]) -> Value {
        let attributes = [
            ("kernel_shape", ints(&kernel)),
            ("pads", ints(&[0; 4])),
            ("strides", ints(&kernel)),
        ];
        self.node(name, op, &[x], &attributes)
    }

    fn image(&mut self, name: &str, x: &Value, shape: [usize; 3]) -> Value {
        let [batch, rows, channels] = shape;
        let channels_first = self.transpose(&format!("{name}.channels_first"), x, &[0, 2, 1]);
        self.reshape(name, &channels_first, &[batch, channels, 1, rows])
    }

    fn series(&mut self, name: &str, x: &Value, shape: [usize; 3]) -> Value {
        let [batch, rows, channels] = shape;
        let flat = self.reshape(&format!("{name}.flat"), x, &[batch, channels, rows]);
        self.transpose(name, &flat, &[0, 2, 1])
    }
}

fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

fn int(value: usize) -> Attribute {
    Attribute::Int(value as i64)
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(integers(values))
}
