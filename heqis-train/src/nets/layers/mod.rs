//! The layers of the networks, each with its framework form and its ONNX form side by side.
//!
//! - [`activation`]: activations with hand-written slopes.
//! - [`linear`]: matrix product and bias.
//! - [`norm`]: layer normalisation.
//! - [`conv`]: one-dimensional convolution over time, and two-dimensional over a window's image.
//! - [`recurrent`]: RNN, GRU and LSTM with fused gate weights, in either direction.
//! - [`rope`]: rotary position embedding.
//! - [`transformer`]: attention and the pre-norm Transformer stack.
//! - [`tcn`]: the temporal convolution network.
//! - [`inception`]: a bar seen through kernels of several widths.

pub mod activation;
pub mod conv;
pub mod inception;
pub mod linear;
pub mod norm;
pub mod recurrent;
pub mod rope;
pub mod tcn;
pub mod transformer;
