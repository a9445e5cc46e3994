//! Rotary position embedding (RoFormer, arXiv 2104.09864), in the half-split layout.
//!
//! Pair k of a head of width d is made of its elements k and k + d/2; row p rotates it by the angle p · 10000^(−2k/d).
//! Only queries and keys are rotated, so that their products depend only on the distance of the rows.

use burn::tensor::{Tensor, TensorData};
use heqis_infer::onnx::{GraphBuilder, Value};

use crate::nets::graph::Operators;

/// Name of the layout of pairs, for a model's metadata.
pub const LAYOUT: &str = "half-split";

/// Base of the frequencies.
const BASE: f64 = 10_000.0;

/// Tables of cosines and sines for positions from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    rows: usize,
    width: usize,
    cos: Vec<f32>,
    /// With the sign of the rotation: negative in the first half.
    sin: Vec<f32>,
}

impl Rope {
    /// Computes the tables of `rows` positions for heads of an even `width`.
    pub fn new(rows: usize, width: usize) -> Self {
        let half = width / 2;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for row in 0..rows {
            for element in 0..width {
                let pair = element % half;
                let angle = row as f64 * BASE.powf(-2.0 * pair as f64 / width as f64);
                cos.push(angle.cos() as f32);
                let sign = if element < half { -1.0 } else { 1.0 };
                sin.push((sign * angle.sin()) as f32);
            }
        }
        Rope {
            rows,
            width,
            cos,
            sin,
        }
    }

    /// Rotates `[B, T, heads, width]`, where row t of T has position t.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (device, half) = (x.device(), self.width / 2);
        let table = |values: &Vec<f32>| {
            let data = TensorData::new(values.clone(), [1, self.rows, 1, self.width]);
            Tensor::<4>::from_data(data, &device)
        };
        let swapped = Tensor::cat(
            vec![
                x.clone().narrow(3, half, half),
                x.clone().narrow(3, 0, half),
            ],
            3,
        );
        x * table(&self.cos) + swapped * table(&self.sin)
    }

    /// Writes the rotation of `[N, T, heads, width]`, with the tables as constants.
    pub(crate) fn to_onnx(&self, graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let (half, shape) = (self.width / 2, [1, self.rows, 1, self.width]);
        let cos = graph.weights(&part("cos"), &shape, &self.cos);
        let sin = graph.weights(&part("sin"), &shape, &self.sin);
        let first = graph.slice(&part("first"), x, 3, 0, half);
        let second = graph.slice(&part("second"), x, 3, half, self.width);
        let swapped = graph.concat(&part("swapped"), &[second, first], 3);
        let straight = graph.binary(&part("straight"), "Mul", x, &cos);
        let turned = graph.binary(&part("turned"), "Mul", &swapped, &sin);
        graph.binary(name, "Add", &straight, &turned)
    }
}
