//! An implementation of a model's computation, several of which are compared.

use heqis_infer::BackendKind;

use crate::error::LabError;
use crate::windows::{Outputs, Windows};

/// An implementation of a model's computation.
pub trait Implementation {
    /// Returns its name, with versions where it has any.
    fn name(&self) -> String;

    /// Returns the backend that this implementation is or represents.
    fn backend(&self) -> Option<BackendKind> {
        None
    }

    /// Computes every window.
    ///
    /// # Errors
    ///
    /// [`LabError`] with the message of the implementation.
    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError>;
}

/// Returns whether an implementation computes in 32-bit floats, so that the narrow tolerance applies.
pub(crate) fn is_exact(implementation: &dyn Implementation) -> bool {
    implementation
        .backend()
        .is_none_or(|backend| backend.info().is_exact)
}
