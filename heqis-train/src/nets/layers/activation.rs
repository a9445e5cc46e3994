//! Activations with explicit derivatives.
//!
//! The framework's own activations compute their exponentials a second time in the backward pass, and those are the most
//! expensive part of a recurrent step. Here value and derivative are computed once, outside the graph, and the graph contains the
//! tangent `x · slope + (value − x · slope)`: the same value up to rounding, with a backward pass of one product. The LSTM does the
//! same with all gates of a step.

use burn::tensor::Tensor;

/// The logistic function `1 / (1 + exp(−x))`.
pub fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    tangent(x, |x| {
        let value = logistic(x);
        let slope = value.clone() * (1.0 - value.clone());
        (value, slope)
    })
}

/// The hyperbolic tangent, by the logistic function, whose exponential takes a third of the time of the C library's tangent.
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    tangent(x, |x| {
        let value = logistic(x * 2.0) * 2.0 - 1.0;
        let slope = 1.0 - value.clone() * value.clone();
        (value, slope)
    })
}

/// `x / (1 + exp(−x))`.
pub(crate) fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    tangent(x, |x| {
        let gate = logistic(x.clone());
        let value = x * gate.clone();
        let slope = gate.clone() + value.clone() * (1.0 - gate);
        (value, slope)
    })
}

/// The logistic function of a tensor outside the graph, without the framework's branch on the sign: where the exponential
/// overflows, its inverse is 0, as it should be.
pub(super) fn logistic<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x.neg().exp() + 1.0).recip()
}

/// `x` above 0, `low · x` below.
pub(crate) fn leaky_relu<const D: usize>(x: Tensor<D>, low: f64) -> Tensor<D> {
    let above = x.clone().without_autodiff().greater_equal_scalar(0.0);
    x * (above.float() * (1.0 - low) + low)
}

/// Returns the value of an elementwise function, represented in the graph only by its tangent.
fn tangent<const D: usize>(
    x: Tensor<D>,
    curve: impl FnOnce(Tensor<D>) -> (Tensor<D>, Tensor<D>),
) -> Tensor<D> {
    // Tensors without autodiff are constants in operations with others.
    let (value, slope) = curve(x.clone().without_autodiff());
    match x.is_tracked() {
        true => through(x * slope, value),
        false => value,
    }
}

/// Shifts a linear expression to the value `value`; its gradient is kept.
pub(super) fn through<const D: usize>(line: Tensor<D>, value: Tensor<D>) -> Tensor<D> {
    let rest = value - line.clone().without_autodiff();
    line + rest
}
