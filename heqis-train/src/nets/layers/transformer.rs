//! Multi-head attention with rotary positions, and the pre-norm Transformer stack.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use heqis_infer::onnx::{GraphBuilder, Value};

use super::activation::silu;
use super::linear::Linear;
use super::norm::LayerNorm;
use super::rope::Rope;
use crate::nets::graph::Operators;
use crate::nets::init::Init;

/// Multi-head self-attention without a mask.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values of all heads in one product: width → 3 · width.
    pub qkv: Linear,
    /// Combines the heads: width → width.
    pub mix: Linear,
    /// Number of heads.
    pub heads: usize,
    #[module(skip)]
    rope: Rope,
}

impl Attention {
    pub(crate) fn init(
        init: &mut Init<'_>,
        rows: usize,
        width: usize,
        heads: usize,
        gain: f64,
    ) -> Self {
        Attention {
            qkv: Linear::init(init, width, 3 * width),
            mix: Linear::scaled(init, width, width, gain),
            heads,
            rope: Rope::new(rows, width / heads),
        }
    }

    /// Attends over `[B, T, width]` with the last `queries` rows as queries: `[B, queries, width]`.
    pub fn forward(&self, x: Tensor<3>, queries: usize) -> Tensor<3> {
        let ([batch, rows, width], heads) = (x.dims(), self.heads);
        let head = width / heads;
        let qkv = self.qkv.forward_rows(x);
        // Queries and keys are rotated together, since they are adjacent in the fused product.
        let qk = qkv
            .clone()
            .narrow(2, 0, 2 * width)
            .reshape([batch, rows, 2 * heads, head]);
        let qk = self.rope.forward(qk).permute([0, 2, 1, 3]);
        let q = qk
            .clone()
            .narrow(1, 0, heads)
            .narrow(2, rows - queries, queries);
        let k = qk.narrow(1, heads, heads);
        let v = qkv
            .narrow(2, 2 * width, width)
            .reshape([batch, rows, heads, head])
            .permute([0, 2, 1, 3]);
        let scores = (q / (head as f64).sqrt()).matmul(k.transpose());
        let answers = softmax(scores, 3).matmul(v);
        self.mix.forward_rows(
            answers
                .permute([0, 2, 1, 3])
                .reshape([batch, queries, width]),
        )
    }

    /// Writes the layer for `[N, T, width]` of the given shape, with the last `queries` rows as queries.
    fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        [batch, rows, width]: [usize; 3],
        queries: usize,
    ) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let (heads, head) = (self.heads, width / self.heads);
        let qkv = self.qkv.to_onnx(graph, &part("qkv"), x);
        let split = graph.reshape(&part("split"), &qkv, &[batch, rows, 3 * heads, head]);
        let qk = graph.slice(&part("qk"), &split, 2, 0, 2 * heads);
        let qk = self.rope.to_onnx(graph, &part("rope"), &qk);
        let mut q = graph.slice(&part("q"), &qk, 2, 0, heads);
        if queries < rows {
            q = graph.slice(&part("q_last"), &q, 1, rows - queries, rows);
        }
        let k = graph.slice(&part("k"), &qk, 2, heads, 2 * heads);
        let v = graph.slice(&part("v"), &split, 2, 2 * heads, 3 * heads);
        let q = graph.transpose(&part("q_heads"), &q, &[0, 2, 1, 3]);
        let k = graph.transpose(&part("k_heads"), &k, &[0, 2, 3, 1]);
        let v = graph.transpose(&part("v_heads"), &v, &[0, 2, 1, 3]);
        let scale = graph.weights(&part("scale"), &[1], &[(1.0 / (head as f64).sqrt()) as f32]);
        let q = graph.binary(&part("q_scaled"), "Mul", &q, &scale);
        let scores = graph.binary(&part("scores"), "MatMul", &q, &k);
        let shares = graph.softmax(&part("shares"), &scores, 3);
        let answers = graph.binary(&part("answers"), "MatMul", &shares, &v);
        let joined = graph.transpose(&part("joined"), &answers, &[0, 2, 1, 3]);
        let flat = graph.reshape(&part("flat"), &joined, &[batch, queries, width]);
        self.mix.to_onnx(graph, &part("mix"), &flat)
    }
}

