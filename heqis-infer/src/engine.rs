//! The [`Engine`] trait.

use std::fmt;

use crate::backend::{BackendKind, Unavailable};
use crate::error::InferError;
use crate::tensor::{TensorSpec, TensorView};

/// A loaded model that computes synchronously on the calling thread's time.
///
/// An engine is owned by one stage and is never shared; it holds no queue. Inputs are given and outputs returned in the
/// order of [`inputs`](Engine::inputs) and [`outputs`](Engine::outputs), which is the model file's order.
pub trait Engine: Send + fmt::Debug {
    /// Returns the kind of backend that computes.
    fn backend(&self) -> BackendKind;

    /// Returns the inputs with names, element types and the shape of one row.
    fn inputs(&self) -> &[TensorSpec];

    /// Returns the outputs with names, element types and the shape of one row.
    fn outputs(&self) -> &[TensorSpec];

    /// Computes one batch.
    ///
    /// Every input must have its specified shape; where all inputs and outputs begin with a batch dimension of 1, the
    /// first dimension may be any n, equal on all inputs, and each row's output has exactly the bits that a call with
    /// that row alone gives. Each buffer in `outputs` is cleared and then filled with n rows; its capacity is kept, so
    /// after the largest batch has been seen the engine's own code allocates nothing more.
    ///
    /// A model may compute NaN or infinity from finite inputs. Such values are returned as they are, so that one row of a
    /// batch does not affect the others; the caller must check them.
    ///
    /// # Errors
    ///
    /// [`InferError::Tensor`] when an input does not fit or is not finite; [`InferError::RunFailed`] when the backend
    /// fails. The content of the buffers is then unspecified.
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError>;

    /// Returns the backends that failed while they computed, in order. After each failure the engine has switched to the
    /// next backend of the list, which computed the same batch again.
    fn failed_over(&self) -> &[Unavailable] {
        &[]
    }

    /// Switches to the next backend of the list, because the results of the current one are unusable.
    ///
    /// # Errors
    ///
    /// [`InferError::NoBackend`] when no working backend is left.
    fn fail_over(&mut self, reason: &str) -> Result<(), InferError> {
        Err(InferError::NoBackend {
            bundle: String::new(),
            tried: vec![Unavailable {
                backend: self.backend(),
                reason: reason.to_owned(),
            }],
        })
    }
}
