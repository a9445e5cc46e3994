//! Switching to the next backend when the current one fails while it computes.

use std::collections::VecDeque;

use crate::backend::{BackendKind, Unavailable};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::libraries::Libraries;
use crate::load::load_checked;
use crate::tensor::{TensorSpec, TensorView};

/// An engine with the backends that can replace it.
#[derive(Debug)]
pub(crate) struct Fallback {
    pub(crate) bundle: Bundle,
    pub(crate) libraries: Libraries,
    pub(crate) engine: Box<dyn Engine>,
    /// The rest of the list, in order.
    pub(crate) rest: VecDeque<BackendKind>,
    pub(crate) failed_over: Vec<Unavailable>,
}

impl Fallback {
    /// Replaces an engine that failed by the first of the remaining backends that works.
    fn replace(&mut self, failed: Unavailable) -> Result<(), InferError> {
        self.failed_over.push(failed);
        while let Some(backend) = self.rest.pop_front() {
            match load_checked(&self.bundle, backend, &self.libraries) {
                Ok((engine, self_test)) => {
                    tracing::warn!(
                        bundle = self.bundle.manifest().name.as_str(),
                        backend = backend.name(),
                        max_abs_error = self_test.max_abs_error,
                        "engine replaced"
                    );
                    self.engine = engine;
                    return Ok(());
                }
                Err(unavailable) => self.failed_over.push(unavailable),
            }
        }
        Err(InferError::NoBackend {
            bundle: self.bundle.dir().display().to_string(),
            tried: self.failed_over.clone(),
        })
    }
}

impl Engine for Fallback {
    fn backend(&self) -> BackendKind {
        self.engine.backend()
    }

    fn inputs(&self) -> &[TensorSpec] {
        self.engine.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.engine.outputs()
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        // Ends, since each turn removes a backend from the list.
        loop {
            match self.engine.run(inputs, outputs) {
                Err(InferError::RunFailed { backend, reason }) => {
                    tracing::warn!(
                        bundle = self.bundle.manifest().name.as_str(),
                        backend = backend.name(),
                        reason = reason.as_str(),
                        "backend failed"
                    );
                    self.replace(Unavailable { backend, reason })?;
                }
                done => return done,
            }
        }
    }

    fn failed_over(&self) -> &[Unavailable] {
        &self.failed_over
    }

    fn fail_over(&mut self, reason: &str) -> Result<(), InferError> {
        self.replace(Unavailable {
            backend: self.engine.backend(),
            reason: reason.to_owned(),
        })
    }
}