/// One pre-norm block: `x + attention(norm x)`, then `x + W₂ silu(W₁ norm x)`.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub attention_norm: LayerNorm,
    /// The attention.
    pub attention: Attention,
    /// Before the row-wise network.
    pub rows_norm: LayerNorm,
    /// W₁: width → 4 · width.
    pub widen: Linear,
    /// W₂: 4 · width → width.
    pub narrow: Linear,
}

impl Block {
    fn forward(&self, x: Tensor<3>, queries: usize) -> Tensor<3> {
        let [_, rows, _] = x.dims();
        let attended = self
            .attention
            .forward(self.attention_norm.forward(x.clone()), queries);
        let x = x.narrow(1, rows - queries, queries) + attended;
        let wide = silu(self.widen.forward_rows(self.rows_norm.forward(x.clone())));
        x + self.narrow.forward_rows(wide)
    }

    fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
        queries: usize,
    ) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let rows = shape[1];
        let normal = self
            .attention_norm
            .to_onnx(graph, &part("attention_norm"), x);
        let attended = self
            .attention
            .to_onnx(graph, &part("attention"), &normal, shape, queries);
        let kept = match queries < rows {
            true => graph.slice(&part("kept"), x, 1, rows - queries, rows),
            false => x.clone(),
        };
        let x = graph.binary(&part("attended"), "Add", &kept, &attended);
        let normal = self.rows_norm.to_onnx(graph, &part("rows_norm"), &x);
        let wide = self.widen.to_onnx(graph, &part("widen"), &normal);
        let wide = graph.silu(&part("wide"), &wide);
        let narrow = self.narrow.to_onnx(graph, &part("narrow"), &wide);
        graph.binary(name, "Add", &x, &narrow)
    }
}

/// Blocks and a last normalisation, read at the last row.
#[derive(Module, Debug)]
pub struct Transformer {
    /// The blocks, first to last.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
}

impl Transformer {
    /// Initialises a stack for windows of `rows` rows; `width / heads` must be even.
    ///
    /// The last products of residual branches are initialised smaller by 1/√(2 · layers), so that deep stacks start near the
    /// identity.
    pub(crate) fn init(
        init: &mut Init<'_>,
        rows: usize,
        width: usize,
        heads: usize,
        layers: usize,
    ) -> Self {
        let gain = 1.0 / (2.0 * layers as f64).sqrt();
        let blocks = (0..layers)
            .map(|_| Block {
                attention_norm: LayerNorm::init(init, width),
                attention: Attention::init(init, rows, width, heads, gain),
                rows_norm: LayerNorm::init(init, width),
                widen: Linear::init(init, width, 4 * width),
                narrow: Linear::scaled(init, 4 * width, width, gain),
            })
            .collect();
        Transformer {
            blocks,
            norm: LayerNorm::init(init, width),
        }
    }

    /// Returns the last row's output: `[B, T, width]` → `[B, width]`.
    ///
    /// The last block computes only that row, since the others are not used.
    pub fn forward(&self, mut x: Tensor<3>) -> Tensor<2> {
        let [batch, rows, width] = x.dims();
        for (index, block) in self.blocks.iter().enumerate() {
            let last = index + 1 == self.blocks.len();
            x = block.forward(x, if last { 1 } else { rows });
        }
        self.norm.forward(x).reshape([batch, width])
    }

    /// Writes the stack for `[N, T, width]` of the given shape → `[N, width]`.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
    ) -> Value {
        let [batch, rows, width] = shape;
        let mut x = x.clone();
        for (index, block) in self.blocks.iter().enumerate() {
            let last = index + 1 == self.blocks.len();
            let queries = if last { 1 } else { rows };
            x = block.to_onnx(graph, &format!("{name}.{index}"), &x, shape, queries);
        }
        let normal = self.norm.to_onnx(graph, &format!("{name}.norm"), &x);
        graph.reshape(name, &normal, &[batch, width])
    }
}
