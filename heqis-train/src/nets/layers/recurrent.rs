//! Recurrent layers.
//!
//! All gates of a cell share one fused matrix per operand, `[inputs, gates · hidden]` and `[hidden, gates · hidden]`, and
//! are split at each step. Gate order is that of ONNX: z, r, h for the GRU and i, o, f, c for the LSTM, so that the
//! weights of an ONNX node are the transposes.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::linear;
use heqis_infer::onnx::{Attribute, GraphBuilder, Value};

use super::activation::{logistic, sigmoid, tanh, through};
use crate::nets::graph::{Operators, elements, transposed};
use crate::nets::init::Init;

/// Kind of a recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Elman's cell: `h = tanh(x W + h R + b)`.
    Rnn,
    /// Gated recurrent unit in the form with the reset gate after the product (`linear_before_reset = 1`).
    Gru,
    /// Long short-term memory without peepholes.
    Lstm,
}

impl CellKind {
    /// Returns the number of gates that share a fused matrix.
    pub(crate) fn gates(self) -> usize {
        match self {
            CellKind::Rnn => 1,
            CellKind::Gru => 3,
            CellKind::Lstm => 4,
        }
    }
}

/// One recurrent layer in one direction.
#[derive(Module, Debug)]
pub struct RecurrentLayer {
    /// W, shape `[inputs, gates · hidden]`.
    pub input: Param<Tensor<2>>,
    /// R, shape `[hidden, gates · hidden]`.
    pub recurrent: Param<Tensor<2>>,
    /// Bias of the input product, shape `[gates · hidden]`.
    pub input_bias: Param<Tensor<1>>,
    /// Bias of the recurrent product, shape `[gates · hidden]`; used by the GRU only.
    pub recurrent_bias: Option<Param<Tensor<1>>>,
    /// Kind of the cell.
    #[module(skip)]
    pub kind: CellKind,
}

impl RecurrentLayer {
    /// Initialises all weights uniformly in ±1/√hidden.
    pub(crate) fn init(init: &mut Init<'_>, kind: CellKind, inputs: usize, hidden: usize) -> Self {
        let (bound, width) = (1.0 / (hidden as f64).sqrt(), kind.gates() * hidden);
        RecurrentLayer {
            input: init.uniform([inputs, width], bound),
            recurrent: init.uniform([hidden, width], bound),
            input_bias: init.uniform([width], bound),
            recurrent_bias: (kind == CellKind::Gru).then(|| init.uniform([width], bound)),
            kind,
        }
    }

    /// Runs over the steps, each `[B, inputs]`, and returns the hidden state after each, `[B, hidden]`, starting from 0.
    pub fn forward(&self, steps: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let Some(first) = steps.first() else {
            return Vec::new();
        };
        let ([hidden, _], [batch, _]) = (self.recurrent.dims(), first.dims());
        let (fused, last_gate) = (self.fused(), self.last_gate());
        let ones = Tensor::ones([batch, 1], &first.device());
        let mut state = Tensor::zeros([batch, hidden], &first.device());
        let mut cell = state.clone();
        let mut states = Vec::with_capacity(steps.len());
        for x in steps {
            let operands = vec![x.clone(), ones.clone(), state.clone()];
            let gates = Tensor::cat(operands, 1).matmul(fused.clone());
            (state, cell) = match (self.kind, &last_gate) {
                (CellKind::Lstm, _) => lstm_state(gates, cell),
                (_, Some([input, recurrent])) => {
                    let product = |x, (weight, bias): &(Tensor<2>, Tensor<1>)| {
                        linear(x, weight.clone(), Some(bias.clone()))
                    };
                    let of_state = product(state.clone(), recurrent);
                    let of_input = product(x.clone(), input);
                    (gru_state(gates, of_input, of_state, state), cell)
                }
                (_, None) => (tanh(gates), cell),
            };
            states.push(state.clone());
        }
        states
    }

