//! What a closure that stands for a stage returns.
//!
//! Here and not with the stages of closures, because the compiler must see that `Option`, `Result` and `()` are no payloads.

use crate::error::StageError;
use crate::payload::{Nothing, Payload};

/// What a closure may return for one frame: a payload, none, or either as a `Result`; `()` for a sink.
///
/// ```
/// use heqis_actors::{ClosureResult, Nothing, StageError};
///
/// fn out_of<R: ClosureResult>(result: R) -> Result<Option<R::Out>, StageError> {
///     result.into_payload()
/// }
/// assert!(matches!(out_of(()), Ok(None)));
/// assert!(matches!(out_of(None::<Nothing>), Ok(None)));
/// let refused: Result<(), _> = Err(StageError::refused("not a price"));
/// assert!(out_of(refused).is_err());
/// ```
pub trait ClosureResult {
    /// The payload that the stage emits.
    type Out: Payload;

    /// The payload to emit for the frame, if any.
    ///
    /// # Errors
    /// Those of the closure.
    fn into_payload(self) -> Result<Option<Self::Out>, StageError>;
}

impl<P: Payload> ClosureResult for P {
    type Out = P;

    fn into_payload(self) -> Result<Option<P>, StageError> {
        Ok(Some(self))
    }
}

impl<P: Payload> ClosureResult for Option<P> {
    type Out = P;

    fn into_payload(self) -> Result<Option<P>, StageError> {
        Ok(self)
    }
}

impl<R: ClosureResult> ClosureResult for Result<R, StageError> {
    type Out = R::Out;

    fn into_payload(self) -> Result<Option<R::Out>, StageError> {
        self?.into_payload()
    }
}

impl ClosureResult for () {
    type Out = Nothing;

    fn into_payload(self) -> Result<Option<Nothing>, StageError> {
        Ok(None)
    }
}
