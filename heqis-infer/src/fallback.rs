//! Moving on to the next backend when the one in use fails while it computes.

use std::collections::VecDeque;

use crate::bundle::Bundle;
use crate::engine::{BackendKind, Engine, EngineThread, Libraries, Unavailable, open_one};
use crate::error::InferError;
use crate::tensor::{TensorSpec, TensorView};

/// An engine with the backends that can take its place.
#[derive(Debug)]
pub(crate) struct Fallback {
    pub(crate) bundle: Bundle,
    pub(crate) libraries: Libraries,
    pub(crate) engine: Box<dyn Engine>,
    /// What is left of the preference list.
    pub(crate) rest: VecDeque<BackendKind>,
    pub(crate) lost: Vec<Unavailable>,
}

impl Fallback {
    /// Replaces an engine that failed by the first of the remaining backends that works.
    fn replace(&mut self, failed: Unavailable) -> Result<(), InferError> {
        self.lost.push(failed);
        while let Some(backend) = self.rest.pop_front() {
            match open_one(&self.bundle, backend, &self.libraries) {
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
                Err(unavailable) => self.lost.push(unavailable),
            }
        }
        Err(InferError::NoBackend {
            tried: self.lost.clone(),
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
        // Ends, since each turn takes a backend from a list that only shrinks.
        loop {
            match self.engine.run(inputs, outputs) {
                Err(InferError::RunFailed { backend, reason }) => {
                    tracing::warn!(
                        bundle = self.bundle.manifest().name.as_str(),
                        backend = backend.name(),
                        reason = reason.as_str(),
                        "backend lost"
                    );
                    self.replace(Unavailable { backend, reason })?;
                }
                done => return done,
            }
        }
    }

    fn thread(&self) -> Option<EngineThread> {
        self.engine.thread()
    }

    fn give_up(&mut self, reason: &str) -> Result<(), InferError> {
        self.replace(Unavailable {
            backend: self.engine.backend(),
            reason: reason.to_owned(),
        })
    }

    fn lost(&self) -> &[Unavailable] {
        &self.lost
    }
}