    /// Returns the matrix that maps `[x, 1, h]` to the gates that read all three: input weights, bias and recurrent weights,
    /// stacked, `[inputs + 1 + hidden, width]`.
    ///
    /// One product per step instead of two and an addition: on small batches the number of operations dominates a step's time.
    /// The GRU's last gate is excluded, because its two products must be separate.
    fn fused(&self) -> Tensor<2> {
        let [hidden, width] = self.recurrent.dims();
        let shared = match self.kind {
            CellKind::Gru => 2 * hidden,
            _ => width,
        };
        let mut bias = self.input_bias.val();
        if let Some(recurrent) = &self.recurrent_bias {
            bias = bias + recurrent.val();
        }
        let rows = [
            self.input.val(),
            bias.reshape([1, width]),
            self.recurrent.val(),
        ];
        Tensor::cat(rows.map(|rows| rows.narrow(1, 0, shared)).into(), 0)
    }

    /// Returns weights and biases of the GRU's last gate: for the input, then for the state.
    fn last_gate(&self) -> Option<[(Tensor<2>, Tensor<1>); 2]> {
        let [hidden, _] = self.recurrent.dims();
        let last = |weight: &Param<Tensor<2>>, bias: &Param<Tensor<1>>| {
            (
                weight.val().narrow(1, 2 * hidden, hidden),
                bias.val().narrow(0, 2 * hidden, hidden),
            )
        };
        let recurrent_bias = self.recurrent_bias.as_ref()?;
        Some([
            last(&self.input, &self.input_bias),
            last(&self.recurrent, recurrent_bias),
        ])
    }
}

/// Returns the next state of a GRU from the sums of its gates z and r, both products of its last gate, and its state.
fn gru_state(zr: Tensor<2>, of_input: Tensor<2>, of_state: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
    let [_, hidden] = h.dims();
    let zr = sigmoid(zr);
    let (z, r) = (part(&zr, 0, hidden), part(&zr, 1, hidden));
    let n = tanh(of_input + r * of_state);
    n.clone() + z * (h - n)
}

/// Returns hidden and cell state of an LSTM from the sums of its gates i, o, f, c and its cell state.
///
/// `i, o, f = σ`, `u = tanh`, `c' = f c + i u`, `h' = o tanh(c')`, with explicit derivatives.
fn lstm_state(gates: Tensor<2>, cell: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [batch, hidden] = cell.dims();
    let sums = gates.clone().without_autodiff();
    let iof = logistic(sums.clone().narrow(1, 0, 3 * hidden));
    let [i, o, f] = [0, 1, 2].map(|index| part(&iof, index, hidden));
    let u = logistic(part(&sums, 3, hidden) * 2.0) * 2.0 - 1.0;
    let c = cell.clone().without_autodiff();
    let next = f.clone() * c.clone() + i.clone() * u.clone();
    let bounded = logistic(next.clone() * 2.0) * 2.0 - 1.0;
    let state = o.clone() * bounded.clone();
    if !gates.is_tracked() {
        return (state, next);
    }
    let slopes = vec![
        u.clone() * logistic_derivative(&i),
        o.zeros_like(),
        c * logistic_derivative(&f),
        i * (1.0 - u.clone() * u),
    ];
    let line = (gates.clone() * Tensor::cat(slopes, 1))
        .reshape([batch, 4, hidden])
        .sum_dim(1);
    let next = through(line.reshape([batch, hidden]) + cell * f, next);
    let line = part(&gates, 1, hidden) * (bounded.clone() * logistic_derivative(&o))
        + next.clone() * (o * (1.0 - bounded.clone() * bounded));
    (through(line, state), next)
}

/// Returns gate `index` of fused gates.
fn part(gates: &Tensor<2>, index: usize, hidden: usize) -> Tensor<2> {
    gates.clone().narrow(1, index * hidden, hidden)
}

/// Returns the derivative of the logistic function where its value is `s`.
fn logistic_derivative(s: &Tensor<2>) -> Tensor<2> {
    s.clone() * (1.0 - s.clone())
}

