//! Validates a collected graph and starts it.

use std::collections::HashMap;
use std::time::Duration;

use actix::prelude::*;

use super::builder::{GraphBuilder, Span};
use super::running::Running;
use super::wiring::Wiring;
use super::{GraphError, termination_signal};
use crate::registry::{Factory, Prepared};
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
    /// [`GraphError::Wiring`] when names or edges are invalid, [`GraphError::Build`] with everything that could not
    /// be built; nothing runs then.
    pub async fn start(self) -> Result<Running, GraphError> {
        self.validate()?;
        Wiring::new(self).start().await
    }

    fn validate(&self) -> Result<(), GraphError> {
        let wiring = |fault: String| Err(GraphError::Wiring(fault));
        let mut kinds = HashMap::new();
        for entry in &self.stages {
            if kinds.insert(entry.name.as_str(), entry).is_some() {
                return wiring(format!("two stages are called '{}'", entry.name));
            }
        }
        if self.stages.len() > usize::from(u16::MAX) {
            return wiring(format!(
                "{} stages are more than {}",
                self.stages.len(),
                u16::MAX
            ));
        }
        for name in self.recordings.keys() {
            if let Some(Prepared {
                factory: Factory::Source { payload, .. },
                ..
            }) = (kinds.get(name.as_str()))
                .and_then(|entry| entry.local.as_ref())
                .map(|(prepared, _)| prepared)
                && !payload.on_wire()
            {
                return wiring(format!(
                    "source '{name}' cannot be recorded: payload '{}' has no codec",
                    payload.name()
                ));
            }
        }
        for edge in &self.edges {
            let local = |name: &str| kinds.get(name).is_some_and(|entry| entry.local.is_some());
            let (from_here, to_here) = match edge.span {
                Span::Local => (true, true),
                Span::Out(..) => (true, false),
                Span::In(..) => (false, true),
            };
            for (name, here) in [(&edge.from, from_here), (&edge.to, to_here)] {
                if here && !local(name) {
                    return wiring(format!(
                        "edge {}->{}: this node runs no stage '{name}'",
                        edge.from, edge.to
                    ));
                }
            }
            let is_source = kinds
                .get(edge.to.as_str())
                .and_then(|entry| entry.local.as_ref());
            if to_here
                && matches!(
                    is_source,
                    Some((
                        Prepared {
                            factory: Factory::Source { .. },
                            ..
                        },
                        _
                    ))
                )
            {
                return wiring(format!(
                    "edge {}->{}: a source takes no input",
                    edge.from, edge.to
                ));
            }
            if let Span::Out(_, payload, _) | Span::In(_, payload, _) = &edge.span
                && !payload.on_wire()
            {
                return wiring(format!(
                    "edge {}->{}: payload '{}' has no codec, its frames stay in their process",
                    edge.from,
                    edge.to,
                    payload.name()
                ));
            }
            if edge.options.capacity == 0 {
                return wiring(format!(
                    "edge {}->{}: capacity is 0, it must be at least 1",
                    edge.from, edge.to
                ));
            }
        }
        Ok(())
    }
}
