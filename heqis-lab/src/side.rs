//! One way of computing a model, of which several are compared.

use heqis_infer::BackendKind;

use crate::error::LabError;
use crate::windows::{Answers, Windows};

/// One way of computing a model.
pub trait Side {
    /// Returns its name, with versions where there are some.
    fn name(&self) -> String;

    /// Returns the backend that this side is, or stands for.
    fn backend(&self) -> Option<BackendKind> {
        None
    }

    /// Computes every window.
    ///
    /// # Errors
    ///
    /// [`LabError`] with what this side said.
    fn compute(&mut self, windows: &Windows) -> Result<Answers, LabError>;
}

/// Returns whether a side computes in 32-bit floats, so that it is held to the narrow tolerance.
pub(crate) fn is_exact(side: &dyn Side) -> bool {
    side.backend().is_none_or(|backend| backend.info().is_exact)
}