/// A stack of recurrent layers, in one direction or both.
#[derive(Module, Debug)]
pub struct Recurrent {
    /// The layers that read forwards, first to last.
    pub forwards: Vec<RecurrentLayer>,
    /// The layers that read backwards; empty if the stack has one direction.
    pub backwards: Vec<RecurrentLayer>,
}

impl Recurrent {
    /// Initialises a stack.
    pub(crate) fn init(
        init: &mut Init<'_>,
        kind: CellKind,
        inputs: usize,
        hidden: usize,
        layers: usize,
        bidirectional: bool,
    ) -> Self {
        let directions = 1 + usize::from(bidirectional);
        let mut stack = || {
            (0..layers)
                .map(|layer| {
                    let inputs = if layer == 0 {
                        inputs
                    } else {
                        hidden * directions
                    };
                    RecurrentLayer::init(init, kind, inputs, hidden)
                })
                .collect()
        };
        Recurrent {
            forwards: stack(),
            backwards: if bidirectional { stack() } else { Vec::new() },
        }
    }

    /// Returns the state after the whole window: `[B, T, inputs]` → `[B, hidden · directions]`.
    ///
    /// The backward direction's part is its state after it has read the first row.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, rows, inputs] = x.dims();
        let mut steps: Vec<Tensor<2>> = (0..rows)
            .map(|row| x.clone().narrow(1, row, 1).reshape([batch, inputs]))
            .collect();
        let mut backwards = self.backwards.iter();
        let mut ends = Vec::new();
        for layer in &self.forwards {
            let forwards = layer.forward(&steps);
            ends = forwards.last().cloned().into_iter().collect();
            steps = match backwards.next() {
                None => forwards,
                Some(layer) => {
                    steps.reverse();
                    let mut backwards = layer.forward(&steps);
                    ends.extend(backwards.last().cloned());
                    backwards.reverse();
                    let both = forwards.into_iter().zip(backwards);
                    both.map(|(forwards, backwards)| Tensor::cat(vec![forwards, backwards], 1))
                        .collect()
                }
            };
        }
        Tensor::cat(ends, 1)
    }

    /// Writes the stack for `[N, T, inputs]` of the given shape → `[N, hidden · directions]`.
    ///
    /// GRU and LSTM become nodes of which only the output of all steps is used, because a converter fails on the others; an RNN is
    /// unrolled, because not every engine supports its node.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        [batch, rows, _]: [usize; 3],
    ) -> Value {
        let mut steps = graph.transpose(&format!("{name}.steps"), x, &[1, 0, 2]);
        let mut ends = Vec::new();
        for (index, first) in self.forwards.iter().enumerate() {
            let name = format!("{name}.{index}");
            let layers: Vec<&RecurrentLayer> = std::iter::once(first)
                .chain(self.backwards.get(index))
                .collect();
            let last = index + 1 == self.forwards.len();
            (steps, ends) = match first.kind {
                CellKind::Rnn => unrolled(graph, &name, &layers, &steps, [rows, batch], last),
                _ => node(graph, &name, &layers, &steps, [rows, batch], last),
            };
        }
        graph.concat(name, &ends, 1)
    }
}

