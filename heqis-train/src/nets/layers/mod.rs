//! The layers of the networks, each with its forward pass and its ONNX export.
//!
//! - [`activation`]: activations with explicit derivatives.
//! - [`linear`]: matrix product and bias.
//! - [`norm`]: layer normalisation.
//! - [`conv`]: one-dimensional convolution over time, and two-dimensional over a window's image.
//! - [`recurrent`]: RNN, GRU and LSTM with fused gate weights, in either direction.
//! - [`rope`]: rotary position embedding.
//! - [`transformer`]: attention and the pre-norm Transformer stack.
//! - [`tcn`]: the temporal convolution network.
//! - [`inception`]: parallel kernels of several sizes over bars.

pub mod activation;
pub mod conv;
pub mod inception;
pub mod linear;
pub mod norm;
pub mod recurrent;
pub mod rope;
pub mod tcn;
pub mod transformer;
