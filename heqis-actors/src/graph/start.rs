//! Starts a collected graph that passes its check.

use std::time::Duration;

use actix::prelude::*;

use super::builder::GraphBuilder;
use super::running::Running;
use super::wiring::Wiring;
use super::{GraphError, termination_signal};
use crate::check::GraphFault;
use crate::report::NodeReport;

impl GraphBuilder {
    /// Runs the graph on an actix system of its own until it has ended by itself, or until SIGTERM or ctrl-c and
    /// then at most `drain_timeout`.
    ///
    /// # Errors
    /// As [`GraphBuilder::start`].
    pub fn run(self, drain_timeout: Duration) -> Result<NodeReport, GraphError> {
        System::new().block_on(async move {
            // Watched from before the first frame: until then SIGTERM would kill the process undrained.
            let handle = self.handle();
            let first = termination_signal();
            let signals = actix_rt::spawn(async move {
                first.await;
                handle.stop();
                termination_signal().await;
                handle.abandon();
            });
            let running = self.start().await?;
            let report = running.wait(drain_timeout).await;
            signals.abort();
            Ok(report)
        })
    }

    /// Builds every stage and starts the flow. Must be called inside an actix system.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] with everything that [`GraphBuilder::check`] finds, [`GraphError::Build`] with everything that could not
    /// be built; nothing runs then.
    pub async fn start(self) -> Result<Running, GraphError> {
        self.validate()?;
        Wiring::new(self).start().await
    }

    fn validate(&self) -> Result<(), GraphError> {
        let (warnings, faults): (Vec<_>, Vec<_>) =
            (self.faults().into_iter()).partition(GraphFault::is_warning);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(GraphError::Invalid(faults)),
        }
    }
}