/// Writes one GRU or LSTM layer in one direction or both: steps `[T, N, inputs]` → steps `[T, N, hidden · directions]`,
/// which the last layer omits, and the states at the end of each direction.
fn node(
    graph: &mut GraphBuilder,
    name: &str,
    layers: &[&RecurrentLayer],
    steps: &Value,
    [rows, batch]: [usize; 2],
    last: bool,
) -> (Value, Vec<Value>) {
    let part = |part: &str| format!("{name}.{part}");
    let directions = layers.len();
    let [inputs, width] = layers[0].input.dims();
    let [hidden, _] = layers[0].recurrent.dims();
    let (mut w, mut r, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for layer in layers {
        w.extend(transposed(&elements(&layer.input), inputs, width));
        r.extend(transposed(&elements(&layer.recurrent), hidden, width));
        b.extend(elements(&layer.input_bias));
        match &layer.recurrent_bias {
            Some(bias) => b.extend(elements(bias)),
            None => b.extend(vec![0.0; width]),
        }
    }
    let w = graph.weights(&part("w"), &[directions, width, inputs], &w);
    let r = graph.weights(&part("r"), &[directions, width, hidden], &r);
    let b = graph.weights(&part("b"), &[directions, 2 * width], &b);
    let direction = if directions == 2 {
        "bidirectional"
    } else {
        "forward"
    };
    let mut attributes = vec![
        ("direction", Attribute::String(direction.to_owned())),
        ("hidden_size", Attribute::Int(hidden as i64)),
    ];
    let op = match layers[0].kind {
        CellKind::Gru => {
            attributes.push(("linear_before_reset", Attribute::Int(1)));
            "GRU"
        }
        _ => "LSTM",
    };
    // [T, directions, N, hidden]
    let all = graph.node(&part("all"), op, &[steps, &w, &r, &b], &attributes);
    if last {
        let ends = (0..directions)
            .map(|direction| {
                let row = if direction == 0 { rows - 1 } else { 0 };
                let part = |step: &str| format!("{name}.end_{direction}{step}");
                let end = graph.slice(&part(".row"), &all, 0, row, row + 1);
                let end = graph.slice(&part(".direction"), &end, 1, direction, direction + 1);
                graph.reshape(&part(""), &end, &[batch, hidden])
            })
            .collect();
        return (all, ends);
    }
    let batch_major = graph.transpose(&part("beside"), &all, &[0, 2, 1, 3]);
    let steps = graph.reshape(
        &part("steps"),
        &batch_major,
        &[rows, batch, directions * hidden],
    );
    (steps, Vec::new())
}

/// Writes one RNN layer step by step, as [`node`] does the others.
fn unrolled(
    graph: &mut GraphBuilder,
    name: &str,
    layers: &[&RecurrentLayer],
    steps: &Value,
    [rows, batch]: [usize; 2],
    last: bool,
) -> (Value, Vec<Value>) {
    let mut directions = Vec::new();
    for (direction, layer) in layers.iter().enumerate() {
        let part = |part: &str| format!("{name}.{direction}.{part}");
        let [inputs, hidden] = layer.input.dims();
        let w = graph.weights(&part("w"), &[inputs, hidden], &elements(&layer.input));
        let r = graph.weights(&part("r"), &[hidden, hidden], &elements(&layer.recurrent));
        let b = graph.weights(&part("b"), &[hidden], &elements(&layer.input_bias));
        let products = graph.binary(&part("products"), "MatMul", steps, &w);
        let inputs = graph.binary(&part("inputs"), "Add", &products, &b);
        let mut states: Vec<Value> = Vec::new();
        for step in 0..rows {
            let row = if direction == 0 {
                step
            } else {
                rows - 1 - step
            };
            let part = |part: &str| format!("{name}.{direction}.{row}.{part}");
            let input = graph.slice(&part("row"), &inputs, 0, row, row + 1);
            let mut sum = graph.reshape(&part("input"), &input, &[batch, hidden]);
            if let Some(state) = states.last() {
                let kept = graph.binary(&part("kept"), "MatMul", state, &r);
                sum = graph.binary(&part("sum"), "Add", &sum, &kept);
            }
            states.push(graph.unary(&part("state"), "Tanh", &sum));
        }
        directions.push((states, hidden));
    }
    let ends = directions
        .iter()
        .filter_map(|(states, _)| states.last().cloned())
        .collect();
    if last {
        return (steps.clone(), ends);
    }
    let mut all_states = Vec::new();
    for (direction, (mut states, hidden)) in directions.into_iter().enumerate() {
        if direction == 1 {
            states.reverse();
        }
        // [N, T · hidden] in time order, then [N, T, hidden].
        let line = graph.concat(&format!("{name}.{direction}.line"), &states, 1);
        let shape = [batch, rows, hidden];
        all_states.push(graph.reshape(&format!("{name}.{direction}.states"), &line, &shape));
    }
    let joined = graph.concat(&format!("{name}.joined"), &all_states, 2);
    let steps = graph.transpose(&format!("{name}.steps"), &joined, &[1, 0, 2]);
    (steps, ends)
}
