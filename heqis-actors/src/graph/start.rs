//! Starts a collected graph that passes its check.

use std::io;
use std::time::Duration;

use super::GraphError;
use super::builder::GraphBuilder;
use super::handle::GraphHandle;
use super::supervisor::launch;
use heqis_core::{NodeReport, block_on};

impl GraphBuilder {
    /// Starts the graph on threads of its own, and returns when every stage is built and frames flow. Works from any
    /// thread: inside tokio, inside actix, and without a runtime. [`GraphBuilder::start`] is the same to be awaited.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] with everything that [`GraphBuilder::check`] finds, [`GraphError::Build`] with everything that
    /// could not be built; nothing runs then.
    pub fn spawn(self) -> Result<GraphHandle, GraphError> {
        block_on(self.start())
    }

    /// As [`GraphBuilder::spawn`], without blocking the calling thread while the stages are built. A graph whose future is
    /// dropped before it is built ends as soon as it is.
    ///
    /// # Errors
    /// As [`GraphBuilder::spawn`].
    pub async fn start(mut self) -> Result<GraphHandle, GraphError> {
        self.validate()?;
        let panicked = |_| io::Error::other("the graph's thread panicked while it built the graph");
        launch(self)?.await.map_err(panicked)?
    }

    /// Runs the graph until it has ended, blocking the calling thread. A drain takes at most `drain_timeout`; by itself a
    /// signal ends the process undrained, see [`GraphBuilder::stop_on_signals`].
    ///
    /// # Errors
    /// As [`GraphBuilder::spawn`].
    pub fn run(self, drain_timeout: Duration) -> Result<NodeReport, GraphError> {
        Ok(self.drain_timeout(drain_timeout).spawn()?.wait_blocking())
    }
}
